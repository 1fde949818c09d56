// Clients of clusters with links: producers that try to write to every topic of every cluster, in transactions or not, readers of what
// is committed, and groups.
import Primitives

/// Producers and groups.
final class LinkClients {
    private unowned let world: LinkWorld

    init(_ world: LinkWorld) {
        self.world = world
    }

    func start() {
        for cluster in world.clusters {
            produce(cluster)
            read(cluster)
        }
        consume()
    }

    private func produce(_ cluster: ModelCluster) {
        let interval = world.plan.produceInterval
        world.scheduler.after(world.random.between(interval / 4...interval)) { [self] in
            guard !world.faultsEnded else { return cluster.transactions.endAll() }
            if let topic = cluster.sortedTopics.isEmpty ? nil : world.random.pick(cluster.sortedTopics) {
                if world.random.chance(world.plan.transactional) { transact(cluster, topic) } else { write(cluster, topic, nil) }
            }
            produce(cluster)
        }
    }

    @discardableResult
    private func write(
        _ cluster: ModelCluster, _ topic: ModelTopic, _ transaction: ModelTransaction?, to chosen: ModelPartition? = nil
    ) -> ModelPartition? {
        guard !topic.partitions.isEmpty else { return nil }
        let partition = chosen ?? world.random.pick(topic.partitions)
        guard let broker = cluster.broker(partition.leader), broker.isRunning, let replica = partition.leading, replica.access == .open,
            partition.inSync.count >= min(2, partition.placed.count)
        else { return nil }
        let base = replica.log.end
        let batch = ModelBatch(
            base: base, last: base + world.random.below(3), id: world.fresh(), epoch: partition.epoch, transaction: transaction?.number,
            producer: transaction?.producer, timestamp: world.now)
        world.ledger.accepts(cluster, topic, partition, replica)
        replica.log.append(batch)
        broker.lead(partition)
        return partition
    }

    /// Writes to all partitions of a topic, or of several.
    private func transact(_ cluster: ModelCluster, _ topic: ModelTopic) {
        guard let transaction = cluster.transactions.begin() else {
            write(cluster, topic, nil)
            return
        }
        let topics = world.random.chance(500) ? cluster.sortedTopics : [topic]
        for partition in topics.flatMap(\.partitions) where world.random.chance(800) {
            guard let topic = cluster.topics[partition.name.topic], write(cluster, topic, transaction, to: partition) != nil else {
                continue
            }
            transaction.partitions.append(partition)
        }
        cluster.transactions.run(transaction)
    }

    // MARK: Readers

    /// Reads what is committed of mirrors, now of this one, now of that.
    private func read(_ cluster: ModelCluster) {
        world.after(20...150) { [self] in
            for partition in cluster.partitions where world.random.chance(500) {
                guard let broker = cluster.broker(partition.leader), broker.isRunning, let replica = partition.leading else { continue }
                world.ledger.transactions.read(cluster, partition, replica)
            }
            read(cluster)
        }
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
