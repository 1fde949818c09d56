// How fast something goes, by counters that are looked at now and then.

/// Records and bytes a second over the last seconds. Times are monotonic milliseconds.
public struct Throughput: Sendable, Equatable {
    private struct Sample: Sendable, Equatable {
        var at: Int64
        var records: Int64
        var bytes: Int64
    }

    private static let windowMilliseconds: Int64 = 10_000
    private static let distanceMilliseconds: Int64 = 1_000

    /// At most one for each second of the window, and one from before.
    private var samples: [Sample] = []

    public init() {}

    /// The counters as they were until now.
    public mutating func note(records: Int64, bytes: Int64, at now: Int64) {
        if let last = samples.last, now - last.at < Self.distanceMilliseconds { return }
        while samples.count > 1, samples[1].at <= now - Self.windowMilliseconds { samples.removeFirst() }
        samples.append(Sample(at: now, records: records, bytes: bytes))
    }

    /// - Parameters: the counters as they are now.
    /// - Returns: nil before a second has gone by.
    public func perSecond(records: Int64, bytes: Int64, at now: Int64) -> (records: Double, bytes: Double)? {
        guard let base = samples.last(where: { $0.at <= now - Self.windowMilliseconds }) ?? samples.first,
            now - base.at >= Self.distanceMilliseconds
        else { return nil }
        let seconds = Double(now - base.at) / 1_000
        return (Double(records - base.records) / seconds, Double(bytes - base.bytes) / seconds)
    }
}

/// The least, the largest and the average of a figure.
public struct FigureSpread: Sendable, Equatable {
    public private(set) var count: Int64 = 0
    public private(set) var least: Int64 = 0
    public private(set) var largest: Int64 = 0
    private var sum: Int64 = 0

    public init() {}

    public var average: Double { count == 0 ? 0 : Double(sum) / Double(count) }

    public mutating func note(_ value: Int64) {
        (least, largest) = count == 0 ? (value, value) : (min(least, value), max(largest, value))
        count += 1
        sum = sum.addingReportingOverflow(value).partialValue
    }
}
