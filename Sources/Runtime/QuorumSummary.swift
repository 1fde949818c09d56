// What a node's metrics say about its part in the metadata quorum.
import Consensus
import Primitives

/// One member's view of the quorum.
public struct QuorumSummary: Sendable, Hashable {
    /// Kafka's word: `leader`, `candidate`, `voted`, `follower`, `unattached`, `observer` and so on.
    public var state = "unattached"
    /// -1 when there is none, or none is known.
    public var leaderID: NodeID = -1
    public var votedID: NodeID = -1
    public var epoch: LeaderEpoch = 0
    public var highWatermark: Offset = -1
    public var logEndOffset: Offset = 0
    public var voterCount = 0

    init() {}

    init(_ quorum: borrowing Quorum) {
        switch quorum.role {
        case .unattached: state = quorum.isVoter ? (quorum.votedID >= 0 ? "unattached-voted" : "unattached") : "observer"
        case .prospective: state = "prospective"
        case .candidate: state = "candidate"
        case .leader: state = "leader"
        case .resigned: state = "resigned"
        case .follower: state = quorum.isVoter ? "follower" : "observer"
        }
        leaderID = quorum.leaderID
        votedID = quorum.votedID
        epoch = quorum.epoch
        highWatermark = quorum.highWatermark
        logEndOffset = quorum.endOffset
        voterCount = quorum.voters.voters.count
    }
}
