// A share partition on its leader: the core behind a lock, with those who wait for it, and what it has to read and to store.
import KafkaWire
import NIOCore
import Observability
import Primitives
import RecordBatches
import Replication
import ShareCoordination
import Storage
import Synchronization

/// What one partition gives to a share fetch.
enum SharePartitionFetch {
    case records(ByteBuffer, [AcquiredRecords])
    /// Nothing to be had: the high watermark that was seen, and how often something had changed by then.
    case nothing(seen: Offset, changes: UInt64)
    case failed(ErrorCode)
}

/// One share partition that this broker serves.
final class SharePartitionEntry: Sendable {
    private enum Phase {
        /// The share coordinator has been asked.
        case loading
        case active(SharePartition)
        /// Of no use any more: whoever comes next begins a new one.
        case ended(ErrorCode)
    }

    private struct State {
        var phase = Phase.loading
        var waiters: [WaitEntry] = []
        var changes: UInt64 = 0
    }

    let key: SharePartitionKey
    let partition: Partition
    let leaderEpoch: LeaderEpoch
    let metrics: ShareGroupMetrics
    private let lockTimeouts = Counter()
    private let persister: ShareStatePersister
    private let onEnd: @Sendable (SharePartitionEntry) -> Void
    private let state = Mutex(State())
    /// When the first lock ends, so that a tick need not take every lock.
    private let nextDeadline = Atomic<Int64>(.max)

    /// - Parameter onEnd: called when it is of no use any more, without its lock.
    init(
        key: SharePartitionKey, partition: Partition, leaderEpoch: LeaderEpoch, persister: ShareStatePersister,
        metrics: ShareGroupMetrics, onEnd: @escaping @Sendable (SharePartitionEntry) -> Void
    ) {
        self.key = key
        self.partition = partition
        self.leaderEpoch = leaderEpoch
        self.persister = persister
        self.metrics = metrics
        self.onEnd = onEnd
    }

    // MARK: Beginning and end

    /// Reads the state from the share coordinator.
    func load(_ settings: ShareGroupOverrides) {
        let start = SystemClock.monotonicNanoseconds()
        persister.read(key, leaderEpoch: leaderEpoch) { [self] result in
            metrics.loadTime.record(nanoseconds: SystemClock.monotonicNanoseconds() - start)
            switch result {
            case .failure(let refusal): end(refusal.code.asShareError)
            case .success(let stored):
                do throws(PartitionError) {
                    let start = stored.startOffset >= 0 ? stored.startOffset : try offset(for: settings.autoOffsetReset)
                    begin(SharePartition(state: stored, leaderEpoch: leaderEpoch, startOffset: start, settings: settings.partition))
                } catch {
                    end(error.errorCode)
                }
            }
        }
    }

    private func begin(_ core: SharePartition) {
        change { state in
            guard case .loading = state.phase else { return false }
            state.phase = .active(core)
            return true
        }
    }

    /// Another broker leads, the group is gone, or the state cannot be had: who waits is told.
    func end(_ error: ErrorCode) {
        change { state in
            if case .ended = state.phase { return false }
            state.phase = .ended(error)
            return true
        }
        nextDeadline.store(.max, ordering: .relaxed)
        onEnd(self)
    }

    private func offset(for reset: ShareAutoOffsetReset) throws(PartitionError) -> Offset {
        try partition.withCommittedLog(currentLeaderEpoch: leaderEpoch) { log throws(StorageError) in
            switch reset {
            case .earliest: return log.logStartOffset
            case .latest: return log.highWatermark
            case .duration(let milliseconds):
                guard let found = try log.offset(forTimestamp: SystemClock.now() - milliseconds), found.offset < log.highWatermark else {
                    return log.highWatermark
                }
                return found.offset
            }
        }
    }

    // MARK: Fetching

