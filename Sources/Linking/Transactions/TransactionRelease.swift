// What a link keeps of transactions that end in several mirrors: which commits may be shown, and how far the source's decisions are done with.
import Collections
import Primitives

/// Where a decision to commit stands in the source's `__transaction_state`. Names one transaction for good: producers' epochs may be used
/// for many.
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

/// A commit marker that a mirror's leader has fetched and not appended yet.
public struct HeldMarker: Sendable, Hashable {
    /// Of the mirror.
    public var partition: TopicPartition
    public var producer: TransactionProducer
    public var offset: Offset
    /// When the source's broker wrote it, by its clock.
    public var timestamp: Timestamp

    public init(partition: TopicPartition, producer: TransactionProducer, offset: Offset, timestamp: Timestamp) {
        self.partition = partition
        self.producer = producer
        self.offset = offset
        self.timestamp = timestamp
    }
}

/// A transaction whose commit markers have arrived at all mirrors that it touched: from now on it is committed here, whatever happens.
public struct TransactionRelease: Sendable, Hashable {
    public var id: DecisionID
    public var producer: TransactionProducer
    /// The marker's offset by mirror partition.
    public var markers: OrderedDictionary<TopicPartition, Offset>

    public init(id: DecisionID, producer: TransactionProducer, markers: OrderedDictionary<TopicPartition, Offset>) {
        self.id = id
        self.producer = producer
        self.markers = markers
    }
}

/// What is recorded of one link's transactions.
public struct RecordedTransactions: Sendable, Hashable {
    /// By partition of the source's `__transaction_state`: decisions before have been carried out in all mirrors.
    public internal(set) var positions: OrderedDictionary<Int32, Offset> = [:]
    /// By the number of the record that they stand in.
    public internal(set) var releases: OrderedDictionary<Int64, [TransactionRelease]> = [:]

    public init() {}

    var nextNumber: Int64 { (releases.keys.max() ?? -1) + 1 }

    /// The commit markers that a mirror was still to get, in order.
    ///
    /// - Parameter end: of the mirror's log.
    public func markers(in partition: TopicPartition, from end: Offset) -> [(producer: TransactionProducer, offset: Offset)] {
        releases.values.joined().compactMap { release in
            release.markers[partition].flatMap { $0 >= end ? (release.producer, $0) : nil }
        }.sorted { $0.offset < $1.offset }
    }
}
