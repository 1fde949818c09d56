// A node's `log.dirs` together: opening them, loading their partitions in parallel, placing new partitions, closing.
import Glibc
import Primitives
import Synchronization

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
    /// Copies on their way to take a log's place.
    public var futures: [PartitionLog] = []
    /// Partitions that could not be opened, and why; their directories are left as they are.
    public var failures: [(topicPartition: TopicPartition, error: StorageError)] = []
    /// Directories put aside as `-stray` because they belong to no topic known.
    public var strays: [String] = []
    /// Partitions that had more records on disk, by the checkpoints, than are there now: somebody removed files.
    public var shortened: [ShortenedLog] = []
}

/// A partition that lost records while the node was stopped, or files while it ran.
public struct ShortenedLog: Sendable, Equatable {
    public var topicPartition: TopicPartition
    /// Where the log ends now; nil when the partition's directory is gone.
    public var logEndOffset: Offset?
    /// Where it ended, at least.
    public var recoveryPoint: Offset
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
    /// Those that could be opened.
    public let directories: [LogDirectory]
    /// Those that could not, and why.
    public let unavailable: [(path: String, error: StorageError)]
    private let recoveryThreadsPerDirectory: Int

    /// Opens and locks the directories, creating those that are missing.
    /// - Throws: `locked`, or the first failure when none can be opened.
    public init(_ configuration: LogDirectoriesConfiguration) throws(StorageError) {
        Self.raiseDescriptorLimit()
        var opened: [LogDirectory] = []
        var failed: [(path: String, error: StorageError)] = []
        for path in configuration.paths {
            do throws(StorageError) {
                opened.append(try LogDirectory(path: path, headroomBytes: configuration.headroomBytes))
            } catch {
                if case .locked = error { throw error }
                failed.append((path, error))
            }
        }
        if opened.isEmpty, let first = failed.first { throw first.error }
        directories = opened
        unavailable = failed
        recoveryThreadsPerDirectory = max(1, configuration.recoveryThreadsPerDirectory)
    }

