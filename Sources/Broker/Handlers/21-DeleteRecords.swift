// DeleteRecords: moves a log's start up to an offset, and answers once every live replica has followed (KIP-107).
import Controlling
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Storage

extension BrokerServices {
    /// In a request: up to the high watermark.
    private static let upToHighWatermark: Offset = -1

    func deleteRecords(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DeleteRecordsRequest.self)
        var response = DeleteRecordsResponse()
        var places: [(topic: Int, partition: Int)] = []
        var waits: [DeletionWait] = []
        let access = access(context)
        for (topicIndex, topic) in request.topics.enumerated() {
            let isPermitted = access.allows(.delete, .topic, topic.name)
            var answer = DeleteRecordsResponse.DeleteRecordsTopicResult()
            answer.name = topic.name
            for (partitionIndex, asked) in topic.partitions.enumerated() {
                let (result, wait) = isPermitted ? deleteRecords(asked, topic: topic.name) : (.denied(asked.partitionIndex), nil)
                answer.partitions.append(result)
                guard var wait else { continue }
                wait.index = places.count
                waits.append(wait)
                places.append((topicIndex, partitionIndex))
            }
            response.topics.append(answer)
        }
        let eventLoop = context.connection.eventLoop
        let deletion = Deletion(response, places)
        let operation = DeleteRecordsOperation(waits) { index, error, lowWatermark in
            deletion.settle(index, error, lowWatermark)
        } complete: { [responder = context.responder] in
            responder.send(deletion.response)
        }
        let bound = NIOLoopBound(operation, eventLoop: eventLoop)
        let timeout = request.timeoutMs
        // Kafka checkpoints the new start later and forgets it in a crash before that; what is acknowledged here stays deleted.
        backgroundWork.run { [self] in
            checkpoint()
            eventLoop.execute { bound.value.start(on: eventLoop, timeoutMilliseconds: timeout) }
        }
    }

    /// The answer as it comes together, on the connection's loop.
    private final class Deletion {
        private(set) var response: DeleteRecordsResponse
        private let places: [(topic: Int, partition: Int)]

        init(_ response: DeleteRecordsResponse, _ places: [(topic: Int, partition: Int)]) {
            self.response = response
            self.places = places
        }

        func settle(_ index: Int, _ error: ErrorCode, _ lowWatermark: Offset) {
            let (topic, partition) = places[index]
            response.topics[topic].partitions[partition].errorCode = error
            response.topics[topic].partitions[partition].lowWatermark = lowWatermark
        }
    }

    private func deleteRecords(
        _ asked: DeleteRecordsRequest.DeleteRecordsPartition, topic: String
    ) -> (result: DeleteRecordsResponse.DeleteRecordsPartitionResult, wait: DeletionWait?) {
        var answer = DeleteRecordsResponse.DeleteRecordsPartitionResult()
        answer.partitionIndex = asked.partitionIndex
        answer.lowWatermark = -1
        let name = TopicPartition(topic, asked.partitionIndex)
        guard let partition = partitions.partition(name) else {
            answer.errorCode = partitions.refusal(of: name)
            return (answer, nil)
        }
        if TopicName.isInternal(topic) {
            answer.errorCode = .invalidTopicException
            return (answer, nil)
        }
        let now = SystemClock.now()
        do throws(PartitionError) {
            let outcome = try partition.withLeaderLog(currentLeaderEpoch: -1) { log throws(StorageError) -> DeletionOutcome in
                guard log.configuration.isDeletionAllowed else { return .compactedTopic }
                let offset = asked.offset == Self.upToHighWatermark ? log.highWatermark : asked.offset
                guard offset >= 0, offset <= log.highWatermark else { return .offsetOutOfRange }
                try log.deleteRecords(before: offset, now: now)
                return .done(offset)
            }
            switch outcome {
            case .done(let offset): return (answer, DeletionWait(index: 0, partition: partition, offset: offset))
            case .compactedTopic: answer.errorCode = .policyViolation
            case .offsetOutOfRange: answer.errorCode = .offsetOutOfRange
            }
        } catch {
            answer.errorCode = error.errorCode
        }
        return (answer, nil)
    }

    private enum DeletionOutcome: Sendable {
        case done(Offset)
        /// A topic that is only compacted keeps the latest value of every key; its records cannot be deleted by offset.
        case compactedTopic
        case offsetOutOfRange
    }
}

extension DeleteRecordsResponse.DeleteRecordsPartitionResult {
    fileprivate static func denied(_ index: Int32) -> Self {
        var answer = Self()
        answer.partitionIndex = index
        answer.lowWatermark = -1
        answer.errorCode = .topicAuthorizationFailed
        return answer
    }
}
