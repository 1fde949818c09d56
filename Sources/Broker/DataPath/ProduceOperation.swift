// A produce request with acks=all whose records are in the log but not on all replicas in sync yet. Lives on its connection's event
// loop; costs an entry in each partition that it waits for, and one timer.
import KafkaWire
import NIOCore
import Primitives

/// What one share of a produce request waits for.
struct ProduceWait {
    /// In `ProduceRequestView.partitions`.
    var index: Int
    var partition: Partition
    /// The high watermark at which the share is committed.
    var offset: Offset
    var term: UInt64
}

/// A produce request that waits for its replicas.
final class ProduceOperation {
    private var waits: [ProduceWait]
    private let settle: (Int, ErrorCode) -> Void
    private let complete: () -> Void
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?
    private var isFinished = false

    /// - Parameters:
    ///   - settle: notes what became of a share other than success.
    ///   - complete: called once on the loop, unless the operation is cancelled before.
    init(_ waits: [ProduceWait], settle: @escaping (Int, ErrorCode) -> Void, complete: @escaping () -> Void) {
        self.waits = waits
        self.settle = settle
        self.complete = complete
    }

    func start(on eventLoop: any EventLoop, timeoutMilliseconds: Int32) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let waiter = FetchWaiter(eventLoop: eventLoop) { bound.value.retry() }
        self.waiter = waiter
        deadline = eventLoop.scheduleTask(in: .milliseconds(Int64(max(0, timeoutMilliseconds)))) { bound.value.expire() }
        for wait in waits { enter(waiter, wait) }
    }

    /// The connection is gone: the records stay, nobody is answered.
    func cancel() {
        guard !isFinished else { return }
        leave()
    }

    /// The time is over, or the node stops.
    func expire() {
        guard !isFinished else { return }
        settleDone()
        for wait in waits { settle(wait.index, .requestTimedOut) }
        leave()
        complete()
    }

    private func retry() {
        guard !isFinished, let waiter else { return }
        _ = waiter.rearm()
        settleDone()
        guard waits.isEmpty else {
            for wait in waits {
                wait.partition.forgetProducer(waiter)
                enter(waiter, wait)
            }
            return
        }
        leave()
        complete()
    }

    private func enter(_ waiter: FetchWaiter, _ wait: ProduceWait) {
        wait.partition.wait(WaitEntry(waiter: waiter, token: wait.index), forCommit: wait.offset, term: wait.term)
    }

    private func settleDone() {
        waits.removeAll { wait in
            switch wait.partition.progress(of: wait.offset, term: wait.term) {
            case .waiting: return false
            case .done: return true
            case .notEnoughReplicas: settle(wait.index, .notEnoughReplicasAfterAppend)
            case .notLeader: settle(wait.index, .notLeaderOrFollower)
            case .offline: settle(wait.index, .kafkaStorageError)
            }
            return true
        }
    }

    private func leave() {
        isFinished = true
        deadline?.cancel()
        deadline = nil
        if let waiter {
            for wait in waits { wait.partition.forgetProducer(waiter) }
        }
        waiter = nil
    }
}
