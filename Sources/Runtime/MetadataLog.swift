// The metadata log on disk: the partition `__cluster_metadata-0` with its snapshots and the file quorum-state. Always opened as after
// a crash, as Kafka does: the log is small and everything depends on it.
import ClusterMetadata
import Consensus
import Controlling
import KafkaRecords
import Logging
import NIOCore
import Primitives
import RecordBatches
import Storage

/// Where the metadata log lies and how it is kept. Times in milliseconds, sizes in bytes.
public struct MetadataLogConfiguration: Sendable {
    /// `metadata.log.dir`, or the first of `log.dirs`; also holds bootstrap.checkpoint.
    public var directory: String
    /// `metadata.log.segment.bytes`.
    public var segmentBytes = 1 << 30
    /// `metadata.log.segment.ms`.
    public var segmentMilliseconds: Int64 = 604_800_000
    /// `metadata.log.max.record.bytes.between.snapshots`.
    public var maximumBytesBetweenSnapshots: Int64 = 20 << 20
    /// `metadata.log.max.snapshot.interval.ms`; 0 for no snapshots by time.
    public var maximumSnapshotIntervalMilliseconds: Int64 = 3_600_000
    /// `metadata.max.retention.bytes`: log and snapshots together; -1 for no limit.
    public var retentionBytes: Int64 = 100 << 20
    /// `metadata.max.retention.ms`; -1 for no limit.
    public var retentionMilliseconds: Int64 = 604_800_000

    public init(directory: String) {
        self.directory = directory
    }
}

/// What was on disk.
struct LoadedMetadata {
    /// The state of the snapshot; what is behind it in the log counts when it is known to be committed.
    var replay: MetadataReplay
    var quorumLog: QuorumLog
    var electionState: ElectionState?
    /// For a log without a single metadata record.
    var bootstrap: BootstrapMetadata?
    /// The snapshot that was read, if any.
    var snapshot: SnapshotID?

    /// Where the log goes on behind `replay`.
    var nextOffset: Offset { snapshot?.endOffset ?? 0 }
}

/// The files of the metadata log. Not thread-safe: for one thread at a time.
final class MetadataLog: @unchecked Sendable {
    static let topicPartition = TopicPartition(Quorum.topicName, 0)
    static let bootstrapFileName = "bootstrap.checkpoint"

    let configuration: MetadataLogConfiguration
    let log: PartitionLog
    let logger: Logger
    /// Finished snapshots, oldest first.
    var snapshots: [SnapshotID] = []
    private var reserve = MetadataLogReserve()
    /// Everything below is durable, as far as this process knows.
    private var flushedOffset: Offset = 0
    /// The active segment whose name is durable.
    private var flushedPath = ""

    /// The directory of the partition.
    var path: String { Self.partitionPath(configuration.directory) }

    static func partitionPath(_ directory: String) -> String { "\(directory)/\(topicPartition)" }

    init(_ configuration: MetadataLogConfiguration, directories: LogDirectories, now: Timestamp, logger: Logger)
        throws(MetadataStorageError)
    {
        self.configuration = configuration
        self.logger = logger
        var settings = LogConfiguration()
        settings.segmentBytes = configuration.segmentBytes
        settings.segmentMilliseconds = configuration.segmentMilliseconds
        settings.retentionMilliseconds = -1
        settings.retentionBytes = -1
        settings.maxMessageBytes = 8 << 20
        do throws(StorageError) {
            // The directory decides where the log is created: it must be the one of the bootstrap snapshot.
            try MetadataFiles.createDirectory(Self.partitionPath(configuration.directory))
            let log = try directories.open(
                Self.topicPartition, topicID: KafkaUUID.one, configuration: settings, asAfterCrash: true, now: now)
            guard let log else { throw StorageError.notFormatted(path: configuration.directory) }
            self.log = log
        } catch {
            throw .storage(error)
        }
    }

