// The promises that a simulated cluster is held to, by name. Each was broken by some fault put in on purpose: see `Mutation`.
import Primitives

/// A promise that must hold at every step of every run.
public enum Invariant: String, Sendable, CaseIterable {
    /// Never two leaders of the metadata quorum in one epoch.
    case oneLeaderPerEpoch
    /// A voter never gives its vote to two candidates of one epoch, restarts included.
    case oneVotePerEpoch
    /// A member's epoch never goes back, restarts included.
    case epochNeverGoesBack
    /// What two members hold below their high watermarks is the same.
    case logsMatch
    /// A member's high watermark never goes back while it runs.
    case highWatermarkNeverGoesBack
    /// Nothing below a high watermark is ever truncated.
    case committedNeverTruncated
    /// A new leader's log holds everything that was committed before.
    case leaderIsComplete
    /// What a leader calls committed is durable on a majority of the voters.
    case committedOnMajority
    /// What a client was told is committed stays in the log, at its offset.
    case acknowledgedNeverLost
    /// A snapshot holds the state at its offset.
    case snapshotIsTrue
    /// What a member asks its disk to do is possible, and what it reads back makes sense.
    case diskMakesSense
    /// Every message can be written in the version that was agreed on.
    case messagesCanBeSent
    /// After the faults end there is a leader, it commits, and every member catches up, within a bounded time.
    case recovers
    /// A core threw an error where none can be.
    case noUnexpectedError
    // Of partitions with min ISR 2 and clean elections.
    /// No record that a producer was told is written by all in-sync replicas is lost.
    case producedNeverLost
    /// What an idempotent producer sends is in the log once and in its order.
    case producedOnceAndInOrder
    /// A replica that is elected, or begins to lead, holds everything below the high watermark.
    case electedHoldCommitted
    /// When a leader moves the high watermark, every replica in sync holds everything below it.
    case inSyncReplicasAreComplete
    /// What consumers of one leader see as high watermark never goes back.
    case consumersNeverGoBack
    /// What ListOffsets says is readable never goes back, whoever leads (KIP-207).
    case listedNeverGoesBack
    /// An offset that a group was told is committed is what it reads later, or a later one.
    case offsetsNeverGoBack
    /// A partition's epochs never go back in any node's image.
    case partitionEpochsNeverGoBack
    /// A broker that is fenced or gone leads nothing in any image.
    case fencedLeadsNothing
    /// A broker that is not heard of is fenced when its session is over.
    case silentIsFenced
    /// What the controller said is done stays in the metadata.
    case metadataNeverLost
    /// After the faults end, within a bounded time, every partition has its leader and all replicas in sync, and clients get on.
    case clusterRecovers
    /// Consumers of a partition never see two different records at one offset.
    case consumedNeverChanges
    /// Never two leaders of a partition in one leader epoch.
    case oneLeaderPerPartitionEpoch
    /// A replica's log below the partition's high watermark is the leader's.
    case replicasMatch
    /// A leader is chosen from the replicas in sync unless unclean election is allowed.
    case leaderWasInSync
    /// Replicas in sync change only as a leader proposes that knows the partition as it is.
    case proposalsFitTheirPartition
    // Of clusters with links.
    /// No client's write is accepted by a mirror.
    case mirrorsTakeNoWrites
    /// A topic that was handed over is written to in one cluster only.
    case oneClusterTakesWrites
    /// What was acknowledged before a topic was promoted is there after.
    case promotingLosesNothing
    /// A mirror is cut only where its source has something else, or nothing.
    case cutsOnlyWhatDiffers
    /// What is cut off a mirror is kept aside first.
    case whatIsCutIsKept
    /// A mirror does not go on behind records that are gone at the source, unless it was told to.
    case gapsAreNeverSilent
    /// A group's offset that is copied is one that the mirror has come to.
    case mirroredOffsetsFit
    /// What the source's transactions left open is ended before any client writes.
    case mirroredTransactionsEnd
    /// A mirror that has become an ordinary topic takes nothing more of its source.
    case stoppedMirrorsFollowNobody
    /// A transaction is shown as committed in all of its mirrored partitions or in none, at any time and after a failover.
    case mirroredTransactionsAreWhole
    /// What a reader of committed transactions has seen in a mirror is there after a failover, too.
    case whatWasShownStays
    /// Topics are not mirrored round and round.
    case linksNeverLoop
    /// Said again, a verb changes nothing.
    case verbsMayBeRepeated
    /// After the faults end every mirror comes to rest: it follows its source, or is an ordinary topic.
    case linksComeToTheirEnd
    /// At the end a mirror has what its source has, at the same offsets.
    case mirrorsEqualTheirSource
}

/// A promise that was broken, and how.
public struct Violation: Error, Sendable, CustomStringConvertible {
    public let invariant: Invariant
    public let detail: String
    public let time: VirtualTime

    public var description: String { "\(invariant.rawValue): \(detail)" }
}
