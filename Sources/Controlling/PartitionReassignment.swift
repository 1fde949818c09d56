// Moving a partition to other brokers (KIP-455): new replicas are added beside the old ones, and once they have caught up the old ones go.
import ClusterMetadata
import KafkaWire
import Primitives

/// The replicas of a partition on its way from one assignment to another.
struct PartitionReassignment: Hashable, Sendable {
    /// The replicas meanwhile, those to come first.
    var replicas: [NodeID]
    var adding: [NodeID]
    var removing: [NodeID]

    init(replicas: [NodeID], adding: [NodeID], removing: [NodeID]) {
        self.replicas = replicas
        self.adding = adding
        self.removing = removing
    }

    /// The way from one assignment to another.
    init(from current: [NodeID], to target: [NodeID]) {
        removing = current.filter { !target.contains($0) }.sorted()
        adding = target.filter { !current.contains($0) }.sorted()
        replicas = target + removing
    }

    /// Replicas and ISR after the reassignment; nil while it must not end yet, or when there is none.
    func completed(isr: [NodeID]) -> (replicas: [NodeID], isr: [NodeID])? {
        if adding.isEmpty && removing.isEmpty { return nil }
        let remaining = replicas.filter { !removing.contains($0) }
        let remainingIsr = isr.filter { !removing.contains($0) }
        if !removing.isEmpty && (remaining.isEmpty || remainingIsr.isEmpty) { return nil }
        // New brokers may not be well: all of them have to have caught up.
        guard adding.allSatisfy(remainingIsr.contains) else { return nil }
        // With fewer replicas than before, one that lags now would leave the partition with less than it has.
        if adding.count < removing.count && !remaining.allSatisfy(remainingIsr.contains) { return nil }
        return (remaining, remainingIsr)
    }
}

/// The way back to the assignment before a reassignment.
struct ReassignmentReversal: Hashable, Sendable {
    var replicas: [NodeID]
    var isr: [NodeID]
    /// Nobody in the ISR was a replica before: somebody who lags has to lead.
    var isUnclean: Bool

    init(_ partition: PartitionImage) throws(RequestFailure) {
        replicas = partition.replicas.filter { !partition.addingReplicas.contains($0) }
        isr = partition.isr.filter { !partition.addingReplicas.contains($0) }
        isUnclean = false
        if isr.isEmpty {
            guard let first = replicas.first else {
                throw RequestFailure(
                    .invalidReplicaAssignment, "Invalid replica assignment: addingReplicas contains all replicas.")
            }
            isr = [first]
            isUnclean = true
        }
    }
}
