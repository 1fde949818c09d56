// Faults put into clusters on purpose, to prove that the simulator would notice: done to messages, by the shells, or by a switch of theirs,
// so that the cores themselves stay as they are.

/// One deliberate fault, in force for a whole run.
public enum ClusterMutation: String, Sendable, CaseIterable {
    // Leaders.
    /// The high watermark moves without the followers.
    case advanceWithoutFollowers
    /// A leader believes that followers hold all that it has.
    case inflateFollowerOffset
    /// A leader takes replicas out of sync without waiting for the controller.
    case shrinkWithoutWaiting
    /// acks=all is answered before the replicas have the records.
    case acknowledgeUnreplicated
    /// The leader epoch that a request names is not looked at.
    case ignoreLeaderEpoch
    /// What a producer sent before is appended again.
    case forgetProducers
    /// Consumers get what is not committed.
    case exposeUncommitted
    /// ListOffsets answers before a new leader knows what is committed.
    case listBeforeKnown
    // Followers.
    /// A leader does not compare a follower's last epoch with its own log.
    case skipDivergence
    /// A follower does not cut its log when it is told to.
    case skipFollowerTruncation
    /// A follower cuts its log to its high watermark whenever it follows anew, as before KIP-101.
    case truncateToHighWatermark
    /// A follower takes its log's end for the high watermark.
    case inflateFollowerHighWatermark
    // The controller.
    /// A silent broker is never fenced.
    case sessionNeverExpires
    /// Somebody outside of the replicas in sync is elected.
    case electOutsider
    /// A broker that lost its power says that it had stopped in order.
    case claimCleanStop
    /// A new incarnation of a broker does not leave the replicas in sync.
    case keepRestartedInSync
    /// A leader's proposal is taken although the partition has changed since.
    case acceptStaleProposals

    /// How many seeds it may take to notice, at most.
    public var seedsNeeded: Int { 200 }
}
