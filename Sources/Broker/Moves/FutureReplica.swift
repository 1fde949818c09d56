// A replica on its way to another directory of this broker (KIP-113): the copy, and what the partition does with it under its lock.
import Primitives
import Storage
import Synchronization

/// A copy of a partition's log in another directory.
final class FutureReplica: Sendable {
    let directory: LogDirectory
    /// Taken after the partition's lock where both are.
    private let log: Mutex<PartitionLog>

    init(_ log: PartitionLog) {
        directory = log.logDirectory
        self.log = Mutex(log)
    }

    var logEndOffset: Offset { log.withLock { $0.logEndOffset } }
    var sizeInBytes: Int { log.withLock { $0.sizeInBytes } }

    func withLog<Value: Sendable>(_ body: (PartitionLog) throws(StorageError) -> Value) throws(MoveFailure) -> Value {
        let outcome = log.withLock { log in Result { () throws(StorageError) in try body(log) } }
        do throws(StorageError) { return try outcome.get() } catch { throw .copy(error) }
    }
}

/// Which of the two logs a step of a move failed at: only that one's directory may be to blame.
enum MoveFailure: Error {
    case source(StorageError)
    case copy(StorageError)

    static func atSource<Value>(_ body: () throws(StorageError) -> Value) throws(MoveFailure) -> Value {
        do throws(StorageError) { return try body() } catch { throw .source(error) }
    }
}

/// What there is to copy next.
enum CopyStep {
    case records(LogSlice)
    /// The log's start has moved beyond the copy's end.
    case restart(Offset)
    case caughtUp
    /// The move was given up, or the partition is out of service.
    case over
}

/// What came of the attempt to put a copy in its log's place.
enum Promotion {
    case done(from: LogDirectory)
    /// The log has moved on too far.
    case notYet
    case over
}

extension Partition {
    /// The most that is copied while the partition's lock is held, in bytes.
    private static let lastCopyBytes = 1 << 20

    var future: FutureReplica? { state.withLock { $0.future } }

    /// The log and its copy of one moment.
    func withLogAndCopy<Value: Sendable>(_ body: (PartitionLog, FutureReplica?) -> Value) -> Value {
        state.withLock { body($0.log, $0.future) }
    }

    /// Begins a move, unless there is one.
    func begin(_ future: FutureReplica) -> Bool {
        state.withLock { state in
            guard state.future == nil, !state.isOffline else { return false }
            state.future = future
            state.lowestCut = nil
            state.log.pauseCleaning(true)
            return true
        }
    }

    /// Gives up a move; false when that is over already.
    func giveUp(_ future: FutureReplica) -> Bool {
        state.withLock { state in
            guard state.future === future else { return false }
            state.future = nil
            state.lowestCut = nil
            state.log.pauseCleaning(false)
            return true
        }
    }

    /// What the copy lacks; `cut` is where the log was cut since the last call, and the copy has to be cut first.
    func nextCopy(to future: FutureReplica, maxBytes: Int) throws(MoveFailure) -> (step: CopyStep, cut: Offset?) {
        let outcome = state.withLock { state -> Result<(step: CopyStep, cut: Offset?), MoveFailure> in
            guard state.future === future, !state.isOffline else { return .success((.over, nil)) }
            let cut = state.lowestCut
            state.lowestCut = nil
            do throws(MoveFailure) {
                return .success((try state.step(from: min(future.logEndOffset, cut ?? .max), maxBytes), cut))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    /// Whether the log was cut since it was last asked for what to copy.
    var wasCut: Bool { state.withLock { $0.lowestCut != nil } }

    /// Copies what is left, if that is little, and puts the copy in the log's place.
    func promote(_ future: FutureReplica, now: Timestamp) throws(MoveFailure) -> Promotion {
        let outcome = state.withLock { state -> Result<Promotion, MoveFailure> in
            guard state.future === future, !state.isOffline else { return .success(.over) }
            if future.directory.isOffline { return .failure(.copy(.offline(path: future.directory.path))) }
            guard state.lowestCut == nil else { return .success(.notYet) }
            do throws(MoveFailure) {
                if case .records(let slice) = try state.step(from: future.logEndOffset, Self.lastCopyBytes) {
                    let bytes = try MoveFailure.atSource { () throws(StorageError) in try slice.wholeBatches() }
                    try future.withLog { log throws(StorageError) in try log.copy(bytes, now: now) }
                }
                guard future.logEndOffset == state.log.logEndOffset else { return .success(.notYet) }
                let old = state.log
                state.log = try future.withLog { log throws(StorageError) in
                    try log.takePlace(of: old, now: now)
                }
                state.future = nil
                directory.withLock { $0 = future.directory }
                // What cannot be renamed now is found in two places at the next start, and the metadata decide.
                try? old.delete(now: now)
                return .success(.done(from: old.logDirectory))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }
}

extension Partition.State {
    fileprivate func step(from offset: Offset, _ maxBytes: Int) throws(MoveFailure) -> CopyStep {
        if offset >= log.logEndOffset { return .caughtUp }
        if offset < log.logStartOffset { return .restart(log.logStartOffset) }
        let read = try MoveFailure.atSource { () throws(StorageError) in
            try log.read(from: offset, maxBytes: maxBytes, minOneBatch: true, isolation: .logEnd)
        }
        return read.slice.map { .records($0) } ?? .caughtUp
    }

    /// The log was cut: a copy of it has to be cut as well before it goes on.
    mutating func noteCut() {
        guard future != nil else { return }
        lowestCut = min(lowestCut ?? .max, log.logEndOffset)
    }
}
