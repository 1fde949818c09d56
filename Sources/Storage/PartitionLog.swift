// One partition's log: segments, indexes, producers, epochs and the offsets that bound what may be read.
import NIOCore
import Primitives

/// A partition's directory, opened.
///
/// Not thread-safe: it belongs behind its owner's `Mutex`, and is sendable only so that it can be put there. What may block for long
/// is split so that it runs outside of the lock (`beginFlush`, `FlushWork.run`, `finishFlush`).
public final class PartitionLog: @unchecked Sendable {
    public let topicPartition: TopicPartition
    /// `KafkaUUID.zero` for a log of unknown topic.
    public let topicID: TopicID
    public internal(set) var logStartOffset: Offset = 0
    public internal(set) var logEndOffset: Offset = 0
    public internal(set) var highWatermark: Offset = 0
    /// Everything below it is flushed; a recovery starts here.
    public internal(set) var recoveryPoint: Offset = 0
    /// Takes effect from the next append, roll and retention on.
    public var configuration: LogConfiguration
    /// What opening the log found.
    public internal(set) var loadReport = LogLoadReport()

    init(topicPartition: TopicPartition, topicID: TopicID, configuration: LogConfiguration) {
        self.topicPartition = topicPartition
        self.topicID = topicID
        self.configuration = configuration
    }

    /// The partition's directory.
    public var path: String { "" }
    /// The first offset of the oldest open transaction, or the high watermark (KIP-98).
    public var lastStableOffset: Offset { highWatermark }
    /// Bytes of all segments.
    public var sizeInBytes: Int { 0 }
    public var segments: [SegmentSummary] { [] }
    /// Producers with state, by id.
    public var activeProducers: [ActiveProducer] { [] }
    /// Of the newest entry in the epoch checkpoint; nil for none.
    public var latestLeaderEpoch: LeaderEpoch? { nil }
    /// For `LogDirectory.writeCheckpoints`.
    public var checkpoint: PartitionCheckpoint {
        PartitionCheckpoint(
            topicPartition: topicPartition, recoveryPoint: recoveryPoint, highWatermark: highWatermark, logStartOffset: logStartOffset,
            firstSegmentBaseOffset: 0)
    }

    /// Appends the readable bytes of `records`, one or more whole batches, which get the next offsets and `leaderEpoch`.
    ///
    /// The buffer is not changed and not copied: what the leader sets is written in front of the producer's own bytes.
    /// - Throws: what the caller did wrong, or `isDiskFailure`; nothing is appended then.
    public func append(
        _ records: ByteBuffer, origin: AppendOrigin, leaderEpoch: LeaderEpoch, now: Timestamp
    ) throws(StorageError) -> LogAppendResult {
        throw .closed(path: path)
    }

    /// Appends batches that have their offsets and epochs, as a follower or the metadata log does.
    ///
    /// The first batch must not begin before `logEndOffset`; gaps are allowed, since compaction makes them.
    public func appendAsFollower(_ records: ByteBuffer, now: Timestamp) throws(StorageError) -> LogAppendResult {
        throw .closed(path: path)
    }

    /// Notes that `epoch` begins at the log's end, when this node becomes leader (KIP-101).
    public func assignLeaderEpoch(_ epoch: LeaderEpoch) {}

    /// Sets the high watermark, bounded by the log's start and end; it may also go back.
    /// - Returns: whether it changed.
    @discardableResult
    public func advanceHighWatermark(to offset: Offset) -> Bool { false }

    /// Finds the bytes from the batch that holds `offset` on.
    ///
    /// - Parameter minOneBatch: return the first batch even if it is larger than `maxBytes` (KIP-74).
    /// - Throws: `offsetOutOfRange` outside of log start and log end.
    public func read(
        from offset: Offset, maxBytes: Int, minOneBatch: Bool, isolation: ReadIsolation
    ) throws(StorageError) -> LogReadResult {
        throw .closed(path: path)
    }

