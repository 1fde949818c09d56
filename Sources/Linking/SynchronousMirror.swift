// What a source's leader knows of one mirror that it waits for: how far the mirror is, and whether it is waited for at all. A mirror that does
// not keep up within its time is waited for no longer, and again once it has caught up.
import Collections
import Primitives

/// A mirror partition of another cluster, as the leader at the source sees it. Times are monotonic milliseconds.
public struct SynchronousMirror: Sendable, Equatable {
    /// What a step changed.
    public enum Change: Sendable, Equatable {
        case none
        /// The mirror is waited for no longer.
        case degraded
        /// It is waited for again.
        case restored
    }

    private struct Mark: Sendable, Equatable {
        var offset: Offset
        var time: Int64
    }

    /// Marks kept at once: a timeout is seen to within a hundredth of itself.
    private static let maximumMarks = 128
    /// A mirror that has within that time what there was at its last report counts as caught up.
    private static let freshMilliseconds: Int64 = 2_000

    public let timeoutMilliseconds: Int64
    /// The epoch of the leader that hears the mirror; what was heard in another one does not count.
    public private(set) var leaderEpoch: LeaderEpoch
    /// Everything below is committed at the mirror too; -1 while that is not known.
    public private(set) var position: Offset = -1
    public private(set) var isDegraded = false
    /// How often it became so.
    public private(set) var degradations = 0
    /// Where the leader's committed records ended, and when: the mirror has to come to each within the timeout.
    private var marks = Deque<Mark>()
    private var lastReport: Mark?

    public init(leaderEpoch: LeaderEpoch, timeoutMilliseconds: Int64) {
        self.leaderEpoch = leaderEpoch
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Up to where producers may be answered, of what is committed at the source.
    public func acknowledged(_ highWatermark: Offset, leaderEpoch: LeaderEpoch) -> Offset {
        if isDegraded { return highWatermark }
        return leaderEpoch == self.leaderEpoch ? min(highWatermark, position) : -1
    }

    /// Looks at the time. Called now and then by the leader, at least ten times within a timeout.
    public mutating func tick(highWatermark: Offset, leaderEpoch: LeaderEpoch, now: Int64) -> Change {
        take(leaderEpoch)
        guard !isDegraded else { return .none }
        while let first = marks.first, first.offset <= position { marks.removeFirst() }
        if highWatermark > position, marks.last.map({ $0.offset < highWatermark }) ?? true {
            let distance = max(1, timeoutMilliseconds / Int64(Self.maximumMarks))
            // What comes in between is looked at with the next one, that much later.
            if marks.last.map({ now - $0.time >= distance }) ?? true { marks.append(Mark(offset: highWatermark, time: now)) }
        }
        guard let oldest = marks.first, now - oldest.time >= timeoutMilliseconds else { return .none }
        isDegraded = true
        degradations += 1
        marks = []
        lastReport = nil
        return .degraded
    }

    /// The mirror says how far it is.
    public mutating func report(_ offset: Offset, highWatermark: Offset, leaderEpoch: LeaderEpoch, now: Int64) -> Change {
        take(leaderEpoch)
        // It can have more than is committed here only after records were lost here: what it has is something else then.
        position = offset > highWatermark ? -1 : offset
        while let first = marks.first, first.offset <= position { marks.removeFirst() }
        guard isDegraded else { return .none }
        let hasAll = position >= highWatermark
        let hasRecent = lastReport.map { now - $0.time <= Self.freshMilliseconds && position >= $0.offset } ?? false
        lastReport = Mark(offset: highWatermark, time: now)
        guard hasAll || hasRecent else { return .none }
        isDegraded = false
        return .restored
    }

    private mutating func take(_ leaderEpoch: LeaderEpoch) {
        guard leaderEpoch != self.leaderEpoch else { return }
        self.leaderEpoch = leaderEpoch
        position = -1
        marks = []
        lastReport = nil
    }
}
