// One partition on one broker: the replication core unchanged, and around it the steps of `Partition` in the same order, on a simulated
// log. Checks that belong to each step are made where it is taken.
import KafkaWire
import Primitives
import Replication

/// A partition that a running broker holds.
final class SimulatedReplica {
    unowned let broker: SimulatedBroker
    let partition: TopicIDPartition
    let log: ReplicaLog
    private(set) var core: PartitionReplica
    /// Fetches and produce requests that wait; all look again whenever something moves.
    private var waiters: [(id: Int, isFollower: Bool, look: () -> Void)] = []
    private var isWaking = false
    private(set) var minimumInSync = 1

    init(broker: SimulatedBroker, partition: TopicIDPartition, log: ReplicaLog) {
        self.broker = broker
        self.partition = partition
        self.log = log
        core = PartitionReplica(id: broker.id)
    }

    private var world: ClusterWorld { broker.world }
    private var now: Int64 { broker.node.now }
    private var lag: Int64 { world.plan.lagTime }

    // MARK: Metadata

    func update(minimumInSync: Int) { self.minimumInSync = minimumInSync }

    func apply(_ assignment: PartitionAssignment) -> ReplicaRoleChange {
        let change = core.apply(assignment, log: log.offsets, now: now)
        switch change {
        case .unchanged: break
        case .leads(let isNewEpoch):
            if isNewEpoch {
                log.assignLeaderEpoch(assignment.leaderEpoch)
                world.ledger.leads(partition, assignment.leaderEpoch, self)
            }
            advance()
            wake()
        case .follows: wake()
        }
        return change
    }

    func remove() {
        core.remove()
        wake()
    }

    // MARK: High watermark

    private func advance() {
        guard core.isLeader else { return }
        let moved: Bool
        if core.followers.isEmpty {
            moved = moveHighWatermark(to: log.endOffset)
        } else {
            var offset = core.advancedHighWatermark(
                log: log.offsets, minimumInSync: minimumInSync, lagMilliseconds: lag, live: broker.live, now: now)
            if world.mutation == .advanceWithoutFollowers { offset = log.endOffset }
            moved = offset.map(moveHighWatermark) ?? false
        }
        if moved { wake() }
    }

    private func moveHighWatermark(to offset: Offset) -> Bool {
        let before = log.highWatermark
        guard log.advanceHighWatermark(to: offset) else { return false }
        world.ledger.passed(partition, self, from: before)
        return true
    }

    // MARK: Leading

    /// Appends a producer's batch. `settled` is called once, when the producer may be answered.
    func produce(
        _ batch: ReplicaBatch, epoch: LeaderEpoch, acks: Int, timeout: Int64, settled: @escaping (ErrorCode, Offset) -> Void
    ) {
        guard core.isLeader else { return settled(.notLeaderOrFollower, -1) }
        if acks == -1, core.isUnderMinimum(minimumInSync) { return settled(.notEnoughReplicas, -1) }
        var offset = log.endOffset
        if batch.producer >= 0, let known = log.duplicate(of: batch), world.mutation != .forgetProducers {
            offset = known
        } else {
            if batch.producer >= 0, let last = log.lastSequence(of: batch.producer), batch.sequence != last + 1,
                world.mutation != .forgetProducers
            {
                return settled(.outOfOrderSequenceNumber, -1)
            }
            if broker.node.isDiskFull { return settled(.kafkaStorageError, -1) }
            var batch = batch
            batch.baseOffset = offset
            batch.epoch = core.leaderEpoch
            log.append(batch, flushing: world.plan.flushesAppends)
            advance()
            wake()
        }
        if acks != -1 || world.mutation == .acknowledgeUnreplicated { return settled(.none, offset) }
        hold(offset + Offset(batch.values.count), term: core.term, timeout: timeout) { settled($0, offset) }
    }

