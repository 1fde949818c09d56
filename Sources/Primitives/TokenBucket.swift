// What may be done at once and how it comes back (KIP-599): partitions that are created and deleted come in bursts, for which a rate
// over a window is too blunt.

/// Tokens that refill at a rate; taking more than there are makes a debt (Kafka's `TokenBucket`). Times are monotonic milliseconds.
public struct TokenBucket: Sendable {
    /// Tokens a second.
    public var rate: Double
    /// How many seconds' worth it holds.
    private let burstSeconds: Double
    private var tokens: Double
    private var updatedAt: Int64?

    /// - Parameter burstSeconds: `controller.quota.window.num` times `controller.quota.window.size.seconds`.
    public init(rate: Double, burstSeconds: Double) {
        self.rate = rate
        self.burstSeconds = burstSeconds
        tokens = rate * burstSeconds
    }

    /// What is left; below zero there is a debt.
    public mutating func tokens(now: Int64) -> Double {
        let capacity = rate * burstSeconds
        if let updatedAt, now > updatedAt { tokens += rate * Double(now - updatedAt) / 1000 }
        updatedAt = max(now, updatedAt ?? now)
        tokens = min(capacity, tokens)
        return tokens
    }

    /// Takes tokens whether or not there are enough.
    public mutating func take(_ count: Double, now: Int64) {
        tokens = self.tokens(now: now) - count
    }

    /// How long until the debt is paid; 0 without one.
    public mutating func debtMilliseconds(now: Int64) -> Int64 {
        let tokens = tokens(now: now)
        guard tokens < 0 else { return 0 }
        guard rate > 0 else { return Int64(Int32.max) }
        let wait = -tokens / rate * 1000
        return wait < Double(Int32.max) ? Int64(wait.rounded()) : Int64(Int32.max)
    }
}
