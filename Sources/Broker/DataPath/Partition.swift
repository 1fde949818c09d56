// One partition that this node holds: its log and its replica state behind one lock, used inline from whatever event loop needs it.
// Effects (waking waiting requests, asking the controller, telling a coordinator) happen after the lock is released.
import Linking
import NIOCore
import Primitives
import RecordBatches
import Replication
import Storage
import Synchronization

/// Why a partition cannot serve a request.
enum PartitionError: Error {
    /// This node does not lead the partition, or does not follow the leader that a step was meant for.
    case notLeader
    /// The client's leader epoch is older than the partition's.
    case fencedLeaderEpoch
    /// The client's leader epoch is newer than the partition's, or the follower is not known yet as a replica.
    case unknownLeaderEpoch
    /// acks=all with fewer replicas in sync than `min.insync.replicas`.
    case notEnoughReplicas
    /// A new leader that does not know yet how much is committed (KIP-207).
    case offsetNotAvailable
    /// Clients may not write here: see `WriteAccess`.
    case closedToWrites(WriteAccess)
    case storage(StorageError)
}

/// A partition's leadership as it is known here.
struct PartitionLeadership: Sendable, Equatable {
    var leader: NodeID
    var leaderEpoch: LeaderEpoch
    var inSyncReplicaCount: Int
}

/// What has to happen once a partition's lock is released.
struct PartitionEffects {
    var wakes: [WaitEntry] = []
    var proposal: InSyncReplicasProposal?
    /// For the coordinator whose log this is.
    var highWatermark: Offset?
}

/// One partition on this node.
final class Partition: Sendable {
    let topicPartition: TopicPartition
    let topicID: TopicID
    let environment: ReplicationEnvironment
    let directory: Mutex<LogDirectory>
    let state: Mutex<State>
    private let listener = Mutex<(@Sendable (Offset) -> Void)?>(nil)

    struct State {
        var log: PartitionLog
        /// The copy in another directory that is to take the log's place.
        var future: FutureReplica?
        /// Where the log was cut since the copy was last looked after.
        var lowestCut: Offset?
        var replica: PartitionReplica
        /// The log's directory has failed: nothing is served until the node starts again.
        var isOffline = false
        var throttling = ReplicaThrottling()
        /// Whether clients may write, as far as links to other clusters are concerned.
        var writes = WriteAccess.open
        /// Mirrors in other clusters that producers with acks=all wait for.
        var synchronous: [SynchronousWait] = []
        /// Where the source's log of a mirror starts: what lies before goes here too, once it is committed.
        var sourceStartOffset: Offset = 0
        /// Records that this follower lacked of its leader's high watermark after its last fetch.
        var lag: Offset = 0
        /// Fetches that wait for the high watermark to move.
        var consumers: [WaitEntry] = []
        /// Followers' fetches, which wait for the log's end to move.
        var followers: [WaitEntry] = []
        /// Produce requests, each waiting for the high watermark to reach an offset.
        var producers: [(offset: Offset, entry: WaitEntry)] = []
        /// DeleteRecords requests, each waiting for the low watermark to reach an offset.
        var deletions: [(offset: Offset, entry: WaitEntry)] = []
        /// Whether somebody listens to the high watermark.
        var hasListener = false
    }

    init(
        topicPartition: TopicPartition, topicID: TopicID, log: PartitionLog, environment: ReplicationEnvironment
    ) {
        self.topicPartition = topicPartition
        self.topicID = topicID
        self.environment = environment
        directory = Mutex(log.logDirectory)
        state = Mutex(State(log: log, replica: PartitionReplica(id: environment.nodeID)))
    }

    private var node: NodeID { environment.nodeID }

    /// Where the log is; changes when the replica is moved.
    var logDirectory: LogDirectory { directory.withLock { $0 } }

    var leadership: PartitionLeadership {
        state.withLock { state in
            let assignment = state.replica.assignment
            return PartitionLeadership(
                leader: assignment.leader, leaderEpoch: assignment.leaderEpoch,
                inSyncReplicaCount: state.replica.isLeader ? state.replica.isr.count : assignment.isr.count)
        }
    }

