// When a destination looks whether mirrors have caught up, and when it tells the source which mirrors are synchronous.
import Primitives

/// What the source of a link was told last. Times are monotonic milliseconds, names those of topics at the source.
public struct SynchronizationRound: Sendable {
    private static let lookMilliseconds: Int64 = 500
    /// So that a source whose operator released a mirror, or that was made anew, hears of it again.
    private static let repetitionMilliseconds: Int64 = 10_000

    /// Nil before the first time.
    private var wanted: Set<String>?
    private var ready: Set<String> = []
    private var toldAt: Int64 = .min
    private var nextLook: Int64 = .min
    private var problem = ""

    public init() {}

    /// Whether there may be something to tell.
    public mutating func mayLook(_ wanted: Set<String>, now: Int64) -> Bool {
        // Nobody asked for synchronous mirrors, and the source knows.
        if wanted.isEmpty, self.wanted == [] { return false }
        let isComplete = self.wanted == wanted && ready == wanted
        guard now >= (isComplete ? toldAt + Self.repetitionMilliseconds : nextLook) else { return false }
        nextLook = now + Self.lookMilliseconds
        return true
    }

    /// Whether to tell the source which mirrors there are, and which of them have caught up.
    public func mustTell(_ wanted: Set<String>, ready: Set<String>, now: Int64) -> Bool {
        self.wanted != wanted || !ready.isSubset(of: self.ready) || now - toldAt >= Self.repetitionMilliseconds
    }

    public mutating func told(_ wanted: Set<String>, ready: Set<String>, now: Int64) {
        self.wanted = wanted
        self.ready = self.ready.union(ready).intersection(wanted)
        toldAt = now
        problem = ""
    }

    /// The source could not be told.
    ///
    /// - Returns: whether that is another reason than last time, for the log.
    public mutating func failed(_ problem: String) -> Bool {
        defer { self.problem = problem }
        return self.problem != problem
    }
}
