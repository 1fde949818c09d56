// The books of a drill: which record was acknowledged where and when, and what a reader got. Records are numbers; everything that is measured
// follows from these entries.
import Linking
import Primitives
import Synchronization

/// An acknowledged record.
struct DrillWrite: Sendable {
    /// Which record; each lane has numbers of its own, one after the other.
    var lane: Int32
    var number: Int32
    var side: DrillSide
    var offset: Offset
    /// Monotonic nanoseconds of the acknowledgement.
    var at: Int64
}

/// Everything that producers of a drill were told.
final class DrillLedger: Sendable {
    private struct State {
        var writes: [DrillWrite] = []
        var failures = 0
        var lastFailure = ""
    }

    private let state = Mutex(State())

    func acknowledged(_ write: DrillWrite) { state.withLock { $0.writes.append(write) } }

    func failed(_ reason: String) {
        state.withLock { state in
            state.failures += 1
            state.lastFailure = reason
        }
    }

    var count: Int { state.withLock { $0.writes.count } }
    /// Attempts that were refused or got no answer, and the last one's reason.
    var failures: (count: Int, last: String) { state.withLock { ($0.failures, $0.lastFailure) } }

    var writes: [DrillWrite] { state.withLock { $0.writes } }

    /// The first acknowledgement of a side after a time, in monotonic nanoseconds.
    func firstWrite(on side: DrillSide, after time: Int64) -> Int64? {
        state.withLock { state in
            var first: Int64?
            // The newest are at the end.
            for write in state.writes.reversed() {
                if write.at < time - 1_000_000_000 { break }
                if write.side == side, write.at >= time { first = min(first ?? .max, write.at) }
            }
            return first
        }
    }

    /// The longest time that a lane went without an acknowledgement within a time, in nanoseconds.
    func longestGap(from start: Int64, to end: Int64) -> Int64 {
        var last: [Int32: Int64] = [:]
        var longest: Int64 = 0
        for write in writes.sorted(by: { $0.at < $1.at }) where write.at >= start && write.at <= end {
            if let before = last[write.lane] { longest = max(longest, write.at - before) }
            last[write.lane] = write.at
        }
        return longest
    }
}

/// What became of the records in the end.
struct DrillFindings: Sendable {
    /// Acknowledged on one side before another took over, and not where clients are now.
    var lost = 0
    /// From the acknowledgement of the first lost record to that of the last record written to the side that was left.
    var lostNanoseconds: Int64 = 0
    /// Records that are there more than once.
    var duplicates = 0
    /// Records that are there and were not acknowledged to anybody.
    var unacknowledged = 0
    /// Acknowledged where clients are now, and not there: must never be.
    var missing = 0

    /// - Parameters:
    ///   - found: how often each number of each lane is in the topic in the end.
    ///   - final: where clients are in the end.
    init(_ writes: [DrillWrite], found: [[UInt8]], final: DrillSide) {
        var acknowledged = found.map { [Bool](repeating: false, count: $0.count) }
        var firstLost: Int64 = .max
        var lastLeft: Int64 = .min
        for write in writes {
            let (lane, number) = (Int(write.lane), Int(write.number))
            if write.side != final { lastLeft = max(lastLeft, write.at) }
            guard found.indices.contains(lane), found[lane].indices.contains(number), found[lane][number] > 0 else {
                if write.side == final { missing += 1 } else { lost += 1 }
                if write.side != final { firstLost = min(firstLost, write.at) }
                continue
            }
            acknowledged[lane][number] = true
        }
        if lost > 0 { lostNanoseconds = lastLeft - firstLost }
        for (lane, numbers) in found.enumerated() {
            for (number, count) in numbers.enumerated() where count > 0 {
                duplicates += Int(count) - 1
                if !acknowledged[lane][number] { unacknowledged += 1 }
            }
        }
    }
}
