// Writing pairs of offsets to the offset-syncs topic. None may be lost before a position behind it counts as reached, so what could not be
// written is kept and written again.
import MartletClient
import Mirroring
import NIOCore
import RecordBatches
import Synchronization

/// The writer of a flow's offset-syncs topic.
final class OffsetSyncWriting: Sendable {
    /// A header that says of a pair that it begins a run, and that every beginning is written down. Readers of keys and values do not see it.
    static let runHeader = "martlet.run"

    private let topic: String
    private let producer: KafkaProducer
    private let failed = Mutex<[(OffsetSync, isRun: Bool)]>([])

    init(topic: String, _ client: ClientConfiguration) throws(KafkaError) {
        self.topic = topic
        var configuration = ProducerConfiguration(client)
        configuration.allowTopicCreation = false
        producer = try KafkaProducer(configuration)
    }

    /// Takes a pair; it is written soon, in the order of the calls.
    func write(_ sync: OffsetSync, isRun: Bool) async throws(KafkaError) {
        let record = ProducerRecord(
            topic: topic, partition: 0, keyBytes: sync.key, valueBytes: sync.value,
            headers: isRun ? RecordHeaders([RecordHeader(Self.runHeader, nil)]) : RecordHeaders())
        try await producer.enqueue(record) { [self] result in
            if case .failure = result { failed.withLock { $0.append((sync, isRun)) } }
        }
    }

    /// Waits until every pair is written.
    ///
    /// - Throws: when some could not be; they are tried again with the next call.
    func flush() async throws(KafkaError) {
        let again = failed.withLock { failed in
            defer { failed = [] }
            return failed
        }
        for (sync, isRun) in again { try await write(sync, isRun: isRun) }
        try await producer.flush()
        let left = failed.withLock { $0.count }
        guard left == 0 else { throw KafkaError.invalidContent("\(left) records of '\(topic)' could not be written") }
    }

    func close() async { try? await producer.close() }
}
