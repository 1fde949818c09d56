// What the hot paths touch: a counter, a gauge, a distribution. Each update is one or two relaxed atomic operations, takes no lock
// and allocates nothing; everything expensive happens when somebody asks for the numbers.
import Synchronization

/// A number that only grows.
public final class Counter: Sendable {
    private let storage = Atomic<Int>(0)

    public init() {}

    /// Adds to the counter; `amount` is not negative.
    @inline(__always)
    public func increment(by amount: Int = 1) {
        storage.wrappingAdd(amount, ordering: .relaxed)
    }

    /// The count so far.
    public var value: Int { storage.load(ordering: .relaxed) }
}

/// A number that goes up and down.
public final class Gauge: Sendable {
    private let storage = Atomic<Int>(0)

    public init() {}

    /// Replaces the value.
    public func set(_ value: Int) {
        storage.store(value, ordering: .relaxed)
    }

    /// Moves the value.
    public func add(_ amount: Int) {
        storage.wrappingAdd(amount, ordering: .relaxed)
    }

    /// The value now.
    public var value: Int { storage.load(ordering: .relaxed) }
}

/// Distribution of durations, kept as counts over exponentially growing ranges (8 per doubling, so a quantile is off by 6 % at most).
///
/// Quantiles are those of the present window and the one before it. A window ends when the numbers are asked for and it is older
/// than a minute, which is how "recent" latencies come without a clock on the hot path.
public final class LatencyHistogram: Sendable {
    private static let subBucketBits = 3
    private static let subBuckets = 1 << subBucketBits
    // 2^40 ns are 18 minutes; whatever lasts longer is counted there.
    private static let bucketCount = (40 - subBucketBits + 1) * subBuckets
    private static let windowNanoseconds: Int64 = 60_000_000_000

    private let windows: [Window]
    private let current = Atomic<Int>(0)
    private let windowStart: Mutex<Int64>
    private let sum = Atomic<Int>(0)
    private let total = Atomic<Int>(0)

    private final class Window: @unchecked Sendable {
        // Sound because the memory is only used through atomic operations, or cleared while it is not the current window.
        let counts: UnsafeMutablePointer<Atomic<UInt32>>

        init() {
            counts = .allocate(capacity: LatencyHistogram.bucketCount)
            for index in 0..<LatencyHistogram.bucketCount {
                (counts + index).initialize(to: Atomic<UInt32>(0))
            }
        }

        deinit {
            counts.deinitialize(count: LatencyHistogram.bucketCount)
            counts.deallocate()
        }
    }

    /// - Parameter now: monotonic nanoseconds, the start of the first window.
    public init(now: Int64) {
        windows = [Window(), Window()]
        windowStart = Mutex(now)
    }

    /// Counts one duration.
    public func record(nanoseconds: Int64) {
        let duration = UInt64(max(0, nanoseconds))
        windows[current.load(ordering: .relaxed)].counts[Self.bucket(of: duration)].wrappingAdd(1, ordering: .relaxed)
        sum.wrappingAdd(Int(truncatingIfNeeded: duration), ordering: .relaxed)
        total.wrappingAdd(1, ordering: .relaxed)
    }

    /// Number of durations counted since the start.
    public var count: Int { total.load(ordering: .relaxed) }

    /// Sum of all durations counted since the start, in nanoseconds.
    public var sumNanoseconds: Int { sum.load(ordering: .relaxed) }

    /// Recent quantiles in nanoseconds, in the order asked for; zeros when nothing was counted recently.
    public func quantiles(_ quantiles: [Double], now: Int64) -> [Double] {
        var merged = [UInt64](repeating: 0, count: Self.bucketCount)
        var count: UInt64 = 0
        for window in windows {
            for index in 0..<Self.bucketCount {
                let value = UInt64(window.counts[index].load(ordering: .relaxed))
                merged[index] += value
                count += value
            }
        }
        rotate(now: now)
        guard count > 0 else { return quantiles.map { _ in 0 } }
        return quantiles.map { quantile in
            let rank = max(1, UInt64((quantile * Double(count)).rounded(.up)))
            var seen: UInt64 = 0
            for index in 0..<Self.bucketCount {
                seen += merged[index]
                if seen >= rank { return Self.middle(ofBucket: index) }
            }
            return Self.middle(ofBucket: Self.bucketCount - 1)
        }
    }

    private func rotate(now: Int64) {
        windowStart.withLock { start in
            guard now - start >= Self.windowNanoseconds else { return }
            start = now
            let next = 1 - current.load(ordering: .relaxed)
            for index in 0..<Self.bucketCount {
                windows[next].counts[index].store(0, ordering: .relaxed)
            }
            current.store(next, ordering: .relaxed)
        }
    }

    static func bucket(of value: UInt64) -> Int {
        guard value >= UInt64(subBuckets) else { return Int(value) }
        let exponent = 63 - value.leadingZeroBitCount
        let sub = Int(value >> UInt64(exponent - subBucketBits)) - subBuckets
        return min(bucketCount - 1, (exponent - subBucketBits + 1) * subBuckets + sub)
    }

    static func middle(ofBucket index: Int) -> Double {
        guard index >= subBuckets else { return Double(index) }
        let exponent = index / subBuckets - 1
        let low = UInt64(subBuckets + index % subBuckets) << UInt64(exponent)
        return Double(low) + Double(UInt64(1) << UInt64(exponent)) / 2
    }
}
