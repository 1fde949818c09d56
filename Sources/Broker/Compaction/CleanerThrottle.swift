// How fast the cleaner may read and write: `log.cleaner.io.max.bytes.per.second` for all of its threads together.
import Glibc
import Primitives
import Storage
import Synchronization

/// Makes threads wait so that on average no more bytes pass than allowed.
final class CleanerThrottle: Sendable {
    private struct State {
        var bytesPerSecond = Double.infinity
        /// On the monotonic clock: when what was let through is paid for.
        var paidAt: Int64 = 0
    }

    private let state = Mutex(State())
    /// What may pass at once after a rest, in seconds of the rate.
    private static let burstSeconds = 0.1
    /// How soon an aborted cleaning notices.
    private static let longestSleepNanoseconds: Int64 = 20_000_000

    func update(bytesPerSecond: Double) {
        state.withLock { state in
            state.bytesPerSecond = bytesPerSecond > 0 ? bytesPerSecond : .infinity
            state.paidAt = 0
        }
    }

    /// Waits until `bytes` may pass, or the cleaning is aborted.
    func pace(_ bytes: Int, _ control: CleaningControl) {
        let now = SystemClock.monotonicNanoseconds()
        let due = state.withLock { state -> Int64 in
            let cost = Double(bytes) / state.bytesPerSecond * 1e9
            guard cost >= 1 else { return now }
            let burst = Int64(Self.burstSeconds * 1e9)
            state.paidAt = max(state.paidAt, now - burst) &+ Int64(min(cost, 1e15))
            return state.paidAt
        }
        while !control.isAborted {
            let left = due - SystemClock.monotonicNanoseconds()
            guard left > 0 else { return }
            var pause = timespec(tv_sec: 0, tv_nsec: Int(min(left, Self.longestSleepNanoseconds)))
            nanosleep(&pause, nil)
        }
    }
}
