// What a partition does as follower: taking the leader's bytes as they are, cutting off what the leader does not have, and moving its
// high watermark and log start after the leader's.
import NIOCore
import Primitives
import RecordBatches
import Replication
import Storage

extension Partition {
    /// Where to fetch from, under the epoch that the partition follows now; nil unless it follows somebody.
    func fetchPosition(maxBytes: Int32) -> (leader: NodeID, position: FetchPosition)? {
        state.withLock { state in
            let assignment = state.replica.assignment
            guard !state.replica.isLeader, assignment.leader >= 0 else { return nil }
            return (assignment.leader, state.fetchPosition(maxBytes: maxBytes))
        }
    }

    /// Prepares the log for following under a new epoch. A log that knows no epochs cannot be compared: what is not known to be
    /// committed goes (as before KIP-101).
    func beginFollowing(now: Timestamp) throws(PartitionError) {
        let outcome = state.withLock { state -> Result<Void, PartitionError> in
            guard !state.replica.isLeader, state.log.latestLeaderEpoch == nil, state.log.highWatermark < state.log.logEndOffset else {
                return .success(())
            }
            do throws(StorageError) {
                defer { state.noteCut() }
                return .success(try state.log.truncate(to: state.log.highWatermark, now: now))
            } catch {
                return .failure(state.failure(error))
            }
        }
        try outcome.get()
    }

    /// Appends what the leader answered to a fetch made under `leaderEpoch`.
    ///
    /// Batches of later epochs are left out: they were written after the request, perhaps by a leader whose log differs from this one
    /// (KAFKA-18723).
    /// - Returns: the position of the next fetch, the bytes appended, and whether they count against the follower's throttle.
    func appendFetched(
        _ records: ByteBuffer, leaderEpoch: LeaderEpoch, highWatermark: Offset, leaderStartOffset: Offset, maxBytes: Int32, now: Timestamp
    ) throws(PartitionError) -> (position: FetchPosition, appendedBytes: Int, isThrottled: Bool) {
        var effects = PartitionEffects()
        let outcome = state.withLock { state -> Result<(FetchPosition, Int, Bool), PartitionError> in
            guard !state.replica.isLeader, state.replica.leaderEpoch == leaderEpoch else { return .failure(.notLeader) }
            do throws(StorageError) {
                let batches = records.wholeBatches(upToEpoch: leaderEpoch)
                if batches.readableBytes > 0 { try state.appendAsFollower(batches, now: now) }
                state.lag = max(0, highWatermark - state.log.logEndOffset)
                let before = state.log.highWatermark
                if highWatermark > before { state.log.advanceHighWatermark(to: highWatermark) }
                let start = min(leaderStartOffset, state.log.highWatermark)
                if start > state.log.logStartOffset { try state.log.deleteRecords(before: start, now: now) }
                if state.log.highWatermark != before { state.highWatermarkMoved(&effects) }
                return .success((state.fetchPosition(maxBytes: maxBytes), batches.readableBytes, state.throttling.follower))
            } catch {
                return .failure(state.failure(error))
            }
        }
        perform(effects)
        return try outcome.get()
    }

    /// Cuts the log back to where it agrees with the leader's.
    /// - Returns: the position of the next fetch, and whether records were cut off.
    func truncate(
        diverging: EpochEnd, leaderEpoch: LeaderEpoch, maxBytes: Int32, now: Timestamp
    ) throws(PartitionError) -> (position: FetchPosition, removed: Offset) {
        try follow(leaderEpoch, maxBytes: maxBytes) { log throws(StorageError) in
            let local = log.endOffset(forEpoch: diverging.epoch)
            let offset = FollowerTruncation.offset(
                leader: diverging,
                local: local.leaderEpoch >= 0 ? EpochEnd(epoch: local.leaderEpoch, endOffset: local.endOffset) : nil,
                logEndOffset: log.logEndOffset, highWatermark: log.highWatermark)
            try log.truncate(to: max(offset, 0), now: now)
        }
    }

    /// Goes on after the leader said that it does not have the fetch offset.
    func resolveOutOfRange(
        leaderStartOffset: Offset, leaderEndOffset: Offset, leaderEpoch: LeaderEpoch, maxBytes: Int32, now: Timestamp
    ) throws(PartitionError) -> (position: FetchPosition, removed: Offset) {
        try follow(leaderEpoch, maxBytes: maxBytes) { log throws(StorageError) in
            switch FollowerTruncation.outOfRange(
                logEndOffset: log.logEndOffset, leaderStartOffset: leaderStartOffset, leaderEndOffset: leaderEndOffset)
            {
            case .truncate(let offset): try log.truncate(to: offset, now: now)
            case .restart(let offset): try log.truncateFullyAndStart(at: offset, now: now)
            case .fetchAgain: break
            }
        }
    }

    private func follow(
        _ leaderEpoch: LeaderEpoch, maxBytes: Int32, _ change: (PartitionLog) throws(StorageError) -> Void
    ) throws(PartitionError) -> (position: FetchPosition, removed: Offset) {
        let outcome = state.withLock { state -> Result<(FetchPosition, Offset), PartitionError> in
            guard !state.replica.isLeader, state.replica.leaderEpoch == leaderEpoch else { return .failure(.notLeader) }
            let before = state.log.logEndOffset
            do throws(StorageError) {
                defer { state.noteCut() }
                try change(state.log)
                return .success((state.fetchPosition(maxBytes: maxBytes), before - state.log.logEndOffset))
            } catch {
                return .failure(state.failure(error))
            }
        }
        return try outcome.get()
    }
}

extension Partition.State {
    func fetchPosition(maxBytes: Int32) -> FetchPosition {
        FetchPosition(
            fetchOffset: log.logEndOffset, maxBytes: maxBytes, currentLeaderEpoch: replica.leaderEpoch,
            lastFetchedEpoch: log.latestLeaderEpoch ?? -1, logStartOffset: log.logStartOffset)
    }

    mutating func appendAsFollower(_ batches: ByteBuffer, now: Timestamp) throws(StorageError) {
        do throws(StorageError) {
            _ = try log.appendAsFollower(batches, now: now)
        } catch {
            // The leader's log may start in the middle of a batch, after DeleteRecords: an empty log then begins with that batch.
            guard case .unexpectedOffset(let first, let expected) = error, log.logStartOffset == log.logEndOffset, first < expected else {
                throw error
            }
            try log.truncateFullyAndStart(at: first, now: now)
            noteCut()
            _ = try log.appendAsFollower(batches, now: now)
        }
    }
}

extension ByteBuffer {
    /// The whole batches at the front that were written in epochs up to `epoch`. A fetch may end in the middle of one.
    func wholeBatches(upToEpoch epoch: LeaderEpoch) -> ByteBuffer {
        var end = readerIndex
        while let size = getInteger(at: end + RecordBatchHeader.Position.batchLength, as: Int32.self), size > 0,
            end + Int(size) + RecordBatchHeader.logOverhead <= writerIndex,
            let written = getInteger(at: end + RecordBatchHeader.Position.partitionLeaderEpoch, as: Int32.self), written <= epoch
        {
            end += Int(size) + RecordBatchHeader.logOverhead
        }
        return getSlice(at: readerIndex, length: end - readerIndex) ?? ByteBuffer()
    }
}
