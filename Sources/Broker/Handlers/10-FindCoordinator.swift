// FindCoordinator: which broker looks after a group, a transactional id or the state of a share partition.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

/// Kinds of coordinators, by Kafka's numbers.
private enum CoordinatorKind: Int8 {
    case group = 0
    case transaction = 1
    case share = 2
}

extension BrokerServices {
    func findCoordinator(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(FindCoordinatorRequest.self)
        let asked = context.version >= 4 ? request.coordinatorKeys : [request.key]
        let kind = CoordinatorKind(rawValue: request.keyType)
        let (keys, denied) = permitted(asked, kind, access(context))
        if keys.isEmpty, !denied.isEmpty { return context.responder.send(findCoordinatorResponse(denied, context.version)) }
        guard let kind, kind != .share || context.version >= 6 && keys.allSatisfy({ SharePartitionKey(coordinatorKey: $0) != nil }) else {
            return context.responder.send(
                findCoordinatorResponse(keys.map { .failed($0, .invalidRequest, nil) } + denied, context.version))
        }
        let responder = context.responder
        let listenerName = context.listenerName
        let topic =
            switch kind {
            case .group: TopicName.consumerOffsets
            case .transaction: TopicName.transactionState
            case .share: TopicName.shareGroupState
            }
        ensureInternalTopic(topic) { [self] in
            let view = ClusterView(image: image, listenerName: listenerName)
            responder.send(findCoordinatorResponse(keys.map { coordinator(of: $0, kind, view) } + denied, responder.version))
        }
    }

    /// Parts what may be asked for from what may not.
    private func permitted(
        _ keys: [String], _ kind: CoordinatorKind?, _ access: Access
    ) -> (permitted: [String], denied: [FindCoordinatorResponse.Coordinator]) {
        let isPermitted: (String) -> Bool
        let error: ErrorCode
        switch kind {
        case .group: (isPermitted, error) = ({ access.allows(.describe, .group, $0) }, .groupAuthorizationFailed)
        case .transaction:
            (isPermitted, error) = ({ access.allows(.describe, .transactionalID, $0) }, .transactionalIdAuthorizationFailed)
        case .share: (isPermitted, error) = ({ _ in access.allowsCluster(.clusterAction) }, .clusterAuthorizationFailed)
        case nil: (isPermitted, error) = ({ _ in true }, .none)
        }
        var permitted: [String] = []
        var denied: [FindCoordinatorResponse.Coordinator] = []
        for key in keys {
            if isPermitted(key) { permitted.append(key) } else { denied.append(.failed(key, error, error.defaultMessage)) }
        }
        return (permitted, denied)
    }

    private func coordinator(of group: String, _ kind: CoordinatorKind, _ view: ClusterView) -> FindCoordinatorResponse.Coordinator {
        let partition =
            switch kind {
            case .group: TopicPartition(TopicName.consumerOffsets, groups.partition(for: group))
            case .transaction: TopicPartition(TopicName.transactionState, transactions.runtime.partition(for: group))
            case .share: TopicPartition(TopicName.shareGroupState, shareGroups.coordinator.partition(for: group))
            }
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
