// Faults put into links on purpose, to prove that the simulator would notice: done by the shells around the link cores, or to what goes into
// them and comes out, so that the cores themselves have no switches.

/// One deliberate fault, in force for a whole run.
public enum LinkMutation: String, Sendable, CaseIterable {
    // Mirrors.
    /// A mirror that begins anew does not compare its last batch with the source's.
    case skipComparing
    /// Batches that differ are taken for the same.
    case believeEveryBatch
    /// A mirror is cut one batch further than where the logs part.
    case cutTooFar
    /// What is cut off is not kept aside.
    case cutWithoutKeeping
    /// A mirror is cut in the epoch in which it was appended to, which its followers do not notice.
    case cutInTheSameEpoch
    /// Records that are gone at the source are passed over although they should not be.
    case skipGaps
    // Promoting.
    /// The source is not fenced.
    case promoteWithoutFencing
    /// The source is called fenced before all of its brokers know.
    case fenceWithoutWaiting
    /// What was caught up with before the source was fenced counts.
    case drainBeforeFencing
    /// A mirror counts as drained by what its leader has, committed or not.
    case drainUncommitted
    /// A fence that was made for a former take-over counts.
    case rememberFences
    /// The source is called fenced while what was written before may still be acknowledged.
    case fenceUnsettled
    /// Partitions that the source has and the mirror has not are forgotten.
    case forgetPartitions
    // Stopping.
    /// Mirrors become writable without ending what the source left open.
    case stopWithoutAborting
    /// What arrives from the source is appended while the mirror is being ended.
    case appendWhileEnding
    /// A new leader goes by the image that it has.
    case leadByOlderImages
    /// A mirror is one again before all brokers know.
    case restoreUnannounced
    // Transactions.
    /// Every mirror shows transactions as they come.
    case showUnsettled
    /// Markers are taken for settled mirror by mirror.
    case settleOneByOne
    /// A failover leaves in the mirrors what is not settled.
    case keepUnsettled
    // Topics and offsets.
    /// A topic is created before brokers know that it is a mirror.
    case createUnannounced
    /// Group offsets are copied before the mirror has come to them.
    case copyOffsetsAhead
    /// Topics that came from here are mirrored back.
    case mirrorOwnMirrors

    /// How many seeds it may take to notice, at most.
    public var seedsNeeded: Int { 300 }
}
