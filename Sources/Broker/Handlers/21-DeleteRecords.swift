// DeleteRecords: moves a log's start up to an offset (KIP-107).
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import Storage

extension BrokerServices {
    /// In a request: up to the high watermark.
    private static let upToHighWatermark: Offset = -1

    func deleteRecords(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteRecordsRequest.self)
        var response = DeleteRecordsResponse()
        response.topics = request.topics.map { topic in
            var answer = DeleteRecordsResponse.DeleteRecordsTopicResult()
            answer.name = topic.name
            answer.partitions = topic.partitions.map { deleteRecords($0, topic: topic.name) }
            return answer
        }
        // Kafka checkpoints the new start later and forgets it in a crash before that; what is acknowledged here stays deleted.
        let responder = context.responder
        let answer = response
        backgroundWork.run { [self] in
            checkpoint()
            responder.send(answer)
        }
    }

    private func deleteRecords(
        _ asked: DeleteRecordsRequest.DeleteRecordsPartition, topic: String
    ) -> DeleteRecordsResponse.DeleteRecordsPartitionResult {
        var answer = DeleteRecordsResponse.DeleteRecordsPartitionResult()
        answer.partitionIndex = asked.partitionIndex
        answer.lowWatermark = -1
        guard let partition = partitions.partition(TopicPartition(topic, asked.partitionIndex)) else {
            answer.errorCode = .unknownTopicOrPartition
            return answer
        }
        if TopicName.isInternal(topic) {
            answer.errorCode = .invalidTopicException
            return answer
        }
        let now = SystemClock.now()
        do throws(PartitionError) {
            let outcome = try partition.withLeaderLog(currentLeaderEpoch: -1) { log throws(StorageError) -> DeletionOutcome in
                guard log.configuration.isDeletionAllowed else { return .compactedTopic }
                let offset = asked.offset == Self.upToHighWatermark ? log.highWatermark : asked.offset
                guard offset >= 0, offset <= log.highWatermark else { return .offsetOutOfRange }
                try log.deleteRecords(before: offset, now: now)
                return .done(log.logStartOffset)
            }
            switch outcome {
            case .done(let start): answer.lowWatermark = start
            case .compactedTopic: answer.errorCode = .policyViolation
            case .offsetOutOfRange: answer.errorCode = .offsetOutOfRange
            }
        } catch {
            answer.errorCode = error.errorCode
        }
        return answer
    }

    private enum DeletionOutcome: Sendable {
        case done(Offset)
        /// A topic that is only compacted keeps the latest value of every key; its records cannot be deleted by offset.
        case compactedTopic
        case offsetOutOfRange
    }
}
