// A partition on several nodes in memory: logs are arrays, the controller is a few rules, and every node runs the real core. Steps come
// from a seed; what must always hold is checked after each of them.
import Primitives
import Replication

/// A record, told apart by its number, with the epoch in which it was written.
struct ModelRecord: Equatable {
    var epoch: LeaderEpoch
    var number: Int
}

/// One node: its log survives, its core begins anew with every start.
struct ModelNode {
    var log: [ModelRecord] = []
    var highWatermark: Offset = 0
    /// (epoch, start) as the leader epoch cache has them.
    var epochs: [(epoch: LeaderEpoch, start: Offset)] = []
    var core: PartitionReplica
    var brokerEpoch: Int64 = 1
    var isUp = true
    /// Unanswered proposals, oldest first.
    var proposals: [InSyncReplicasProposal] = []

    var end: Offset { Offset(log.count) }
    var offsets: ReplicaLogOffsets { ReplicaLogOffsets(startOffset: 0, endOffset: end, highWatermark: highWatermark) }

    func epochEnd(_ epoch: LeaderEpoch) -> EpochEnd? {
        guard let last = epochs.last, epoch <= last.epoch else { return nil }
        if last.epoch == epoch { return EpochEnd(epoch: epoch, endOffset: end) }
        guard let higher = epochs.firstIndex(where: { $0.epoch > epoch }) else { return nil }
        return EpochEnd(epoch: higher > 0 ? epochs[higher - 1].epoch : epoch, endOffset: epochs[higher].start)
    }

    mutating func append(_ record: ModelRecord) {
        if epochs.last?.epoch != record.epoch { assign(record.epoch) }
        log.append(record)
    }

    mutating func assign(_ epoch: LeaderEpoch) {
        while let last = epochs.last, last.epoch >= epoch || last.start >= end { epochs.removeLast() }
        epochs.append((epoch, end))
    }

    mutating func truncate(to offset: Offset) {
        while let last = epochs.last, last.start >= offset { epochs.removeLast() }
        if offset < end { log.removeSubrange(Int(offset)...) }
        highWatermark = min(highWatermark, end)
    }
}

/// The cluster.
struct PartitionClusterModel {
    static let lag: Int64 = 100
    var nodes: [ModelNode]
    /// The controller's truth, which nodes learn of later.
    var assignment: PartitionAssignment
    var live = LiveBrokers()
    var now: Int64 = 1_000
    var minimum: Int
    var random: SeededRandom
    var written = 0
    /// What some leader counted as committed, by offset.
    var committed: [ModelRecord] = []
    var violation: String?

    init(count: Int, minimum: Int, seed: UInt64) {
        let ids = (0..<NodeID(count)).map { $0 }
        assignment = PartitionAssignment(replicas: ids, isr: ids, leader: 0, leaderEpoch: 0, partitionEpoch: 0)
        nodes = ids.map { ModelNode(core: PartitionReplica(id: $0)) }
        for id in ids { live[id] = 1 }
        self.minimum = minimum
        random = SeededRandom(seed: seed)
        for index in nodes.indices { learn(index) }
    }

    private mutating func pick(_ bound: Int) -> Int { Int.random(in: 0..<bound, using: &random) }

    mutating func step() {
        now += Int64(pick(20))
        let index = pick(nodes.count)
        switch pick(100) {
        case 0..<25: produce(index)
        case 25..<60: fetch(index)
        case 60..<68: shrink(index)
        case 68..<85: answer(index)
        case 85..<92: learn(index)
        case 92..<95: crash(index)
        case 95..<99: restart(index)
        default: now += Self.lag * 2
        }
        check()
    }

    private mutating func produce(_ index: Int) {
        guard nodes[index].isUp, nodes[index].core.isLeader, !nodes[index].core.isUnderMinimum(minimum) else { return }
        written += 1
        nodes[index].append(ModelRecord(epoch: nodes[index].core.leaderEpoch, number: written))
        advance(index)
    }

    private mutating func advance(_ index: Int) {
        let offset = nodes[index].core.advancedHighWatermark(
            log: nodes[index].offsets, minimumInSync: minimum, lagMilliseconds: Self.lag, live: live, now: now)
        guard let offset else { return }
        nodes[index].highWatermark = offset
        // Only what the present leader commits counts: one that was deposed cannot acknowledge without its replicas.
        for position in committed.count..<max(committed.count, Int(offset)) { committed.append(nodes[index].log[position]) }
        for position in 0..<Int(offset) where nodes[index].log[position] != committed[position] {
            violation = "offset \(position) was committed twice with different records"
        }
    }

