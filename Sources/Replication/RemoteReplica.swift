// What a leader knows of one follower: how far it has fetched, and when it was last seen to have everything.
import Primitives

/// A follower as its leader sees it.
public struct RemoteReplica: Sendable, Hashable {
    public let id: NodeID
    /// The offset of its last fetch: everything below is in its log. -1 until it fetches.
    public internal(set) var logEndOffset: Offset = -1
    /// -1 until it fetches.
    public internal(set) var logStartOffset: Offset = -1
    /// Monotonic milliseconds at which it last had all that the leader had.
    public internal(set) var lastCaughtUpAt: Int64 = 0
    /// The registration its last fetch came from; nil until it fetches, -1 when it does not say.
    public internal(set) var brokerEpoch: Int64?
    /// Where the leader's log ended, and when, at the last fetch: the follower reaching that offset shows that it was caught up then.
    private var leaderEndAtLastFetch: Offset = -1
    private var lastFetchedAt: Int64 = 0

    public init(id: NodeID) {
        self.id = id
    }

    /// Begins anew for a leader epoch. A replica in sync counts as caught up just now, so that it has the whole lag time to show itself.
    mutating func reset(now: Int64, leaderEndOffset: Offset, isNewLeader: Bool, isInSync: Bool) {
        lastCaughtUpAt = isInSync ? now : .min / 2
        if isNewLeader {
            logEndOffset = -1
            logStartOffset = -1
            leaderEndAtLastFetch = -1
            lastFetchedAt = .min / 2
            brokerEpoch = nil
        } else {
            leaderEndAtLastFetch = leaderEndOffset
            lastFetchedAt = isInSync ? now : .min / 2
        }
    }

    /// It does not count as caught up before it has fetched everything anew.
    mutating func forgetCaughtUp() {
        lastCaughtUpAt = .min / 2
        lastFetchedAt = .min / 2
    }

    /// Nothing is known of its log until it fetches again; when it was last caught up stays.
    mutating func forgetProgress() {
        logEndOffset = -1
        leaderEndAtLastFetch = -1
    }

    mutating func fetched(offset: Offset, startOffset: Offset, brokerEpoch: Int64, leaderEndOffset: Offset, now: Int64) {
        if offset >= leaderEndOffset {
            lastCaughtUpAt = max(lastCaughtUpAt, now)
        } else if offset >= leaderEndAtLastFetch {
            lastCaughtUpAt = max(lastCaughtUpAt, lastFetchedAt)
        }
        logEndOffset = offset
        logStartOffset = startOffset
        leaderEndAtLastFetch = max(leaderEndOffset, leaderEndAtLastFetch)
        lastFetchedAt = now
        self.brokerEpoch = brokerEpoch
    }

    /// Whether it has everything, or had so less than `lagMilliseconds` ago.
    public func isCaughtUp(leaderEndOffset: Offset, now: Int64, lagMilliseconds: Int64) -> Bool {
        logEndOffset == leaderEndOffset || now - lastCaughtUpAt <= lagMilliseconds
    }
}
