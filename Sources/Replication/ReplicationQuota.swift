// How many bytes a second replication may move in one direction (KIP-73), measured as Kafka measures it: over a window of samples, from
// the oldest sample on. A read may overshoot, and what follows waits until the average is back below the bound.
import Primitives

/// The rate of one direction on one broker, and its bound. Times are monotonic milliseconds.
public struct ReplicationQuota: Sendable {
    private struct Sample: Sendable {
        var start: Int64
        var last: Int64
        var bytes: Int64
    }

    /// Bytes a second; `.max` for none.
    public var bytesPerSecond: Int64 = .max
    private let sampleCount: Int
    private let sampleMilliseconds: Int64
    /// Ascending; one more than `sampleCount`, since the oldest overlaps the window's beginning.
    private var samples: [Sample] = []

    /// - Parameters:
    ///   - samples: `replication.quota.window.num`.
    ///   - milliseconds: `replication.quota.window.size.seconds`.
    public init(samples: Int = 11, milliseconds: Int64 = 1000) {
        sampleCount = max(1, samples)
        sampleMilliseconds = max(1, milliseconds)
    }

    public var isLimited: Bool { bytesPerSecond != .max }

    public mutating func record(bytes: Int, now: Int64) {
        purge(now: now)
        if let last = samples.last, now - last.start < sampleMilliseconds {
            samples[samples.count - 1].bytes += Int64(bytes)
            samples[samples.count - 1].last = now
            return
        }
        if samples.count > sampleCount { samples.removeFirst() }
        samples.append(Sample(start: now, last: now, bytes: Int64(bytes)))
    }

    /// How long from now until the rate is within its bound; 0 when it is.
    public mutating func millisecondsUntilWithin(now: Int64) -> Int64 {
        guard isLimited else { return 0 }
        purge(now: now)
        guard let oldest = samples.first else { return 0 }
        let total = samples.reduce(0) { $0 + $1.bytes }
        // The first sample counts as whole, or a single read would be taken for an enormous rate.
        let elapsed = max(now - oldest.start, sampleMilliseconds)
        let (needed, overflow) = total.multipliedReportingOverflow(by: 1000)
        if overflow || bytesPerSecond <= 0 { return total > 0 ? sampleMilliseconds : 0 }
        if needed <= elapsed.multipliedReportingOverflow(by: bytesPerSecond).partialValue { return 0 }
        return max(1, (needed + bytesPerSecond - 1) / bytesPerSecond - (now - oldest.start))
    }

    private mutating func purge(now: Int64) {
        let age = Int64(sampleCount) * sampleMilliseconds
        samples.removeAll { now - $0.last >= age }
    }
}
