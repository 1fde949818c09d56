// What goes wrong in a cluster, and what operators do to it meanwhile.
import ClusterMetadata
import Controlling
import KafkaMessages
import Primitives

/// Brings the faults of a plan over a cluster.
final class ClusterFaults {
    private unowned let world: ClusterWorld
    private let faults: QuorumFaults
    private var random: SeededRandom

    init(_ world: ClusterWorld, seed: UInt64) {
        self.world = world
        random = SeededRandom(seed: seed)
        faults = QuorumFaults(world.quorum, seed: random.next())
    }

    func scheduleNext() {
        guard !world.plan.faults.isEmpty else { return }
        world.scheduler.after(.milliseconds(random.between(20...world.plan.faultInterval))) { [self] in
            guard !faults.hasEnded else { return }
            strike(random.pick(world.plan.faults))
            scheduleNext()
        }
    }

    func end() { faults.end() }

    private func strike(_ kind: ClusterFaultKind) {
        switch kind {
        case .node(.powerLoss): losePower()
        case .node(.shutDown): stop()
        case .node(let kind): faults.strike(kind)
        case .preferredElection: elect(0)
        case .uncleanElection: elect(1)
        case .reassignment: reassign()
        case .cancelReassignment: reassign(isCancel: true)
        case .unregister: unregister()
        }
    }

    // MARK: Power

    /// Without flushes, acks=all promises what replicas remember, not what disks hold: then one broker at a time loses its power, and only
    /// one that others can do without.
    private func losePower() {
        let first = random.pick(world.programs)
        var victims = [first]
        if random.chance(250) { victims = world.programs.filter { random.chance(600) || $0 === first } }
        if !world.plan.flushesAppends {
            victims = victims.filter { $0.broker == nil || isSpare($0) }
            if let broker = victims.firstIndex(where: { $0.broker != nil }) {
                let chosen = victims[broker]
                victims = victims.filter { $0.broker == nil || $0 === chosen }
            }
        }
        for victim in victims {
            victim.node.losePower()
            victim.broker?.powerLost()
            faults.restartLater(victim.node)
        }
    }

    private func isSpare(_ program: ClusterNode) -> Bool {
        let id = program.node.id
        for partition in world.ledger.order {
            guard let image = world.ledger.partitions[partition]?.image, image.replicas.contains(id) else { continue }
            let others = image.isr.filter { $0 != id }
            let hasOther = others.contains { other in world.broker(other).map { $0.phase == .running && !$0.node.isPaused } ?? false }
            if !hasOther { return false }
        }
        return true
    }

    /// A node is asked to stop: its broker hands over first.
    private func stop() {
        let program = random.pick(world.programs)
        faults.note("n\(program.node.id) is asked to stop")
        guard program.node.isRunning, !program.node.isPaused else { return }
        if let broker = program.broker {
            broker.leave { program.node.enqueue(.shutDown) }
        } else {
            program.node.enqueue(.shutDown)
        }
        faults.restartLater(program.node, after: 5_500)
    }

    // MARK: Operators

    private var somePartition: (name: String, index: Int32, image: PartitionImage)? {
        let all = world.ledger.newestImage.topics.all.flatMap { topic in topic.partitions.map { (topic.name, $0.index, $0) } }
        return all.isEmpty ? nil : random.pick(all)
    }

    private func elect(_ type: Int8) {
        guard let (name, index, _) = somePartition else { return }
        // By hand anything may be elected; the promise is about topics where nobody does.
        if type == 1, world.isSafe(name) { return }
        var request = ElectLeadersRequest()
        request.electionType = type
        var partitions = ElectLeadersRequest.TopicPartitions()
        partitions.topic = name
        partitions.partitions = [index]
        request.topicPartitions = [partitions]
        faults.note("\(type == 0 ? "preferred" : "unclean") election for \(name)-\(index)")
        world.askController { (controller, _) throws(RequestFailure) in
            try controller.electLeaders(request)
        } completion: { _ in
        }
    }

    private func reassign(isCancel: Bool = false) {
        guard let (name, index, image) = somePartition else { return }
        var request = AlterPartitionReassignmentsRequest()
        var topic = AlterPartitionReassignmentsRequest.ReassignableTopic()
        topic.name = name
        var partition = AlterPartitionReassignmentsRequest.ReassignablePartition()
        partition.partitionIndex = index
        if !isCancel {
            var ids = world.brokers.map(\.id)
            for position in ids.indices { ids.swapAt(position, Int(random.between(Int64(position)...Int64(ids.count - 1)))) }
            partition.replicas = Array(ids.prefix(3))
        }
        topic.partitions = [partition]
        request.topics = [topic]
        faults.note("\(name)-\(index) moves from \(image.replicas) to \(partition.replicas.map { "\($0)" } ?? "where it was")")
        world.askController { (controller, _) throws(RequestFailure) in
            try controller.alterPartitionReassignments(request)
        } completion: { _ in
        }
    }

    /// A broker that is down is taken out; when it comes back, it registers anew.
    private func unregister() {
        // Who takes out a broker that alone knows what was acknowledged gives it up.
        let down = world.brokers.filter { broker in
            !broker.node.isRunning
                && world.ledger.order.allSatisfy { partition in
                    guard let image = world.ledger.partitions[partition]?.image else { return true }
                    return !image.isr.contains(broker.id) && !image.eligibleLeaderReplicas.contains(broker.id)
                }
        }
        guard !down.isEmpty else { return }
        var request = UnregisterBrokerRequest()
        request.brokerId = random.pick(down).id
        faults.note("n\(request.brokerId) is unregistered")
        world.askController { (controller, _) throws(RequestFailure) in
            try controller.unregisterBroker(request)
        } completion: { _ in
        }
    }
}
