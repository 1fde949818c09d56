// Everything that the handlers work with, gathered once and shared by all event loops.
import ClusterMetadata
import Configuration
import KafkaWire
import Logging
import NIOCore
import Primitives
import Replication
import Runtime
import Storage
import Synchronization

/// A broker's services. Handlers are its extensions, one file for each API.
final class BrokerServices: Sendable {
    let configuration: BrokerConfiguration
    let nodeID: NodeID
    let clusterID: String
    let logger: Logger
    let allocator = ByteBufferAllocator()
    let directories: LogDirectories
    let partitions = PartitionRegistry()
    let loadedLogs = LoadedLogTable()
    let metadataRuntime: MetadataRuntime
    let groups: GroupServices
    let producerIDs: ProducerIDs
    let requestMetrics = RequestMetrics()
    let fetchSessions: Mutex<FetchSessionCache>
    private let currentImage = Mutex(MetadataImage.empty)

    init(
        configuration: BrokerConfiguration, clusterID: String, directories: LogDirectories, metadataRuntime: MetadataRuntime,
        groups: GroupServices, producerIDs: ProducerIDs, logger: Logger
    ) {
        self.configuration = configuration
        nodeID = configuration.nodeID
        self.clusterID = clusterID
        self.directories = directories
        self.metadataRuntime = metadataRuntime
        self.groups = groups
        self.producerIDs = producerIDs
        self.logger = logger
        fetchSessions = Mutex(
            FetchSessionCache(
                slots: configuration.maxIncrementalFetchSessionCacheSlots, seed: UInt64(bitPattern: SystemClock.monotonicNanoseconds())))
    }

    /// The newest metadata.
    var image: MetadataImage { currentImage.withLock { $0 } }

    func setImage(_ image: MetadataImage) { currentImage.withLock { $0 = image } }

    /// Reports what a client cannot mend: failures of the disk.
    func report(_ error: PartitionError, of partition: Partition) {
        guard case .storage(let cause) = error, cause.isDiskFailure else { return }
        diskFailures.report(cause, partition: partition.topicPartition, logger: logger)
    }

    let diskFailures = DiskFailureLog()
}

/// Counts requests by API and version.
final class RequestMetrics: Sendable {
    private let counts = (0..<128 * 32).map { _ in AtomicCounter() }

    func count(_ api: ApiKey, _ version: Int16) {
        let index = Int(api.rawValue) * 32 + Int(min(max(version, 0), 31))
        if index < counts.count { counts[index].increment() }
    }

    /// Every API and version that was asked for at least once.
    var snapshot: [(api: ApiKey, version: Int16, count: UInt64)] {
        ApiKey.allCases.flatMap { api in
            (0..<Int16(32)).compactMap { version in
                let index = Int(api.rawValue) * 32 + Int(version)
                guard index < counts.count, case let count = counts[index].value, count > 0 else { return nil }
                return (api, version, count)
            }
        }
    }
}

/// A counter for the data path.
final class AtomicCounter: Sendable {
    private let storage = Atomic<UInt64>(0)

    func increment() { storage.wrappingAdd(1, ordering: .relaxed) }
    var value: UInt64 { storage.load(ordering: .relaxed) }
}

/// Writes a failing disk into the log, but not once per request.
final class DiskFailureLog: Sendable {
    private let lastReport = Mutex<[TopicPartition: Int64]>([:])
    private static let intervalMilliseconds: Int64 = 10_000

    func report(_ error: StorageError, partition: TopicPartition, logger: Logger) {
        let now = SystemClock.monotonicMilliseconds()
        let isDue = lastReport.withLock { last in
            if let previous = last[partition], now - previous < Self.intervalMilliseconds { return false }
            last[partition] = now
            return true
        }
        guard isDue else { return }
        logger.error(
            "records cannot be written; producers get KAFKA_STORAGE_ERROR and retry, reading goes on",
            metadata: ["partition": "\(partition)", "reason": "\(error)"])
    }
}
