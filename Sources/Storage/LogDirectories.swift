// A node's `log.dirs` together: opening them, loading their partitions in parallel, placing new partitions, closing.
import Primitives

/// How the data directories are opened.
public struct LogDirectoriesConfiguration: Sendable {
    /// `log.dirs`.
    public var paths: [String]
    /// `num.recovery.threads.per.data.dir`.
    public var recoveryThreadsPerDirectory = 2
    /// Space reserved per directory so that deletion works on a full disk; 0 for none.
    public var headroomBytes = 4 << 20

    public init(paths: [String]) {
        self.paths = paths
    }
}

/// How far loading has come.
public struct LoadProgress: Sendable, Equatable {
    public var partitions = 0
    public var loadedPartitions = 0
    /// Partitions that were scanned as after a crash.
    public var recoveredPartitions = 0
    public var scannedBytes = 0
}

/// What loading found.
public struct LoadedLogs: Sendable {
    public var logs: [PartitionLog] = []
    /// Partitions that could not be opened, and why; their directories are left as they are.
    public var failures: [(topicPartition: TopicPartition, error: StorageError)] = []
    /// Directories put aside as `-stray` because they belong to no topic known.
    public var strays: [String] = []
}

/// What the caller knows about a partition found on disk.
public enum ExpectedTopic: Sendable, Equatable {
    /// The metadata log says that this partition is on this node, with this topic id.
    case known(TopicID)
    /// Nothing is known: believe the directory.
    case unknown
    /// The metadata log says that there is no such partition here: put it aside.
    case absent
}

/// All data directories of a node.
public final class LogDirectories: Sendable {
    public let directories: [LogDirectory]

    /// Opens and locks the directories, creating those that are missing. One that fails is offline from the start.
    /// - Throws: `locked`, or the first failure when none can be opened.
    public init(_ configuration: LogDirectoriesConfiguration) throws(StorageError) {
        directories = []
    }

    public var online: [LogDirectory] { directories.filter { !$0.isOffline } }

    /// Opens all partitions in parallel, except those of `excluded` topics (the metadata log, which comes first).
    ///
    /// - Parameters:
    ///   - configuration: a topic's settings.
    ///   - expected: what the metadata log says of a partition; called with the id that `partition.metadata` gives, if it does.
    ///   - progress: called from several threads, now and then.
    public func load(
        excluding excluded: Set<String> = ["__cluster_metadata"], now: Timestamp,
        configuration: @escaping @Sendable (String) -> LogConfiguration,
        expected: @escaping @Sendable (TopicPartition, TopicID?) -> ExpectedTopic,
        progress: @escaping @Sendable (LoadProgress) -> Void
    ) throws(StorageError) -> LoadedLogs {
        LoadedLogs()
    }

    /// Opens one partition wherever it is, or nil. `asAfterCrash` ignores the clean shutdown marker, as KRaft does for its own log.
    public func open(
        _ topicPartition: TopicPartition, topicID: TopicID?, configuration: LogConfiguration, asAfterCrash: Bool = false, now: Timestamp
    ) throws(StorageError) -> PartitionLog? {
        nil
    }

    /// Creates a partition in the directory with the fewest partitions.
    public func create(
        _ topicPartition: TopicPartition, topicID: TopicID, configuration: LogConfiguration, now: Timestamp
    ) throws(StorageError) -> PartitionLog {
        throw .offline(path: "")
    }

    /// Writes the last checkpoints and the clean shutdown markers of directories online, and unlocks them. Call after every
    /// partition's `close`, with their checkpoints.
    ///
    /// - Parameter clean: false leaves the markers out, so that the next start recovers.
    public func close(_ checkpoints: [PartitionCheckpoint], brokerEpoch: Int64, clean: Bool = true) throws(StorageError) {}
}

/// One data directory.
public final class LogDirectory: Sendable {
    public let path: String
    /// Whether the last process stopped cleanly.
    public let hadCleanShutdown: Bool

    init(path: String, hadCleanShutdown: Bool) {
        self.path = path
        self.hadCleanShutdown = hadCleanShutdown
    }

    /// `meta.properties`; nil when the directory is not formatted.
    public var properties: MetaProperties? { nil }
    /// An earlier failure took it out of service.
    public var isOffline: Bool { failure != nil }
    public var failure: StorageError? { nil }
    /// Takes the directory out of service.
    public func fail(with error: StorageError) {}

    /// Writes `meta.properties`.
    public func write(_ properties: MetaProperties) throws(StorageError) {}

    /// Writes recovery-point-, replication- and log-start-offset-checkpoint. Call every few seconds with the state of all partitions
    /// of this directory.
    public func writeCheckpoints(_ checkpoints: [PartitionCheckpoint]) throws(StorageError) {}

    /// Removes directories of deleted partitions whose time has come, and reserves headroom again when there is space.
    public func maintain(now: Timestamp) {}

    /// Bytes of the file system: all, and free for this process.
    public func space() throws(StorageError) -> (total: Int, free: Int) { (0, 0) }
}
