// Logs that were opened at the start and wait to be claimed by the topics of the first metadata image.
import Primitives
import Storage
import Synchronization

/// Hands out every log once.
final class LoadedLogTable: Sendable {
    private let futures = Mutex<[TopicPartition: PartitionLog]>([:])
    private let logs: Mutex<[TopicPartition: PartitionLog]>

    init(_ logs: [PartitionLog] = []) {
        self.logs = Mutex(Dictionary(logs.map { ($0.topicPartition, $0) }, uniquingKeysWith: { first, _ in first }))
    }

    func set(_ loaded: [PartitionLog]) {
        logs.withLock { logs in
            for log in loaded { logs[log.topicPartition] = log }
        }
    }

    func set(futures: [PartitionLog]) {
        self.futures.withLock { $0 = Dictionary(futures.map { ($0.topicPartition, $0) }, uniquingKeysWith: { first, _ in first }) }
    }

    /// The copy of a partition on its way to another directory, once.
    func takeFuture(_ name: TopicPartition) -> PartitionLog? { futures.withLock { $0.removeValue(forKey: name) } }

    /// The copies that nobody asked for.
    func takeFutures() -> [PartitionLog] {
        futures.withLock { futures in
            defer { futures = [:] }
            return Array(futures.values)
        }
    }

    func take(_ name: TopicPartition) -> PartitionLog? { logs.withLock { $0.removeValue(forKey: name) } }
}
