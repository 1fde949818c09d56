// Group coordination: classic groups and committed offsets first, then the newer kinds of groups.

extension ConfigTable {
    static let groupCoordinatorKeys: [ConfigDefinition] = [
        .int(
            "group.coordinator.append.linger.ms", -1, .atLeast(-1), .medium,
            support: .acceptedWithoutEffect("the group coordinator writes each change at once"),
            doc: "How long the group coordinator collects writes; -1 adapts by itself."),
        .int("group.coordinator.background.threads", 2, .atLeast(1), .high, support: .ownThreads),
        .int(
            "group.coordinator.cached.buffer.max.bytes", 1_048_588, .atLeast(524_288), .medium, mode: .clusterWide,
            support: .acceptedWithoutEffect("the group coordinator writes each change at once")),
        .list(
            "group.coordinator.rebalance.protocols", ["classic", "consumer", "streams"],
            .list(of: ["consumer", "classic", "share", "streams"], mayBeEmpty: false), .medium,
            doc: "Group protocols that are served."),
        .int("group.coordinator.threads", 4, .atLeast(1), .high, support: .ownThreads, doc: "Threads of the group coordinator."),
        .int(
            "group.initial.rebalance.delay.ms", 3000, .any, .medium,
            doc: "How long an empty group waits for more members before its first rebalance."),
        .int("group.max.session.timeout.ms", 1_800_000, .any, .medium, doc: "Longest session timeout that a group's member may ask for."),
        .int("group.max.size", .max, .atLeast(1), .medium, doc: "Most members of a group."),
        .int("group.min.session.timeout.ms", 6000, .any, .medium, doc: "Shortest session timeout that a group's member may ask for."),
        .int("offset.metadata.max.bytes", 4096, .any, .high, doc: "Longest note that may be stored with a committed offset."),
        .int(
            "offsets.commit.timeout.ms", 5000, .atLeast(1), .high, support: .notBetweenNodes,
            doc: "How long an offset commit waits for its replicas."),
        .int(
            "offsets.load.buffer.size", 5_242_880, .atLeast(1), .high,
            support: .acceptedWithoutEffect("the size is chosen by the log reader"),
            doc: "Bytes read at once while committed offsets are loaded."),
        .long(
            "offsets.retention.check.interval.ms", 600_000, .atLeast(1), .high,
            doc: "Time between two checks for committed offsets that have expired."),
        .int("offsets.retention.minutes", 10_080, .atLeast(1), .high, doc: "How long committed offsets are kept once a group is empty."),
        .int(
            "offsets.topic.compression.codec", 0, .between(0, 4), .high,
            doc: "Codec that offsets and group metadata are written with: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd."),
        .int(
            "offsets.topic.num.partitions", 50, .atLeast(1), .high,
            doc: "Partitions of the offsets topic; not to be changed once the topic exists."),
        .short("offsets.topic.replication.factor", 3, .atLeast(1), .high, doc: "Replicas of the offsets topic."),
        .int(
            "offsets.topic.segment.bytes", 104_857_600, .atLeast(1), .high,
            doc: "Segment size of the offsets topic, small so that it compacts and loads quickly."),
    ]

    static let consumerGroupKeys: [ConfigDefinition] = [
        .int(
            "group.consumer.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Least time between two assignments of a consumer group."),
        .boolean("group.consumer.assignor.offload.enable", true, .medium, mode: .clusterWide, support: .inlineAssignment),
        .list(
            "group.consumer.assignors", ["uniform", "range"], .nonEmptyList, .medium,
            doc: "Assignors on the broker's side for consumer groups, the first is the default."),
        .int(
            "group.consumer.heartbeat.interval.ms", 5000, .atLeast(1), .medium,
            doc: "Heartbeat interval given to members of consumer groups."),
        .int(
            "group.consumer.max.assignment.interval.ms", 15_000, .atLeast(0), .medium,
            doc: "Longest consumer.assignment.interval.ms that a group may have."),
        .int(
            "group.consumer.max.heartbeat.interval.ms", 15_000, .atLeast(1), .medium,
            doc: "Longest consumer.heartbeat.interval.ms that a group may have."),
        .int(
            "group.consumer.max.session.timeout.ms", 60_000, .atLeast(1), .medium,
            doc: "Longest consumer.session.timeout.ms that a group may have."),
        .int("group.consumer.max.size", .max, .atLeast(1), .medium, doc: "Most members of a consumer group."),
        .string(
            "group.consumer.migration.policy", "bidirectional", .oneOfIgnoringCase(["bidirectional", "upgrade", "downgrade", "disabled"]),
            .medium, doc: "Whether groups may change between the classic and the consumer protocol while in use."),
        .int(
            "group.consumer.min.assignment.interval.ms", 0, .atLeast(0), .medium,
            doc: "Shortest consumer.assignment.interval.ms that a group may have."),
        .int(
            "group.consumer.min.heartbeat.interval.ms", 5000, .atLeast(1), .medium,
            doc: "Shortest consumer.heartbeat.interval.ms that a group may have."),
        .int(
            "group.consumer.min.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "Shortest consumer.session.timeout.ms that a group may have."),
        .int(
            "group.consumer.regex.refresh.interval.ms", 600_000, .atLeast(10_000), .medium, internal: true,
            doc: "How often regular expressions are resolved again when no topic was created."),
        .int(
            "group.consumer.session.timeout.ms", 45_000, .atLeast(1), .medium,
            doc: "A member of a consumer group silent for this long is removed."),
    ]
}
