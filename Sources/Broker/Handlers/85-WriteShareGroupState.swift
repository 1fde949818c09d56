// WriteShareGroupState: the leader of a partition has its share coordinator store what became of records (KIP-932).
import KafkaMessages
import KafkaWire
import Primitives
import ShareCoordination

extension BrokerServices {
    func writeShareGroupState(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(WriteShareGroupStateRequest.self)
        let responder = context.responder
        let isPermitted = access(context).allowsCluster(.clusterAction)
        let asked = request.topics.flatMap { topic in topic.partitions.map { (topic.topicId, $0) } }
        let gathering = Gathering<WriteShareGroupStateResponse.PartitionResult>(asked.count) { answers in
            var response = WriteShareGroupStateResponse()
            var next = answers.makeIterator()
            response.results = request.topics.map { topic in
                var result = WriteShareGroupStateResponse.WriteStateResult()
                result.topicId = topic.topicId
                result.partitions = topic.partitions.compactMap { _ in next.next() }
                return result
            }
            responder.send(response)
        }
        for (index, (topicID, partition)) in asked.enumerated() {
            @Sendable func answer(_ refusal: ShareStateRefusal?) {
                var result = WriteShareGroupStateResponse.PartitionResult()
                result.partition = partition.partition
                result.errorCode = refusal?.code ?? .none
                result.errorMessage = refusal.map { $0.message ?? $0.code.defaultMessage }
                gathering.add(index, result)
            }
            guard isPermitted else {
                answer(ShareStateRefusal(.clusterAuthorizationFailed))
                continue
            }
            let key = SharePartitionKey(group: request.groupId, topicID: topicID, partition: partition.partition)
            shareGroups.coordinator.write(key, partition.update) { answer($0.refusal) }
        }
    }
}
