// The settings that the group protocol obeys, as plain values: the core reads no configuration of its own.
import Primitives

/// Settings of group coordination. Each property names Kafka's key; durations are milliseconds.
public struct GroupCoordinatorConfiguration: Sendable, Equatable {
    /// `group.min.session.timeout.ms`: a join that asks for less is refused with INVALID_SESSION_TIMEOUT.
    public var minimumSessionTimeoutMilliseconds: Int32 = 6_000
    /// `group.max.session.timeout.ms`: a join that asks for more is refused with INVALID_SESSION_TIMEOUT.
    public var maximumSessionTimeoutMilliseconds: Int32 = 1_800_000
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for more members before its first generation.
    public var initialRebalanceDelayMilliseconds: Int32 = 3_000
    /// `group.max.size`: members beyond it are refused with GROUP_MAX_SIZE_REACHED.
    public var maximumGroupSize: Int = Int(Int32.max)
    /// How long a member that has never been told its generation may wait in a join before it is dropped. Kafka's constant.
    public var newMemberJoinTimeoutMilliseconds: Int32 = 5 * 60 * 1_000
    /// `offset.metadata.max.bytes`: longer commit metadata is refused with OFFSET_METADATA_TOO_LARGE. Counted in UTF-16 units, as Kafka does.
    public var offsetMetadataMaximumSize: Int = 4_096
    /// `offsets.retention.minutes`, in milliseconds.
    public var offsetsRetentionMilliseconds: Int64 = 10_080 * 60 * 1_000
    /// `offsets.retention.check.interval.ms`.
    public var offsetsRetentionCheckIntervalMilliseconds: Int64 = 600_000
    /// `group.consumer.*`: consumer groups (KIP-848).
    public var consumer = ConsumerGroupConfiguration()
    /// `group.streams.*`: streams groups (KIP-1071).
    public var streams = StreamsGroupConfiguration()
    /// `group.share.*`: share groups (KIP-932).
    public var share = ShareGroupConfiguration()

    public init() {}
}

/// Settings of share groups. Each property names Kafka's key; durations are milliseconds.
public struct ShareGroupConfiguration: Sendable, Equatable {
    /// `group.share.session.timeout.ms`; `share.session.timeout.ms` of a group overrides it.
    public var sessionTimeoutMilliseconds: Int32 = 45_000
    /// `group.share.heartbeat.interval.ms`; `share.heartbeat.interval.ms` of a group overrides it.
    public var heartbeatIntervalMilliseconds: Int32 = 5_000
    /// `group.share.assignment.interval.ms`; `share.assignment.interval.ms` of a group overrides it.
    public var assignmentIntervalMilliseconds: Int32 = 1_000
    /// `group.share.max.size`: members beyond it are refused with GROUP_MAX_SIZE_REACHED.
    public var maximumSize = 200
    /// `group.share.initialize.retry.interval.ms`: after that an answer of a share coordinator counts as lost.
    public var initializeRetryIntervalMilliseconds: Int64 = 30_000

    public init() {}
}

/// Settings of consumer groups. Each property names Kafka's key; durations are milliseconds.
public struct ConsumerGroupConfiguration: Sendable, Equatable {
    /// `group.consumer.session.timeout.ms`; `consumer.session.timeout.ms` of a group overrides it.
    public var sessionTimeoutMilliseconds: Int32 = 45_000
    /// `group.consumer.heartbeat.interval.ms`; `consumer.heartbeat.interval.ms` of a group overrides it.
    public var heartbeatIntervalMilliseconds: Int32 = 5_000
    /// `group.consumer.assignment.interval.ms` (KIP-1263); `consumer.assignment.interval.ms` of a group overrides it.
    public var assignmentIntervalMilliseconds: Int32 = 1_000
    /// `group.consumer.max.size`: members beyond it are refused with GROUP_MAX_SIZE_REACHED.
    public var maximumSize: Int = Int(Int32.max)
    /// `group.consumer.assignors`: what members may ask for; the first is taken when nobody asks. Never empty.
    public var assignors: [PartitionAssignor] = [.uniform, .range]
    /// `group.consumer.migration.policy`.
    public var migrationPolicy = MigrationPolicy.bidirectional
    /// `group.consumer.regex.refresh.interval.ms`: how often expressions are resolved again when no topic was created.
    public var expressionRefreshIntervalMilliseconds: Int64 = 600_000

    public init() {}

    /// Which way a group that is in use may change its protocol.
    public enum MigrationPolicy: String, Sendable {
        case bidirectional
        case upgrade
        case downgrade
        case disabled

        var allowsUpgrade: Bool { self == .bidirectional || self == .upgrade }
        var allowsDowngrade: Bool { self == .bidirectional || self == .downgrade }
    }
}

/// What a group has for itself (`ConfigResource` GROUP); nil leaves the broker's setting in force.
public struct ConsumerGroupOverrides: Sendable, Equatable {
    public var sessionTimeoutMilliseconds: Int32?
    public var heartbeatIntervalMilliseconds: Int32?
    public var assignmentIntervalMilliseconds: Int32?

    public init() {}
}
