// Moves replicas between the directories of this broker: copies, tells the controller where the replica is going to be, and when the
// metadata say so puts the copy in the log's place. What a crash interrupts goes on at the next start.
import ClusterMetadata
import Logging
import NIOCore
import NIOPosix
import Primitives
import Storage
import Synchronization

/// The moves of a broker.
final class ReplicaMoves: Sendable {
    private static let pause = TimeAmount.milliseconds(50)
    /// As much as a follower fetches from one partition at a time.
    private let copyBytes: Int

    private final class Move: Sendable {
        let partition: Partition
        let future: FutureReplica
        /// Whether the controller was told of the directory.
        let isAssigned = Atomic<Bool>(false)

        init(_ partition: Partition, _ future: FutureReplica) {
            self.partition = partition
            self.future = future
        }

        /// Records that the copy lacks.
        var lag: Offset {
            let end = try? partition.withLog { log throws(StorageError) in log.logEndOffset }
            return max(0, (end ?? 0) - future.logEndOffset)
        }
    }

    private struct State {
        var moves: [TopicPartition: Move] = [:]
        var pool: NIOThreadPool?
        var isStopped = false
    }

    private let state = Mutex(State())
    private let decisions = Mutex(())
    private let threads: Int
    private let throttle: ReplicationThrottle
    private let assignments: DirectoryAssignments
    private let image: @Sendable () -> MetadataImage
    private let nodeID: NodeID
    private let eventLoop: any EventLoop
    private let logger: Logger

    /// - Parameter threads: `num.replica.alter.log.dirs.threads`.
    init(
        nodeID: NodeID, threads: Int, copyBytes: Int, throttle: ReplicationThrottle, assignments: DirectoryAssignments,
        eventLoop: any EventLoop, image: @escaping @Sendable () -> MetadataImage, logger: Logger
    ) {
        self.nodeID = nodeID
        self.threads = max(1, threads)
        self.copyBytes = max(1, copyBytes)
        self.throttle = throttle
        self.assignments = assignments
        self.eventLoop = eventLoop
        self.image = image
        self.logger = logger
    }

    /// The numbers that metrics show: how many replicas are being moved, and what the copy furthest behind lacks.
    var numbers: (count: Int, maximumLag: Offset) {
        let moves = state.withLock { Array($0.moves.values) }
        return (moves.count, moves.reduce(0) { max($0, $1.lag) })
    }

    /// Decisions of clients, one after the other.
    func deciding<Value: Sendable>(_ body: () -> Value) -> Value { decisions.withLock { _ in body() } }

    /// Begins to move a replica, or goes on where an earlier life of the node was interrupted.
    func start(_ partition: Partition, _ future: FutureReplica) {
        let move = Move(partition, future)
        guard partition.begin(future) else { return discard(future) }
        let isAccepted = state.withLock { state in
            guard !state.isStopped else { return false }
            state.moves[partition.topicPartition] = move
            return true
        }
        guard isAccepted else { return }
        logger.info(
            "moving a replica to another directory",
            metadata: ["partition": "\(partition.topicPartition)", "directory": "\(future.directory.path)"])
        run(move)
    }

    /// Gives up a replica's move and deletes the copy, if there is one.
    func cancel(_ partition: Partition) {
        guard let move = state.withLock({ $0.moves.removeValue(forKey: partition.topicPartition) }) else { return }
        guard move.partition.giveUp(move.future) else { return }
        discard(move.future)
        tellDirectory(of: move.partition)
    }

    /// Gives up the moves into a directory that has failed.
    func directoryFailed(_ directory: LogDirectory) {
        let moves = state.withLock { Array($0.moves.values) }
        for move in moves where move.future.directory === directory { give(up: move, "the directory has failed") }
    }

    /// Ends copying; before logs are closed. Copies stay for the next start.
    func stop() {
        let pool = state.withLock { state in
            state.isStopped = true
            return state.pool
        }
        try? pool?.syncShutdownGracefully()
    }

    // MARK: Steps

    private func run(_ move: Move) {
        let pool = state.withLock { state -> NIOThreadPool? in
            guard !state.isStopped else { return nil }
            if let pool = state.pool { return pool }
            let pool = NIOThreadPool(numberOfThreads: threads)
            pool.start()
            state.pool = pool
            return pool
        }
        pool?.submit { [self] work in
            guard case .active = work else { return }
            step(move)
        }
    }

