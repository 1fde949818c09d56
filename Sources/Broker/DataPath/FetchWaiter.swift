// A long-polling fetch's entry in the partitions that it waits for. It costs no thread, task or promise: an append takes the
// entries out of the partition and posts each one, once, to the loop on which its connection lives.
import NIOCore
import Synchronization

/// Wakes one waiting fetch on its own event loop.
final class FetchWaiter: Sendable {
    private let eventLoop: any EventLoop
    private let posted = Atomic<Bool>(false)
    private let action: @Sendable () -> Void

    /// - Parameter action: tries to complete the fetch; called on the loop, once until `rearm`.
    init(eventLoop: any EventLoop, action: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.action = action
    }

    static func wake(_ waiters: [FetchWaiter]) {
        for waiter in waiters where !waiter.posted.exchange(true, ordering: .acquiringAndReleasing) {
            waiter.eventLoop.execute(waiter.action)
        }
    }

    /// Lets the waiter be posted again, before it enters partitions another time.
    func rearm() {
        posted.store(false, ordering: .releasing)
    }
}