    private mutating func fetch(_ index: Int) {
        let follower = nodes[index]
        guard follower.isUp, !follower.core.isLeader,
            let source = nodes.indices.first(where: { $0 == Int(follower.core.assignment.leader) }),
            nodes[source].isUp, nodes[source].core.isLeader, nodes[source].core.leaderEpoch == follower.core.leaderEpoch
        else { return }
        do throws(FollowerFetchFailure) {
            try nodes[source].core.checkFetch(from: NodeID(index), brokerEpoch: follower.brokerEpoch, live: live)
        } catch { return }
        let before = nodes[source].offsets
        if let last = follower.epochs.last {
            guard let end = nodes[source].epochEnd(last.epoch) else {
                return nodes[index].truncate(to: min(before.endOffset, follower.end))
            }
            if end.epoch < last.epoch || end.endOffset < follower.end {
                let local = follower.epochEnd(end.epoch)
                let offset = FollowerTruncation.offset(
                    leader: end, local: local, logEndOffset: follower.end, highWatermark: follower.highWatermark)
                return nodes[index].truncate(to: offset)
            }
        }
        nodes[source].core.followerFetched(
            NodeID(index), offset: follower.end, startOffset: 0, brokerEpoch: follower.brokerEpoch, log: before, now: now)
        if let proposal = nodes[source].core.proposeExpansion(NodeID(index), log: before, live: live) {
            nodes[source].proposals.append(proposal)
        }
        advance(source)
        let count = min(nodes[source].log.count - follower.log.count, 1 + pick(4))
        for offset in 0..<max(0, count) { nodes[index].append(nodes[source].log[follower.log.count + offset]) }
        nodes[index].highWatermark = max(nodes[index].highWatermark, min(nodes[source].highWatermark, nodes[index].end))
    }

    private mutating func shrink(_ index: Int) {
        guard nodes[index].isUp else { return }
        if let proposal = nodes[index].core.proposeShrink(log: nodes[index].offsets, lagMilliseconds: Self.lag, now: now) {
            nodes[index].proposals.append(proposal)
        }
    }

    /// The controller looks at a leader's oldest proposal; the answer may get lost, or the proposal may arrive twice.
    private mutating func answer(_ index: Int) {
        guard let proposal = nodes[index].proposals.first else { return }
        let answer = decide(proposal, from: NodeID(index))
        if pick(10) == 0 { return }
        nodes[index].proposals.removeFirst()
        guard nodes[index].isUp else { return }
        let outcome = nodes[index].core.answered(proposal, answer)
        if outcome == .committed { advance(index) }
    }

    private mutating func decide(_ proposal: InSyncReplicasProposal, from leader: NodeID) -> InSyncReplicasAnswer {
        guard assignment.leader == leader, assignment.leaderEpoch == proposal.leaderEpoch,
            assignment.partitionEpoch == proposal.partitionEpoch
        else { return .outdated }
        for member in proposal.members where member.id != leader {
            guard let current = live[member.id], member.brokerEpoch == -1 || member.brokerEpoch == current else { return .refused }
        }
        assignment.isr = proposal.members.map(\.id)
        assignment.partitionEpoch += 1
        return .committed(leaderEpoch: assignment.leaderEpoch, partitionEpoch: assignment.partitionEpoch, isr: assignment.isr)
    }

    /// A node hears of the newest assignment.
    private mutating func learn(_ index: Int) {
        guard nodes[index].isUp else { return }
        let offsets = nodes[index].offsets
        let change = nodes[index].core.apply(assignment, log: offsets, now: now)
        if case .leads(let isNewEpoch) = change {
            if isNewEpoch { nodes[index].assign(assignment.leaderEpoch) }
            advance(index)
        }
    }

    /// A node dies; the controller fences it and elects another leader out of the replicas in sync.
    private mutating func crash(_ index: Int) {
        guard nodes[index].isUp, nodes.filter(\.isUp).count > 1 else { return }
        nodes[index].isUp = false
        nodes[index].proposals = []
        live[NodeID(index)] = nil
        var new = assignment
        let remaining = assignment.isr.filter { $0 != NodeID(index) }
        if !remaining.isEmpty { new.isr = remaining }
        elect(&new)
        guard new != assignment else { return }
        new.partitionEpoch += 1
        assignment = new
    }

    private mutating func restart(_ index: Int) {
        guard !nodes[index].isUp else { return }
        nodes[index].isUp = true
        nodes[index].brokerEpoch += 1
        live[NodeID(index)] = nodes[index].brokerEpoch
        nodes[index].core = PartitionReplica(id: NodeID(index))
        // The checkpoint of the high watermark may be old.
        nodes[index].highWatermark = Offset(pick(Int(nodes[index].highWatermark) + 1))
        var new = assignment
        elect(&new)
        if new != assignment {
            new.partitionEpoch += 1
            assignment = new
        }
        learn(index)
    }

    private func elect(_ new: inout PartitionAssignment) {
        if new.leader >= 0, live[new.leader] != nil { return }
        let candidate = new.isr.first { live[$0] != nil } ?? -1
        if candidate == new.leader { return }
        new.leader = candidate
        new.leaderEpoch += 1
    }

    private mutating func check() {
        // Whoever may be elected has all that was committed.
        for id in assignment.isr {
            let log = nodes[Int(id)].log
            guard log.count >= committed.count else {
                violation = violation ?? "replica \(id) is in sync and lacks \(committed.count - log.count) committed records"
                return
            }
            for position in committed.indices where log[position] != committed[position] {
                violation = violation ?? "replica \(id) is in sync and differs at \(position)"
                return
            }
        }
    }
}
