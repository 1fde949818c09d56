// Time comes into the cores from outside; this is where the outside gets it.
import Glibc

/// The machine's clocks. Cores never call it: they take `now` as an argument.
public enum SystemClock {
    /// Wall clock in milliseconds since 1970, for record timestamps and retention.
    public static func now() -> Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Monotonic clock in milliseconds, for sessions and timeouts.
    public static func monotonicMilliseconds() -> Int64 {
        monotonicNanoseconds() / 1_000_000
    }

    /// Monotonic clock in nanoseconds, for latencies.
    public static func monotonicNanoseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