    private func again(_ move: Move, after delay: TimeAmount) {
        eventLoop.scheduleTask(in: delay) { [weak self] in self?.run(move) }
    }

    private func step(_ move: Move) {
        let pause = throttle.pauseMilliseconds
        if pause > 0 { return again(move, after: .milliseconds(min(pause, 1000))) }
        do throws(MoveFailure) {
            let (step, cut) = try move.partition.nextCopy(to: move.future, maxBytes: copyBytes)
            let now = SystemClock.now()
            if let cut { try move.future.withLog { log throws(StorageError) in try log.truncate(to: cut, now: now) } }
            switch step {
            case .over: return forget(move)
            case .restart(let offset):
                try move.future.withLog { log throws(StorageError) in try log.truncateFullyAndStart(at: offset, now: now) }
            case .records(let slice):
                let bytes = try MoveFailure.atSource { () throws(StorageError) in try slice.wholeBatches() }
                try move.future.withLog { log throws(StorageError) in try log.copy(bytes, now: now) }
                throttle.record(bytes: slice.length)
            case .caughtUp: return try caughtUp(move, now: now)
            }
            run(move)
        } catch {
            failed(move, error)
        }
    }

    private func failed(_ move: Move, _ failure: MoveFailure) {
        switch failure {
        // What was read may have been cut off and written anew meanwhile.
        case .source where move.partition.wasCut: run(move)
        case .copy(.corruptBatch) where move.partition.wasCut: run(move)
        case .copy(.unexpectedOffset) where move.partition.wasCut: run(move)
        case .source(let error):
            move.partition.logDirectory.noteFailure(error)
            // With its directory the replica is out of service, and the copy waits for both.
            if move.partition.logDirectory.isOffline { return forget(move) }
            give(up: move, "\(error)")
        case .copy(let error):
            move.future.directory.noteFailure(error)
            give(up: move, "\(error)")
        }
    }

    private func caughtUp(_ move: Move, now: Timestamp) throws(MoveFailure) {
        if let target = move.future.directory.properties?.directoryID, canTellDirectories {
            // Whoever deletes the topic or takes the replica away ends the move.
            let known = image().topics.topic(id: move.partition.topicID)?.partition(move.partition.topicPartition.partition)?
                .directory(of: nodeID)
            guard known == target else {
                if !move.isAssigned.exchange(true, ordering: .relaxed) {
                    // On the disk before anybody counts on it.
                    try flush(move, now: now)
                    assignments.submit(
                        TopicIDPartition(move.partition.topicID, move.partition.topicPartition.partition), directory: target)
                }
                return again(move, after: Self.pause)
            }
        }
        try flush(move, now: now)
        switch try move.partition.promote(move.future, now: now) {
        case .notYet: run(move)
        case .over: forget(move)
        case .done(let old):
            forget(move)
            logger.info(
                "a replica has moved to another directory",
                metadata: [
                    "partition": "\(move.partition.topicPartition)", "from": "\(old.path)", "to": "\(move.future.directory.path)",
                ])
        }
    }

    private func flush(_ move: Move, now: Timestamp) throws(MoveFailure) {
        try move.future.withLog { log throws(StorageError) in try log.flush(now: now) }
    }

    private var canTellDirectories: Bool { image().features.metadataVersion?.supportsDirectoryAssignment == true }

    private func forget(_ move: Move) {
        state.withLock { state in
            if state.moves[move.partition.topicPartition] === move { state.moves[move.partition.topicPartition] = nil }
        }
    }

    private func give(up move: Move, _ reason: String) {
        forget(move)
        guard move.partition.giveUp(move.future) else { return }
        logger.error(
            "a replica stays in its directory: it could not be moved",
            metadata: [
                "partition": "\(move.partition.topicPartition)", "directory": "\(move.future.directory.path)", "reason": "\(reason)",
            ])
        discard(move.future)
        tellDirectory(of: move.partition)
    }

    private func discard(_ future: FutureReplica) {
        try? future.withLog { log throws(StorageError) in log.discard(now: SystemClock.now()) }
    }

    /// The controller may count on a directory already where the replica is not going to be. What it knows is not told again.
    func tellDirectory(of partition: Partition) {
        guard canTellDirectories, let id = partition.logDirectory.properties?.directoryID else { return }
        assignments.submit(TopicIDPartition(partition.topicID, partition.topicPartition.partition), directory: id)
    }
}
