// A waiting request's entry in the partitions that it waits for. It costs no thread, task or promise: what the request waits for takes
// the entries out of the partition and posts each request, once, to the loop on which its connection lives.
import NIOCore
import Synchronization

/// Wakes one waiting request on its own event loop.
final class FetchWaiter: Sendable {
    private struct State {
        var isPosted = false
        var woken: [Int] = []
    }

    private let eventLoop: any EventLoop
    private let state = Mutex(State())
    private let action: @Sendable () -> Void

    /// - Parameter action: tries to complete the request; called on the loop, once until `rearm`.
    init(eventLoop: any EventLoop, action: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.action = action
    }

    static func wake(_ entries: [WaitEntry]) {
        for entry in entries {
            let mustPost = entry.waiter.state.withLock { state in
                state.woken.append(entry.token)
                defer { state.isPosted = true }
                return !state.isPosted
            }
            if mustPost { entry.waiter.eventLoop.execute(entry.waiter.action) }
        }
    }

    /// Lets the waiter be posted again, before it enters partitions another time. Returns the tokens of the entries taken out.
    func rearm() -> [Int] {
        state.withLock { state in
            state.isPosted = false
            defer { state.woken = [] }
            return state.woken
        }
    }
}

/// A waiter in one of the partitions that it waits for.
struct WaitEntry: Sendable {
    let waiter: FetchWaiter
    /// Tells the waiter which partition it was.
    let token: Int
}
