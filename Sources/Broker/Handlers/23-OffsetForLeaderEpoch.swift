// OffsetForLeaderEpoch: where a leader epoch ends in the log (KIP-320), so that a client notices truncation.
import KafkaMessages
import KafkaWire
import Primitives
import Storage

extension BrokerServices {
    func offsetForLeaderEpoch(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(OffsetForLeaderEpochRequest.self)
        var response = OffsetForLeaderEpochResponse()
        response.topics = request.topics.map { topic in
            var answer = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult()
            answer.topic = topic.topic
            answer.partitions = topic.partitions.map { endOffset(of: $0, topic: topic.topic) }
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
        guard let partition = partitions.partition(TopicPartition(topic, asked.partition)) else {
            answer.errorCode = .unknownTopicOrPartition
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
