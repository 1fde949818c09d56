// Reading a partition: for consumers up to what is committed, from the leader or from a follower nearby (KIP-392), and for followers,
// whose fetches tell the leader how far they are.
import Primitives
import Replication
import Storage

/// Where and how much to read of one partition, and for whom.
struct FetchRead {
    var fetchOffset: Offset
    var maxBytes: Int
    var minOneBatch: Bool
    var currentLeaderEpoch: LeaderEpoch
    /// The epoch of the last record that the reader has, -1 for none.
    var lastFetchedEpoch: LeaderEpoch = -1
}

/// Who reads.
struct FetchReader {
    /// -1 for consumers.
    var replicaID: NodeID = -1
    var replicaEpoch: Int64 = -1
    var isolation = ReadIsolation.highWatermark
    /// Readers before version 11 do not know of followers that serve consumers.
    var onlyLeader = true
    /// `client.rack`; empty for none.
    var rack = ""

    var isFollower: Bool { replicaID >= 0 }
}

/// The answer to a read.
struct PartitionRead: Sendable {
    var log: LogReadResult
    /// Where the leader's log parts from the reader's; nothing is read then.
    var diverging: EpochEndOffset?
    /// The replica that the consumer should read from instead; -1 for this one.
    var preferredReadReplica: NodeID = -1
    /// Whether what is sent counts against the leader's throttle.
    var isThrottled = false
}

extension Partition {
    /// Reads whole batches for a consumer or a follower.
    ///
    /// - Parameter logStartOffset: the follower's, at the first read of a request, so that the leader notes where the follower is; nil
    ///   when a waiting request reads again.
    func read(_ position: FetchRead, _ reader: FetchReader, followerStartOffset: Offset? = nil) throws(PartitionError) -> PartitionRead {
        var effects = PartitionEffects()
        let outcome = state.withLock { state -> Result<PartitionRead, PartitionError> in
            if let failure = state.check(
                currentLeaderEpoch: position.currentLeaderEpoch, onlyLeader: reader.onlyLeader || reader.isFollower)
            {
                return .failure(failure)
            }
            if reader.isFollower {
                if let failure = state.checkFollower(reader, position, environment.live) { return .failure(failure) }
            } else if let preferred = preferredReplica(state, position, reader) {
                return .success(preferred)
            }
            let before = state.offsets
            var position = position
            let isHeld = reader.isFollower && isHeldBack(state, reader.replicaID)
            if isHeld { (position.maxBytes, position.minOneBatch) = (0, false) }
            do throws(PartitionError) {
                var read = try state.read(position, isolation: reader.isolation)
                read.isThrottled = reader.isFollower && state.throttling.leader
                if let followerStartOffset, reader.isFollower, read.diverging == nil {
                    note(&state, reader, position.fetchOffset, followerStartOffset, before, &effects)
                }
                return .success(read)
            } catch {
                return .failure(error)
            }
        }
        perform(effects)
        return try outcome.get()
    }

    /// Notes how far the follower is: it may join the replicas in sync, and the high watermark may move.
    private func note(
        _ state: inout State, _ reader: FetchReader, _ offset: Offset, _ startOffset: Offset, _ before: ReplicaLogOffsets,
        _ effects: inout PartitionEffects
    ) {
        let now = SystemClock.monotonicMilliseconds()
        state.replica.followerFetched(
            reader.replicaID, offset: offset, startOffset: startOffset, brokerEpoch: reader.replicaEpoch, log: before, now: now)
        if !state.deletions.isEmpty { state.lowWatermarkMoved(&effects, live: environment.live) }
        if state.replica.proposal == nil, !state.replica.isr.contains(reader.replicaID) {
            effects.proposal = state.replica.proposeExpansion(reader.replicaID, log: before, live: environment.live)
        }
        if state.log.highWatermark < state.log.logEndOffset { advance(&state, &effects, now: now) }
    }

    /// Whether the follower gets nothing for now: the leader has sent more than it may, and the follower is not in sync anyway (KIP-73).
    private func isHeldBack(_ state: State, _ follower: NodeID) -> Bool {
        state.throttling.leader && environment.leaderThrottle.isLimited && !state.replica.isr.contains(follower)
            && environment.leaderThrottle.isExceeded
    }

