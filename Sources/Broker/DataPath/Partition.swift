// One partition that this node holds: its log and its leadership behind one lock, used inline from whatever event loop needs it.
// Effects (waking fetches, answering requests) happen after the lock is released.
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization

/// Why a partition cannot serve a request.
enum PartitionError: Error {
    /// This node does not lead the partition.
    case notLeader
    /// The client's leader epoch is older than the partition's.
    case fencedLeaderEpoch
    /// The client's leader epoch is newer than the partition's.
    case unknownLeaderEpoch
    /// acks=all with fewer replicas in sync than `min.insync.replicas`.
    case notEnoughReplicas
    case storage(StorageError)
}

/// A partition's leadership as the metadata log has it.
struct PartitionLeadership: Sendable, Equatable {
    var leader: NodeID
    var leaderEpoch: LeaderEpoch
    var inSyncReplicaCount: Int
}

/// One partition on this node.
final class Partition: Sendable {
    let topicPartition: TopicPartition
    let topicID: TopicID
    private let node: NodeID
    fileprivate let state: Mutex<State>

    fileprivate struct State {
        let log: PartitionLog
        var leadership: PartitionLeadership
        var waiters: [FetchWaiter] = []
    }

    init(node: NodeID, topicPartition: TopicPartition, topicID: TopicID, log: PartitionLog, leadership: PartitionLeadership) {
        self.node = node
        self.topicPartition = topicPartition
        self.topicID = topicID
        state = Mutex(State(log: log, leadership: leadership))
    }

    var leadership: PartitionLeadership { state.withLock { $0.leadership } }

    func update(leadership: PartitionLeadership) {
        let waiters = state.withLock { state in
            state.leadership = leadership
            return state.takeWaiters()
        }
        becomeLeaderIfNamed()
        FetchWaiter.wake(waiters)
    }

    func update(configuration: LogConfiguration) {
        state.withLock { $0.log.configuration = configuration }
    }

    /// Begins the leader epoch in the log, if this node leads.
    func becomeLeaderIfNamed() {
        state.withLock { state in
            guard state.leadership.leader == node else { return }
            state.log.assignLeaderEpoch(state.leadership.leaderEpoch)
            // The only replica: what it holds is replicated.
            state.log.advanceHighWatermark(to: state.log.logEndOffset)
        }
    }

    /// Removes the partition; its files go later.
    func delete(now: Timestamp) throws(StorageError) {
        let (outcome, waiters) = state.withLock { state -> (Result<Void, StorageError>, [FetchWaiter]) in
            state.leadership.leader = -1
            return (Result { () throws(StorageError) in try state.log.delete(now: now) }, state.takeWaiters())
        }
        FetchWaiter.wake(waiters)
        try outcome.get()
    }

    /// Appends the readable bytes of `records`, whose batches get the next offsets and the leader's epoch.
    func append(
        _ records: ByteBuffer, origin: AppendOrigin, requireInSyncReplicas: Bool, now: Timestamp
    ) throws(PartitionError) -> LogAppendResult {
        let outcome = state.withLock { state -> Result<(LogAppendResult, [FetchWaiter]), PartitionError> in
            guard state.leadership.leader == node else { return .failure(.notLeader) }
            if requireInSyncReplicas, state.leadership.inSyncReplicaCount < state.log.configuration.minInSyncReplicas {
                return .failure(.notEnoughReplicas)
            }
            do throws(StorageError) {
                let result = try state.log.append(records, origin: origin, leaderEpoch: state.leadership.leaderEpoch, now: now)
                // With one replica everything appended is replicated everywhere it has to be.
                state.log.advanceHighWatermark(to: state.log.logEndOffset)
                return .success((result, state.takeWaiters()))
            } catch {
                return .failure(.storage(error))
            }
        }
        let (result, waiters) = try outcome.get()
        if !waiters.isEmpty { FetchWaiter.wake(waiters) }
        return result
    }

    /// Reads whole batches for a consumer, or for a follower (`isolation == .logEnd`).
    func read(
        _ position: FetchRead, isolation: ReadIsolation
    ) throws(PartitionError) -> LogReadResult {
        let outcome = state.withLock { state -> Result<LogReadResult, PartitionError> in
            if let failure = state.check(currentLeaderEpoch: position.currentLeaderEpoch, node: node) { return .failure(failure) }
            do throws(StorageError) {
                return .success(
                    try state.log.read(
                        from: position.fetchOffset, maxBytes: position.maxBytes, minOneBatch: position.minOneBatch, isolation: isolation))
            } catch {
                return .failure(.storage(error))
            }
        }
        return try outcome.get()
    }

    /// Notes who wants to know of new records, unless there are some already beyond `highWatermark`.
    func wait(_ waiter: FetchWaiter, beyond highWatermark: Offset) {
        let changed = state.withLock { state in
            if state.log.highWatermark != highWatermark { return true }
            state.waiters.append(waiter)
            return false
        }
        if changed { FetchWaiter.wake([waiter]) }
    }

    func forget(_ waiter: FetchWaiter) {
        state.withLock { state in state.waiters.removeAll { $0 === waiter } }
    }

    /// Runs `body` with the log, for the control paths.
    func withLog<Value: Sendable>(_ body: (PartitionLog) throws(StorageError) -> Value) throws(StorageError) -> Value {
        try state.withLock { state in Result { () throws(StorageError) in try body(state.log) } }.get()
    }

    /// As `withLog`, for leaders only, with the client's leader epoch checked (-1 for none).
    func withLeaderLog<Value: Sendable>(
        currentLeaderEpoch: LeaderEpoch, _ body: (PartitionLog) throws(StorageError) -> Value
    ) throws(PartitionError) -> Value {
        let outcome = state.withLock { state -> Result<Value, PartitionError> in
            if let failure = state.check(currentLeaderEpoch: currentLeaderEpoch, node: node) { return .failure(failure) }
            do throws(StorageError) { return .success(try body(state.log)) } catch { return .failure(.storage(error)) }
        }
        return try outcome.get()
    }
}

extension Partition.State {
    fileprivate mutating func takeWaiters() -> [FetchWaiter] {
        if waiters.isEmpty { return [] }
        defer { waiters = [] }
        return waiters
    }

    fileprivate func check(currentLeaderEpoch: LeaderEpoch, node: NodeID) -> PartitionError? {
        if currentLeaderEpoch >= 0 {
            if currentLeaderEpoch < leadership.leaderEpoch { return .fencedLeaderEpoch }
            if currentLeaderEpoch > leadership.leaderEpoch { return .unknownLeaderEpoch }
        }
        return leadership.leader == node ? nil : .notLeader
    }
}

/// Where and how much to read of one partition.
struct FetchRead {
    var fetchOffset: Offset
    var maxBytes: Int
    var minOneBatch: Bool
    var currentLeaderEpoch: LeaderEpoch
}
