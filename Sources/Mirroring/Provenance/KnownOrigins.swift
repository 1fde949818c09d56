// What a partition of the target has of each origin. Records of an origin come in their order on each way, so whatever is not above the
// highest of its way is there already. What came on other ways is known by its offsets alone: one way may begin later than another.
import Primitives

/// Offsets as ranges, in their order and apart from each other.
public struct OffsetRanges: Hashable, Sendable {
    public private(set) var ranges: [ClosedRange<Int64>] = []
    /// Ranges that are kept; the lowest ones are forgotten first, so that a record may come twice, but none is lost.
    private let limit: Int

    public init(limit: Int = 10_000) {
        precondition(limit > 0, "something is kept")
        self.limit = limit
    }

    /// The first range that ends at or behind an offset.
    private func index(from offset: Int64) -> Int {
        var (low, high) = (0, ranges.count)
        while low < high {
            let middle = (low + high) / 2
            if ranges[middle].upperBound < offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    public func contains(_ offset: Int64) -> Bool {
        let index = index(from: offset)
        return index < ranges.count && ranges[index].contains(offset)
    }

    public func overlaps(_ range: ClosedRange<Int64>) -> Bool {
        let index = index(from: range.lowerBound)
        return index < ranges.count && ranges[index].lowerBound <= range.upperBound
    }

    public mutating func insert(_ range: ClosedRange<Int64>) {
        // As a rule offsets come one after another.
        if let last = ranges.last, range.lowerBound == last.upperBound + 1 {
            ranges[ranges.count - 1] = last.lowerBound...range.upperBound
            return
        }
        // Those that touch it become one with it.
        let first = index(from: range.lowerBound == .min ? .min : range.lowerBound - 1)
        var end = first
        var merged = range
        while end < ranges.count, ranges[end].lowerBound <= range.upperBound || ranges[end].lowerBound - 1 == range.upperBound {
            merged = min(merged.lowerBound, ranges[end].lowerBound)...max(merged.upperBound, ranges[end].upperBound)
            end += 1
        }
        ranges.replaceSubrange(first..<end, with: [merged])
        if ranges.count > limit { ranges.removeFirst(ranges.count - limit) }
    }
}

/// What is known of a partition of the target.
public struct KnownOrigins: Hashable, Sendable {
    private(set) var highest: [RecordPath: Int64] = [:]
    private(set) var offsets: [RecordOrigin: OffsetRanges] = [:]

    public init() {}

    /// Whether a record that comes on a way is there already.
    public func has(_ path: RecordPath, _ offset: Int64) -> Bool {
        if let highest = highest[path], offset <= highest { return true }
        return offsets[path.origin]?.contains(offset) ?? false
    }

    /// Whether any of the records that come on a way may be there already.
    public func mayHave(_ path: RecordPath, _ range: ClosedRange<Int64>) -> Bool {
        if let highest = highest[path], range.lowerBound <= highest { return true }
        return offsets[path.origin]?.overlaps(range) ?? false
    }

    /// Records are on the target.
    public mutating func wrote(_ path: RecordPath, _ range: ClosedRange<Int64>) {
        passed(path, to: range.upperBound)
        has(path.origin, range)
    }

    /// Everything that came on a way up to an offset is on the target.
    mutating func passed(_ path: RecordPath, to offset: Int64) {
        highest[path] = max(highest[path] ?? -1, offset)
    }

    /// Records of an origin are on the target, on whatever way they came.
    mutating func has(_ origin: RecordOrigin, _ range: ClosedRange<Int64>) {
        offsets[origin, default: OffsetRanges()].insert(range)
    }

    /// What others know, too.
    public mutating func formUnion(_ other: KnownOrigins) {
        for (path, offset) in other.highest { passed(path, to: offset) }
        for (origin, offsets) in other.offsets {
            for range in offsets.ranges { has(origin, range) }
        }
    }

    /// The origin lost records and counts anew: nothing is known of it any more.
    public mutating func forget(_ origin: RecordOrigin) {
        highest = highest.filter { $0.key.origin != origin }
        offsets[origin] = nil
    }
}
