// What a mirror partition's leader asks the source next, and what it makes of the answers: the last batch is compared, where logs part is
// searched for, what the source does not have is cut off, the rest is followed. Asking, appending and cutting is the fetcher's.
import Primitives

/// Where a mirror's leader stands.
public struct MirrorPosition: Sendable, Equatable {
    public var leaderEpoch: LeaderEpoch
    public var logStartOffset: Offset
    public var logEndOffset: Offset
    /// Whether followers would notice a cut: they find out where logs part by leader epochs, so nothing may have been appended in the present
    /// one.
    public var mayCut: Bool

    public init(leaderEpoch: LeaderEpoch, logStartOffset: Offset, logEndOffset: Offset, mayCut: Bool) {
        self.leaderEpoch = leaderEpoch
        self.logStartOffset = logStartOffset
        self.logEndOffset = logEndOffset
        self.mayCut = mayCut
    }

    public var isEmpty: Bool { logStartOffset >= logEndOffset }
}

/// A batch as both sides of a link can compare it: everything but the leader epoch, which each cluster has of its own.
public struct BatchIdentity: Sendable, Equatable {
    public var baseOffset: Offset
    public var lastOffset: Offset
    public var crc: UInt32

    public init(baseOffset: Offset, lastOffset: Offset, crc: UInt32) {
        self.baseOffset = baseOffset
        self.lastOffset = lastOffset
        self.crc = crc
    }
}

/// What the source is asked for a mirror partition.
public enum MirrorQuestion: Sendable, Equatable {
    /// Records from an offset on; the epoch is that of the last batch, in the source's count, or -1.
    case records(from: Offset, sourceEpoch: LeaderEpoch)
    /// The batch that holds an offset.
    case batch(at: Offset)
}

/// What a mirror partition's leader does next.
public enum MirrorAction: Sendable, Equatable {
    case ask(MirrorQuestion)
    /// Ask the same again after a while.
    case rest(String)
    /// Nothing: something else is under way.
    case wait
    /// Ask where the source's log begins and ends, and go on with `bounds`.
    case askBounds(String)
    /// The mirror has to be cut from an offset on, for which its leader needs a new epoch; meanwhile ask this after a while.
    case needEpoch(cut: Offset, MirrorQuestion)
    /// Keep what is from an offset on aside; then go on with `kept`.
    case keep(from: Offset, MirrorPosition)
    /// Cut the log; then go on with `wasCut`.
    case cut(to: Offset)
    /// Begin the log anew at an offset, empty; then go on with `restarted`.
    case restart(at: Offset)
    /// Go on behind records that are gone at the source.
    case skip(String, MirrorQuestion)
    /// The mirror cannot go on by itself.
    case fail(String)
    /// Somebody else leads the mirror by now, or it is none any more.
    case drop
}

/// The mirroring of one partition under one leader epoch. Every answer comes with where the mirror stands then; nil, or another epoch, says
/// that this broker does not lead it any more.
public struct MirrorSession: Sendable, Equatable {
    public enum Phase: Sendable, Equatable {
        /// The last batch is compared.
        case comparing
        /// Where the source's log begins and ends is asked for; the logs have parted, as far as is known, or not.
        case bounding(hasParted: Bool)
        case searching(CommonPointSearch)
        /// What is to be cut off is kept aside.
        case keeping
        case following
    }

    public let leaderEpoch: LeaderEpoch
    public private(set) var phase: Phase
    /// Of the last batch, in the source's count; -1 when unknown.
    public private(set) var sourceEpoch: LeaderEpoch = -1
    /// The source has no ids of topics: whether one was deleted and created anew is told by its records.
    public let isNamed: Bool

    public init(_ position: MirrorPosition, isNamed: Bool = false) {
        leaderEpoch = position.leaderEpoch
        self.isNamed = isNamed
        phase = position.isEmpty ? .following : .comparing
    }

    /// What to begin with.
    public static func begin(_ position: MirrorPosition, isNamed: Bool = false) -> (session: MirrorSession, question: MirrorQuestion) {
        let session = MirrorSession(position, isNamed: isNamed)
        guard position.isEmpty else { return (session, .batch(at: position.logEndOffset - 1)) }
        return (session, .records(from: position.logEndOffset, sourceEpoch: -1))
    }

