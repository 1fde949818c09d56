// How far a follower cuts its log back when the leader says that they diverge (KIP-101, KIP-279, KIP-595).
import Primitives

/// A leader epoch and where it ends in some replica's log.
public struct EpochEnd: Sendable, Hashable {
    public var epoch: LeaderEpoch
    public var endOffset: Offset

    public init(epoch: LeaderEpoch, endOffset: Offset) {
        self.epoch = epoch
        self.endOffset = endOffset
    }
}

/// Where to cut.
public enum FollowerTruncation {
    /// The offset from which on the follower's records go.
    ///
    /// Where the leader's epoch is not known here, the log is cut to the end of the largest epoch below and the next fetch goes on
    /// comparing: every round ends one epoch further back.
    /// - Parameters:
    ///   - leader: the largest epoch of the leader not above the one that the follower fetched last, and where it ends; -1 for what the
    ///     leader does not know.
    ///   - local: the same of the follower's own log, for the leader's epoch; nil when it has no epoch that old.
    ///   - highWatermark: where to cut when the leader knows nothing.
    public static func offset(leader: EpochEnd, local: EpochEnd?, logEndOffset: Offset, highWatermark: Offset) -> Offset {
        if leader.endOffset < 0 { return highWatermark }
        guard leader.epoch >= 0, let local else { return min(leader.endOffset, logEndOffset) }
        if local.epoch != leader.epoch { return min(local.endOffset, logEndOffset) }
        return min(local.endOffset, leader.endOffset, logEndOffset)
    }

    /// What a follower does whose fetch offset the leader does not have.
    public enum OutOfRange: Sendable, Hashable {
        /// The leader's log is shorter: cut back to its end.
        case truncate(to: Offset)
        /// The leader has deleted all that the follower has: start over.
        case restart(at: Offset)
        /// The leader has it by now: fetch again.
        case fetchAgain
    }

    public static func outOfRange(logEndOffset: Offset, leaderStartOffset: Offset, leaderEndOffset: Offset) -> OutOfRange {
        if leaderEndOffset < logEndOffset { return .truncate(to: leaderEndOffset) }
        return leaderStartOffset > logEndOffset ? .restart(at: leaderStartOffset) : .fetchAgain
    }
}