    /// Where a consumer in another rack should rather read; nil for here.
    private func preferredReplica(_ state: State, _ position: FetchRead, _ reader: FetchReader) -> PartitionRead? {
        guard environment.settings.isRackAware, !reader.rack.isEmpty, state.replica.isLeader, !state.replica.followers.isEmpty else {
            return nil
        }
        let brokers = environment.brokers
        let leader = ReadableReplica(
            id: environment.nodeID, rack: brokers.racks[environment.nodeID], logEndOffset: state.log.logEndOffset, lastCaughtUpAt: .max)
        let followers = state.replica.followers.filter {
            state.replica.isr.contains($0.id) && brokers.live[$0.id] != nil && $0.logEndOffset >= position.fetchOffset
                && $0.logStartOffset <= position.fetchOffset
        }
        let chosen = rackAwareReplica(
            clientRack: reader.rack, leader: leader,
            followers: followers.map {
                ReadableReplica(id: $0.id, rack: brokers.racks[$0.id], logEndOffset: $0.logEndOffset, lastCaughtUpAt: $0.lastCaughtUpAt)
            })
        guard chosen != environment.nodeID else { return nil }
        let log = state.log
        return PartitionRead(
            log: log.emptyRead, preferredReadReplica: chosen)
    }

    // MARK: Waiting

    /// Notes who wants to know of new records, unless there are some already beyond what the read that found none saw.
    func wait(_ entry: WaitEntry, beyond seen: Offset, isFollower: Bool) {
        let changed = state.withLock { state in
            if isFollower {
                if state.log.logEndOffset != seen { return true }
                state.followers.append(entry)
            } else {
                if state.log.highWatermark != seen { return true }
                state.consumers.append(entry)
            }
            return false
        }
        if changed { FetchWaiter.wake([entry]) }
    }

    func forget(_ waiter: FetchWaiter, isFollower: Bool) {
        state.withLock { state in
            if isFollower {
                state.followers.removeAll { $0.waiter === waiter }
            } else {
                state.consumers.removeAll { $0.waiter === waiter }
            }
        }
    }
}

extension Partition.State {
    func read(_ position: FetchRead, isolation: ReadIsolation) throws(PartitionError) -> PartitionRead {
        do throws(StorageError) {
            if position.lastFetchedEpoch >= 0, let diverging = try diverging(from: position) { return diverging }
            let result = try log.read(
                from: position.fetchOffset, maxBytes: position.maxBytes, minOneBatch: position.minOneBatch, isolation: isolation)
            return PartitionRead(log: result)
        } catch {
            throw failure(error)
        }
    }

    /// Where the reader's log parts from this one, by the epoch of its last record (KIP-595).
    private func diverging(from position: FetchRead) throws(StorageError) -> PartitionRead? {
        let end = log.endOffset(forEpoch: position.lastFetchedEpoch)
        guard end.leaderEpoch >= 0, end.endOffset >= 0, position.fetchOffset >= log.logStartOffset else {
            throw .offsetOutOfRange(
                requested: position.fetchOffset, logStartOffset: log.logStartOffset, endOffset: log.logEndOffset)
        }
        guard end.leaderEpoch < position.lastFetchedEpoch || end.endOffset < position.fetchOffset else { return nil }
        return PartitionRead(
            log: log.emptyRead, diverging: end)
    }

    /// Why the follower's fetch is refused; nil when it is not.
    func checkFollower(_ reader: FetchReader, _ position: FetchRead, _ live: LiveBrokers) -> PartitionError? {
        do throws(FollowerFetchFailure) {
            try replica.checkFetch(from: reader.replicaID, brokerEpoch: reader.replicaEpoch, live: live)
            return nil
        } catch {
            switch error {
            case .notLeader, .staleBroker: return .notLeader
            // The follower may know an assignment that has not arrived here: let it try again.
            case .unknownReplica: return position.currentLeaderEpoch >= 0 ? .unknownLeaderEpoch : .notLeader
            }
        }
    }
}