    public var isFollowing: Bool { phase == .following }

    private func led(_ position: MirrorPosition?) -> MirrorPosition? {
        position?.leaderEpoch == leaderEpoch ? position : nil
    }

    // MARK: Answers

    /// Records were appended, or there were none.
    ///
    /// - Parameter lastSourceEpoch: of the last batch appended; nil without any.
    public mutating func appended(upTo end: Offset, lastSourceEpoch: LeaderEpoch?) -> MirrorAction {
        if let lastSourceEpoch { sourceEpoch = lastSourceEpoch }
        return .ask(.records(from: end, sourceEpoch: sourceEpoch))
    }

    /// The batches that hold an offset on both sides are known, or else the next ones, for logs may have holes; nil where there is none.
    ///
    /// - Parameters:
    ///   - sourceEpoch: of the source's batch, in its own count; -1 without one.
    ///   - isComparable: false where compaction takes records away on each side in its own time.
    public mutating func compared(
        at offset: Offset, own: BatchIdentity?, source: BatchIdentity?, sourceEpoch: LeaderEpoch, isComparable: Bool,
        sourceEnd: Offset, _ position: MirrorPosition?
    ) -> MirrorAction {
        let isSame = own == source && own != nil || !isComparable && sourceEnd > offset
        switch phase {
        case .following, .keeping: return .wait
        case .bounding(let hasParted): return hasParted ? parted(position) : outOfRange(position)
        case .comparing:
            guard isSame else { return parted(position) }
            return goOn(sourceEpoch: sourceEpoch, position)
        case .searching(var search):
            if isSame {
                search.agreed(endingAt: max(own?.lastOffset ?? offset, offset) + 1)
            } else {
                search.differed(beginningAt: min(own?.baseOffset ?? offset, offset))
            }
            return proceed(search, position)
        }
    }

    /// The source does not have what the mirror has, or not yet: its leader may not know for a while what is committed, and what it answers
    /// until then ends too early. Where its log ends it says only when it knows.
    public mutating func parted(_ position: MirrorPosition?) -> MirrorAction {
        guard led(position) != nil else { return .drop }
        if phase == .keeping { return .wait }
        phase = .bounding(hasParted: true)
        return .askBounds("the source does not have the mirror's last records")
    }

    /// The source has no such offset.
    public mutating func outOfRange(_ position: MirrorPosition?) -> MirrorAction {
        guard led(position) != nil else { return .drop }
        if phase == .keeping { return .wait }
        if phase != .bounding(hasParted: true) { phase = .bounding(hasParted: false) }
        return .askBounds("OFFSET_OUT_OF_RANGE at the source")
    }

    /// Finds out where the logs part.
    private mutating func search(sourceStart: Offset, sourceEnd: Offset, _ position: MirrorPosition) -> MirrorAction {
        let search = CommonPointSearch(
            start: max(position.logStartOffset, sourceStart), end: min(position.logEndOffset, sourceEnd))
        return proceed(search, position)
    }

