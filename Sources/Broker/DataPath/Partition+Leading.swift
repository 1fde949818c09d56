// What a partition does as leader: appending, waiting for replicas, and changes of the in-sync replicas.
import NIOCore
import Primitives
import Replication
import Storage

/// What became of an append, and how far replication has come.
struct PartitionAppend: Sendable {
    var log: LogAppendResult
    var highWatermark: Offset
    /// Up to where producers with acks=all may be answered: the high watermark, or less where another cluster has to have the records too.
    var acknowledged: Offset
    /// See `PartitionReplica.term`.
    var term: UInt64

    /// The high watermark at which everything appended is committed.
    var requiredOffset: Offset { log.lastOffset + 1 }
    var isCommitted: Bool { acknowledged >= requiredOffset }
}

extension Partition {
    /// Appends the readable bytes of `records`, whose batches get the next offsets and the leader's epoch.
    func append(
        _ records: ByteBuffer, origin: AppendOrigin, requireInSyncReplicas: Bool, now: Timestamp,
        transaction: TransactionTerms = .init()
    ) throws(PartitionError) -> PartitionAppend {
        var effects = PartitionEffects()
        let outcome = state.withLock { state -> Result<PartitionAppend, PartitionError> in
            guard state.replica.isLeader else { return .failure(state.offlineFailure ?? .notLeader) }
            if origin == .client, state.writes != .open { return .failure(.closedToWrites(state.writes)) }
            if requireInSyncReplicas, state.replica.isUnderMinimum(state.log.configuration.minInSyncReplicas) {
                return .failure(.notEnoughReplicas)
            }
            do throws(StorageError) {
                let result = try state.log.append(
                    records, origin: origin, leaderEpoch: state.replica.leaderEpoch, now: now, transaction: transaction)
                if !result.isDuplicate {
                    advance(&state, &effects, now: state.replica.followers.isEmpty ? 0 : SystemClock.monotonicMilliseconds())
                    state.logEndMoved(&effects)
                }
                // A coordinator learns it from the result: it holds its own lock here.
                if origin == .coordinator { effects.highWatermark = nil }
                return .success(
                    PartitionAppend(
                        log: result, highWatermark: state.log.highWatermark, acknowledged: state.acknowledgedOffset,
                        term: state.replica.term))
            } catch {
                return .failure(state.failure(error))
            }
        }
        perform(effects)
        return try outcome.get()
    }

    /// Begins to find out whether a producer's transaction may write here; nil when it is open here already (KIP-890).
    func beginVerification(
        producerID: ProducerID, epoch: Int16, sequence: Int32, bumpsEpoch: Bool, now: Timestamp
    ) throws(PartitionError) -> VerificationGuard? {
        try withLeaderLog(currentLeaderEpoch: -1) { log throws(StorageError) in
            try log.beginVerification(producerID: producerID, epoch: epoch, sequence: sequence, bumpsEpoch: bumpsEpoch, now: now)
        }
    }

    /// Whether everything below `offset`, appended in `term`, is committed.
    func progress(of offset: Offset, term: UInt64) -> ReplicationProgress {
        state.withLock { $0.progress(of: offset, term: term) }
    }

    /// Notes a produce request that waits until `offset` is committed, unless there is nothing to wait for any more.
    func wait(_ entry: WaitEntry, forCommit offset: Offset, term: UInt64) {
        let isWaiting = state.withLock { state in
            guard case .waiting = state.progress(of: offset, term: term) else { return false }
            state.producers.append((offset, entry))
            return true
        }
        if !isWaiting { FetchWaiter.wake([entry]) }
    }

    func forgetProducer(_ waiter: FetchWaiter) {
        state.withLock { state in state.producers.removeAll { $0.entry.waiter === waiter } }
    }

    // MARK: In-sync replicas

    /// Proposes to put out followers that were behind for too long. Called now and then.
    func shrinkInSyncReplicas(now: Int64) {
        var effects = PartitionEffects()
        state.withLock { state in
            guard state.replica.isLeader, !state.replica.followers.isEmpty else { return }
            effects.proposal = state.replica.proposeShrink(
                log: state.offsets, lagMilliseconds: environment.settings.lagTimeMaxMilliseconds, now: now)
            // A follower that was waited for though not in sync may have fallen behind for good.
            if state.log.highWatermark < state.log.logEndOffset { advance(&state, &effects, now: now) }
        }
        perform(effects)
    }

    /// Takes the controller's answer to a proposal.
    func answered(_ proposal: InSyncReplicasProposal, _ answer: InSyncReplicasAnswer, now: Int64) -> InSyncReplicasOutcome {
        var effects = PartitionEffects()
        let outcome = state.withLock { state in
            let outcome = state.replica.answered(proposal, answer)
            if outcome == .committed { advance(&state, &effects, now: now) }
            return outcome
        }
        perform(effects)
        return outcome
    }

    /// A copy of the replica state, for metrics and tests.
    var replica: PartitionReplica { state.withLock { $0.replica } }
}

extension Partition.State {
    func progress(of offset: Offset, term: UInt64) -> ReplicationProgress {
        if isOffline { return .offline }
        return replica.progress(
            of: offset, term: term, highWatermark: acknowledgedOffset, minimumInSync: log.configuration.minInSyncReplicas)
    }
}
