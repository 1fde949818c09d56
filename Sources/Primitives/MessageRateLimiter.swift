// A message that anyone on the network can provoke must not be able to fill the disk: it is written once per interval, with the
// number of times it was held back.
import Synchronization

/// Decides whether a repeated message is due. One instance per kind of message; safe from every thread.
public final class MessageRateLimiter: Sendable {
    private struct State {
        var lastMilliseconds: Int64?
        var suppressed = 0
    }

    private let intervalMilliseconds: Int64
    private let state = Mutex(State())

    public init(intervalMilliseconds: Int64) {
        self.intervalMilliseconds = intervalMilliseconds
    }

    /// The number of messages held back since the last one if a message is due now, else nil (and this one is held back too).
    /// - Parameter now: monotonic milliseconds.
    public func admit(now: Int64) -> Int? {
        state.withLock { state in
            if let last = state.lastMilliseconds, now - last < intervalMilliseconds {
                state.suppressed += 1
                return nil
            }
            defer {
                state.lastMilliseconds = now
                state.suppressed = 0
            }
            return state.suppressed
        }
    }
}