    private func hold(_ offset: Offset, term: UInt64, timeout: Int64, settled: @escaping (ErrorCode) -> Void) {
        var isDone = false
        let id = broker.nextWaiter()
        func look() {
            guard !isDone else { return }
            let error: ErrorCode
            switch core.progress(of: offset, term: term, highWatermark: log.highWatermark, minimumInSync: minimumInSync) {
            case .waiting: return
            case .done: error = .none
            case .notEnoughReplicas: error = .notEnoughReplicasAfterAppend
            case .notLeader: error = .notLeaderOrFollower
            case .offline: error = .kafkaStorageError
            }
            isDone = true
            forget(id)
            settled(error)
        }
        wait(id, isFollower: false, look)
        look()
        if isDone { return }
        broker.later(timeout) { [self] in
            guard !isDone else { return }
            isDone = true
            forget(id)
            settled(.requestTimedOut)
        }
    }

    func shrinkInSyncReplicas() {
        guard core.isLeader, !core.followers.isEmpty else { return }
        let proposal = core.proposeShrink(log: log.offsets, lagMilliseconds: lag, now: now)
        if log.highWatermark < log.endOffset { advance() }
        guard let proposal else { return }
        if world.mutation == .shrinkWithoutWaiting {
            // As if the controller had agreed already.
            _ = core.answered(
                proposal,
                .committed(leaderEpoch: core.leaderEpoch, partitionEpoch: core.assignment.partitionEpoch, isr: proposal.members.map(\.id)))
            advance()
        }
        broker.proposals.submit(proposal, of: self)
    }

    func answered(_ proposal: InSyncReplicasProposal, _ answer: InSyncReplicasAnswer) -> InSyncReplicasOutcome {
        let outcome = core.answered(proposal, answer)
        if outcome == .committed { advance() }
        return outcome
    }

    // MARK: Reading

    func check(_ epoch: LeaderEpoch, onlyLeader: Bool) -> ErrorCode? {
        let epoch = world.mutation == .ignoreLeaderEpoch ? -1 : epoch
        do throws(LeaderEpochFailure) {
            try core.check(currentLeaderEpoch: epoch, onlyLeader: onlyLeader)
            return nil
        } catch {
            switch error {
            case .notLeader: return .notLeaderOrFollower
            case .fenced: return .fencedLeaderEpoch
            case .unknown: return .unknownLeaderEpoch
            }
        }
    }

    /// Reads for a consumer or a follower.
    func read(_ position: FetchPosition, _ call: FetchCall, isFirst: Bool) -> FetchedPartition {
        var result = FetchedPartition(key: partition.key)
        result.leaderEpoch = core.leaderEpoch
        let isFollower = call.replica >= 0
        // Consumers may read from any replica (KIP-392).
        if let error = check(position.currentLeaderEpoch, onlyLeader: isFollower) {
            result.error = error
            return result
        }
        if isFollower, let error = checkFollower(call, position) {
            result.error = error
            return result
        }
        let before = log.offsets
        if position.lastFetchedEpoch >= 0, world.mutation != .skipDivergence {
            let end = log.epochs.endOffset(for: position.lastFetchedEpoch, logEndOffset: log.endOffset)
            guard end.leaderEpoch >= 0, end.endOffset >= 0 else {
                result.error = .offsetOutOfRange
                return result
            }
            if end.leaderEpoch < position.lastFetchedEpoch || end.endOffset < position.fetchOffset {
                result.diverging = EpochEnd(epoch: end.leaderEpoch, endOffset: end.endOffset)
            }
        }
        if result.diverging == nil {
            guard position.fetchOffset <= log.endOffset else {
                result.error = .offsetOutOfRange
                return result
            }
            let limit = isFollower || world.mutation == .exposeUncommitted ? log.endOffset : log.highWatermark
            result.batches = log.read(from: position.fetchOffset, below: limit, maxBatches: call.maxBatches)
        }
        if isFollower, isFirst, result.diverging == nil { note(call, position, before) }
        result.highWatermark = log.highWatermark
        result.logStartOffset = 0
        return result
    }

    private func checkFollower(_ call: FetchCall, _ position: FetchPosition) -> ErrorCode? {
        do throws(FollowerFetchFailure) {
            try core.checkFetch(from: call.replica, brokerEpoch: call.replicaEpoch, live: broker.live)
            return nil
        } catch {
            switch error {
            case .notLeader, .staleBroker: return .notLeaderOrFollower
            case .unknownReplica: return position.currentLeaderEpoch >= 0 ? .unknownLeaderEpoch : .notLeaderOrFollower
            }
        }
    }

