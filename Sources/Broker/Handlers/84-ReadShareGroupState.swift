// ReadShareGroupState: the leader of a partition begins to serve a share group and asks its share coordinator where it stands (KIP-932).
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    func readShareGroupState(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(ReadShareGroupStateRequest.self)
        let responder = context.responder
        let isPermitted = access(context).allowsCluster(.clusterAction)
        let asked = request.topics.flatMap { topic in topic.partitions.map { (topic.topicId, $0) } }
        let gathering = Gathering<ReadShareGroupStateResponse.PartitionResult>(asked.count) { answers in
            var response = ReadShareGroupStateResponse()
            var next = answers.makeIterator()
            response.results = request.topics.map { topic in
                var result = ReadShareGroupStateResponse.ReadStateResult()
                result.topicId = topic.topicId
                result.partitions = topic.partitions.compactMap { _ in next.next() }
                return result
            }
            responder.send(response)
        }
        for (index, (topicID, partition)) in asked.enumerated() {
            @Sendable func answer(_ state: Result<SharePartitionState, ShareStateRefusal>) {
                var result = ReadShareGroupStateResponse.PartitionResult()
                result.partition = partition.partition
                switch state {
                case .success(let state): result.take(state)
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
            let key = SharePartitionKey(group: request.groupId, topicID: topicID, partition: partition.partition)
            shareGroups.coordinator.read(key, leaderEpoch: partition.leaderEpoch, completion: answer)
        }
    }
}

extension ReadShareGroupStateResponse.PartitionResult {
    fileprivate mutating func take(_ state: SharePartitionState) {
        stateEpoch = state.stateEpoch
        startOffset = state.startOffset
        stateBatches = state.batches.map { batch in
            var stored = ReadShareGroupStateResponse.StateBatch()
            stored.firstOffset = batch.firstOffset
            stored.lastOffset = batch.lastOffset
            stored.deliveryState = batch.deliveryState
            stored.deliveryCount = batch.deliveryCount
            return stored
        }
    }
}