    /// Acquires records for a member and reads them.
    func fetch(
        _ member: String, _ limits: ShareFetchLimits, maximumBytes: Int, settings: ShareGroupOverrides, now: Int64
    ) -> SharePartitionFetch {
        state.withLock { state in
            switch state.phase {
            case .loading: return .nothing(seen: -1, changes: state.changes)
            // Kafka's consumers take no such answer: they get nothing, and the next fetch begins the share partition anew.
            case .ended(.coordinatorNotAvailable): return .nothing(seen: -1, changes: state.changes)
            case .ended(.groupIdNotFound): return .failed(.unknownServerError)
            case .ended(let error): return .failed(error)
            case .active(var core):
                // The copy below must be the only one, or every change would copy the runs.
                state.phase = .loading
                core.settings = settings.partition
                let result = fetch(&core, member, limits, maximumBytes, settings.isolation, state.changes, now)
                nextDeadline.store(core.nextDeadline ?? .max, ordering: .relaxed)
                state.phase = .active(core)
                return result
            }
        }
    }

    private func fetch(
        _ core: inout SharePartition, _ member: String, _ limits: ShareFetchLimits, _ maximumBytes: Int, _ isolation: ReadIsolation,
        _ changes: UInt64, _ now: Int64
    ) -> SharePartitionFetch {
        var seen: Offset = -1
        while core.canAcquire {
            let offset = core.nextFetchOffset
            do throws(PartitionError) {
                let read = try partition.read(
                    FetchRead(
                        fetchOffset: offset, maxBytes: maximumBytes, minOneBatch: true, currentLeaderEpoch: leaderEpoch),
                    FetchReader(isolation: isolation))
                seen = read.log.highWatermark
                guard let slice = read.log.slice else { break }
                let bytes: ByteBuffer
                do throws(StorageError) { bytes = try slice.wholeBatches() } catch { return .failed(error.errorCode) }
                guard let batches = ShareReadBatches(bytes, aborted: read.log.abortedTransactions), !batches.extents.isEmpty else { break }
                var acquired = core.acquire(member, ShareRead(fetchOffset: offset, batches: batches.extents), limits, now: now)
                if !batches.aborted.isEmpty { acquired = core.dropAborted(batches.aborted, from: acquired) }
                if let first = acquired.first, let last = acquired.last {
                    return .records(batches.slice(bytes, from: first.firstOffset, to: last.lastOffset), acquired)
                }
                // Everything was aborted, or gone: what follows may be better.
                guard core.nextFetchOffset > offset else { break }
            } catch {
                guard case .storage(.offsetOutOfRange(_, let start, _)) = error, start > offset else { return .failed(error.errorCode) }
                core.logStartMoved(to: start)
            }
        }
        return .nothing(seen: seen, changes: changes)
    }

    /// Bytes that a fetch would find, without acquiring anything, and what it saw; see ``SharePartitionFetch/nothing(seen:changes:)``.
    func availableBytes(maximumBytes: Int, isolation: ReadIsolation) -> (bytes: Int, seen: Offset, changes: UInt64) {
        let (offset, changes) = state.withLock { state -> (Offset?, UInt64) in
            guard case .active(let core) = state.phase, core.canAcquire else { return (nil, state.changes) }
            return (core.nextFetchOffset, state.changes)
        }
        guard let offset else { return (0, -1, changes) }
        let position = FetchRead(fetchOffset: offset, maxBytes: maximumBytes, minOneBatch: true, currentLeaderEpoch: leaderEpoch)
        // What cannot be read now is found out by the fetch itself.
        guard let read = try? partition.read(position, FetchReader(isolation: isolation)) else { return (maximumBytes, -1, changes) }
        return (read.log.slice?.length ?? 0, read.log.highWatermark, changes)
    }

    // MARK: Taking records back

    /// Takes in what a member says of its records; calls back when it counts.
    func acknowledge(
        _ member: String, _ acknowledgements: [ShareAcknowledgement], settings: ShareGroupOverrides, now: Int64,
        completion answer: @escaping @Sendable (ShareStateRefusal?) -> Void
    ) {
        let outcome = step { core throws(ShareStateRefusal) in
            core.settings = settings.partition
            return try core.acknowledge(member, acknowledgements, now: now)
        }
        @Sendable func completion(_ refusal: ShareStateRefusal?) {
            if refusal == nil { metrics.count(acknowledgements) }
            answer(refusal)
        }
        switch outcome {
        case .failure(let refusal): completion(refusal)
        case .success(nil): completion(nil)
        case .success(let transition?): store(transition, completion: completion)
        }
    }

