// A partition's log and its replicas in small, for worlds of several clusters: leader epochs, high watermarks, transactions with markers.
import Linking
import Primitives

/// What is compared of a batch across clusters, and the leader epoch that is each cluster's own.
struct ModelBatch: Equatable {
    /// A marker that ends a transaction.
    enum Marker { case commit, abort }

    var base: Offset
    var last: Offset
    /// Stands for the bytes.
    var id: UInt64
    var epoch: LeaderEpoch
    /// As the judge counts them; brokers know the producer alone.
    var transaction: UInt64?
    var producer: TransactionProducer?
    var marker: Marker?
    var timestamp: Timestamp = 0

    func isSame(_ other: ModelBatch) -> Bool { base == other.base && last == other.last && id == other.id }
}

/// A transaction of which a log has records and no marker.
struct OpenTransaction {
    /// The producer's last one.
    var number: UInt64
    var producer: TransactionProducer
    var first: Offset
}

/// One replica's log.
struct ModelLog {
    private(set) var start: Offset = 0
    private(set) var end: Offset = 0
    private(set) var batches: [ModelBatch] = []
    private(set) var epochs: [(epoch: LeaderEpoch, start: Offset)] = []

    var lastEpoch: LeaderEpoch { epochs.last?.epoch ?? -1 }
    var isEmpty: Bool { start >= end }

    mutating func assign(_ epoch: LeaderEpoch) {
        if epoch > lastEpoch { epochs.append((epoch, end)) }
    }

    mutating func append(_ batch: ModelBatch) {
        assign(batch.epoch)
        batches.append(batch)
        end = batch.last + 1
    }

