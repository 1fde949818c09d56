// What a link records of transactions that end in several mirrors: how far each mirror is settled, and which of the source's decisions that
// stands for. All of it changes together, in one batch of the links' log, so it is consistent at every point of that: no transaction ends
// before the settled offset of one mirror and behind that of another.
import Collections
import Primitives

/// How far a mirror is settled.
public struct SettledMirror: Sendable, Hashable {
    /// Markers before count; transactions that end here or later are shown as open, and are cut off when the mirror takes over.
    public var end: Offset
    /// Transactions that end at `end` or behind it begin here or behind it.
    public var stable: Offset

    public init(end: Offset, stable: Offset) {
        self.end = end
        self.stable = stable
    }
}

/// What is recorded of one link's transactions.
public struct SettledTransactions: Sendable, Hashable {
    /// Mirrors that are not here are not waited for, and show what comes as it comes.
    public internal(set) var mirrors: [TopicPartition: SettledMirror] = [:]
    public internal(set) var decisions = SettledDecisions()
    /// What settled transactions have committed, and groups here do not have yet.
    public internal(set) var groupOffsets: GroupOffsets = [:]

    public init() {}
}

/// What a watch over a link's transactions begins with.
public struct SettlingBeginning: Sendable {
    /// For its gate, of mirrors that fetch.
    public var recorded: SettledTransactions
    /// For brokers, of those that are being stopped, too.
    public var news: MirrorNews
}

/// Which of the source's decisions have been carried out before the settled offsets.
public struct SettledDecisions: Sendable, Hashable {
    /// By partition of the source's `__transaction_state`: all decisions before.
    public var positions: OrderedDictionary<Int32, Offset> = [:]
    /// All decisions in these ranges, too.
    public var done: OrderedDictionary<Int32, [ClosedRange<Offset>]> = [:]
    /// Others that some mirrors have carried out, and which.
    public var partial: OrderedDictionary<DecisionID, Set<TopicPartition>> = [:]

    public init() {}

    public func isDone(_ id: DecisionID) -> Bool {
        if id.offset < positions[id.partition] ?? 0 { return true }
        return done[id.partition]?.contains { $0.contains(id.offset) } ?? false
    }
}

/// A step forward, to be recorded in one piece.
public struct SettlingStep: Sendable, Hashable {
    /// Mirrors whose settled offset changes; nil for those that are not waited for any longer.
    public var mirrors: [TopicPartition: SettledMirror?] = [:]
    public var decisions = SettledDecisions()
    /// What its transactions commit.
    public var groupOffsets: GroupOffsets = [:]
    /// What groups here have got since the last step.
    public var givenOffsets: GroupOffsets = [:]
    /// How many transactions are shown by it.
    public var committed = 0

    public init() {}
}
