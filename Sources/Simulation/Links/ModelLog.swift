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
    var transaction: UInt64?
    var marker: Marker?

    func isSame(_ other: ModelBatch) -> Bool { base == other.base && last == other.last && id == other.id }
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
    var openTransactions: [UInt64] {
        var open: [UInt64] = []
        for batch in batches {
            guard let transaction = batch.transaction else { continue }
            if batch.marker != nil {
                open.removeAll { $0 == transaction }
            } else if !open.contains(transaction) {
                open.append(transaction)
            }
        }
        return open
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
        guard placed.count > 1, let log = leading?.log, let latest = log.epochs.last else { return true }
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