    /// Replaces the file quorum-state.
    func persist(_ state: ElectionState) throws(StorageError) {
        let stored = Storage.QuorumState(
            dataVersion: state.staticVoters == nil ? 1 : 0, leaderID: state.leaderID, leaderEpoch: state.leaderEpoch,
            votedID: state.votedID, votedDirectoryID: state.votedDirectoryID, currentVoters: state.staticVoters ?? [])
        try stored.write(to: "\(path)/\(Storage.QuorumState.fileName)")
    }

    /// Appends one batch; it is not durable before `flush`.
    func append(_ batch: ByteBuffer, now: Timestamp) throws(StorageError) {
        _ = try log.appendAsFollower(batch, now: now)
        if let active = log.segments.last { reserve.extend(beyond: active) }
    }

    /// Removes everything from `offset` on: an append that was done only in part, or what another leader never had.
    func truncate(to offset: Offset, now: Timestamp) throws(StorageError) {
        guard log.logEndOffset > offset else { return }
        try log.truncate(to: offset, now: now)
        flushedOffset = min(flushedOffset, log.logEndOffset)
        // The segment may be another one now, with a name that is not durable.
        flushedPath = ""
    }

    /// Empties the log, which goes on at the end of a snapshot that was fetched and is in place.
    func restart(after snapshot: SnapshotID, now: Timestamp) throws(StorageError) {
        try log.truncateFullyAndStart(at: snapshot.endOffset, now: now)
        flushedOffset = 0
        flushedPath = ""
        if !snapshots.contains(snapshot) {
            snapshots.append(snapshot)
            snapshots.sort()
        }
    }

    /// Makes everything appended durable: the records alone, for indexes and checkpoints are made anew on every start, and a full disk
    /// must not fail a commit for their sake.
    func flush() throws(StorageError) {
        let segments = log.segments
        let first = segments.lastIndex { $0.baseOffset <= flushedOffset } ?? 0
        for segment in segments[first...] { try MetadataFiles.sync(file: segment.path) }
        if let active = segments.last, active.path != flushedPath {
            try MetadataFiles.sync(directory: path)
            flushedPath = active.path
        }
        flushedOffset = log.logEndOffset
    }
}

extension MetadataLog {
    /// Takes note of a finished snapshot and removes what is not needed any more: old snapshots beyond the retention, and the log
    /// before the oldest one that is kept.
    func snapshotFinished(_ id: SnapshotID, now: Timestamp) throws(StorageError) {
        if !snapshots.contains(id) {
            snapshots.append(id)
            snapshots.sort()
        }
        var isTrimmed = false
        while snapshots.count > 1, isBeyondRetention(snapshots[0], now: now) {
            try MetadataFiles.remove("\(path)/\(snapshots[0].fileName)")
            snapshots.removeFirst()
            isTrimmed = true
        }
        if isTrimmed, let oldest = snapshots.first, oldest.endOffset > log.logStartOffset, oldest.endOffset <= log.logEndOffset {
            try log.deleteRecords(before: oldest.endOffset, now: now)
        }
        log.removeDeletedFiles(now: now)
    }

    private func isBeyondRetention(_ snapshot: SnapshotID, now: Timestamp) -> Bool {
        if configuration.retentionBytes >= 0 {
            var total = Int64(log.sizeInBytes)
            for snapshot in snapshots { total += Int64(MetadataFiles.size(of: "\(path)/\(snapshot.fileName)") ?? 0) }
            if total > configuration.retentionBytes { return true }
        }
        guard configuration.retentionMilliseconds >= 0, let age = age(of: snapshot, now: now) else { return false }
        return age > configuration.retentionMilliseconds
    }

    /// By the timestamp in the snapshot's header; nil when it cannot be read.
    private func age(of snapshot: SnapshotID, now: Timestamp) -> Int64? {
        let timestamp = try? MetadataSnapshotFile.lastContainedLogTimestamp("\(path)/\(snapshot.fileName)")
        return timestamp.map { now - $0 }
    }
}
