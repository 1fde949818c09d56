// The transactions of one cluster's producers: they begin, write, and are decided in a log; then markers go to their partitions, one by one.
// As the coordinators of transactions do, as far as links can see.
import Linking
import Primitives

/// One transaction of a cluster's producer.
final class ModelTransaction {
    let number: UInt64
    let cluster: ModelCluster
    let producer: TransactionProducer
    let transactionalID: String
    let startedAt: Timestamp
    fileprivate let index: Int
    /// That it has written to.
    var partitions: [ModelPartition] = []
    private(set) var isCommit: Bool?
    private(set) var decidedAt: Timestamp?
    /// Partitions whose markers have been written, or are not going to be.
    fileprivate(set) var marked: Set<TopicPartition> = []

    fileprivate init(_ number: UInt64, _ cluster: ModelCluster, _ producer: TransactionProducer, index: Int) {
        self.number = number
        self.cluster = cluster
        self.producer = producer
        self.index = index
        transactionalID = "\(cluster.name)-\(index)"
        startedAt = cluster.world.now
    }

    fileprivate func decide(_ isCommit: Bool, at time: Timestamp) { (self.isCommit, decidedAt) = (isCommit, time) }
}

/// A cluster's `__transaction_state` and its producers.
final class ModelTransactions {
    enum Entry {
        case decided(TransactionDecision)
        case completed(String, Timestamp)

        var timestamp: Timestamp {
            switch self {
            case .decided(let decision): decision.decidedAt
            case .completed(_, let time): time
            }
        }
    }

    private static let producerCount = 6
    private unowned let cluster: ModelCluster
    /// By partition. What is here is committed.
    private(set) var log: [[Entry]] = [[], []]
    private var epochs: [Int16]
    private var idle: [Int]
    private var open: [ModelTransaction] = []
    private let firstID: ProducerID

    init(_ cluster: ModelCluster) {
        self.cluster = cluster
        // No cluster gives out ids of another.
        firstID = 1_000 * ProducerID(1 + (cluster.world.clusters.firstIndex { $0 === cluster } ?? 0))
        epochs = Array(repeating: 0, count: Self.producerCount)
        idle = Array(0..<Self.producerCount)
    }

    private var world: LinkWorld { cluster.world }

    /// A producer begins a transaction; nil when all are busy.
    func begin() -> ModelTransaction? {
        guard !idle.isEmpty else { return nil }
        let index = idle.remove(at: Int(world.random.below(Int64(idle.count))))
        // Of version 2 every transaction has an epoch of its own (KIP-890).
        if !world.plan.keepsEpochs { epochs[index] += 1 }
        let transaction = ModelTransaction(
            world.fresh(), cluster, TransactionProducer(id: firstID + ProducerID(index), epoch: epochs[index]), index: index)
        return transaction
    }

    /// Gives up a transaction that has written nothing, or lets one go on until it is decided.
    func run(_ transaction: ModelTransaction) {
        guard !transaction.partitions.isEmpty else { return idle.append(transaction.index) }
        open.append(transaction)
        world.ledger.transactions.begun(transaction)
        world.after(world.random.pick([5...50, 5...50, 1_000...6_000])) { [self] in decide(transaction) }
    }

    /// No producer writes any more.
    func endAll() { for transaction in open { decide(transaction) } }

    /// Whether somebody leads a partition of the log. Nobody does from the crash of its broker until that is noticed.
    func isAvailable(_ partition: Int) -> Bool {
        let broker = cluster.brokers[partition % cluster.brokers.count]
        return broker.isRunning || broker.isFenced
    }

    private func decide(_ transaction: ModelTransaction) {
        guard let index = open.firstIndex(where: { $0 === transaction }) else { return }
        let partition = transaction.index % log.count
        guard isAvailable(partition) else { return world.after(50...300) { [self] in decide(transaction) } }
        open.remove(at: index)
        let names = transaction.partitions.map { "\($0.name)" }.joined(separator: " ")
        let isCommit = !world.random.chance(200)
        transaction.decide(isCommit, at: world.now)
        log[partition].append(
            .decided(
                TransactionDecision(
                    id: DecisionID(partition: Int32(partition), offset: Offset(log[partition].count)),
                    transactionalID: transaction.transactionalID, producer: transaction.producer, isCommit: isCommit,
                    partitions: transaction.partitions.map(\.name), startedAt: transaction.startedAt, decidedAt: world.now)))
        cluster.note("transaction \(transaction.number) of \(transaction.producer) is decided, \(isCommit), in \(names)")
        let delays: ClosedRange<Int64> = world.random.chance(50) ? 0...2_500 : 0...100
        for partition in transaction.partitions { world.after(delays) { [self] in mark(transaction, partition) } }
    }

    /// Whether its coordinator has written its marker: a mirror that stopped may have aborted it before.
    private func isMarked(_ transaction: ModelTransaction, _ log: ModelLog) -> Bool {
        let marker: ModelBatch.Marker = transaction.isCommit == true ? .commit : .abort
        return log.batches.contains {
            $0.transaction == transaction.number && $0.marker == marker && $0.timestamp >= transaction.decidedAt ?? .max
        }
    }

    /// Tries until the marker is there, or the partition is another one by now.
    private func mark(_ transaction: ModelTransaction, _ partition: ModelPartition) {
        guard cluster.topic(id: partition.topicID) != nil else { return marked(transaction, partition) }
        guard let broker = cluster.broker(partition.leader), broker.isRunning, let replica = partition.leading,
            replica.access != .undecided
        else { return world.after(50...300) { [self] in mark(transaction, partition) } }
        // What a mirror has comes from its source alone. Elsewhere the marker is written also where the transaction's records were lost.
        if replica.access == .open || replica.access == .fenced, !isMarked(transaction, replica.log) {
            replica.log.append(
                ModelBatch(
                    base: replica.log.end, last: replica.log.end, id: world.fresh(), epoch: partition.epoch,
                    transaction: transaction.number, producer: transaction.producer,
                    marker: transaction.isCommit == true ? .commit : .abort, timestamp: world.now))
            cluster.note("transaction \(transaction.number) ends in \(partition.name) at \(replica.log.end - 1)")
            broker.lead(partition)
            return awaitMarker(transaction, partition, replica.log.end)
        }
        marked(transaction, partition)
    }

    /// A marker counts once it is committed; one that got lost with its leader is written again.
    private func awaitMarker(_ transaction: ModelTransaction, _ partition: ModelPartition, _ end: Offset) {
        guard cluster.topic(id: partition.topicID) != nil else { return marked(transaction, partition) }
        guard let replica = partition.leading, replica.log.end >= end, isMarked(transaction, replica.log) else {
            return mark(transaction, partition)
        }
        if replica.highWatermark >= end { return marked(transaction, partition) }
        world.after(5...40) { [self] in awaitMarker(transaction, partition, end) }
    }

    private func marked(_ transaction: ModelTransaction, _ partition: ModelPartition) {
        transaction.marked.insert(partition.name)
        guard transaction.partitions.allSatisfy({ transaction.marked.contains($0.name) }) else { return }
        world.after(0...30) { [self] in complete(transaction) }
    }

    private func complete(_ transaction: ModelTransaction) {
        let partition = transaction.index % log.count
        guard isAvailable(partition) else { return world.after(50...300) { [self] in complete(transaction) } }
        log[partition].append(.completed(transaction.transactionalID, world.now))
        idle.append(transaction.index)
    }
}
