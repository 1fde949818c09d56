// Share groups (KIP-932) and streams groups (KIP-1071).

extension ConfigTable {
    static let shareGroupKeys: [ConfigDefinition] = [
        .boolean("errors.deadletterqueue.auto.create.topics.enable", false, .medium, mode: .clusterWide, support: .noDeadLetterQueues),
        .string("errors.deadletterqueue.topic.name.prefix", "dlq.", .any, .medium, mode: .clusterWide, support: .noDeadLetterQueues),
        .int(
            "group.share.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Least time between two assignments of a share group."),
        .boolean("group.share.assignor.offload.enable", true, .medium, mode: .clusterWide, support: .inlineAssignment),
        .list(
            "group.share.assignors", ["simple"], .nonEmptyList, .medium,
            support: .acceptedWithoutEffect("there is one assignor of share groups, simple")),
        .int(
            "group.share.delivery.count.limit", 5, .between(2, 10), .medium,
            doc: "Deliveries after which a record that comes back is archived."),
        .string(
            "group.share.dlq.manager.class.name", "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager", .any, .medium,
            internal: true,
            support: .noPlugins),
        .int("group.share.heartbeat.interval.ms", 5000, .atLeast(1), .medium, doc: "How often members of share groups send a heartbeat."),
        .int(
            "group.share.initialize.retry.interval.ms", 30_000, .atLeast(1), .low, internal: true,
            doc: "After that the state of a share group's partition is asked for again."),
        .int(
            "group.share.max.assignment.interval.ms", 15_000, .atLeast(0), .medium,
            doc: "Longest share.assignment.interval.ms that a group may have."),
        .int(
            "group.share.max.delivery.count.limit", 10, .between(5, 25), .medium,
            doc: "Largest share.delivery.count.limit that a group may have."),
        .int(
            "group.share.max.heartbeat.interval.ms", 15_000, .atLeast(1), .medium,
            doc: "Longest share.heartbeat.interval.ms that a group may have."),
        .int(
            "group.share.max.partition.max.record.locks", 4000, .between(2000, 10_000), .medium,
            doc: "Largest share.partition.max.record.locks that a group may have."),
        .int(
            "group.share.max.record.lock.duration.ms", 60_000, .between(30_000, 3_600_000), .medium,
            doc: "Longest share.record.lock.duration.ms that a group may have."),
        .int(
            "group.share.max.session.timeout.ms", 60_000, .atLeast(1), .medium,
            doc: "Longest share.session.timeout.ms that a group may have."),
        .int(
            "group.share.max.share.sessions", 2000, .atLeast(1), .medium,
            doc: "Most members of share groups that may fetch from this broker."),
        .int("group.share.max.size", 200, .between(1, 1000), .medium, doc: "Most members of a share group."),
        .int(
            "group.share.min.assignment.interval.ms", 0, .atLeast(0), .medium,
            doc: "Shortest share.assignment.interval.ms that a group may have."),
        .int(
            "group.share.min.delivery.count.limit", 2, .between(2, 5), .medium,
            doc: "Smallest share.delivery.count.limit that a group may have."),
        .int(
            "group.share.min.heartbeat.interval.ms", 5000, .atLeast(1), .medium,
            doc: "Shortest share.heartbeat.interval.ms that a group may have."),
        .int(
            "group.share.min.partition.max.record.locks", 100, .between(100, 2000), .medium,
            doc: "Smallest share.partition.max.record.locks that a group may have."),
        .int(
            "group.share.min.record.lock.duration.ms", 15_000, .between(1000, 30_000), .medium,
            doc: "Shortest share.record.lock.duration.ms that a group may have."),
        .int(
            "group.share.min.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "Shortest share.session.timeout.ms that a group may have."),
        .int(
            "group.share.partition.max.record.locks", 2000, .between(100, 10_000), .medium,
            doc: "Most records of a partition between the first that is not done and the last that is out."),
        .string(
            "group.share.persister.class.name", "org.apache.kafka.server.share.persister.DefaultStatePersister", .any, .medium,
            internal: true,
            support: .noPlugins),
        .int(
            "group.share.record.lock.duration.ms", 30_000, .between(1000, 3_600_000), .medium,
            doc: "How long a record is held for the member of a share group that got it."),
        .int(
            "group.share.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "A member of a share group silent for this long is removed."),
        .int("share.coordinator.append.linger.ms", -1, .atLeast(-1), .medium, support: .noShareLinger),
        .int(
            "share.coordinator.cached.buffer.max.bytes", 1_048_588, .atLeast(524_288), .medium, mode: .clusterWide,
            support: .noShareLinger),
        .int(
            "share.coordinator.cold.partition.snapshot.interval.ms", 300_000, .atLeast(1), .low, internal: true,
            doc: "State that is not written for this long is written anew, so that the log's beginning can go."),
        .int(
            "share.coordinator.load.buffer.size", 5_242_880, .atLeast(1), .high,
            support: .acceptedWithoutEffect("logs of coordinators are read 4 MiB at a time")),
        .int(
            "share.coordinator.snapshot.update.records.per.snapshot", 500, .between(0, 500), .medium,
            doc: "Updates of a share partition's state between two snapshots."),
        .int(
            "share.coordinator.state.topic.compression.codec", 0, .any, .high,
            support: .acceptedWithoutEffect("the state of share groups is stored uncompressed")),
        .short(
            "share.coordinator.state.topic.min.isr", 2, .atLeast(1), .high,
            doc: "In-sync replicas that the share group state topic needs."),
        .int(
            "share.coordinator.state.topic.num.partitions", 50, .atLeast(1), .high,
            doc: "Partitions of the share group state topic."),
        .int(
            "share.coordinator.state.topic.prune.interval.ms", 300_000, .atLeast(1), .low, internal: true,
            doc: "How often the beginning of the share group state topic is removed."),
        .short(
            "share.coordinator.state.topic.replication.factor", 3, .atLeast(1), .high,
            doc: "Replicas of the share group state topic."),
        .int(
            "share.coordinator.state.topic.segment.bytes", 104_857_600, .atLeast(1), .high,
            doc: "Segment size of the share group state topic."),
        .int(
            "share.coordinator.threads", 1, .atLeast(1), .medium,
            support: .acceptedWithoutEffect("the state of share groups is kept on the loops that ask for it")),
        .int(
            "share.coordinator.write.timeout.ms", 5000, .atLeast(1), .high,
            support: .acceptedWithoutEffect("a write is answered when it is committed, or when the coordinator changes")),
        .int(
            "share.fetch.purgatory.purge.interval.requests", 1000, .any, .medium,
            support: .acceptedWithoutEffect("requests that wait leave no trace once they are answered")),
    ]

    static let streamsGroupKeys: [ConfigDefinition] = [
        .long(
            "group.streams.acceptable.recovery.lag", 10_000, .atLeast(0), .medium,
            doc: "Records that a copy of a task's state may be behind and still count as caught up; told to members."),
        .int(
            "group.streams.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Least time between two assignments of a streams group."),
        .boolean("group.streams.assignor.offload.enable", true, .medium, mode: .clusterWide, support: .inlineAssignment),
        .list("group.streams.assignors", ["sticky"], .nonEmptyList, .medium, support: .oneTaskAssignor),
        .int(
            "group.streams.heartbeat.interval.ms", 5000, .atLeast(1), .medium,
            doc: "Heartbeat interval given to members of streams groups."),
        .int(
            "group.streams.initial.rebalance.delay.ms", 3000, .atLeast(0), .medium,
            doc: "How long a new streams group waits for more members before its first assignment."),
        .int(
            "group.streams.max.assignment.interval.ms", 15_000, .atLeast(0), .medium,
            doc: "Longest streams.assignment.interval.ms that a group may have."),
        .int(
            "group.streams.max.heartbeat.interval.ms", 15_000, .atLeast(1), .medium,
            doc: "Longest streams.heartbeat.interval.ms that a group may have."),
        .int(
            "group.streams.max.session.timeout.ms", 60_000, .atLeast(1), .medium,
            doc: "Longest streams.session.timeout.ms that a group may have."),
        .int("group.streams.max.size", .max, .atLeast(1), .medium, doc: "Most members of a streams group."),
        .int(
            "group.streams.max.standby.replicas", 2, .atLeast(0), .medium,
            doc: "Most streams.num.standby.replicas that a group may have."),
        .int("group.streams.max.warmup.replicas", 20, .atLeast(0), .medium, doc: "Most streams.num.warmup.replicas that a group may have."),
        .int(
            "group.streams.min.assignment.interval.ms", 0, .atLeast(0), .medium,
            doc: "Shortest streams.assignment.interval.ms that a group may have."),
        .int(
            "group.streams.min.heartbeat.interval.ms", 5000, .atLeast(1), .medium,
            doc: "Shortest streams.heartbeat.interval.ms that a group may have."),
        .int(
            "group.streams.min.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "Shortest streams.session.timeout.ms that a group may have."),
        .int(
            "group.streams.min.task.offset.interval.ms", 15_000, .atLeast(1), .medium,
            doc: "Shortest streams.task.offset.interval.ms that a group may have."),
        .int(
            "group.streams.num.standby.replicas", 0, .atLeast(0), .medium,
            doc: "Copies of the state of each task, on other instances of the application."),
        .int("group.streams.num.warmup.replicas", 2, .atLeast(0), .medium, support: .noWarmupTasks),
        .list(
            "group.streams.rack.aware.assignment.tags", [], .anyList, .low,
            doc: "Tags that every member of a streams group has to have; who lacks one is told."),
        .int(
            "group.streams.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "A member of a streams group silent for this long is removed."),
        .int(
            "group.streams.task.offset.interval.ms", 60_000, .atLeast(1), .medium,
            doc: "How often members of streams groups tell how far their state is."),
        .className("group.streams.topology.description.plugin.class", nil, .medium, support: .noPlugins),
    ]
}