    private func note(_ call: FetchCall, _ position: FetchPosition, _ before: ReplicaLogOffsets) {
        let offset = world.mutation == .inflateFollowerOffset ? before.endOffset : position.fetchOffset
        core.followerFetched(
            call.replica, offset: offset, startOffset: position.logStartOffset, brokerEpoch: call.replicaEpoch, log: before, now: now)
        if core.proposal == nil, !core.isr.contains(call.replica),
            let proposal = core.proposeExpansion(call.replica, log: before, live: broker.live)
        {
            broker.proposals.submit(proposal, of: self)
        }
        if log.highWatermark < log.endOffset { advance() }
    }

    // MARK: Following

    func fetchPosition() -> (leader: NodeID, position: FetchPosition)? {
        guard !core.isLeader, core.assignment.leader >= 0 else { return nil }
        return (core.assignment.leader, position)
    }

    private var position: FetchPosition {
        FetchPosition(
            fetchOffset: log.endOffset, maxBytes: 1 << 20, currentLeaderEpoch: core.leaderEpoch,
            lastFetchedEpoch: log.latestEpoch ?? -1, logStartOffset: 0)
    }

    func beginFollowing() {
        if world.mutation == .truncateToHighWatermark { truncate(to: log.highWatermark) }
        guard !core.isLeader, log.latestEpoch == nil, log.highWatermark < log.endOffset else { return }
        truncate(to: log.highWatermark)
    }

    private func truncate(to offset: Offset) {
        if offset < log.endOffset { broker.node.note("cuts \(partition.short) at \(offset), which ended at \(log.endOffset)") }
        log.truncate(to: offset)
        world.ledger.truncated(partition, self)
    }

    /// Nil when the answer does not fit any more.
    func take(_ data: FetchedPartition, leaderEpoch: LeaderEpoch) -> FetchPosition? {
        guard !core.isLeader, core.leaderEpoch == leaderEpoch else { return nil }
        if let diverging = data.diverging {
            let local = log.epochs.endOffset(for: diverging.epoch, logEndOffset: log.endOffset)
            let offset = FollowerTruncation.offset(
                leader: diverging, local: local.leaderEpoch >= 0 ? EpochEnd(epoch: local.leaderEpoch, endOffset: local.endOffset) : nil,
                logEndOffset: log.endOffset, highWatermark: log.highWatermark)
            if world.mutation != .skipFollowerTruncation { truncate(to: max(offset, 0)) }
            return position
        }
        if broker.node.isDiskFull, !data.batches.isEmpty { return nil }
        for batch in data.batches where batch.epoch <= leaderEpoch {
            // A fetch may begin in the middle of a batch that is here already.
            guard batch.baseOffset == log.endOffset else {
                if batch.nextOffset <= log.endOffset { continue }
                world.fail(.diskMakesSense, "n\(broker.id) fetched \(partition.short) \(batch) and its log ends at \(log.endOffset)")
                return nil
            }
            log.append(batch, flushing: world.plan.flushesAppends)
        }
        let highWatermark = world.mutation == .inflateFollowerHighWatermark ? log.endOffset : data.highWatermark
        if moveHighWatermark(to: highWatermark) { wake() }
        world.ledger.caughtUp(partition, self)
        return position
    }

    func resolveOutOfRange(start: Offset, end: Offset, leaderEpoch: LeaderEpoch) -> FetchPosition? {
        guard !core.isLeader, core.leaderEpoch == leaderEpoch else { return nil }
        switch FollowerTruncation.outOfRange(logEndOffset: log.endOffset, leaderStartOffset: start, leaderEndOffset: end) {
        case .truncate(let offset): truncate(to: offset)
        case .restart: truncate(to: 0)
        case .fetchAgain: break
        }
        return position
    }

    // MARK: Waiting

    func wait(_ id: Int, isFollower: Bool, _ look: @escaping () -> Void) { waiters.append((id, isFollower, look)) }

    func forget(_ id: Int) { waiters.removeAll { $0.id == id } }

    private func wake() {
        guard !isWaking, !waiters.isEmpty else { return }
        isWaking = true
        broker.later(0) { [self] in
            isWaking = false
            for waiter in waiters { waiter.look() }
        }
    }
}
