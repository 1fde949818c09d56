// FindCoordinator: which broker looks after a group or a transactional id.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

/// Kinds of coordinators, by Kafka's numbers.
private enum CoordinatorKind: Int8 {
    case group = 0
    case transaction = 1
    case share = 2
}

extension BrokerServices {
    func findCoordinator(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(FindCoordinatorRequest.self)
        let keys = context.version >= 4 ? request.coordinatorKeys : [request.key]
        let kind = CoordinatorKind(rawValue: request.keyType)
        guard let kind, kind != .share else {
            let reason = "Only coordinators of groups and transactions are served yet; share groups are not."
            return context.responder.send(
                findCoordinatorResponse(keys.map { .failed($0, .invalidRequest, reason) }, context.version))
        }
        let responder = context.responder
        let listenerName = context.listenerName
        let topic = kind == .group ? TopicName.consumerOffsets : TopicName.transactionState
        ensureInternalTopic(topic) { [self] in
            let view = ClusterView(image: image, listenerName: listenerName)
            responder.send(findCoordinatorResponse(keys.map { coordinator(of: $0, kind, view) }, responder.version))
        }
    }

    private func coordinator(of group: String, _ kind: CoordinatorKind, _ view: ClusterView) -> FindCoordinatorResponse.Coordinator {
        let partition =
            kind == .transaction
            ? TopicPartition(TopicName.transactionState, transactions.runtime.partition(for: group))
            : TopicPartition(TopicName.consumerOffsets, groups.partition(for: group))
        guard let leader = view.image.topics.partition(partition)?.leader, let node = view.node(leader) else {
            return .failed(group, .coordinatorNotAvailable, nil)
        }
        var answer = FindCoordinatorResponse.Coordinator()
        answer.key = group
        answer.nodeId = node.id
        answer.host = node.host
        answer.port = node.port
        return answer
    }

    private func findCoordinatorResponse(
        _ coordinators: [FindCoordinatorResponse.Coordinator], _ version: Int16
    ) -> FindCoordinatorResponse {
        var response = FindCoordinatorResponse()
        if version >= 4 {
            response.coordinators = coordinators
        } else if let only = coordinators.first {
            response.errorCode = only.errorCode
            response.errorMessage = only.errorMessage
            response.nodeId = only.nodeId
            response.host = only.host
            response.port = only.port
        }
        return response
    }
}

extension FindCoordinatorResponse.Coordinator {
    fileprivate static func failed(_ key: String, _ error: ErrorCode, _ message: String?) -> Self {
        var answer = Self()
        answer.key = key
        answer.errorCode = error
        answer.errorMessage = message
        answer.nodeId = -1
        answer.port = -1
        return answer
    }
}
