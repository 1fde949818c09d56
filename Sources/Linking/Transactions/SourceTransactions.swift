// Transactions of a link's source as the link sees them: what the source decided, and the markers by which its partitions say so.
import Primitives

/// Where a decision stands in the source's `__transaction_state`. Names one transaction for good: producers' epochs may be used for many.
public struct DecisionID: Sendable, Hashable, Comparable {
    /// Of `__transaction_state`.
    public var partition: Int32
    public var offset: Offset

    public init(partition: Int32, offset: Offset) {
        self.partition = partition
        self.offset = offset
    }

    public static func < (left: DecisionID, right: DecisionID) -> Bool {
        (left.partition, left.offset) < (right.partition, right.offset)
    }
}

/// A producer under one of its epochs, as transaction markers name it.
public struct TransactionProducer: Sendable, Hashable {
    public var id: ProducerID
    public var epoch: Int16

    public init(id: ProducerID, epoch: Int16) {
        self.id = id
        self.epoch = epoch
    }
}

/// What the source decided about one transaction.
public struct TransactionDecision: Sendable, Hashable {
    public var id: DecisionID
    public var transactionalID: String
    public var producer: TransactionProducer
    public var isCommit: Bool
    /// By the source's names.
    public var partitions: [TopicPartition]
    /// By the clock of the source's coordinator.
    public var startedAt: Timestamp
    public var decidedAt: Timestamp

    public init(
        id: DecisionID, transactionalID: String, producer: TransactionProducer, isCommit: Bool, partitions: [TopicPartition],
        startedAt: Timestamp, decidedAt: Timestamp
    ) {
        self.id = id
        self.transactionalID = transactionalID
        self.producer = producer
        self.isCommit = isCommit
        self.partitions = partitions
        self.startedAt = startedAt
        self.decidedAt = decidedAt
    }
}

/// The end of a transaction in one mirror.
public struct MirroredMarker: Sendable, Hashable {
    public var offset: Offset
    public var producer: TransactionProducer
    public var isCommit: Bool
    /// When the source's broker wrote it, by its clock.
    public var timestamp: Timestamp
    /// Of a partition of `__consumer_offsets`: what the transaction commits there.
    public var groupOffsets: [SourceGroupOffset] = []

    public init(offset: Offset, producer: TransactionProducer, isCommit: Bool, timestamp: Timestamp) {
        self.offset = offset
        self.producer = producer
        self.isCommit = isCommit
        self.timestamp = timestamp
    }
}

/// What a mirror's leader says of its committed records.
public struct MirrorReport: Sendable, Hashable {
    public var leaderEpoch: LeaderEpoch
    /// `markers` are all there are from here on,
    public var from: Offset
    /// up to here.
    public var upTo: Offset
    public var markers: [MirroredMarker]
    /// Up to here its readers see committed transactions.
    public var stableOffset: Offset
    /// Whether those are kept from transactions that are not settled, so that all of them begin at `stableOffset` or behind it.
    public var isHeld: Bool
    /// Monotonic milliseconds: what the source had then, the mirror has; nil when that is not known of any time.
    public var coveredAt: Int64?
    /// Whether the mirror was cut, begun anew, or has gone on behind a gap since the last report: then nothing is known of what was before.
    public var isBroken = false

    public init(
        leaderEpoch: LeaderEpoch, from: Offset, upTo: Offset, markers: [MirroredMarker] = [], stableOffset: Offset = 0,
        isHeld: Bool = true, coveredAt: Int64? = nil
    ) {
        self.leaderEpoch = leaderEpoch
        self.from = from
        self.upTo = upTo
        self.markers = markers
        self.stableOffset = stableOffset
        self.isHeld = isHeld
        self.coveredAt = coveredAt
    }
}
