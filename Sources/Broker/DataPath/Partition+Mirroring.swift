// What a partition does as leader of a mirror: taking another cluster's batches as they are, at the same offsets, and cutting back what that
// cluster does not have. Its own followers replicate as always.
import Linking
import NIOCore
import Primitives
import RecordBatches
import Replication
import Storage

extension BatchIdentity {
    init(_ header: RecordBatchHeader) {
        self.init(baseOffset: header.baseOffset, lastOffset: header.lastOffset, crc: header.crc)
    }
}

extension Partition {
    var writeAccess: WriteAccess { state.withLock { $0.writes } }

    /// Opens or closes the partition to clients; what is being appended is done before.
    ///
    /// - Parameter limit: how far committed transactions are shown; nil to leave that as it is.
    func setWriteAccess(_ access: WriteAccess, showing limit: StableLimit?) {
        var effects = PartitionEffects()
        state.withLock { state in
            state.writes = access
            guard let limit, limit != state.log.stableLimit else { return }
            let before = state.log.lastStableOffset
            // A log that cannot be read fails with the next access to it.
            _ = try? state.noting { log throws(StorageError) in try log.limitStable(limit) }
            if state.log.lastStableOffset > before { state.stableOffsetMoved(&effects) }
        }
        perform(effects)
    }

    /// Where to go on mirroring; nil unless this node leads a mirror.
    var mirrorPosition: MirrorPosition? {
        state.withLock { state in
            guard state.replica.isLeader, state.writes == .mirror else { return nil }
            return state.mirrorPosition
        }
    }

    /// Where a mirror that stops ends; nil unless this node leads it.
    var endingPosition: MirrorPosition? {
        state.withLock { state in
            guard state.replica.isLeader, state.writes == .ending else { return nil }
            return state.mirrorPosition
        }
    }

    /// Appends what the source answered.
    ///
    /// - Parameters:
    ///   - leaderEpoch: under which this node led when it asked.
    ///   - sourceStartOffset: what lies before is gone at the source, and goes here.
    /// - Returns: the position to go on from, and the bytes appended.
    func appendMirrored(
        _ records: ByteBuffer, leaderEpoch: LeaderEpoch, sourceStartOffset: Offset, now: Timestamp
    ) throws(PartitionError) -> (position: MirrorPosition, bytes: Int) {
        var effects = PartitionEffects()
        let outcome = state.withLock { state -> Result<(MirrorPosition, Int), PartitionError> in
            guard state.replica.isLeader, state.replica.leaderEpoch == leaderEpoch, state.writes == .mirror else {
                return .failure(state.offlineFailure ?? .notLeader)
            }
            do throws(StorageError) {
                let batches = records.wholeBatches(upToEpoch: .max)
                if batches.readableBytes > 0 {
                    if state.log.logStartOffset == state.log.logEndOffset { try state.begin(with: batches, now: now) }
                    _ = try state.log.appendAsFollower(batches, leaderEpoch: leaderEpoch, now: now)
                    advance(&state, &effects, now: state.replica.followers.isEmpty ? 0 : SystemClock.monotonicMilliseconds())
                    state.logEndMoved(&effects)
                }
                state.sourceStartOffset = sourceStartOffset
                state.followSourceStart()
                return .success((state.mirrorPosition, batches.readableBytes))
            } catch {
                return .failure(state.failure(error))
            }
        }
        perform(effects)
        return try outcome.get()
    }

    /// The batch of the mirror that holds `offset`, or else the next one; nil when there is none.
    func batchIdentity(at offset: Offset) throws(PartitionError) -> BatchIdentity? {
        let outcome = state.withLock { state -> Result<BatchIdentity?, PartitionError> in
            guard state.replica.isLeader else { return .failure(.notLeader) }
            guard offset >= state.log.logStartOffset, offset < state.log.logEndOffset else { return .success(nil) }
            do throws(StorageError) {
                let bytes = try state.log.readBytes(from: offset, maxBytes: 1, minOneBatch: true, isolation: .logEnd)
                guard let header = try? RecordBatchHeader(from: bytes) else { return .success(nil) }
                return .success(BatchIdentity(header))
            } catch {
                return .failure(state.failure(error))
            }
        }
        return try outcome.get()
    }

    /// Cuts the mirror back to an offset that the source has too.
    ///
    /// - Parameter access: what the partition has to be in.
    func cutMirror(
        to offset: Offset, leaderEpoch: LeaderEpoch, access: WriteAccess = .mirror, now: Timestamp
    ) throws(PartitionError) -> MirrorPosition {
        var effects = PartitionEffects()
        let outcome = state.withLock { state -> Result<MirrorPosition, PartitionError> in
            guard state.replica.isLeader, state.replica.leaderEpoch == leaderEpoch, state.writes == access else {
                return .failure(state.offlineFailure ?? .notLeader)
            }
            do throws(StorageError) {
                defer { state.noteCut() }
                try state.log.truncate(to: offset, now: now)
                // So that the epoch begins at the cut, and the one before ends there.
                state.log.assignLeaderEpoch(leaderEpoch)
                state.replica.logWasCut(to: offset)
                state.takeAll(&effects)
                return .success(state.mirrorPosition)
            } catch {
                return .failure(state.failure(error))
            }
        }
        perform(effects)
        return try outcome.get()
    }

    /// Begins anew behind a gap: everything that is here is gone at the source.
    func restartMirror(at offset: Offset, leaderEpoch: LeaderEpoch, now: Timestamp) throws(PartitionError) -> MirrorPosition {
        let outcome = state.withLock { state -> Result<MirrorPosition, PartitionError> in
            guard state.replica.isLeader, state.replica.leaderEpoch == leaderEpoch, state.writes == .mirror else {
                return .failure(.notLeader)
            }
            do throws(StorageError) {
                defer { state.noteCut() }
                try state.log.truncateFullyAndStart(at: offset, now: now)
                state.log.assignLeaderEpoch(leaderEpoch)
                state.replica.logWasCut(to: offset)
                return .success(state.mirrorPosition)
            } catch {
                return .failure(state.failure(error))
            }
        }
        return try outcome.get()
    }
}

extension Partition.State {
    fileprivate var mirrorPosition: MirrorPosition {
        MirrorPosition(
            leaderEpoch: replica.leaderEpoch, logStartOffset: log.logStartOffset, logEndOffset: log.logEndOffset, mayCut: mayCutMirror)
    }

    /// Followers find out by the leader epoch where logs part, and so do mirrors of this one: what comes after a cut needs an epoch of its own.
    private var mayCutMirror: Bool {
        guard let latest = log.leaderEpochs.last else { return true }
        return latest.epoch < replica.leaderEpoch || latest.startOffset >= log.logEndOffset
    }

    /// Lets go of what a mirror's source has let go of, as far as that is committed.
    mutating func followSourceStart() {
        guard writes == .mirror, sourceStartOffset > log.logStartOffset else { return }
        let start = min(sourceStartOffset, log.highWatermark)
        guard start > log.logStartOffset else { return }
        // Tried again with the next records.
        _ = try? noting { log throws(StorageError) in try log.deleteRecords(before: start, now: SystemClock.now()) }
    }

    /// An empty mirror begins where the source does.
    fileprivate mutating func begin(with batches: ByteBuffer, now: Timestamp) throws(StorageError) {
        guard let first = try? RecordBatchHeader(from: batches), first.baseOffset != log.logEndOffset else { return }
        try log.truncateFullyAndStart(at: first.baseOffset, now: now)
        log.assignLeaderEpoch(replica.leaderEpoch)
        replica.logWasCut(to: first.baseOffset)
        noteCut()
    }
}