    /// Lets go of everything that a member has.
    func release(_ member: String, completion: @escaping @Sendable () -> Void) {
        guard case .success(let transition?) = step({ core in core.release(member) }) else { return completion() }
        store(transition) { _ in completion() }
    }

    /// Takes records back whose time is over.
    func expire(now: Int64) {
        guard nextDeadline.load(ordering: .relaxed) <= now else { return }
        guard case .success(let transition?) = step({ core in core.expire(now: now) }) else { return }
        lockTimeouts.increment(by: transition.update.batches.reduce(0) { $0 + Int($1.lastOffset - $1.firstOffset + 1) })
        notify()
        store(transition) { _ in }
    }

    private func step(
        _ body: (inout SharePartition) throws(ShareStateRefusal) -> ShareTransition?
    ) -> Result<ShareTransition?, ShareStateRefusal> {
        state.withLock { state in
            switch state.phase {
            case .loading: return .failure(ShareStateRefusal(.invalidRecordState))
            case .ended(let error): return .failure(ShareStateRefusal(error))
            case .active(var core):
                state.phase = .loading
                defer {
                    nextDeadline.store(core.nextDeadline ?? .max, ordering: .relaxed)
                    state.phase = .active(core)
                }
                do throws(ShareStateRefusal) { return .success(try body(&core)) } catch { return .failure(error) }
            }
        }
    }

    /// Looks at the share partition; nil when it is not active.
    func read<Value>(_ body: (SharePartition) -> Value) -> Value? {
        state.withLock { state in
            guard case .active(let core) = state.phase else { return nil }
            return body(core)
        }
    }

    /// Records that were taken back because nobody acknowledged them in time.
    var lockTimeoutCount: Int { lockTimeouts.value }

    private func store(_ transition: ShareTransition, completion: @escaping @Sendable (ShareStateRefusal?) -> Void) {
        persister.write(key, transition.update) { [self] result in
            var refusal: ShareStateRefusal?
            if case .failure(let failure) = result { refusal = failure }
            let isStored = refusal == nil
            _ = step { core in
                _ = core.complete(transition.id, isStored: isStored, now: SystemClock.monotonicMilliseconds())
                return nil
            }
            notify()
            if let code = refusal?.code, code.endsSharePartition { end(code.asShareError) }
            completion(refusal.map { ShareStateRefusal($0.code.asShareError, $0.message) })
        }
    }

    // MARK: Waiting

    /// Wakes the entry's waiter when something may be had that a fetch did not find.
    func wait(_ entry: WaitEntry, since changes: UInt64) {
        let isChanged = state.withLock { state in
            guard state.changes == changes else { return true }
            state.waiters.append(entry)
            return false
        }
        if isChanged { FetchWaiter.wake([entry]) }
    }

    func forget(_ waiter: FetchWaiter) { state.withLock { $0.waiters.removeAll { $0.waiter === waiter } } }

    private func notify() { change { _ in true } }

    private func change(_ body: (inout State) -> Bool) {
        let waiters = state.withLock { state -> [WaitEntry] in
            guard body(&state) else { return [] }
            state.changes += 1
            defer { state.waiters = [] }
            return state.waiters
        }
        if !waiters.isEmpty { FetchWaiter.wake(waiters) }
    }
}

extension ErrorCode {
    /// What clients are told when a share coordinator refuses.
    var asShareError: ErrorCode {
        switch self {
        case .notCoordinator, .coordinatorNotAvailable, .coordinatorLoadInProgress, .networkException: .coordinatorNotAvailable
        case .groupIdNotFound, .unknownTopicOrPartition: self
        case .fencedLeaderEpoch, .fencedStateEpoch: .notLeaderOrFollower
        default: .unknownServerError
        }
    }

    /// Whether the share partition as it is here cannot be right any more.
    var endsSharePartition: Bool {
        switch self {
        case .fencedLeaderEpoch, .fencedStateEpoch, .groupIdNotFound, .unknownTopicOrPartition, .invalidRequest: true
        default: false
        }
    }
}
