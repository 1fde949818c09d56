// AlterShareGroupOffsets: an empty share group is to go on from other offsets (KIP-932).
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    private typealias Topic = AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponseTopic

    func alterShareGroupOffsets(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AlterShareGroupOffsetsRequest.self)
        let responder = context.responder
        func refuse(_ code: ErrorCode, _ message: String? = nil) {
            var response = AlterShareGroupOffsetsResponse()
            response.errorCode = code
            response.errorMessage = message ?? code.defaultMessage
            responder.send(response)
        }
        guard servesShareGroups else { return refuse(.unsupportedVersion) }
        let access = access(context)
        guard access.allows(.read, .group, request.groupId) else { return refuse(.groupAuthorizationFailed) }
        guard !request.groupId.isEmpty else { return refuse(.invalidGroupId) }
        var response = AlterShareGroupOffsetsResponse()
        var offsets: [ShareStateInitialization.Topic] = []
        for topic in request.topics {
            var answer = Topic()
            answer.topicName = topic.topicName
            let known = image.topics.topic(named: topic.topicName)
            answer.topicId = known?.id ?? .zero
            let isPermitted = access.allows(.read, .topic, topic.topicName)
            var wanted: [ShareStateInitialization.Partition] = []
            answer.partitions = topic.partitions.map { partition in
                guard isPermitted else { return .init(partition.partitionIndex, .topicAuthorizationFailed) }
                guard known?.partition(partition.partitionIndex) != nil else {
                    return .init(partition.partitionIndex, .unknownTopicOrPartition)
                }
                wanted.append(.init(index: partition.partitionIndex, startOffset: partition.startOffset))
                return .init(partition.partitionIndex, .none)
            }
            if let known, !wanted.isEmpty { offsets.append(.init(id: known.id, name: known.name, partitions: wanted)) }
            response.responses.append(answer)
        }
        let answered = response
        groups.alterShareOffsets(of: request.groupId, to: offsets) { [self] result in
            switch result {
            case .failure(let refusal):
                var refused = AlterShareGroupOffsetsResponse()
                refused.errorCode = refusal.code
                refused.errorMessage = refusal.message ?? refusal.code.defaultMessage
                responder.send(refused)
            case .success(let initialization):
                alter(initialization, answered) { responder.send($0) }
            }
        }
    }

    private func alter(
        _ initialization: ShareStateInitialization, _ response: AlterShareGroupOffsetsResponse,
        completion: @escaping @Sendable (AlterShareGroupOffsetsResponse) -> Void
    ) {
        initializeShareState(initialization) { [self] refusals in
            groups.shareStateInitialized(initialization, succeeded: refusals.allSatisfy { $0 == nil })
            var response = response
            let asked = initialization.topics.flatMap { topic in topic.partitions.map { (topic.name, $0.index) } }
            for ((name, index), refusal) in zip(asked, refusals) {
                guard let refusal, let topic = response.responses.firstIndex(where: { $0.topicName == name }),
                    let partition = response.responses[topic].partitions.firstIndex(where: { $0.partitionIndex == index })
                else { continue }
                response.responses[topic].partitions[partition] = .init(index, refusal.code.asShareError)
            }
            completion(response)
        }
    }
}

extension AlterShareGroupOffsetsResponse.AlterShareGroupOffsetsResponsePartition {
    fileprivate init(_ index: Int32, _ error: ErrorCode) {
        self.init()
        partitionIndex = index
        errorCode = error
        if error != .none { errorMessage = error.defaultMessage }
    }
}
