// What goes wrong with clusters that are linked.
import Primitives

/// Faults by the plan.
final class LinkFaults {
    private unowned let world: LinkWorld
    private let kinds: [LinkFaultKind]

    init(_ world: LinkWorld) {
        self.world = world
        kinds = LinkFaultKind.allCases.filter { world.plan.faults.contains($0) }
    }

    func scheduleNext() {
        guard !kinds.isEmpty else { return }
        world.scheduler.after(world.random.between(world.plan.faultInterval / 4...world.plan.faultInterval)) { [self] in
            guard !world.faultsEnded else { return }
            strike(world.random.pick(kinds), world.random.pick(world.clusters))
            scheduleNext()
        }
    }

    private func strike(_ kind: LinkFaultKind, _ cluster: ModelCluster) {
        let partitions = cluster.partitions
        switch kind {
        case .crash: crash(world.random.pick(cluster.brokers))
        case .crashCoordinator: if let coordinator = cluster.coordinator { crash(coordinator.broker) }
        case .moveCoordinator: cluster.endCoordinator()
        case .moveLeader: if !partitions.isEmpty { cluster.moveLeader(of: world.random.pick(partitions)) }
        case .uncleanElection: if !partitions.isEmpty { electUnclean(world.random.pick(partitions), cluster) }
        case .cutOff:
            let other = world.random.pick(world.clusters)
            guard other !== cluster else { return }
            world.cuts.insert([cluster.name, other.name])
            world.after(500...6_000) { [world] in world.cuts.remove([cluster.name, other.name]) }
        case .deafen:
            let broker = world.random.pick(cluster.brokers)
            broker.isDeaf = true
            world.after(500...12_000) { broker.isDeaf = false }
        case .deleteRecords: if !partitions.isEmpty { deleteRecords(world.random.pick(partitions), cluster) }
        case .recreateTopic: recreate(cluster)
        case .deleteMirrorTopic:
            if let mirror = cluster.committedImage.mirrors.values.first, world.random.chance(300) { cluster.delete(mirror.name) }
        case .addPartitions:
            if let topic = cluster.sortedTopics.first, cluster.committedImage.mirrors[topic.name] == nil, topic.partitions.count < 5 {
                cluster.grow(topic, to: topic.partitions.count + 1)
            }
        }
    }

    private func crash(_ broker: ModelBroker) {
        guard broker.isRunning else { return }
        broker.crash()
        world.after(100...5_000) { broker.start() }
    }

    private func electUnclean(_ partition: ModelPartition, _ cluster: ModelCluster) {
        let others = partition.placed.filter { $0 != partition.leader && cluster.broker($0)?.isRunning == true }
        guard !others.isEmpty, let leader = cluster.broker(partition.leader), leader.isRunning else { return }
        crash(leader)
        cluster.electUnclean(partition, world.random.pick(others))
    }

    private func deleteRecords(_ partition: ModelPartition, _ cluster: ModelCluster) {
        guard let replica = partition.leading, replica.access == .open else { return }
        let offset = world.random.between(replica.log.start...max(replica.log.start, replica.highWatermark))
        cluster.note("records of \(partition.name) before \(offset) are deleted")
        replica.log.delete(before: offset)
        partition.committed.delete(before: replica.log.start)
    }

    private func recreate(_ cluster: ModelCluster) {
        guard let topic = cluster.sortedTopics.first, cluster.committedImage.mirrors[topic.name] == nil, world.random.chance(200) else {
            return
        }
        cluster.delete(topic.name)
        world.after(10...1_500) { [world] in _ = cluster.create(topic.name, partitions: world.plan.partitions) }
    }
}