    /// As `read`, but brings the bytes into memory and only whole batches of them: for replay and tools.
    public func readBytes(
        from offset: Offset, maxBytes: Int, minOneBatch: Bool, isolation: ReadIsolation
    ) throws(StorageError) -> ByteBuffer {
        throw .closed(path: path)
    }

    /// The first record at or after `timestamp` (in log order); nil when there is none.
    public func offset(forTimestamp timestamp: Timestamp) throws(StorageError) -> LogOffset? { nil }

    /// The record with the largest timestamp, the first one if there are several (KIP-734); nil in an empty log.
    public func offsetOfMaxTimestamp() throws(StorageError) -> LogOffset? { nil }

    /// Where the log starts, with the epoch there (ListOffsets' earliest).
    public func earliestOffset() -> LogOffset { LogOffset(offset: logStartOffset) }

    /// Where `epoch` ends (OffsetForLeaderEpoch, KIP-101).
    public func endOffset(forEpoch epoch: LeaderEpoch) -> EpochEndOffset { .undefined }

    /// Moves the log's start (DeleteRecords, KIP-107) and removes segments that lie wholly below it.
    /// - Throws: `offsetOutOfRange` beyond the high watermark.
    @discardableResult
    public func deleteRecords(before offset: Offset, now: Timestamp) throws(StorageError) -> RetentionResult { RetentionResult() }

    /// Cuts off everything from `offset` on.
    public func truncate(to offset: Offset, now: Timestamp) throws(StorageError) {}

    /// Empties the log; it goes on at `offset`.
    public func truncateFullyAndStart(at offset: Offset, now: Timestamp) throws(StorageError) {}

    /// Removes what `retention.ms`, `retention.bytes` and the log's start allow to remove; compacted topics keep theirs.
    public func enforceRetention(now: Timestamp) throws(StorageError) -> RetentionResult { RetentionResult() }

    /// Deletes files of removed segments once `file.delete.delay.ms` is over. Returns how many are left.
    @discardableResult
    public func removeDeletedFiles(now: Timestamp) -> Int { 0 }

    /// Forgets producers that were idle for `producer.id.expiration.ms` and have no open transaction.
    public func removeExpiredProducers(now: Timestamp) {}

    /// Begins a new segment, unless the active one is empty.
    public func roll(now: Timestamp) throws(StorageError) {}

    /// Whether `flush.ms` is over since the last flush and there is something to flush.
    public func isFlushDue(now: Timestamp) -> Bool { false }

    /// Flushes everything below `offset` (the log's end when nil) and moves the recovery point there. Blocks for as long as the disk
    /// takes: prefer `beginFlush`.
    public func flush(upTo offset: Offset? = nil, now: Timestamp) throws(StorageError) {}

    /// What to flush so that the recovery point can move up to `offset` (the log's end when nil); nil when it is there already.
    public func beginFlush(upTo offset: Offset? = nil) throws(StorageError) -> FlushWork? { nil }

    /// Moves the recovery point after `FlushWork.run` succeeded.
    public func finishFlush(_ work: FlushWork, now: Timestamp) {}

    /// Gives back descriptors and mappings of segments that were not used since `monotonicMilliseconds`.
    public func releaseIdleResources(unusedSince monotonicMilliseconds: Int64) {}

    /// Flushes, writes the producer snapshot and indexes as Kafka does on a clean stop, gives reserved extents back, closes.
    public func close(now: Timestamp) throws(StorageError) {}

    /// Renames the directory to `topic-N.HEX-delete`; its files go when `LogDirectory.removeDeletedDirectories` finds it due.
    public func delete(now: Timestamp) throws(StorageError) {}
}

/// Files to be flushed outside of the log's lock.
public struct FlushWork: Sendable {
    /// The recovery point once the work is done.
    public let offset: Offset

    /// Blocks until the bytes are on the disk.
    public func run() throws(StorageError) {}
}
