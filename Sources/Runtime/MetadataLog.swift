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
    /// The state at the end of the log.
    var replay: MetadataReplay
    var quorumLog: QuorumLog
    var electionState: ElectionState?
    /// For a log without a single metadata record.
    var bootstrap: BootstrapMetadata?
    /// Bytes of the log behind the newest snapshot.
    var bytesSinceSnapshot = 0
    /// The snapshot that was read, if any.
    var snapshot: SnapshotID?
}

/// The files of the metadata log. Not thread-safe: for one thread at a time.
final class MetadataLog: @unchecked Sendable {
    static let topicPartition = TopicPartition(Quorum.topicName, 0)
    static let bootstrapFileName = "bootstrap.checkpoint"
    private static let readBytes = 4 << 20

    let configuration: MetadataLogConfiguration
    let log: PartitionLog
    let logger: Logger
    /// Finished snapshots, oldest first.
    private(set) var snapshots: [SnapshotID] = []
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

    /// Reads the newest snapshot and the log behind it.
    func load() throws(MetadataStorageError) -> LoadedMetadata {
        try findSnapshots()
        var loaded = LoadedMetadata(
            replay: MetadataReplay(from: .empty),
            quorumLog: QuorumLog(endOffset: log.logEndOffset, lastEpoch: log.latestLeaderEpoch ?? 0), electionState: try readElectionState()
        )
        try readNewestSnapshot(into: &loaded)
        let start = loaded.snapshot?.endOffset ?? 0
        if log.logStartOffset > start {
            throw .record(
                path: path, offset: start,
                reason: "the log begins at \(log.logStartOffset) and no snapshot holds what was before")
        }
        try replayLog(from: start, into: &loaded)
        loaded.quorumLog.endOffset = log.logEndOffset
        loaded.quorumLog.lastEpoch = max(log.latestLeaderEpoch ?? 0, loaded.snapshot?.epoch ?? 0, loaded.quorumLog.lastEpoch)
        log.advanceHighWatermark(to: log.logEndOffset)
        if loaded.replay.image.features.metadataVersion == nil && loaded.bootstrap == nil {
            loaded.bootstrap = try readBootstrap() ?? .fallback
        }
        return loaded
    }

    private func findSnapshots() throws(MetadataStorageError) {
        do throws(StorageError) {
            for name in try MetadataFiles.names(in: path) {
                if name.hasSuffix(".part") {
                    try MetadataFiles.remove("\(path)/\(name)")
                } else if let id = SnapshotID(fileName: name) {
                    snapshots.append(id)
                }
            }
        } catch {
            throw .storage(error)
        }
        snapshots.sort()
    }

    private func readNewestSnapshot(into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        for id in snapshots.reversed() {
            // An older one will do as long as the log goes on from there.
            let isLast = id == snapshots.first || id.endOffset < log.logStartOffset
            do throws(MetadataStorageError) {
                try readSnapshot(id, into: &loaded)
                if id.endOffset > log.logEndOffset {
                    do throws(StorageError) {
                        try log.truncateFullyAndStart(at: id.endOffset, now: SystemClock.now())
                    } catch {
                        throw .storage(error)
                    }
                }
                return
            } catch {
                if isLast { throw error }
                logger.error("a snapshot of the metadata cannot be read; trying the one before", metadata: ["reason": "\(error)"])
            }
        }
    }

    private func readSnapshot(_ id: SnapshotID, into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        let file = "\(path)/\(id.fileName)"
        var replay = MetadataReplay(from: .empty)
        var quorumLog = loaded.quorumLog
        var timestamp: Timestamp = -1
        var bootstrap: [VersionedRecord] = []
        _ = try MetadataSnapshotFile.read(file) { (control) throws(MetadataStorageError) in
            if case .snapshotHeader(let header) = control { timestamp = header.lastContainedLogTimestamp }
            do throws(QuorumError) {
                try quorumLog.replay(control, inBootstrapSnapshot: id == .bootstrap)
            } catch {
                throw .quorum(error)
            }
        } data: { (record, version, offset) throws(MetadataStorageError) in
            if id == .bootstrap {
                bootstrap.append(VersionedRecord(record, version: version))
            } else {
                do throws(MetadataError) {
                    try replay.replay(record, offset: offset, epoch: id.epoch, timestamp: timestamp)
                } catch {
                    throw .record(path: file, offset: offset, reason: "\(error)")
                }
            }
        }
        loaded.quorumLog = quorumLog
        loaded.snapshot = id
        if id == .bootstrap {
            // Newer releases of Kafka put the bootstrap records here rather than into bootstrap.checkpoint.
            if !bootstrap.isEmpty { loaded.bootstrap = BootstrapMetadata(records: bootstrap) }
            return
        }
        replay.skip(to: id.endOffset - 1, epoch: id.epoch, timestamp: timestamp)
        _ = replay.publish()
        loaded.replay = replay
    }

