// Everything that the handlers work with, gathered once and shared by all event loops.
import ClusterMetadata
import Configuration
import KafkaWire
import Logging
import NIOCore
import Observability
import Primitives
import Replication
import Runtime
import Storage
import Synchronization

/// A broker's services. Handlers are its extensions, one file for each API.
final class BrokerServices: Sendable {
    /// What the node was started with.
    let configuration: BrokerConfiguration
    /// The same with the dynamic layers on top.
    let configurationInForce: ConfigurationInForce
    let nodeID: NodeID
    let clusterID: String
    let log: StructuredLog
    let logger: Logger
    let allocator = ByteBufferAllocator()
    let directories: LogDirectories
    let partitions = PartitionRegistry()
    let loadedLogs = LoadedLogTable()
    let cleaner: LogCleaner
    let metadataRuntime: MetadataRuntime
    /// The controller in this process, if there is one.
    let controllerServices: ControllerServices?
    let controllerChannel: ControllerChannel
    let security: NodeSecurity
    let quotas: ClientQuotas
    let lifecycle: BrokerLifecycle
    let groups: CoordinatorRuntime
    let producerIDs: ProducerIDs
    let transactions: TransactionServices
    let shareGroups: ShareServices
    let links: LinkServices
    let metrics: KafkaMetrics
    let fetchSessions: Mutex<FetchSessionCache>
    let replication: ReplicationServices
    let directoryAssignments: DirectoryAssignments
    let moves: ReplicaMoves
    let telemetry: ClientTelemetry
    let departedBrokers = DepartedBrokers()
    let streamsInternalTopics = StreamsInternalTopics()
    /// Whether the first image has been taken over.
    let hasPublished = Mutex(false)
    private let currentImage = Mutex(MetadataImage.empty)

    init(
        configuration: BrokerConfiguration, clusterID: String, directories: LogDirectories, cluster: ClusterMembership,
        lifecycle: BrokerLifecycle, groups: CoordinatorRuntime, producerIDs: ProducerIDs, metrics: KafkaMetrics,
        backgroundWork: BackgroundWork, log: StructuredLog
    ) {
        self.configuration = configuration
        configurationInForce = ConfigurationInForce(started: configuration)
        nodeID = configuration.nodeID
        self.clusterID = clusterID
        self.directories = directories
        metadataRuntime = cluster.metadata
        controllerServices = cluster.controller
        controllerChannel = cluster.channel
        security = cluster.security
        quotas = cluster.quotas
        self.lifecycle = lifecycle
        self.groups = groups
        self.producerIDs = producerIDs
        transactions = TransactionServices(
            configuration: configuration, image: { [metadata = cluster.metadata] in metadata.image }, producerIDs: producerIDs,
            logger: log.logger("transactions"))
        shareGroups = ShareServices(configuration: configuration, image: cluster.metadata.image)
        links = LinkServices(nodeID: configuration.nodeID, eventLoop: cluster.channel.eventLoop, logger: log.logger("links"))
        self.metrics = metrics
        self.backgroundWork = backgroundWork
        self.log = log
        logger = log.logger("broker")
        replication = ReplicationServices(
            configuration: configuration, security: cluster.security, metrics: metrics, logger: log.logger("replication"))
        directoryAssignments = DirectoryAssignments(
            nodeID: configuration.nodeID, channel: cluster.channel, image: { [metadata = cluster.metadata] in metadata.image },
            logger: log.logger("replication"))
        telemetry = ClientTelemetry(maximumBytes: configuration.layers.value("telemetry.max.bytes")?.integer.map { Int($0) } ?? 1_048_576)
        metrics.registry.register { [telemetry] text in telemetry.write(to: &text) }
        metrics.registry.register { [links] text in
            links.write(to: &text)
            links.writeSynchronous(to: &text)
        }
        metrics.registry.register { [shareGroups, transactions] text in
            let now = SystemClock.monotonicNanoseconds()
            shareGroups.metrics.write(to: &text, now: now)
            transactions.verifier.write(to: &text, now: now)
        }
        moves = ReplicaMoves(
            nodeID: configuration.nodeID,
            threads: configuration.layers.value("num.replica.alter.log.dirs.threads")?.integer.map { Int($0) }
                ?? directories.directories.count,
            copyBytes: Int(replication.environment.settings.fetchMaxBytes), throttle: replication.moveThrottle,
            assignments: directoryAssignments, eventLoop: cluster.channel.eventLoop,
            image: { [metadata = cluster.metadata] in metadata.image }, logger: log.logger("replication"))
        configurationInForce.follow { [security] in security.update($0.security) }
        cleaner = LogCleaner(partitions: partitions, settings: configuration.cleaner, logger: log.logger("cleaner"))
        configurationInForce.follow { [cleaner] in cleaner.update($0.cleaner) }
        configurationInForce.follow { [transactions] in transactions.update($0.transactions) }
        configurationInForce.follow { [replication] in replication.update(rates: $0.layers) }
        fetchSessions = Mutex(
            FetchSessionCache(
                slots: configuration.network.maxIncrementalFetchSessionCacheSlots,
                seed: UInt64(bitPattern: SystemClock.monotonicNanoseconds())))
    }

    /// The newest metadata.
    var image: MetadataImage { currentImage.withLock { $0 } }

    func setImage(_ image: MetadataImage) { currentImage.withLock { $0 = image } }

    /// Whether the broker is fenced or gone: clients may not use it, and others lead what it led.
    func hasLeft(_ broker: NodeID) -> Bool { image.cluster.broker(broker)?.isFenced ?? true }

    /// Reports what a client cannot mend: failures of the disk.
    func report(_ error: PartitionError, of partition: Partition) {
        guard case .storage(let cause) = error, cause.isDiskFailure else { return }
        diskFailures.report(cause, partition: partition.topicPartition, logger: logger)
    }

    let diskFailures = DiskFailureLog()
    let coordinatedEpochs = CoordinatedEpochs()
    let backgroundWork: BackgroundWork
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
