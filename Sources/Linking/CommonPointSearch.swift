// Finds the last offset up to which two logs agree, by asking for few batches: backwards in growing steps until one agrees, then by halves.
// Works because logs that agree at a batch agree before it: both came from one leader up to there.
import Primitives

/// A search for the last common offset of a mirror's log and its source's.
public struct CommonPointSearch: Sendable, Equatable {
    public enum Step: Sendable, Equatable {
        /// Compare the batches that hold this offset on both sides.
        case probe(Offset)
        /// Everything below is common; nothing at or above.
        case found(Offset)
    }

    private let start: Offset
    /// Everything below is known to be common.
    private var common: Offset
    /// From here on nothing is common.
    private var different: Offset
    private var stride: Offset = 1
    private var hasAgreed = false
    public private(set) var step: Step

    /// - Parameters:
    ///   - start: the first offset that both logs have.
    ///   - end: the lower one of the logs' ends.
    public init(start: Offset, end: Offset) {
        self.start = start
        common = start
        different = max(start, end)
        step = end > start ? .probe(end - 1) : .found(start)
    }

    /// The batches that hold the probed offset, or come next, are the same.
    ///
    /// - Parameter end: the offset behind them.
    public mutating func agreed(endingAt end: Offset) {
        hasAgreed = true
        common = max(common, end)
        next()
    }

    /// They differ, or only one side has one.
    ///
    /// - Parameter first: where the mirror's batch begins.
    public mutating func differed(beginningAt first: Offset) {
        different = min(different, max(first, start))
        next()
    }

    private mutating func next() {
        guard common < different else {
            step = .found(common)
            return
        }
        if hasAgreed {
            step = .probe(common + (different - common) / 2)
        } else {
            step = .probe(max(start, different - stride))
            stride = stride > .max / 4 ? stride : stride * 4
        }
    }
}