    /// Busy partitions keep their segments open, and the usual limit of 1024 descriptors is soon reached: take what we may have.
    private static func raiseDescriptorLimit() {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < limit.rlim_max else { return }
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    public var online: [LogDirectory] { directories.filter { !$0.isOffline } }

    /// Whether a directory of `log.dirs` is out of service, since the start or since it failed.
    public var hasOffline: Bool { !unavailable.isEmpty || directories.contains { $0.isOffline } }

    /// Whether some directory in service has a log of the partition, be it one that could not be opened.
    public func hold(_ name: TopicPartition) -> Bool { online.contains { FileSystem.exists($0.path + "/\(name)") } }

    /// Sets who is told when a directory fails. The handler is called by whoever met the failure, who may hold the lock of a log: it
    /// must not take any.
    public func onFailure(_ handler: @escaping @Sendable (LogDirectory) -> Void) {
        for directory in directories { directory.onFailure(handler) }
    }

    /// Opens all partitions in parallel, except those of `excluded` topics (the metadata log, which comes first).
    ///
    /// The high watermarks are those of the checkpoint: who leads a partition with one replica advances it to the log's end.
    /// - Parameters:
    ///   - recoveryThreads: per directory; nil for as many as the directories were opened with.
    ///   - configuration: a topic's settings.
    ///   - expected: what the metadata log says of a partition; called with the id that `partition.metadata` gives, if it does.
    ///   - assigned: the directory that the metadata log has a partition in; decides where a crash left a partition in two.
    ///   - progress: called from several threads, after each partition and during long scans.
    public func load(
        excluding excluded: Set<String> = ["__cluster_metadata"], recoveryThreads: Int? = nil, now: Timestamp,
        configuration: @escaping @Sendable (String) -> LogConfiguration,
        expected: @escaping @Sendable (TopicPartition, TopicID?) -> ExpectedTopic,
        assigned: @Sendable (TopicPartition) -> KafkaUUID? = { _ in nil }, progress: @escaping @Sendable (LoadProgress) -> Void
    ) throws(StorageError) -> LoadedLogs {
        let loading = LogLoading(now: now, configuration: configuration, expected: expected, progress: progress)
        for directory in online {
            do throws(StorageError) {
                try loading.collect(directory, excluding: excluded)
            } catch {
                if case .corruptFile = error { throw error }
                directory.fail(with: error)
            }
        }
        loading.settleDuplicates(assigned)
        return loading.run(threads: max(1, recoveryThreads ?? recoveryThreadsPerDirectory) * max(1, online.count))
    }

    /// Opens one partition wherever it is, or nil. `asAfterCrash` scans the whole log whatever the checkpoints say, as KRaft does with
    /// its own.
    public func open(
        _ topicPartition: TopicPartition, topicID: TopicID?, configuration: LogConfiguration, asAfterCrash: Bool = false, now: Timestamp
    ) throws(StorageError) -> PartitionLog? {
        for directory in online where FileSystem.exists(directory.path + "/\(topicPartition)") {
            let loading = LogLoading(
                now: now, configuration: { _ in configuration }, expected: { _, _ in topicID.map { .known($0) } ?? .unknown },
                progress: { _ in })
            try loading.collect(directory, only: topicPartition, asAfterCrash: asAfterCrash)
            let loaded = loading.run(threads: 1)
            if let failure = loaded.failures.first { throw failure.error }
            return loaded.logs.first
        }
        return nil
    }

    /// Creates a partition in the directory of that id if it is online, otherwise in the one with the fewest partitions.
    public func create(
        _ topicPartition: TopicPartition, topicID: TopicID, in directoryID: KafkaUUID? = nil, configuration: LogConfiguration,
        now: Timestamp
    ) throws(StorageError) -> PartitionLog {
        let online = online
        let wanted = directoryID.flatMap { id in online.first { $0.properties?.directoryID == id } }
        guard let directory = wanted ?? online.min(by: { $0.partitionCount < $1.partitionCount }) else {
            throw .offline(path: directories.first?.path ?? unavailable.first?.path ?? "")
        }
        return try directory.create(topicPartition, topicID: topicID, configuration: configuration, now: now)
    }

    /// Unlocks the directories and leaves them as they are: for those whose logs are opened as after a crash.
    public func unlock() {
        for directory in directories { directory.unlock() }
    }

    /// Writes the last checkpoints and the clean shutdown markers of directories online, and unlocks them. Call after every
    /// partition's `close`.
    ///
    /// - Parameters:
    ///   - checkpoints: those of the closed partitions, with the directory each is in.
    ///   - brokerEpoch: kept in the marker (KIP-966); -1 when unknown.
    ///   - clean: false leaves the markers out, so that the next start recovers.
    public func close(
        _ checkpoints: [(directory: LogDirectory, checkpoint: PartitionCheckpoint)], brokerEpoch: Int64, clean: Bool = true
    ) throws(StorageError) {
        var failure: StorageError?
        for directory in directories {
            // One wait for all that the logs wrote when they were closed.
            defer { directory.unlock() }
            if directory.isOffline { continue }
            do throws(StorageError) {
                try FileSystem.syncAll(directory.path)
                try directory.writeCheckpoints(checkpoints.filter { $0.directory === directory }.map(\.checkpoint))
                try directory.writeCleanerCheckpoint()
                if clean { try directory.writeCleanShutdown(brokerEpoch: brokerEpoch) }
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }
}

extension LogDirectory {
    /// Creates a partition in this directory.
    public func create(
        _ topicPartition: TopicPartition, topicID: TopicID, configuration: LogConfiguration, now: Timestamp
    ) throws(StorageError) -> PartitionLog {
        if let failure { throw failure }
        try beginUse()
        let path = self.path + "/\(topicPartition)"
        guard mkdir(path, 0o755) == 0 else {
            if errno == EEXIST { throw .exists(path: path) }
            let error = FileSystem.failure("create", path)
            noteFailure(error)
            throw error
        }
        do throws(StorageError) {
            // Of a log of the same name that was here before.
            noteCleaned(topicPartition, upTo: nil)
            if topicID != .zero { try PartitionMetadataFile.write(topicID, to: path + "/" + PartitionMetadataFile.name) }
            var state = LoadedState()
            state.segments = [try LogSegment.create(directory: path, baseOffset: 0, now: now)]
            let log = PartitionLog(
                topicPartition: topicPartition, topicID: topicID, logDirectory: self, path: path, configuration: configuration,
                state: state, now: now)
            log.configure(log.active)
            log.directoryNeedsSync = true
            countPartition(1)
            return log
        } catch {
            try? FileSystem.removeDirectory(path)
            noteFailure(error)
            throw error
        }
    }
}
