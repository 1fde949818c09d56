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
    /// How long nothing may come.
    private static let patienceMilliseconds: Int64 = 30_000

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
            let partitions = try await consumer.partitions(of: topic)
            try await read(partitions, from: [:], consumer) { _, record in body(record) }
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }

    /// Hands over the headers of every committed record from an offset of each partition to its present end.
    static func readTails(
        _ begins: [TopicPartition: Int64], _ configuration: ClientConfiguration, _ body: (TopicPartition, RecordHeaders) -> Void
    ) async throws(KafkaError) {
        var settings = ConsumerConfiguration(configuration)
        settings.offsetReset = .earliest
        settings.commitsAutomatically = false
        settings.isolation = .readCommitted
        let consumer = try KafkaConsumer(settings)
        do throws(KafkaError) {
            try await read(begins.keys.sorted(), from: begins, consumer) { partition, record in body(partition, record.headers) }
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }

    /// - Parameter begins: where to begin; the first record for partitions that are not named.
    private static func read(
        _ partitions: [TopicPartition], from begins: [TopicPartition: Int64], _ consumer: KafkaConsumer,
        _ body: (TopicPartition, InternalRecord) -> Void
    ) async throws(KafkaError) {
        guard !partitions.isEmpty else { return }
        // The very end, also for a reader of committed records: behind a transaction that is still open there may be committed ones.
        let ends = try await consumer.cluster.offsets(partitions.map { ($0, .latest) }).mapValues(\.offset)
        let starts = try await consumer.beginningOffsets(partitions)
        let firsts = partitions.map { (partition: $0, offset: max(starts[$0] ?? 0, begins[$0] ?? 0)) }
        var waiting = firsts.filter { $0.offset < ends[$0.partition] ?? 0 }.map(\.partition)
        guard !waiting.isEmpty else { return }
        try await consumer.assign(waiting)
        for (partition, offset) in firsts where waiting.contains(partition) { try consumer.seek(partition, to: offset) }
        var deadline = SystemClock.monotonicMilliseconds() + Self.patienceMilliseconds
        while !waiting.isEmpty {
            if Task.isCancelled { throw .cancelled }
            if let batch = try await consumer.nextBatch(timeout: .milliseconds(50)) {
                deadline = SystemClock.monotonicMilliseconds() + Self.patienceMilliseconds
                var expected = batch.startOffset
                for record in try batch.records() {
                    body(
                        batch.partition,
                        InternalRecord(
                            key: record.key, value: record.value, headers: record.headers, timestamp: record.timestamp,
                            followsGap: record.offset > expected))
                    expected = record.offset + 1
                }
                guard batch.nextOffset >= ends[batch.partition] ?? 0 else { continue }
                waiting.removeAll { $0 == batch.partition }
                continue
            }
            // Markers at the end of a partition are passed over without a word.
            for partition in waiting where try await consumer.position(partition) >= ends[partition] ?? 0 {
                waiting.removeAll { $0 == partition }
            }
            guard SystemClock.monotonicMilliseconds() < deadline else {
                throw KafkaError(.timedOut, "\(waiting[0]) could not be read to its end in time", isRetriable: true)
            }
        }
    }
}