    /// The batch that holds an offset, or the next one behind it.
    func index(at offset: Offset) -> Int {
        var (low, high) = (0, batches.count)
        while low < high {
            let middle = (low + high) / 2
            if batches[middle].last < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func batch(at offset: Offset) -> ModelBatch? {
        let index = index(at: offset)
        guard offset >= start, offset < end, index < batches.count, batches[index].base <= offset else { return nil }
        return batches[index]
    }

    func batches(from offset: Offset, to limit: Offset, count: Int) -> [ModelBatch] {
        let first = index(at: offset)
        return batches[first..<min(batches.count, first + count)].filter { $0.last < limit }
    }

    mutating func truncate(to offset: Offset) {
        guard offset < end else { return }
        let index = index(at: offset)
        end = index < batches.count ? min(offset, batches[index].base) : offset
        batches.removeSubrange(index...)
        epochs.removeAll { $0.start >= end }
        start = min(start, end)
    }

    mutating func restart(at offset: Offset) {
        (batches, epochs, start, end) = ([], [], offset, offset)
    }

    mutating func delete(before offset: Offset) {
        guard offset > start else { return }
        start = min(offset, end)
        batches.removeFirst(index(at: start))
    }

    /// The newest epoch up to a given one that the log knows, and where it ends.
    func endOfEpoch(_ epoch: LeaderEpoch) -> (epoch: LeaderEpoch, end: Offset) {
        guard let index = epochs.lastIndex(where: { $0.epoch <= epoch }) else { return (-1, start) }
        return (epochs[index].epoch, index + 1 < epochs.count ? epochs[index + 1].start : end)
    }

    /// Transactions with records and without a marker.
    var openTransactions: [OpenTransaction] {
        var open: [ProducerID: OpenTransaction] = [:]
        for batch in batches {
            guard let number = batch.transaction, let producer = batch.producer else { continue }
            if batch.marker != nil {
                open[producer.id] = nil
            } else {
                open[producer.id] = OpenTransaction(number: number, producer: producer, first: open[producer.id]?.first ?? batch.base)
            }
        }
        return open.values.sorted { $0.first < $1.first }
    }

    /// Where a transaction was committed; nil if it was not.
    func commit(of transaction: UInt64) -> Offset? {
        batches.last { $0.transaction == transaction && $0.marker == .commit }?.base
    }
}

/// One broker's replica of a partition.
final class ModelReplica {
    var log = ModelLog()
    var highWatermark: Offset = 0
    var access = WriteAccess.open
    /// What the leader knows of the followers' log ends, since it leads.
    var followers: [NodeID: Offset] = [:]
    /// What the source let go of.
    var sourceStart: Offset = -1
    private(set) var limit = ModelLimit.unknown
    /// The end of the log when it was looked through for transactions that have ended and do not count.
    private var scannedEnd: Offset = 0

    /// As `PartitionLog.limitStable`.
    func show(_ limit: ModelLimit) {
        guard limit != self.limit else { return }
        if case (.settled, .settled) = (self.limit, limit) {} else { scannedEnd = log.end }
        self.limit = limit
    }

    func truncate(to offset: Offset) {
        log.truncate(to: offset)
        scannedEnd = log.end
    }

    /// As `PartitionLog.lastStableOffset`: what is before it is shown to readers of committed transactions.
    var lastStableOffset: Offset {
        let unstable: Offset?
        switch limit {
        case .unknown: return log.start
        case .none: unstable = log.firstUnstable(countedEnd: highWatermark, heldFrom: 0, scannedEnd: 0)
        case .settled(let settled):
            unstable = log.firstUnstable(
                countedEnd: min(highWatermark, settled.end), heldFrom: settled.stable, scannedEnd: scannedEnd)
        }
        return min(highWatermark, max(unstable ?? highWatermark, log.start))
    }
}

/// As `StableLimit`: which transactions that have ended are shown.
enum ModelLimit: Equatable {
    case none
    case unknown
    case settled(SettledMirror)
}

extension ModelLog {
    /// Where the oldest transaction begins that is open, or whose marker does not count.
    ///
    /// - Parameters:
    ///   - heldFrom: those that had ended already when they were looked for were looked for from here on.
    ///   - scannedEnd: up to here.
    fileprivate func firstUnstable(countedEnd: Offset, heldFrom: Offset, scannedEnd: Offset) -> Offset? {
        var open: [ProducerID: (first: Offset, seen: Offset?)] = [:]
        var held: Offset?
        for batch in batches {
            guard let producer = batch.producer?.id else { continue }
            if batch.marker == nil {
                let known = open[producer]
                open[producer] = (known?.first ?? batch.base, known?.seen ?? (batch.base >= heldFrom ? batch.base : nil))
            } else if let known = open.removeValue(forKey: producer), batch.base >= countedEnd {
                guard let first = batch.base < scannedEnd ? known.seen : known.first else { continue }
                held = min(held ?? .max, first)
            }
        }
        return (open.values.map(\.first) + (held.map { [$0] } ?? [])).min()
    }
}

/// A partition of one cluster.
final class ModelPartition {
    let name: TopicPartition
    let topicID: TopicID
    var replicas: [NodeID: ModelReplica] = [:]
    let placed: [NodeID]
    var leader: NodeID = -1
    var epoch: LeaderEpoch = 0
    var inSync: [NodeID]
    /// The leader's log end when it began to lead: what is committed is not known before the high watermark has come to it (KIP-207).
    var epochBegan: Offset = 0
    /// When somebody was elected last who was not in sync, in milliseconds.
    var uncleanAt: Int64 = -1
    /// What was committed, as the judge has it.
    var committed = ModelLog()
    /// How far readers of committed transactions have seen it, while it is a mirror.
    var shown: Offset = 0

    init(_ name: TopicPartition, _ topicID: TopicID, placed: [NodeID]) {
        self.name = name
        self.topicID = topicID
        self.placed = placed
        inSync = placed
        for node in placed { replicas[node] = ModelReplica() }
    }

    var leading: ModelReplica? { replicas[leader] }

    func elect(_ node: NodeID) {
        leader = node
        epoch += 1
        guard let replica = leading else { return }
        replica.followers = [:]
        epochBegan = replica.log.end
    }

    /// As the leader's `mayCutMirror`.
    var mayCut: Bool {
        guard let log = leading?.log, let latest = log.epochs.last else { return true }
        return latest.epoch < epoch || latest.start >= log.end
    }
}

/// A topic of one cluster.
final class ModelTopic {
    let name: String
    let id: TopicID
    var partitions: [ModelPartition] = []

    init(name: String, id: TopicID) {
        self.name = name
        self.id = id
    }
}
