// ReadShareGroupStateSummary: where share groups stand, for the coordinator that administrators ask (KIP-932).
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    func readShareGroupStateSummary(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ReadShareGroupStateSummaryRequest.self)
        let responder = context.responder
        let isPermitted = access(context).allowsCluster(.clusterAction)
        let asked = request.topics.flatMap { topic in topic.partitions.map { (topic.topicId, $0.partition) } }
        let gathering = Gathering<ReadShareGroupStateSummaryResponse.PartitionResult>(asked.count) { answers in
            var response = ReadShareGroupStateSummaryResponse()
            var next = answers.makeIterator()
            response.results = request.topics.map { topic in
                var result = ReadShareGroupStateSummaryResponse.ReadStateSummaryResult()
                result.topicId = topic.topicId
                result.partitions = topic.partitions.compactMap { _ in next.next() }
                return result
            }
            responder.send(response)
        }
        for (index, (topicID, partition)) in asked.enumerated() {
            @Sendable func answer(_ state: Result<SharePartitionState, ShareStateRefusal>) {
                var result = ReadShareGroupStateSummaryResponse.PartitionResult()
                result.partition = partition
                switch state {
                case .success(let state):
                    result.stateEpoch = state.stateEpoch
                    result.leaderEpoch = state.leaderEpoch
                    result.startOffset = state.startOffset
                    result.deliveryCompleteCount = state.deliveryCompleteCount
                case .failure(let refusal):
                    result.errorCode = refusal.code
                    result.errorMessage = refusal.message ?? refusal.code.defaultMessage
                }
                gathering.add(index, result)
            }
            guard isPermitted else {
                answer(.failure(ShareStateRefusal(.clusterAuthorizationFailed)))
                continue
            }
            let key = SharePartitionKey(group: request.groupId, topicID: topicID, partition: partition)
            shareGroups.coordinator.summary(key, completion: answer)
        }
    }
}
