// What an all-knowing observer of a cluster writes down: what was committed in every partition, what producers were told, who led when.
// All invariants of partitions are checked against it.
import ClusterMetadata
import Primitives
import Replication

/// The history of one partition.
final class PartitionHistory {
    let name: String
    /// Whether nothing acknowledged may be lost: min ISR 2, clean elections only.
    let isSafe: Bool
    /// Everything that any replica called committed, by offset.
    fileprivate(set) var truth: [UInt64] = []
    fileprivate(set) var epochs: [LeaderEpoch] = []
    /// By offset; what a producer was told is written.
    fileprivate(set) var acknowledged: [Offset: UInt64] = [:]
    fileprivate var leaders: [LeaderEpoch: NodeID] = [:]
    /// As committed by the controller, newest.
    fileprivate(set) var image: PartitionImage
    /// Brokers whose logs lost records with their power and have not caught up since, and where those logs ended.
    fileprivate var lossy: [NodeID: Offset] = [:]
    /// Who was in sync or eligible when the leader of an epoch was elected.
    fileprivate var knew: (epoch: LeaderEpoch, members: Set<NodeID>) = (-1, [])
    /// How often the last replica in sync lost its power, after which nothing is promised of what it lost (KIP-966).
    fileprivate(set) var excusals = 0
    /// The leader epoch in which that happened last.
    fileprivate(set) var excusedEpoch: LeaderEpoch = -1
    /// The largest offset that some consumer was told is readable, under clean elections.
    var listed: Offset = 0

    init(name: String, isSafe: Bool, image: PartitionImage) {
        self.name = name
        self.isSafe = isSafe
        self.image = image
    }

    /// Whether a log holds all that was committed.
    func isComplete(_ log: ReplicaLog?, upTo end: Offset? = nil) -> Bool {
        let end = end ?? Offset(truth.count)
        guard end > 0 else { return true }
        guard let log, log.endOffset >= end else { return false }
        return log.value(at: end - 1) == truth[Int(end) - 1]
    }
}

/// The history of a cluster.
final class ClusterLedger {
    private unowned let world: ClusterWorld
    private(set) var partitions: [TopicIDPartition: PartitionHistory] = [:]
    /// In the order in which they were created.
    private(set) var order: [TopicIDPartition] = []
    private(set) var newestImage = MetadataImage.empty
    private(set) var acknowledgements = 0
    private(set) var excusals = 0

