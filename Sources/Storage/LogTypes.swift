// What goes into and comes out of a partition's log.
import Primitives

/// Where appended records come from; decides which rules apply to them.
public enum AppendOrigin: Sendable, Hashable {
    /// A producer: everything is checked.
    case client
    /// A leader: offsets and epochs are set already and must continue the log.
    case replica
    /// A group or transaction coordinator of this node; may write control batches.
    case coordinator
}

/// How far a reader may see.
public enum ReadIsolation: Sendable, Hashable {
    /// Followers: everything.
    case logEnd
    /// Consumers: what is replicated.
    case highWatermark
    /// Consumers with read_committed: what is replicated and decided (KIP-98).
    case lastStable
}

/// What became of an append.
public struct LogAppendResult: Sendable, Equatable {
    /// The first record's offset; for a duplicate that of the batch written before.
    public var firstOffset: Offset
    public var lastOffset: Offset
    /// -1 unless the topic uses LogAppendTime.
    public var logAppendTime: Timestamp
    public var logStartOffset: Offset
    /// The batch had been written before (idempotent producers retry); nothing was appended.
    public var isDuplicate: Bool
    /// Bytes written, 0 for a duplicate.
    public var sizeInBytes: Int
    public var recordCount: Int
    /// The newest timestamp among the records.
    public var maxTimestamp: Timestamp
}

/// A range of bytes in a segment file. Starts at a batch; ends at one too unless a batch had to be cut at the reader's limit, as
/// Kafka's fetches do.
public struct LogSlice: Sendable {
    /// Keeps the descriptor open as long as the slice lives, also when the segment is deleted meanwhile.
    public let file: SegmentFile
    public let position: Int
    public let length: Int

    public init(file: SegmentFile, position: Int, length: Int) {
        self.file = file
        self.position = position
        self.length = length
    }
}

/// A transaction whose records a read_committed consumer must drop, from `firstOffset` to its abort marker.
public struct AbortedTransaction: Sendable, Hashable {
    public var producerID: ProducerID
    public var firstOffset: Offset

    public init(producerID: ProducerID, firstOffset: Offset) {
        self.producerID = producerID
        self.firstOffset = firstOffset
    }
}

/// The answer to a read.
public struct LogReadResult: Sendable {
    /// Nil when there is nothing to read yet.
    public var slice: LogSlice?
    public var logStartOffset: Offset
    public var highWatermark: Offset
    public var lastStableOffset: Offset
    public var logEndOffset: Offset
    /// Only for `ReadIsolation.lastStable`; empty otherwise.
    public var abortedTransactions: [AbortedTransaction]
}

/// An offset found by timestamp.
public struct LogOffset: Sendable, Hashable {
    public var offset: Offset
    /// The record's timestamp, -1 when the offset was not found through one.
    public var timestamp: Timestamp
    /// -1 when unknown.
    public var leaderEpoch: LeaderEpoch

    public init(offset: Offset, timestamp: Timestamp = -1, leaderEpoch: LeaderEpoch = -1) {
        self.offset = offset
        self.timestamp = timestamp
        self.leaderEpoch = leaderEpoch
    }
}

/// The end of a leader epoch: the largest epoch not above the one asked for, and where it ends (KIP-101, KIP-279).
public struct EpochEndOffset: Sendable, Hashable {
    /// -1 when unknown.
    public var leaderEpoch: LeaderEpoch
    /// -1 when unknown.
    public var endOffset: Offset

    public static let undefined = EpochEndOffset(leaderEpoch: -1, endOffset: -1)
}

/// What retention or DeleteRecords removed.
public struct RetentionResult: Sendable, Equatable {
    /// Base offsets.
    public var removedSegments: [Offset] = []
    public var removedBytes = 0
    public var logStartOffset: Offset = 0
}

/// One segment, for tools and reports.
public struct SegmentSummary: Sendable, Hashable {
    public var baseOffset: Offset
    public var sizeInBytes: Int
    public var path: String
    public var isActive: Bool
}

/// One producer's state, for DescribeProducers.
public struct ActiveProducer: Sendable, Hashable {
    public var producerID: ProducerID
    public var producerEpoch: Int16
    public var lastSequence: Int32
    public var lastTimestamp: Timestamp
    public var coordinatorEpoch: Int32
    /// -1 without an open transaction.
    public var currentTransactionFirstOffset: Offset
}

/// What the checkpoints of a data directory say about one partition.
public struct PartitionCheckpoint: Sendable, Hashable {
    public var topicPartition: TopicPartition
    public var recoveryPoint: Offset
    public var highWatermark: Offset
    public var logStartOffset: Offset
    /// `log-start-offset-checkpoint` lists only partitions whose log starts above their first segment.
    public var firstSegmentBaseOffset: Offset
}

/// What was found and done when a partition was opened.
public struct LogLoadReport: Sendable, Equatable {
    /// Whether the log was scanned as after a crash.
    public var recovered = false
    /// Bytes whose checksums were computed.
    public var scannedBytes = 0
    /// Bytes cut off behind the last valid batch, whole segments included.
    public var truncatedBytes = 0
    /// Indexes written anew.
    public var rebuiltIndexes = 0
    /// Remarks for the operator, such as why the log was cut.
    public var remarks: [String] = []

    public init() {}
}
