// Clients of clusters with links: producers that try to write to every topic of every cluster, in transactions or not, and groups.
import Primitives

/// Producers and groups.
final class LinkClients {
    private unowned let world: LinkWorld
    private var open: [(transaction: UInt64, cluster: ModelCluster, partitions: [ModelPartition])] = []

    init(_ world: LinkWorld) {
        self.world = world
    }

    func start() {
        for cluster in world.clusters { produce(cluster) }
        consume()
    }

    private func produce(_ cluster: ModelCluster) {
        let interval = world.plan.produceInterval
        world.scheduler.after(world.random.between(interval / 4...interval)) { [self] in
            guard !world.faultsEnded else { return endTransactions() }
            if let topic = cluster.sortedTopics.isEmpty ? nil : world.random.pick(cluster.sortedTopics) {
                if world.random.chance(world.plan.transactional) { transact(cluster, topic) } else { write(cluster, topic, nil) }
            }
            produce(cluster)
        }
    }

    @discardableResult
    private func write(_ cluster: ModelCluster, _ topic: ModelTopic, _ transaction: UInt64?, to chosen: ModelPartition? = nil)
        -> ModelPartition?
    {
        guard !topic.partitions.isEmpty else { return nil }
        let partition = chosen ?? world.random.pick(topic.partitions)
        guard let broker = cluster.broker(partition.leader), broker.isRunning, let replica = partition.leading, replica.access == .open,
            partition.inSync.count >= min(2, partition.placed.count)
        else { return nil }
        let base = replica.log.end
        let batch = ModelBatch(
            base: base, last: base + world.random.below(3), id: world.fresh(), epoch: partition.epoch, transaction: transaction)
        world.ledger.accepts(cluster, topic, partition, replica)
        replica.log.append(batch)
        broker.lead(partition)
        return partition
    }

    // MARK: Transactions

    private func transact(_ cluster: ModelCluster, _ topic: ModelTopic) {
        let transaction = world.ledger.begin(cluster)
        let written = topic.partitions.compactMap { write(cluster, topic, transaction, to: $0) }
        guard !written.isEmpty else { return }
        open.append((transaction, cluster, written))
        world.after(world.random.pick([5...50, 5...50, 1_000...6_000])) { [self] in end(transaction) }
    }

    private func end(_ transaction: UInt64) {
        guard let index = open.firstIndex(where: { $0.transaction == transaction }) else { return }
        let (_, cluster, partitions) = open.remove(at: index)
        let isCommitted = !world.random.chance(200)
        for partition in partitions {
            world.after(0...100) { [self] in mark(partition, transaction, isCommitted, cluster) }
        }
    }

    /// The coordinator of transactions tries until the marker is there, or the partition is another one by now.
    private func mark(_ partition: ModelPartition, _ transaction: UInt64, _ isCommitted: Bool, _ cluster: ModelCluster) {
        guard cluster.topic(id: partition.topicID) != nil else { return }
        guard let broker = cluster.broker(partition.leader), broker.isRunning, let replica = partition.leading else {
            return world.after(50...300) { [self] in mark(partition, transaction, isCommitted, cluster) }
        }
        // What a mirror has comes from its source alone.
        guard replica.access == .open || replica.access == .fenced, replica.log.openTransactions.contains(transaction) else { return }
        replica.log.append(
            ModelBatch(
                base: replica.log.end, last: replica.log.end, id: world.fresh(), epoch: partition.epoch, transaction: transaction,
                marker: isCommitted ? .commit : .abort))
        broker.lead(partition)
    }

    private func endTransactions() {
        for entry in open { end(entry.transaction) }
    }

    // MARK: Groups

    private func consume() {
        world.after(100...800) { [self] in
            guard !world.faultsEnded else { return }
            let cluster = world.random.pick(world.clusters)
            for partition in cluster.partitions where world.random.chance(500) {
                guard cluster.committedImage.mirrors[partition.name.topic].map({ $0.state == .stopped }) ?? true else { continue }
                cluster.groups["g", default: [:]][partition.name] = partition.committed.end
            }
            consume()
        }
    }
}
