// From what a member has to what it is to have (KIP-848): first give back, then advance, then take what others have given back.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

/// Why a request of a member is refused.
struct GroupRefusal: Error, Equatable {
    var code: ErrorCode
    var message: String

    init(_ code: ErrorCode, _ message: String) {
        self.code = code
        self.message = message
    }
}

/// One member's reconciliation with its target.
struct Reconciliation {
    var member: ConsumerGroupMember
    var targetEpoch: Int32
    var target: PartitionSet
    /// Whether the member changed its subscription just now: partitions of other topics must not stay with it.
    var hasSubscriptionChanged: Bool
    /// What the member says it has; nil when it did not say.
    var owned: PartitionSet?
    /// The topics that it reads. Looked up only.
    var subscribedTopics: Set<TopicID>

    /// The member as it is to be from now on.
    func reconciled(isHeld: (TopicIDPartition) -> Bool) throws(GroupRefusal) -> ConsumerGroupMember {
        switch member.state {
        case .stable:
            if member.memberEpoch != targetEpoch { return next(isHeld) }
            return hasSubscriptionChanged ? withoutUnsubscribed() : member
        case .unrevokedPartitions:
            // Until it has given back what it was told to, it stays in its epoch.
            guard stillOwns(member.partitionsPendingRevocation) else { return next(isHeld) }
            return hasSubscriptionChanged ? withoutUnsubscribed() : member
        case .unreleasedPartitions:
            return next(isHeld)
        case .unknown:
            guard let owned, owned.isEmpty else {
                throw GroupRefusal(
                    .fencedMemberEpoch,
                    "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.")
            }
            return next(isHeld)
        }
    }

    private func stillOwns(_ partitions: AssignedPartitions) -> Bool {
        // A member that does not say what it has, has not confirmed anything.
        guard let owned else { return true }
        return partitions.contains { owned.contains($0.partition) }
    }

    /// Takes partitions of topics away that the member no longer reads.
    private func withoutUnsubscribed() -> ConsumerGroupMember {
        let kept = member.assignedPartitions.filter { subscribedTopics.contains($0.partition.topicID) }
        guard kept.count != member.assignedPartitions.count else { return member }
        var pending = member.partitionsPendingRevocation
        pending += member.assignedPartitions.filter { !subscribedTopics.contains($0.partition.topicID) }
        pending.sort { $0.partition.precedes($1.partition) }
        var updated = member
        updated.advance(to: member.memberEpoch)
        updated.assignedPartitions = kept
        if stillOwns(pending) {
            updated.state = .unrevokedPartitions
            updated.partitionsPendingRevocation = pending
        }
        return updated
    }

    private func next(_ isHeld: (TopicIDPartition) -> Bool) -> ConsumerGroupMember {
        let target = target.elements.filter { subscribedTopics.contains($0.topicID) }
        let targetSet = PartitionSet(sorted: target)
        let kept = member.assignedPartitions.filter { targetSet.contains($0.partition) }
        let revoked = member.assignedPartitions.filter { !targetSet.contains($0.partition) }
        var added: AssignedPartitions = []
        var hasUnreleased = false
        for partition in target where !kept.contains(partition: partition) {
            // What it is about to give back itself counts as free for it.
            if isHeld(partition), !member.partitionsPendingRevocation.contains(partition: partition) {
                hasUnreleased = true
            } else {
                added.append(AssignedPartition(partition, epoch: targetEpoch))
            }
        }
        var updated = member
        if !revoked.isEmpty, stillOwns(revoked) {
            updated.state = .unrevokedPartitions
            updated.advance(to: member.memberEpoch)
            updated.assignedPartitions = kept
            updated.partitionsPendingRevocation = revoked
            return updated
        }
        updated.state = hasUnreleased ? .unreleasedPartitions : .stable
        updated.advance(to: targetEpoch)
        updated.assignedPartitions = (kept + added).sorted { $0.partition.precedes($1.partition) }
        updated.partitionsPendingRevocation = []
        return updated
    }
}