    private func replayLog(from start: Offset, into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        var next = start
        let path = path
        while next < log.logEndOffset {
            let bytes: ByteBuffer
            do throws(StorageError) {
                bytes = try log.readBytes(from: next, maxBytes: Self.readBytes, minOneBatch: true, isolation: .logEnd)
            } catch {
                throw .storage(error)
            }
            let before = next
            try MetadataBatches.forEach(bytes, path: path, verifying: false) { (batch) throws(MetadataStorageError) in
                // A snapshot may end within a batch of another leader's making.
                if batch.header.lastOffset >= next {
                    try Self.replay(batch, from: next, path: path, into: &loaded)
                    loaded.bytesSinceSnapshot += batch.header.sizeInBytes
                    next = batch.header.nextOffset
                }
            }
            guard next > before else { throw .record(path: path, offset: next, reason: "no batch begins here") }
        }
        _ = loaded.replay.publish()
    }

    private static func replay(
        _ batch: RecordBatch, from start: Offset, path: String, into loaded: inout LoadedMetadata
    ) throws(MetadataStorageError) {
        let header = batch.header
        loaded.quorumLog.lastEpoch = max(loaded.quorumLog.lastEpoch, header.partitionLeaderEpoch)
        if header.isControl {
            try MetadataBatches.forEachControlRecord(batch, path: path) { (record) throws(MetadataStorageError) in
                do throws(QuorumError) { try loaded.quorumLog.replay(record) } catch { throw .quorum(error) }
            }
            loaded.replay.skip(to: header.lastOffset, epoch: header.partitionLeaderEpoch, timestamp: header.maxTimestamp)
            return
        }
        try MetadataBatches.forEachRecord(batch, path: path) { (record, _, offset) throws(MetadataStorageError) in
            guard offset >= start else { return }
            // The state before a transaction must be there by itself, for the transaction may never end.
            if case .beginTransaction = record { _ = loaded.replay.publish() }
            do throws(MetadataError) {
                try loaded.replay.replay(
                    record, offset: offset, epoch: header.partitionLeaderEpoch, timestamp: header.maxTimestamp)
            } catch {
                throw .record(path: path, offset: offset, reason: "\(error)")
            }
        }
    }

    /// The records of bootstrap.checkpoint; nil when there is no such file.
    private func readBootstrap() throws(MetadataStorageError) -> BootstrapMetadata? {
        var records: [VersionedRecord] = []
        let file = "\(configuration.directory)/\(Self.bootstrapFileName)"
        let exists = try MetadataSnapshotFile.read(file) { _ in
        } data: { record, version, _ in
            records.append(VersionedRecord(record, version: version))
        }
        return exists ? BootstrapMetadata(records: records) : nil
    }

    private func readElectionState() throws(MetadataStorageError) -> ElectionState? {
        do throws(StorageError) {
            guard let stored = try Storage.QuorumState(path: "\(path)/\(Storage.QuorumState.fileName)") else { return nil }
            return ElectionState(
                leaderID: stored.leaderID, leaderEpoch: stored.leaderEpoch, votedID: stored.votedID,
                votedDirectoryID: stored.votedDirectoryID, staticVoters: stored.dataVersion == 0 ? stored.currentVoters : nil)
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

    /// Takes back everything from `offset` on, after an append that was done only in part.
    func takeBack(from offset: Offset, now: Timestamp) throws(StorageError) {
        if log.logEndOffset > offset { try log.truncate(to: offset, now: now) }
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
        log.advanceHighWatermark(to: log.logEndOffset)
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
        var timestamp: Timestamp?
        _ = try? MetadataSnapshotFile.read("\(path)/\(snapshot.fileName)") { control in
            if case .snapshotHeader(let header) = control { timestamp = header.lastContainedLogTimestamp }
        } data: { _, _, _ in
        }
        return timestamp.map { now - $0 }
    }
}