    private mutating func proceed(_ search: CommonPointSearch, _ position: MirrorPosition?) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        switch search.step {
        case .probe(let offset):
            phase = .searching(search)
            return .ask(.batch(at: offset))
        case .found(let offset):
            guard offset < position.logEndOffset else { return goOn(sourceEpoch: -1, position) }
            return cut(to: offset, position)
        }
    }

    private mutating func cut(to offset: Offset, _ position: MirrorPosition) -> MirrorAction {
        // Better nothing than to empty a mirror for the sake of a topic that only has the same name.
        if isNamed, offset <= position.logStartOffset { return .fail(Self.createdAnew("shares no record with the mirror")) }
        guard position.mayCut else {
            // With the new epoch it begins anew; until then, or if that comes to nothing, it is tried again.
            phase = .comparing
            return .needEpoch(cut: offset, .batch(at: position.logEndOffset - 1))
        }
        phase = .keeping
        return .keep(from: offset, position)
    }

    /// The source's batch at the mirror's end begins before that end, so there is another one here: its log has come to begin in the midst of
    /// a batch, and nothing was left to compare.
    public mutating func overlapped(from base: Offset, _ position: MirrorPosition?) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        return cut(to: max(base, position.logStartOffset), position)
    }

    private mutating func goOn(sourceEpoch: LeaderEpoch, _ position: MirrorPosition?) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        phase = .following
        self.sourceEpoch = sourceEpoch
        return .ask(.records(from: position.logEndOffset, sourceEpoch: sourceEpoch))
    }

    // MARK: Sources that do not find out by themselves where logs part

    /// Records have come that nobody compared with what is here before them: the last batch is, before they are appended.
    public mutating func doubted(_ position: MirrorPosition?) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        guard phase == .following, !position.isEmpty else { return .wait }
        phase = .comparing
        return .ask(.batch(at: position.logEndOffset - 1))
    }

    private static func createdAnew(_ why: String) -> String {
        "the source topic \(why), so it was deleted and created anew, as far as can be told without topic ids: delete the mirror topic and "
            + "mirror it anew, or fail over to keep what is here"
    }

    /// Records of an earlier leader than that of the last ones: no log has that.
    public func wentBack(to epoch: LeaderEpoch) -> MirrorAction {
        .fail(Self.createdAnew("has gone back from leader epoch \(sourceEpoch) to \(epoch)"))
    }

    // MARK: Cutting

    /// What is to be cut off is kept aside, or could not be.
    ///
    /// - Parameter before: where the mirror stood when that began.
    public mutating func kept(_ isKept: Bool, from offset: Offset, before: MirrorPosition, _ position: MirrorPosition?) -> MirrorAction {
        guard phase == .keeping else { return .wait }
        phase = .comparing
        guard isKept, position == before else { return .rest("records that the source does not have cannot be kept aside") }
        return .cut(to: offset)
    }

    /// The log was cut. The source may have been cut, too, since the first answers: its batch is compared once more.
    public mutating func wasCut(_ position: MirrorPosition?) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        if position.isEmpty { return goOn(sourceEpoch: -1, position) }
        phase = .comparing
        return .ask(.batch(at: position.logEndOffset - 1))
    }

    /// The log begins anew, empty.
    public mutating func restarted(_ position: MirrorPosition) -> MirrorAction { goOn(sourceEpoch: -1, position) }

    // MARK: Offsets that the source does not have

    /// Where the source's log begins and ends, asked for because it does not have an offset, or another batch there.
    public mutating func bounds(
        start: Offset, end: Offset, policy: LinkSettings.GapPolicy, _ position: MirrorPosition?
    ) -> MirrorAction {
        guard let position = led(position) else { return .drop }
        // Asked for twice, and answered before.
        guard case .bounding(let hasParted) = phase else { return .wait }
        // Nothing has ever been here: the mirror begins where the source does.
        if position.isEmpty, position.logEndOffset == 0, start > 0 { return .restart(at: start) }
        // Nothing is here any more, and the source has lost what the mirror had.
        if position.isEmpty, end < position.logEndOffset { return .restart(at: start) }
        if start > position.logEndOffset { return missing(upTo: start, policy, position) }
        if hasParted || end < position.logEndOffset { return search(sourceStart: start, sourceEnd: end, position) }
        // Everything that could be compared is gone at the source, but nothing is missing.
        if start == position.logEndOffset { return goOn(sourceEpoch: -1, position) }
        phase = .comparing
        return .ask(.batch(at: position.logEndOffset - 1))
    }

    private mutating func missing(upTo start: Offset, _ policy: LinkSettings.GapPolicy, _ position: MirrorPosition) -> MirrorAction {
        let missing = "the source has deleted the records from offset \(position.logEndOffset) to \(start - 1) before they were fetched"
        switch policy {
        case .skip:
            phase = .following
            return .skip(missing, .records(from: start, sourceEpoch: -1))
        case .fail:
            return .fail(
                missing + "; set mirror.gap.policy=skip and resume to go on behind the gap, or delete the topic and mirror it anew")
        }
    }
}
