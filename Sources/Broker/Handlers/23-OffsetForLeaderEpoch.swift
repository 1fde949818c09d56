// OffsetForLeaderEpoch: where a leader epoch ends in the log (KIP-320), so that a client notices truncation.
import KafkaMessages
import KafkaWire
import Primitives
import Storage

extension BrokerServices {
    func offsetForLeaderEpoch(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetForLeaderEpochRequest.self)
        var response = OffsetForLeaderEpochResponse()
        let access = access(context)
        let isNode = access.allowsCluster(.clusterAction, isLogged: false)
        response.topics = request.topics.map { topic in
            var answer = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult()
            answer.topic = topic.topic
            let isPermitted = isNode || access.allows(.describe, .topic, topic.topic)
            answer.partitions = topic.partitions.map { asked in
                if isPermitted { return endOffset(of: asked, topic: topic.topic) }
                var refusal = OffsetForLeaderEpochResponse.EpochEndOffset()
                refusal.partition = asked.partition
                refusal.leaderEpoch = -1
                refusal.endOffset = -1
                refusal.errorCode = .topicAuthorizationFailed
                return refusal
            }
            return answer
        }
        context.responder.send(response)
    }

    private func endOffset(
        of asked: OffsetForLeaderEpochRequest.OffsetForLeaderPartition, topic: String
    ) -> OffsetForLeaderEpochResponse.EpochEndOffset {
        var answer = OffsetForLeaderEpochResponse.EpochEndOffset()
        answer.partition = asked.partition
        answer.leaderEpoch = -1
        answer.endOffset = -1
        let name = TopicPartition(topic, asked.partition)
        guard let partition = partitions.partition(name) else {
            answer.errorCode = partitions.refusal(of: name)
            return answer
        }
        do throws(PartitionError) {
            let end = try partition.withLeaderLog(currentLeaderEpoch: asked.currentLeaderEpoch) { log throws(StorageError) in
                log.endOffset(forEpoch: asked.leaderEpoch)
            }
            answer.leaderEpoch = end.leaderEpoch
            answer.endOffset = end.endOffset
        } catch {
            answer.errorCode = error.errorCode
        }
        return answer
    }
}
