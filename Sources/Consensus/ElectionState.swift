// What a member must not forget about elections (Raft's persistent state); the shell keeps it in the file quorum-state.
import Primitives

/// The newest epoch this member has seen, who leads it and whom this member voted for.
public struct ElectionState: Hashable, Sendable {
    /// -1 when unknown.
    public var leaderID: NodeID
    public var leaderEpoch: LeaderEpoch
    /// -1 when this member has not voted in the epoch.
    public var votedID: NodeID
    /// The directory of the voter that got the vote (kraft.version 1).
    public var votedDirectoryID: KafkaUUID
    /// Static voters, kept beside the state with kraft.version 0; nil from kraft.version 1 on.
    public var staticVoters: [NodeID]?

    public init(
        leaderID: NodeID, leaderEpoch: LeaderEpoch, votedID: NodeID = -1, votedDirectoryID: KafkaUUID = .zero, staticVoters: [NodeID]?
    ) {
        self.leaderID = leaderID
        self.leaderEpoch = leaderEpoch
        self.votedID = votedID
        self.votedDirectoryID = votedDirectoryID
        self.staticVoters = staticVoters
    }
}
