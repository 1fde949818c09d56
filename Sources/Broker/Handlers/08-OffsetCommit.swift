// OffsetCommit: stores how far a group has come.
import KafkaMessages
import KafkaWire

extension BrokerServices {
    func offsetCommit(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetCommitRequest.self)
        let responder = context.responder
        let access = access(context)
        let topics = topicLookup
        var permitted = request
        var denied: [OffsetCommitResponse.OffsetCommitResponseTopic] = []
        let isGroupDenied = !access.allows(.read, .group, request.groupId)
        permitted.topics = request.topics.filter { topic in
            // A topic that has no name here is unknown, which the coordinator says itself.
            let name = context.version >= 10 ? topics.topicName(for: topic.topicId) : topic.name
            if !isGroupDenied, name.map({ access.allows(.read, .topic, $0) }) ?? true { return true }
            denied.append(.failed(topic, isGroupDenied ? .groupAuthorizationFailed : .topicAuthorizationFailed))
            return false
        }
        if isGroupDenied || (permitted.topics.isEmpty && !denied.isEmpty) {
            var response = OffsetCommitResponse()
            response.topics = denied
            return responder.send(response)
        }
        groups.commitOffsets(permitted, context: context.group, topics: topics) { [denied] answer in
            var response = answer
            response.topics += denied
            responder.send(response)
        }
    }
}

extension OffsetCommitResponse.OffsetCommitResponseTopic {
    fileprivate static func failed(_ topic: OffsetCommitRequest.OffsetCommitRequestTopic, _ error: ErrorCode) -> Self {
        var answer = Self()
        answer.name = topic.name
        answer.topicId = topic.topicId
        answer.partitions = topic.partitions.map { asked in
            var partition = OffsetCommitResponse.OffsetCommitResponsePartition()
            partition.partitionIndex = asked.partitionIndex
            partition.errorCode = error
            return partition
        }
        return answer
    }
}
