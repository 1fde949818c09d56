// The settings of share groups; the keys `group.share.*` and `share.coordinator.*`.
import Primitives

/// Share groups: their members, their partitions and the topic that holds their state.
public struct ShareGroupSettings: Sendable, Equatable {
    /// `group.share.session.timeout.ms`.
    public var sessionTimeoutMilliseconds: Int64
    /// `group.share.heartbeat.interval.ms`.
    public var heartbeatIntervalMilliseconds: Int64
    /// `group.share.assignment.interval.ms`.
    public var assignmentIntervalMilliseconds: Int64
    /// `group.share.max.size`.
    public var maxSize: Int
    /// `group.share.initialize.retry.interval.ms`.
    public var initializeRetryIntervalMilliseconds: Int64
    /// `group.share.max.share.sessions`.
    public var maxSessions: Int
    /// `group.share.record.lock.duration.ms`.
    public var recordLockDurationMilliseconds: Int64
    /// `group.share.delivery.count.limit`.
    public var deliveryCountLimit: Int16
    /// `group.share.partition.max.record.locks`.
    public var partitionMaxRecordLocks: Int
    /// `share.coordinator.state.topic.num.partitions`.
    public var topicPartitions: Int32
    /// `share.coordinator.state.topic.replication.factor`.
    public var topicReplicationFactor: Int16
    /// `share.coordinator.state.topic.min.isr`.
    public var topicMinInSyncReplicas: Int
    /// `share.coordinator.state.topic.segment.bytes`.
    public var topicSegmentBytes: Int
    /// `share.coordinator.state.topic.prune.interval.ms`.
    public var pruneIntervalMilliseconds: Int64
    /// `share.coordinator.snapshot.update.records.per.snapshot`.
    public var updatesPerSnapshot: Int
    /// `share.coordinator.cold.partition.snapshot.interval.ms`.
    public var coldSnapshotIntervalMilliseconds: Int64
}

extension ConfigurationReader {
    func readShareGroups() -> ShareGroupSettings {
        ShareGroupSettings(
            sessionTimeoutMilliseconds: integer("group.share.session.timeout.ms"),
            heartbeatIntervalMilliseconds: integer("group.share.heartbeat.interval.ms"),
            assignmentIntervalMilliseconds: integer("group.share.assignment.interval.ms"), maxSize: size("group.share.max.size"),
            initializeRetryIntervalMilliseconds: integer("group.share.initialize.retry.interval.ms"),
            maxSessions: size("group.share.max.share.sessions"),
            recordLockDurationMilliseconds: integer("group.share.record.lock.duration.ms"),
            deliveryCountLimit: Int16(clamping: integer("group.share.delivery.count.limit")),
            partitionMaxRecordLocks: size("group.share.partition.max.record.locks"),
            topicPartitions: Int32(clamping: integer("share.coordinator.state.topic.num.partitions")),
            topicReplicationFactor: Int16(clamping: integer("share.coordinator.state.topic.replication.factor")),
            topicMinInSyncReplicas: size("share.coordinator.state.topic.min.isr"),
            topicSegmentBytes: max(size("share.coordinator.state.topic.segment.bytes"), Self.smallestTopicSegmentBytes),
            pruneIntervalMilliseconds: integer("share.coordinator.state.topic.prune.interval.ms"),
            updatesPerSnapshot: size("share.coordinator.snapshot.update.records.per.snapshot"),
            coldSnapshotIntervalMilliseconds: integer("share.coordinator.cold.partition.snapshot.interval.ms"))
    }
}
