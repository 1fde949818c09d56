// Reading a small internal topic from its beginning to its present end.
import MartletClient
import Mirroring
import NIOCore
import Primitives
import RecordBatches

/// A record of an internal topic.
struct InternalRecord: Sendable {
    var key: ByteBuffer?
    var value: ByteBuffer?
    var headers: RecordHeaders
    /// Milliseconds since 1970.
    var timestamp: Int64
    /// Whether offsets before this record are missing: compaction took records away.
    var followsGap: Bool
}

enum TopicReading {
    /// Hands over every record that is in the topic now, partition by partition in their order.
    ///
    /// - Parameter isolation: read_committed for a topic that transactions write to.
    static func readAll(
        _ topic: String, _ configuration: ClientConfiguration, isolation: IsolationLevel = .readUncommitted,
        _ body: (InternalRecord) -> Void
    ) async throws(KafkaError) {
        var settings = ConsumerConfiguration(configuration)
        settings.offsetReset = .earliest
        settings.commitsAutomatically = false
        settings.isolation = isolation
        let consumer = try KafkaConsumer(settings)
        do throws(KafkaError) {
            try await read(topic, consumer, body)
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }

    private static func read(_ topic: String, _ consumer: KafkaConsumer, _ body: (InternalRecord) -> Void) async throws(KafkaError) {
        let partitions = try await consumer.partitions(of: topic)
        let ends = try await consumer.endOffsets(partitions)
        let starts = try await consumer.beginningOffsets(partitions)
        var positions = starts
        let waiting = partitions.filter { (starts[$0] ?? 0) < (ends[$0] ?? 0) }
        guard !waiting.isEmpty else { return }
        try await consumer.assign(waiting)
        try consumer.seekToBeginning(waiting)
        while waiting.contains(where: { (positions[$0] ?? 0) < (ends[$0] ?? 0) }) {
            if Task.isCancelled { throw .cancelled }
            guard let batch = try await consumer.nextBatch(timeout: .seconds(30)) else {
                throw KafkaError(.timedOut, "'\(topic)' could not be read to its end in time", isRetriable: true)
            }
            let records = try batch.records()
            var expected = positions[batch.partition] ?? 0
            for record in records {
                body(
                    InternalRecord(
                        key: record.key, value: record.value, headers: record.headers, timestamp: record.timestamp,
                        followsGap: record.offset > expected))
                expected = record.offset + 1
            }
            positions[batch.partition] = batch.nextOffset
        }
    }
}
