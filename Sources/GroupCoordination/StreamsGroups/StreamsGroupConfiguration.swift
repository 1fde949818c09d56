// The settings that streams groups obey, as plain values: the broker's, and those that single groups have over them.

/// Settings of streams groups (KIP-1071). Each property names Kafka's key; durations are milliseconds.
public struct StreamsGroupConfiguration: Sendable, Equatable {
    /// `group.streams.session.timeout.ms`; `streams.session.timeout.ms` of a group overrides it.
    public var sessionTimeoutMilliseconds: Int32 = 45_000
    /// `group.streams.heartbeat.interval.ms`; `streams.heartbeat.interval.ms` of a group overrides it.
    public var heartbeatIntervalMilliseconds: Int32 = 5_000
    /// `group.streams.assignment.interval.ms` (KIP-1263); `streams.assignment.interval.ms` of a group overrides it.
    public var assignmentIntervalMilliseconds: Int32 = 1_000
    /// `group.streams.initial.rebalance.delay.ms`; `streams.initial.rebalance.delay.ms` of a group overrides it.
    public var initialRebalanceDelayMilliseconds: Int32 = 3_000
    /// `group.streams.max.size`: members beyond it are refused with GROUP_MAX_SIZE_REACHED.
    public var maximumSize: Int = Int(Int32.max)
    /// `group.streams.num.standby.replicas`: copies of each task's state; `streams.num.standby.replicas` of a group overrides it.
    public var standbyReplicaCount: Int32 = 0
    /// `group.streams.task.offset.interval.ms`: how often members say how far their state is.
    public var taskOffsetIntervalMilliseconds: Int32 = 60_000
    /// `group.streams.acceptable.recovery.lag`, in records: told to members.
    public var acceptableRecoveryLag: Int64 = 10_000
    /// `group.streams.rack.aware.assignment.tags`: tags that every member must have.
    public var rackAwareAssignmentTags: [String] = []

    public init() {}

    func with(_ overrides: StreamsGroupOverrides) -> StreamsGroupConfiguration {
        var settings = self
        if let value = overrides.sessionTimeoutMilliseconds { settings.sessionTimeoutMilliseconds = value }
        if let value = overrides.heartbeatIntervalMilliseconds { settings.heartbeatIntervalMilliseconds = value }
        if let value = overrides.assignmentIntervalMilliseconds { settings.assignmentIntervalMilliseconds = value }
        if let value = overrides.initialRebalanceDelayMilliseconds { settings.initialRebalanceDelayMilliseconds = value }
        if let value = overrides.standbyReplicaCount { settings.standbyReplicaCount = value }
        if let value = overrides.taskOffsetIntervalMilliseconds { settings.taskOffsetIntervalMilliseconds = value }
        if let value = overrides.acceptableRecoveryLag { settings.acceptableRecoveryLag = value }
        if let value = overrides.rackAwareAssignmentTags { settings.rackAwareAssignmentTags = value }
        return settings
    }
}

/// What a group has for itself (`ConfigResource` GROUP, keys `streams.*`); nil leaves the broker's setting in force.
public struct StreamsGroupOverrides: Sendable, Equatable {
    public var sessionTimeoutMilliseconds: Int32?
    public var heartbeatIntervalMilliseconds: Int32?
    public var assignmentIntervalMilliseconds: Int32?
    public var initialRebalanceDelayMilliseconds: Int32?
    public var standbyReplicaCount: Int32?
    public var taskOffsetIntervalMilliseconds: Int32?
    public var acceptableRecoveryLag: Int64?
    public var rackAwareAssignmentTags: [String]?

    public init() {}
}