    /// Whether other nodes have replicas of it.
    var isReplicated: Bool { state.withLock { $0.replica.assignment.replicas.count > 1 } }

    func perform(_ effects: PartitionEffects) {
        if !effects.wakes.isEmpty { FetchWaiter.wake(effects.wakes) }
        if let proposal = effects.proposal { environment.submit(proposal, of: self) }
        if let offset = effects.highWatermark, let listener = listener.withLock({ $0 }) { listener(offset) }
    }

    /// Lets `listener` know whenever the high watermark moves, until it is replaced. Called without the partition's lock.
    func onHighWatermark(_ listener: (@Sendable (Offset) -> Void)?) {
        self.listener.withLock { $0 = listener }
        state.withLock { $0.hasListener = listener != nil }
    }

    // MARK: Metadata

    /// Takes over what the metadata log says of the partition.
    func apply(_ assignment: PartitionAssignment, now: Int64) -> ReplicaRoleChange {
        let (change, effects) = state.withLock { state -> (ReplicaRoleChange, PartitionEffects) in
            if state.isOffline { return (.unchanged, PartitionEffects()) }
            let change = state.replica.apply(assignment, log: state.offsets, now: now)
            var effects = PartitionEffects()
            switch change {
            case .unchanged: break
            case .leads(let isNewEpoch):
                if isNewEpoch { state.log.assignLeaderEpoch(assignment.leaderEpoch) }
                advance(&state, &effects, now: now)
                state.takeAll(&effects)
            case .follows: state.takeAll(&effects)
            }
            return (change, effects)
        }
        perform(effects)
        return change
    }

    func update(configuration: LogConfiguration, throttling: ReplicaThrottling) {
        state.withLock { state in
            state.log.configuration = configuration
            state.throttling = throttling
        }
    }

    var throttling: ReplicaThrottling { state.withLock { $0.throttling } }

    var isOffline: Bool { state.withLock { $0.isOffline } }

    /// How many records this replica is behind the leader that it follows; 0 where it follows nobody.
    var followerLag: Offset { state.withLock { $0.replica.isLeader || $0.replica.assignment.leader < 0 ? 0 : $0.lag } }

    /// The log's directory has failed: the replica neither leads nor follows any more, and whoever waits for it is told.
    func takeOffline() {
        let effects = state.withLock { state in
            state.isOffline = true
            state.replica.remove()
            var effects = PartitionEffects()
            state.takeAll(&effects)
            return effects
        }
        perform(effects)
    }

    /// Removes the partition; its files go later.
    func delete(now: Timestamp) throws(StorageError) {
        let (outcome, effects) = state.withLock { state -> (Result<Void, StorageError>, PartitionEffects) in
            state.replica.remove()
            var effects = PartitionEffects()
            state.takeAll(&effects)
            return (
                Result { () throws(StorageError) in try state.noting { log throws(StorageError) in try log.delete(now: now) } }, effects
            )
        }
        perform(effects)
        try outcome.get()
    }

    // MARK: High watermark

    /// Moves the leader's high watermark as far as the followers allow.
    func advance(_ state: inout State, _ effects: inout PartitionEffects, now: Int64) {
        guard state.replica.isLeader else { return }
        let moved: Bool
        if state.replica.followers.isEmpty {
            // The only replica: what it holds is replicated everywhere it has to be.
            moved = state.log.advanceHighWatermark(to: state.log.logEndOffset)
        } else {
            let offset = state.replica.advancedHighWatermark(
                log: state.offsets, minimumInSync: state.log.configuration.minInSyncReplicas,
                lagMilliseconds: environment.settings.lagTimeMaxMilliseconds, live: environment.live, now: now)
            moved = offset.map { state.log.advanceHighWatermark(to: $0) } ?? false
        }
        if moved {
            state.followSourceStart()
            state.highWatermarkMoved(&effects)
        }
    }

    // MARK: Logs for the control paths

