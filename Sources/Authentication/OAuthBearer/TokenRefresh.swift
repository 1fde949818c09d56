// When a token is to be replaced, and how long to wait after an endpoint did not give one: Kafka's rules for logins that end
// (`sasl.login.refresh.*`, `sasl.login.retry.*`). No clock and no randomness: both are handed in.

/// `sasl.login.refresh.*`.
public struct TokenRefresh: Sendable, Hashable {
    /// `sasl.login.refresh.window.factor`: the part of a token's life after which it is replaced.
    public var windowFactor = 0.8
    /// `sasl.login.refresh.window.jitter`: up to this part of its life later.
    public var windowJitter = 0.05
    /// `sasl.login.refresh.min.period.seconds`: not sooner than this from now.
    public var minimumPeriodSeconds: Int64 = 60
    /// `sasl.login.refresh.buffer.seconds`: not later than this before its end.
    public var bufferSeconds: Int64 = 300
    /// Even where a token has ended already: nothing is asked for without a pause.
    static let shortestPauseMilliseconds: Int64 = 1000

    public init() {}

    /// Milliseconds from now until the token is to be replaced.
    ///
    /// - Parameters:
    ///   - now: milliseconds since 1970.
    ///   - random: from 0 to 1.
    public func pauseMilliseconds(_ token: IssuedToken, now: Int64, random: Double) -> Int64 {
        max(Self.shortestPauseMilliseconds, due(token, now: now, random: random) - now)
    }

    private func due(_ token: IssuedToken, now: Int64, random: Double) -> Int64 {
        let part = windowFactor + windowJitter * random
        let end = token.expirationMilliseconds
        // Kafka tries every ten seconds with a token that has ended: an issuer's clock may be behind.
        if now > end { return now + 10_000 }
        // A life that is shorter than both together knows neither.
        if now + 1000 * (minimumPeriodSeconds + bufferSeconds) > end { return now + Int64(Double(end - now) * part) }
        let start = token.issuedAtMilliseconds ?? now
        let proposed = start + Int64(Double(end - start) * part)
        if proposed > end - 1000 * bufferSeconds { return end - 1000 * bufferSeconds }
        return max(proposed, now + 1000 * minimumPeriodSeconds)
    }
}

/// `sasl.login.retry.backoff.ms` and `sasl.login.retry.backoff.max.ms`.
public struct LoginRetry: Sendable, Hashable {
    /// The pause after a first failure, doubled with each further one.
    public var backoffMilliseconds: Int64 = 100
    /// The longest pause; also how long Kafka's clients go on before they give up.
    public var maximumBackoffMilliseconds: Int64 = 10_000
    private static let shortestPauseMilliseconds: Int64 = 10

    public init() {}

    /// Milliseconds to wait after that many failures in a row. Where nothing is to be hoped for from asking again soon, the longest.
    public func pauseMilliseconds(failures: Int, isRetriable: Bool = true) -> Int64 {
        let first = max(Self.shortestPauseMilliseconds, backoffMilliseconds)
        let (doubled, overflow) = first.multipliedReportingOverflow(by: 1 << Int64(max(0, min(failures - 1, 30))))
        let pause = overflow || !isRetriable ? Int64.max : doubled
        return max(Self.shortestPauseMilliseconds, min(pause, maximumBackoffMilliseconds))
    }
}