    init(_ world: ClusterWorld) {
        self.world = world
    }

    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) { world.fail(invariant, detail()) }

    private func log(_ partition: TopicIDPartition, of broker: NodeID) -> ReplicaLog? { world.broker(broker)?.disk[partition] }

    // MARK: Metadata

    /// A node has shown an image.
    func published(_ publication: MetadataPublication, by node: QuorumNode) {
        for change in publication.changes.partitions {
            guard let before = change.before else { continue }
            if change.after.partitionEpoch < before.partitionEpoch || change.after.leaderEpoch < before.leaderEpoch {
                fail(
                    .partitionEpochsNeverGoBack,
                    "n\(node.id) shows \(change.topicName)-\(before.index) going back from \(before) to \(change.after)")
            }
        }
        // Whoever is first shows everybody what was committed.
        guard publication.image.provenance.offset > newestImage.provenance.offset else { return }
        let former = newestImage
        newestImage = publication.image
        for topic in former.topics.all where newestImage.topics.topic(id: topic.id) == nil {
            fail(.metadataNeverLost, "topic \(topic.name) is gone from the metadata of n\(node.id)")
        }
        checkFencing(publication)
        for change in MetadataChanges(from: former, to: newestImage).partitions { committed(change) }
    }

    private func checkFencing(_ publication: MetadataPublication) {
        for topic in publication.image.topics.all {
            for entry in topic.partitions where entry.hasLeader {
                guard let broker = publication.image.cluster.broker(entry.leader), !broker.isFenced else {
                    return fail(.fencedLeadsNothing, "n\(entry.leader) is fenced or gone and leads \(topic.name)-\(entry.index)")
                }
            }
        }
    }

    private func committed(_ change: PartitionChange) {
        let partition = TopicIDPartition(change.topicID, change.after.index)
        guard let history = partitions[partition] else {
            let name = "\(change.topicName)-\(change.after.index)"
            partitions[partition] = PartitionHistory(
                name: name, isSafe: world.isSafe(change.topicName), image: change.after)
            order.append(partition)
            return
        }
        let before = history.image
        history.image = change.after
        // Who is taken in again under its present registration has caught up.
        for member in change.after.isr where !before.isr.contains(member) && change.after.leader != member {
            if let broker = world.broker(member), newestImage.cluster.broker(member)?.epoch == broker.epoch { history.lossy[member] = nil }
        }
        guard history.isSafe, change.after.leader != before.leader, change.after.leader >= 0 else { return }
        let leader = change.after.leader
        if !history.isComplete(log(partition, of: leader)) {
            // One that has lost its power, which the controller does not know yet, must only not come to lead.
            guard history.lossy[leader] != nil else {
                return fail(
                    .electedHoldCommitted,
                    "n\(leader) is elected for \(history.name) in epoch \(change.after.leaderEpoch) without what was committed up to "
                        + "\(history.truth.count): its log ends at \(log(partition, of: leader)?.endOffset ?? -1), before: \(before)")
            }
        }
        // With eligible leader replicas, who ended uncleanly is not eligible any more; the last known leader is better than none, and the
        // controller says that it may have lost something (KIP-966).
        history.knew = (
            change.after.leaderEpoch, change.after.isRecovering ? [] : Set(before.isr + before.eligibleLeaderReplicas)
        )
        let mayLead = before.isr + before.eligibleLeaderReplicas + before.lastKnownElr
        if !mayLead.contains(leader), !before.isReassigning {
            fail(.leaderWasInSync, "n\(leader) is elected for \(history.name) from outside of \(before.isr)")
        }
    }

    /// All that knew what was committed lost their power: what is left is all there is.
    private func excuse(_ partition: TopicIDPartition, _ history: PartitionHistory, _ leader: NodeID) {
        history.excusals += 1
        history.excusedEpoch = history.image.leaderEpoch
        excusals += 1
        var length = 0
        if let log = log(partition, of: leader) {
            while length < history.truth.count, log.value(at: Offset(length)) == history.truth[length] { length += 1 }
        }
        world.note("nobody is left who knew all of \(history.name): it goes on from \(length) instead of \(history.truth.count)")
        history.truth.removeSubrange(length...)
        history.epochs.removeSubrange(length...)
        history.acknowledged = history.acknowledged.filter { $0.key < Offset(length) }
        history.listed = min(history.listed, Offset(length))
        history.lossy[leader] = nil
    }

    /// A broker's log of the partition lost records together with its power.
    func lostTail(_ partition: TopicIDPartition, broker: NodeID, from end: Offset) {
        guard let history = partitions[partition] else { return }
        history.lossy[broker] = max(end, history.lossy[broker] ?? 0)
        world.note("n\(broker) lost records of \(history.name) with its power")
    }

    // MARK: Replicas

    /// A replica begins to lead.
    func leads(_ partition: TopicIDPartition, _ epoch: LeaderEpoch, _ replica: SimulatedReplica) {
        guard let history = partitions[partition] else { return }
        let broker = replica.broker.id
        if let other = history.leaders[epoch], other != broker {
            return fail(.oneLeaderPerPartitionEpoch, "n\(other) and n\(broker) both lead \(history.name) in epoch \(epoch)")
        }
        history.leaders[epoch] = broker
        if history.isSafe, history.knew.epoch == epoch, history.lossy[broker] != nil, history.knew.members.isSubset(of: history.lossy.keys)
        {
            excuse(partition, history, broker)
        }
        if history.isSafe, epoch == history.image.leaderEpoch, !history.isComplete(replica.log) {
            fail(
                .electedHoldCommitted,
                "n\(broker) leads \(history.name) in epoch \(epoch) with a log that ends at \(replica.log.endOffset) and lacks what was "
                    + "committed up to \(history.truth.count)")
        }
    }

    /// A replica's high watermark has moved on from `before`.
    func passed(_ partition: TopicIDPartition, _ replica: SimulatedReplica, from before: Offset) {
        guard let history = partitions[partition], history.isSafe, replica.core.leaderEpoch >= history.excusedEpoch else { return }
        let log = replica.log
        let broker = replica.broker.id
        let end = log.highWatermark
        let oldEnd = Offset(history.truth.count)
        var offset = before
        for batch in log.batches[log.index(of: before)...] {
            if batch.baseOffset >= end { break }
            for (index, value) in batch.values.enumerated() {
                offset = batch.baseOffset + Offset(index)
                guard offset >= before, offset < end else { continue }
                if offset < Offset(history.truth.count) {
                    if history.truth[Int(offset)] != value {
                        return fail(
                            .replicasMatch,
                            "n\(broker) has \(value) at \(offset) of \(history.name) below its high watermark \(end), where "
                                + "\(history.truth[Int(offset)]) was committed")
                    }
                } else {
                    history.truth.append(value)
                    history.epochs.append(batch.epoch)
                }
            }
        }
        if replica.core.isLeader, end > oldEnd { checkInSync(partition, history, end, leader: broker) }
    }

    private func checkInSync(_ partition: TopicIDPartition, _ history: PartitionHistory, _ end: Offset, leader: NodeID) {
        for member in history.image.isr where member != leader && history.lossy[member] == nil {
            if history.isComplete(log(partition, of: member), upTo: end) { continue }
            fail(
                .inSyncReplicasAreComplete,
                "n\(leader) moves the high watermark of \(history.name) to \(end), and n\(member), which is in sync, ends at "
                    + "\(log(partition, of: member)?.endOffset ?? -1)")
        }
    }

    /// A follower has appended: it may have again all that it lost.
    func caughtUp(_ partition: TopicIDPartition, _ replica: SimulatedReplica) {
        guard let history = partitions[partition], let end = history.lossy[replica.broker.id] else { return }
        if replica.log.endOffset >= end, history.isComplete(replica.log) { history.lossy[replica.broker.id] = nil }
    }

    /// A follower has cut its log.
    func truncated(_ partition: TopicIDPartition, _ replica: SimulatedReplica) {
        guard let history = partitions[partition], history.isSafe, history.image.isr.contains(replica.broker.id),
            history.lossy[replica.broker.id] == nil, history.excusals == 0
        else { return }
        if !history.isComplete(replica.log) {
            fail(
                .committedNeverTruncated,
                "n\(replica.broker.id), in sync, cuts \(history.name) at \(replica.log.endOffset), below what was committed up to "
                    + "\(history.truth.count)")
        }
    }

    // MARK: Clients

    func acknowledged(_ partition: TopicIDPartition, _ batch: ReplicaBatch, at offset: Offset, excusals: Int) {
        acknowledgements += batch.values.count
        guard let history = partitions[partition], history.isSafe, history.excusals == excusals else { return }
        for (index, value) in batch.values.enumerated() {
            let place = Int(offset) + index
            guard place < history.truth.count, history.truth[place] == value else {
                return fail(
                    .producedNeverLost,
                    "a producer is told that \(value) is at \(place) of \(history.name), where "
                        + (place < history.truth.count ? "\(history.truth[place]) was committed" : "nothing is committed"))
            }
            history.acknowledged[Offset(place)] = value
        }
    }

    func consumed(_ partition: TopicIDPartition, _ batch: ReplicaBatch, from offset: Offset, excusals: Int) {
        guard let history = partitions[partition], history.isSafe, history.excusals == excusals else { return }
        for (index, value) in batch.values.enumerated() {
            let place = Int(batch.baseOffset) + index
            guard place >= offset else { continue }
            guard place < history.truth.count, history.truth[place] == value else {
                return fail(
                    .consumedNeverChanges,
                    "a consumer reads \(value) at \(place) of \(history.name), where "
                        + (place < history.truth.count ? "\(history.truth[place]) was committed" : "nothing is committed"))
            }
        }
    }

    // MARK: The end

    /// Every replica in sync has everything that was acknowledged, in its place and once.
    func checkAtEnd() {
        for partition in order {
            guard let history = partitions[partition], history.isSafe else { continue }
            for member in history.image.isr {
                guard let log = log(partition, of: member) else { continue }
                for (offset, value) in history.acknowledged.sorted(by: { $0.key < $1.key }) where log.value(at: offset) != value {
                    return fail(.producedNeverLost, "\(value), acknowledged at \(offset) of \(history.name), is not there on n\(member)")
                }
                for offset in history.truth.indices where log.value(at: Offset(offset)) != history.truth[offset] {
                    return fail(.replicasMatch, "n\(member) differs at \(offset) of \(history.name)")
                }
            }
            checkOrder(history)
        }
    }

    /// Producers number what they send, so that nothing is there twice or out of order.
    private func checkOrder(_ history: PartitionHistory) {
        guard history.excusals == 0 else { return }
        var last: [UInt64: UInt64] = [:]
        for (offset, value) in history.truth.enumerated() where value & 1 == 0 && value >> 40 > 0 {
            let producer = value >> 40
            if let former = last[producer], value <= former {
                return fail(.producedOnceAndInOrder, "\(value) at \(offset) of \(history.name) comes after \(former)")
            }
            last[producer] = value
        }
    }
}
