// A topic's settings as far as its log files need them, with Kafka's defaults.
import Primitives
import RecordBatches

/// `cleanup.policy`: what becomes of old segments. Both may be set; none means kept for ever (KIP-1162).
public struct CleanupPolicy: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let delete = CleanupPolicy(rawValue: 1)
    public static let compact = CleanupPolicy(rawValue: 2)
}

/// `compression.type` of a topic: as the producer sends it, or one for all (KIP-390 for the level).
public enum TopicCompression: Sendable, Hashable {
    case producer
    /// The level is nil for the codec's own default.
    case fixed(CompressionType, level: Int32?)
}

/// One topic's settings, by Kafka's names in whole words. Times are milliseconds, sizes bytes; -1 is "no limit" where Kafka has it so.
public struct LogConfiguration: Sendable, Hashable {
    /// `segment.bytes`.
    public var segmentBytes = 1 << 30
    /// `segment.ms`.
    public var segmentMilliseconds: Int64 = 604_800_000
    /// `segment.jitter.ms`: the most by which a segment rolls before `segmentMilliseconds`, drawn anew for each segment.
    public var segmentJitterMilliseconds: Int64 = 0
    /// `segment.index.bytes`: each index's limit; a full index makes the segment roll.
    public var segmentIndexBytes = 10 << 20
    /// `index.interval.bytes`: the least number of bytes between two index entries.
    public var indexIntervalBytes = 4096
    /// `retention.ms`.
    public var retentionMilliseconds: Int64 = 604_800_000
    /// `retention.bytes`.
    public var retentionBytes: Int64 = -1
    /// `max.message.bytes`.
    public var maxMessageBytes = 1_048_588
    /// `cleanup.policy`.
    public var cleanupPolicy: CleanupPolicy = .delete
    /// `file.delete.delay.ms`.
    public var fileDeleteDelayMilliseconds: Int64 = 60_000
    /// `flush.messages`.
    public var flushMessages: Int64 = .max
    /// `flush.ms`; the owner's timer calls `flush`, see `PartitionLog.isFlushDue(now:)`.
    public var flushMilliseconds: Int64 = .max
    /// `message.timestamp.type`.
    public var timestampType = TimestampType.createTime
    /// `message.timestamp.before.max.ms` (KIP-937).
    public var messageTimestampBeforeMaxMilliseconds: Int64 = .max
    /// `message.timestamp.after.max.ms` (KIP-937).
    public var messageTimestampAfterMaxMilliseconds: Int64 = 3_600_000
    /// `compression.type`.
    public var compression = TopicCompression.producer
    /// `min.insync.replicas`: for the owner; the log itself does not look at it.
    public var minInSyncReplicas = 1
    /// `preallocate`: reserve a new segment's whole extent at once rather than in chunks once it is busy.
    public var preallocate = false
    /// `delete.retention.ms`.
    public var deleteRetentionMilliseconds: Int64 = 86_400_000
    /// `min.cleanable.dirty.ratio`.
    public var minCleanableDirtyRatio = 0.5
    /// `min.compaction.lag.ms`.
    public var minCompactionLagMilliseconds: Int64 = 0
    /// `max.compaction.lag.ms`.
    public var maxCompactionLagMilliseconds: Int64 = .max
    /// `unclean.leader.election.enable`: for the owner.
    public var uncleanLeaderElectionEnable = false
    /// `producer.id.expiration.ms`, a broker's setting: idle producers are forgotten after it.
    public var producerIDExpirationMilliseconds: Int64 = 86_400_000

    public init() {}

    /// The age at which a segment is rolled: no older than compaction may be late (KIP-354).
    var rollMilliseconds: Int64 {
        guard cleanupPolicy.contains(.compact), maxCompactionLagMilliseconds > 0 else { return segmentMilliseconds }
        return min(segmentMilliseconds, maxCompactionLagMilliseconds)
    }
}