    /// Runs `body` with the log, for the control paths.
    func withLog<Value: Sendable>(_ body: (PartitionLog) throws(StorageError) -> Value) throws(StorageError) -> Value {
        try state.withLock { state in Result { () throws(StorageError) in try state.noting(body) } }.get()
    }

    /// As `withLog`, for leaders only, with the client's leader epoch checked (-1 for none).
    func withLeaderLog<Value: Sendable>(
        currentLeaderEpoch: LeaderEpoch, _ body: (PartitionLog) throws(StorageError) -> Value
    ) throws(PartitionError) -> Value {
        let outcome = state.withLock { state -> Result<Value, PartitionError> in
            if let failure = state.check(currentLeaderEpoch: currentLeaderEpoch, onlyLeader: true) { return .failure(failure) }
            do throws(StorageError) { return .success(try body(state.log)) } catch { return .failure(state.failure(error)) }
        }
        return try outcome.get()
    }

    /// As `withLeaderLog`, for offsets that a consumer asks for: not before this leader knows what is committed (KIP-207).
    func withCommittedLog<Value: Sendable>(
        currentLeaderEpoch: LeaderEpoch, _ body: (PartitionLog) throws(StorageError) -> Value
    ) throws(PartitionError) -> Value {
        let outcome = state.withLock { state -> Result<Value, PartitionError> in
            if let failure = state.check(currentLeaderEpoch: currentLeaderEpoch, onlyLeader: true) { return .failure(failure) }
            guard state.replica.knowsCommitted(highWatermark: state.log.highWatermark) else { return .failure(.offsetNotAvailable) }
            do throws(StorageError) { return .success(try body(state.log)) } catch { return .failure(state.failure(error)) }
        }
        return try outcome.get()
    }
}

extension Partition.State {
    /// Runs a step of the log; a disk that fails in it takes its directory out of service.
    func noting<Value>(_ body: (PartitionLog) throws(StorageError) -> Value) throws(StorageError) -> Value {
        do throws(StorageError) {
            return try body(log)
        } catch {
            log.logDirectory.noteFailure(error)
            throw error
        }
    }

    /// A failure of the log as the partition's, noted as `noting` does.
    func failure(_ error: StorageError) -> PartitionError {
        log.logDirectory.noteFailure(error)
        return .storage(error)
    }

    var offlineFailure: PartitionError? { isOffline ? .storage(.offline(path: log.logDirectory.path)) : nil }

    var offsets: ReplicaLogOffsets {
        ReplicaLogOffsets(startOffset: log.logStartOffset, endOffset: log.logEndOffset, highWatermark: log.highWatermark)
    }

    /// Everybody waiting looks again.
    mutating func takeAll(_ effects: inout PartitionEffects) {
        effects.wakes += consumers
        effects.wakes += followers
        for (_, entry) in producers { effects.wakes.append(entry) }
        for (_, entry) in deletions { effects.wakes.append(entry) }
        deletions = []
        consumers = []
        followers = []
        producers = []
    }

    mutating func highWatermarkMoved(_ effects: inout PartitionEffects) {
        let offset = log.highWatermark
        if hasListener { effects.highWatermark = offset }
        if !consumers.isEmpty {
            effects.wakes += consumers
            consumers = []
        }
        answerProducers(&effects)
    }

    /// Readers of committed transactions see more, though nothing more is replicated.
    mutating func stableOffsetMoved(_ effects: inout PartitionEffects) {
        if consumers.isEmpty { return }
        effects.wakes += consumers
        consumers = []
    }

    mutating func logEndMoved(_ effects: inout PartitionEffects) {
        if followers.isEmpty { return }
        effects.wakes += followers
        followers = []
    }

    func check(currentLeaderEpoch: LeaderEpoch, onlyLeader: Bool) -> PartitionError? {
        if let offlineFailure { return offlineFailure }
        do throws(LeaderEpochFailure) {
            try replica.check(currentLeaderEpoch: currentLeaderEpoch, onlyLeader: onlyLeader)
            return nil
        } catch {
            switch error {
            case .notLeader: return .notLeader
            case .fenced: return .fencedLeaderEpoch
            case .unknown: return .unknownLeaderEpoch
            }
        }
    }
}
