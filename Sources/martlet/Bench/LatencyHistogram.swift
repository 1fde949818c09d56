// Latencies by the million in little memory: buckets that are at most 1.6 % wide.

/// Counts of durations in nanoseconds.
struct LatencyHistogram {
    /// Each power of two is cut into so many buckets.
    private static let parts = 64
    private var counts = [Int](repeating: 0, count: 64 * 60)
    private(set) var count = 0
    private(set) var maximum: Int64 = 0
    private var sum = 0.0

    mutating func add(_ nanoseconds: Int64, times: Int = 1) {
        let value = max(0, nanoseconds)
        counts[Self.bucket(value)] += times
        count += times
        sum += Double(value) * Double(times)
        maximum = max(maximum, value)
    }

    var mean: Double { count == 0 ? 0 : sum / Double(count) }

    /// The duration that a share of all stays within.
    func percentile(_ share: Double) -> Int64 {
        let wanted = Int((Double(count) * share).rounded(.up))
        var seen = 0
        for (bucket, number) in counts.enumerated() {
            seen += number
            if number > 0, seen >= wanted { return min(maximum, Self.upperBound(bucket)) }
        }
        return maximum
    }

    private static func bucket(_ value: Int64) -> Int {
        if value < Int64(parts) { return Int(value) }
        let shift = 63 - value.leadingZeroBitCount - 6
        return min(60 * parts - 1, (shift + 1) * parts + Int(value >> Int64(shift)) - parts)
    }

    private static func upperBound(_ bucket: Int) -> Int64 {
        if bucket < parts { return Int64(bucket) }
        let shift = bucket / parts - 1
        return (Int64(bucket % parts + parts + 1) << Int64(shift)) - 1
    }
}
