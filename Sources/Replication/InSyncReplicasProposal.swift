// A change of the in-sync replicas that a leader has asked the controller for (KIP-497), and what may come back.
import KafkaWire
import Primitives

/// A change of the in-sync replicas as the leader proposes it.
public struct InSyncReplicasProposal: Sendable, Hashable {
    public struct Member: Sendable, Hashable {
        public var id: NodeID
        /// -1 when unknown; the leader's own is for whoever sends the proposal to fill in.
        public var brokerEpoch: Int64
    }

    /// Tells proposals of one replica apart.
    public let number: UInt64
    public let leaderEpoch: LeaderEpoch
    /// The partition epoch on which the proposal builds.
    public let partitionEpoch: Int32
    public let members: [Member]
    /// Whether a replica is added; otherwise some are removed.
    public let isExpansion: Bool
}

/// The controller's answer to a proposal.
public enum InSyncReplicasAnswer: Sendable, Hashable {
    case committed(leaderEpoch: LeaderEpoch, partitionEpoch: Int32, isr: [NodeID])
    /// Certainly not applied, and the epochs were right: INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED.
    case refused
    /// The leader's view is old, whether or not the change was applied: the metadata will tell.
    case outdated
    /// Nobody knows: to be asked again.
    case failed

    /// What the controller's error code for the partition means; the epochs and the ISR are those of its answer.
    public init(_ error: ErrorCode, leaderEpoch: LeaderEpoch, partitionEpoch: Int32, isr: [NodeID]) {
        switch error {
        case .none: self = .committed(leaderEpoch: leaderEpoch, partitionEpoch: partitionEpoch, isr: isr)
        case .ineligibleReplica, .operationNotAttempted: self = .refused
        case .unknownTopicOrPartition, .unknownTopicId, .fencedLeaderEpoch, .invalidUpdateVersion, .invalidRequest, .newLeaderElected:
            self = .outdated
        default: self = .failed
        }
    }
}

/// What to do after an answer.
public enum InSyncReplicasOutcome: Sendable, Hashable {
    /// The answer belongs to a proposal that does not matter any more.
    case ignored
    case committed
    case withdrawn
    /// Stay as cautious as the proposal demands until new metadata comes.
    case awaitsMetadata
    /// Send the same proposal again, after a pause.
    case sendAgain
}
