// A DeleteRecords request whose records are gone here and not yet on every live replica: until then another replica could still serve
// them (KIP-107). Lives on its connection's event loop; costs an entry in each partition that it waits for, and one timer.
import KafkaWire
import NIOCore
import Primitives
import Replication

/// One partition of a DeleteRecords request.
struct DeletionWait {
    /// In the caller's list.
    var index: Int
    var partition: Partition
    /// What the log starts of all live replicas have to reach.
    var offset: Offset
}

/// A DeleteRecords request that waits for the followers.
final class DeleteRecordsOperation {
    private var waits: [DeletionWait]
    private let settle: (Int, ErrorCode, Offset) -> Void
    private let complete: () -> Void
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?

    /// - Parameters:
    ///   - settle: notes what became of a partition: the error, and how far all live replicas are.
    ///   - complete: called once, on the loop.
    init(_ waits: [DeletionWait], settle: @escaping (Int, ErrorCode, Offset) -> Void, complete: @escaping () -> Void) {
        self.waits = waits
        self.settle = settle
        self.complete = complete
    }

    func start(on eventLoop: any EventLoop, timeoutMilliseconds: Int32) {
        settleDone()
        if waits.isEmpty { return complete() }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let waiter = FetchWaiter(eventLoop: eventLoop) { bound.value.retry() }
        self.waiter = waiter
        deadline = eventLoop.scheduleTask(in: .milliseconds(Int64(max(0, timeoutMilliseconds)))) { bound.value.expire() }
        for wait in waits { enter(waiter, wait) }
    }

    private func retry() {
        guard let waiter else { return }
        _ = waiter.rearm()
        settleDone()
        if waits.isEmpty { return finish() }
        for wait in waits {
            wait.partition.forgetDeletion(waiter)
            enter(waiter, wait)
        }
    }

    private func expire() {
        guard waiter != nil else { return }
        settleDone()
        for wait in waits { settle(wait.index, .requestTimedOut, -1) }
        finish()
    }

    private func enter(_ waiter: FetchWaiter, _ wait: DeletionWait) {
        wait.partition.wait(WaitEntry(waiter: waiter, token: wait.index), forLowWatermark: wait.offset)
    }

    private func settleDone() {
        waits.removeAll { wait in
            do throws(PartitionError) {
                let reached = try wait.partition.lowWatermark()
                guard reached >= wait.offset else { return false }
                settle(wait.index, .none, reached)
            } catch {
                settle(wait.index, error.errorCode, -1)
            }
            return true
        }
    }

    private func finish() {
        deadline?.cancel()
        deadline = nil
        if let waiter {
            for wait in waits { wait.partition.forgetDeletion(waiter) }
        }
        waiter = nil
        complete()
    }
}

extension Partition {
    /// The smallest log start of this leader and the live followers.
    func lowWatermark() throws(PartitionError) -> Offset {
        try state.withLock { state in
            if let failure = state.check(currentLeaderEpoch: -1, onlyLeader: true) {
                return Result<Offset, PartitionError>.failure(failure)
            }
            return .success(state.replica.lowWatermark(log: state.offsets, live: environment.live))
        }.get()
    }

    /// Notes a request that waits until the low watermark has reached `offset`, unless it has, or never will here.
    func wait(_ entry: WaitEntry, forLowWatermark offset: Offset) {
        let isWaiting = state.withLock { state in
            guard state.replica.isLeader, state.replica.lowWatermark(log: state.offsets, live: environment.live) < offset else {
                return false
            }
            state.deletions.append((offset, entry))
            return true
        }
        if !isWaiting { FetchWaiter.wake([entry]) }
    }

    func forgetDeletion(_ waiter: FetchWaiter) {
        state.withLock { state in state.deletions.removeAll { $0.entry.waiter === waiter } }
    }

    /// Other brokers are alive than before: the low watermark may have moved.
    func liveBrokersChanged() {
        var effects = PartitionEffects()
        state.withLock { state in
            if !state.deletions.isEmpty { state.lowWatermarkMoved(&effects, live: environment.live) }
        }
        perform(effects)
    }
}

extension Partition.State {
    mutating func lowWatermarkMoved(_ effects: inout PartitionEffects, live: LiveBrokers) {
        let offset = replica.lowWatermark(log: offsets, live: live)
        deletions.removeAll { deletion in
            guard deletion.offset <= offset else { return false }
            effects.wakes.append(deletion.entry)
            return true
        }
    }
}
