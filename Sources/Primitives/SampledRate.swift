// How fast something happens, measured as Kafka measures what quotas bound: as sums over samples of a fixed length, where a window that
// has just begun counts as nearly full, so that a client which was quiet may begin with a burst.

/// A rate per second over the last samples (Kafka's `Rate`). Times are monotonic milliseconds.
public struct SampledRate: Sendable {
    private struct Sample: Sendable {
        var start: Int64
        var last: Int64
        var value: Double
    }

    public let sampleCount: Int
    public let sampleMilliseconds: Int64
    /// Ascending; one more than `sampleCount`, since the oldest overlaps the window's beginning.
    private var samples: [Sample] = []

    /// - Parameters:
    ///   - samples: such as `quota.window.num`.
    ///   - milliseconds: the length of one, such as `quota.window.size.seconds`.
    public init(samples: Int, milliseconds: Int64) {
        sampleCount = max(1, samples)
        sampleMilliseconds = max(1, milliseconds)
    }

    /// Adds to the newest sample; negative values take back what was recorded.
    public mutating func record(_ value: Double, now: Int64) {
        if let last = samples.last, now - last.start < sampleMilliseconds {
            samples[samples.count - 1].value += value
            samples[samples.count - 1].last = now
            return
        }
        if samples.count > sampleCount { samples.removeFirst() }
        samples.append(Sample(start: now, last: now, value: value))
    }

    /// The rate per second.
    public mutating func perSecond(now: Int64) -> Double {
        let window = windowMilliseconds(now: now)
        return samples.reduce(0) { $0 + $1.value } * 1000 / Double(window)
    }

    /// How long to wait until the rate is at `bound` again; 0 while it is not above.
    public mutating func millisecondsAbove(_ bound: Double, now: Int64) -> Int64 {
        let rate = perSecond(now: now)
        guard rate > bound else { return 0 }
        guard bound > 0 else { return Int64(Int32.max) }
        let wait = (rate - bound) / bound * Double(windowMilliseconds(now: now))
        return wait < Double(Int32.max) ? Int64(wait.rounded()) : Int64(Int32.max)
    }

    /// Whether nothing was recorded within the window.
    public mutating func isIdle(now: Int64) -> Bool {
        purge(now: now)
        return samples.isEmpty
    }

    /// The time since the oldest sample, but never less than all samples save one would take.
    private mutating func windowMilliseconds(now: Int64) -> Int64 {
        purge(now: now)
        let elapsed = samples.first.map { now - $0.start } ?? 0
        let missing = max(0, Int64(sampleCount - 1) - elapsed / sampleMilliseconds)
        return max(1, elapsed + missing * sampleMilliseconds)
    }

    private mutating func purge(now: Int64) {
        let age = Int64(sampleCount) * sampleMilliseconds
        guard let first = samples.first, now - first.last >= age else { return }
        samples.removeAll { now - $0.last >= age }
    }
}

/// An average over the last minute or so, for what is shown and bounds nothing (Kafka's `Avg`, two samples of 30 s).
public struct SampledAverage: Sendable {
    private static let sampleMilliseconds: Int64 = 30_000

    private var start: Int64 = .min
    private var sum = 0.0
    private var count = 0
    private var previousSum = 0.0
    private var previousCount = 0

    public init() {}

    public mutating func record(_ value: Double, now: Int64) {
        turn(now: now)
        sum += value
        count += 1
    }

    /// NaN when there was nothing, as in Kafka.
    public mutating func average(now: Int64) -> Double {
        turn(now: now)
        return (sum + previousSum) / Double(count + previousCount)
    }

    private mutating func turn(now: Int64) {
        guard start == .min || now - start >= Self.sampleMilliseconds else { return }
        let isNext = start != .min && now - start < 2 * Self.sampleMilliseconds
        previousSum = isNext ? sum : 0
        previousCount = isNext ? count : 0
        start = now
        sum = 0
        count = 0
    }
}
