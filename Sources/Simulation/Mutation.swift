// Faults put in on purpose, to prove that the simulator would notice. Each is something a programmer could get wrong, done to the
// messages on their way or by the shell around the core, so that the cores themselves stay free of switches.

/// One deliberate fault, in force for a whole run.
public enum Mutation: String, Sendable, CaseIterable {
    // Elections.
    /// The file quorum-state is written by and by instead of before the answer to a vote.
    case persistLate
    /// The epoch is forgotten when a process starts again.
    case forgetEpochAtStart
    /// The vote is forgotten when a process starts again, though not the epoch. Pre-votes and the leader's first record hide it so well
    /// that no seed shows it: `forgottenVote` is its scenario.
    case forgetVoteAtStart
    /// Voters in the log are not read again when a process starts.
    case forgetVotersAtStart
    /// Every request for a vote is granted on its way back.
    case grantEveryVote
    /// A voter does not compare logs before it votes.
    case ignoreLogInVote
    // Replication.
    /// A log is called durable before it is.
    case acknowledgeUnsynced
    /// A leader believes that followers hold more than they said.
    case inflateFetchOffset
    /// A leader does not compare the fetcher's last epoch with its own log.
    case ignoreFetchedEpoch
    /// A follower takes the leader's log end for the high watermark.
    case inflateHighWatermark
    /// A diverging log is not truncated.
    case skipTruncation
    /// A log is truncated further than asked.
    case truncateTooMuch
    /// A leader calls records committed as soon as its own disk has them.
    case commitWithoutMajority
    // Disks and snapshots.
    /// Batches torn by a loss of power are taken for whole ones.
    case acceptTornBatches
    /// A log loses its last durable batch at every restart.
    case dropTailAtStart
    /// A snapshot is named after more than it holds.
    case snapshotBeyondState

    /// How many seeds it may take to notice, at most.
    public var seedsNeeded: Int { 200 }

    /// Whether random runs notice it; otherwise a scenario of its own does.
    public var isNoticedByChance: Bool { self != .forgetVoteAtStart }
}
