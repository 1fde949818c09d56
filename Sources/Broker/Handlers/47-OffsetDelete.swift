// OffsetDelete: removes offsets of topics that a group no longer follows (KIP-496).
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetDelete(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetDeleteRequest.self)
        let responder = context.responder
        let access = access(context)
        guard access.allows(.delete, .group, request.groupId) else {
            var response = OffsetDeleteResponse()
            response.errorCode = .groupAuthorizationFailed
            return responder.send(response)
        }
        var permitted = request
        var denied: [OffsetDeleteResponse.OffsetDeleteResponseTopic] = []
        permitted.topics = request.topics.filter { topic in
            if access.allows(.read, .topic, topic.name) { return true }
            denied.append(.denied(topic))
            return false
        }
        groups.deleteOffsets(permitted, topics: topicLookup) { [denied] answer in
            var response = answer
            // A group that does not take the request says so as a whole.
            if response.errorCode == .none { response.topics += denied }
            responder.send(response)
        }
    }
}

extension OffsetDeleteResponse.OffsetDeleteResponseTopic {
    fileprivate static func denied(_ topic: OffsetDeleteRequest.OffsetDeleteRequestTopic) -> Self {
        var answer = Self()
        answer.name = topic.name
        answer.partitions = topic.partitions.map { asked in
            var partition = OffsetDeleteResponse.OffsetDeleteResponsePartition()
            partition.partitionIndex = asked.partitionIndex
            partition.errorCode = .topicAuthorizationFailed
            return partition
        }
        return answer
    }
}
