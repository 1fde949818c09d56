// How long to wait before trying again, so that a thousand clients of a broker that fell do not return in step.

/// Exponential waiting times with jitter of a fifth (KIP-144, KIP-580).
struct Backoff: Hashable, Sendable {
    var initialMilliseconds: Int64
    var maximumMilliseconds: Int64

    init(initial: Duration, maximum: Duration) {
        initialMilliseconds = max(0, initial.wholeMilliseconds)
        maximumMilliseconds = max(initialMilliseconds, maximum.wholeMilliseconds)
    }

    /// The waiting time after a number of failures; 0 before the first.
    func milliseconds(afterFailures failures: Int, using random: inout some RandomNumberGenerator) -> Int64 {
        guard failures > 0, initialMilliseconds > 0 else { return 0 }
        let doublings = min(failures - 1, 30)
        let (product, overflow) = initialMilliseconds.multipliedReportingOverflow(by: 1 << Int64(doublings))
        let base = overflow ? maximumMilliseconds : min(product, maximumMilliseconds)
        let jitter = Double.random(in: 0.8...1.2, using: &random)
        return min(Int64(Double(base) * jitter), max(maximumMilliseconds, 1))
    }

    func milliseconds(afterFailures failures: Int) -> Int64 {
        var random = SystemRandomNumberGenerator()
        return milliseconds(afterFailures: failures, using: &random)
    }
}
