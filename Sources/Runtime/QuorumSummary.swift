// What a node's metrics say about its part in the metadata quorum.
import Consensus
import Primitives

/// One member's view of the quorum.
public struct QuorumSummary: Sendable, Hashable {
    /// Kafka's word: `leader`, `candidate`, `prospective`, `prospective-voted`, `follower`, `observer`, `unattached`, `unattached-voted`.
    public var state = "unattached"
    /// -1 when there is none, or none is known.
    public var leaderID: NodeID = -1
    public var votedID: NodeID = -1
    /// Zero when the directory is not known, or there was no vote.
    public var votedDirectoryID = KafkaUUID.zero
    public var epoch: LeaderEpoch = 0
    public var highWatermark: Offset = -1
    public var logEndOffset: Offset = 0
    /// The epoch of the log's last record.
    public var logEndEpoch: LeaderEpoch = 0
    public var voterCount = 0
    /// Known to the leader alone.
    public var observerCount: Int?
    public var isChangingVoters: Bool?

    init() {}

    init(_ quorum: borrowing Quorum) {
        // An observer that has no leader yet, and one that led, are unattached to Kafka.
        switch quorum.role {
        case .unattached: state = quorum.votedID >= 0 ? "unattached-voted" : "unattached"
        case .resigned: state = "unattached"
        case .prospective: state = quorum.votedID >= 0 ? "prospective-voted" : "prospective"
        case .candidate: state = "candidate"
        case .leader: state = "leader"
        case .follower: state = quorum.isVoter ? "follower" : "observer"
        }
        leaderID = quorum.leaderID
        // Who leads or stands for election has its own vote.
        let isOwn = quorum.role == .leader || quorum.role == .candidate
        votedID = isOwn ? quorum.configuration.localID : quorum.votedID
        votedDirectoryID = isOwn ? quorum.configuration.localDirectoryID : quorum.votedDirectoryID
        epoch = quorum.epoch
        highWatermark = quorum.highWatermark
        logEndOffset = quorum.endOffset
        logEndEpoch = quorum.lastEpoch
        voterCount = quorum.voters.voters.count
        observerCount = quorum.observerCount
        isChangingVoters = quorum.isChangingVoters
    }
}
