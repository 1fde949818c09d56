// The keys of single groups (KIP-848, KIP-932, KIP-1071) and of client metrics subscriptions (KIP-714).

extension ConfigTable {
    static let groupKeys: [ConfigDefinition] = [
        .int(
            "consumer.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "group.consumer.assignment.interval.ms"),
        .boolean(
            "consumer.assignor.offload.enable", true, .medium, mode: .clusterWide, synonym: "group.consumer.assignor.offload.enable",
            support: .inlineAssignment),
        .int(
            "consumer.heartbeat.interval.ms", 5000, .atLeast(1), .medium, mode: .clusterWide,
            synonym: "group.consumer.heartbeat.interval.ms"),
        .int(
            "consumer.session.timeout.ms", 45_000, .atLeast(1), .medium, mode: .clusterWide, synonym: "group.consumer.session.timeout.ms"),
        .boolean("errors.deadletterqueue.copy.record.enable", false, .medium, mode: .clusterWide, support: .noDeadLetterQueues),
        .string("errors.deadletterqueue.topic.name", "", .any, .medium, mode: .clusterWide, support: .noDeadLetterQueues),
        .int(
            "share.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide, synonym: "group.share.assignment.interval.ms"),
        .boolean(
            "share.assignor.offload.enable", true, .medium, mode: .clusterWide, synonym: "group.share.assignor.offload.enable",
            support: .inlineAssignment),
        .string("share.auto.offset.reset", "latest", .shareOffsetReset, .medium, mode: .clusterWide),
        .int(
            "share.delivery.count.limit", 5, .atLeast(2), .medium, mode: .clusterWide, synonym: "group.share.delivery.count.limit"),
        .int(
            "share.heartbeat.interval.ms", 5000, .atLeast(1), .medium, mode: .clusterWide, synonym: "group.share.heartbeat.interval.ms"),
        .string(
            "share.isolation.level", "read_uncommitted", .oneOf(["read_committed", "read_uncommitted"]), .medium, mode: .clusterWide),
        .int(
            "share.partition.max.record.locks", 2000, .atLeast(100), .medium, mode: .clusterWide,
            synonym: "group.share.partition.max.record.locks"),
        .int(
            "share.record.lock.duration.ms", 30_000, .atLeast(1000), .medium, mode: .clusterWide,
            synonym: "group.share.record.lock.duration.ms"),
        .boolean("share.renew.acknowledge.enable", true, .medium, mode: .clusterWide),
        .int(
            "share.session.timeout.ms", 45_000, .atLeast(1), .medium, mode: .clusterWide, synonym: "group.share.session.timeout.ms"),
        .long(
            "streams.acceptable.recovery.lag", 10_000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "group.streams.acceptable.recovery.lag"),
        .int(
            "streams.assignment.interval.ms", 1000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "group.streams.assignment.interval.ms"),
        .string(
            "streams.assignor.name", nil, .any, .medium, mode: .clusterWide, synonym: "group.streams.assignors", support: .oneTaskAssignor),
        .boolean(
            "streams.assignor.offload.enable", true, .medium, mode: .clusterWide, synonym: "group.streams.assignor.offload.enable",
            support: .inlineAssignment),
        .int(
            "streams.heartbeat.interval.ms", 5000, .atLeast(1), .medium, mode: .clusterWide, synonym: "group.streams.heartbeat.interval.ms"),
        .int(
            "streams.initial.rebalance.delay.ms", 3000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "group.streams.initial.rebalance.delay.ms"),
        .int(
            "streams.num.standby.replicas", 0, .atLeast(0), .medium, mode: .clusterWide, synonym: "group.streams.num.standby.replicas"),
        .int(
            "streams.num.warmup.replicas", 2, .atLeast(0), .medium, mode: .clusterWide, synonym: "group.streams.num.warmup.replicas",
            support: .noWarmupTasks),
        .list(
            "streams.rack.aware.assignment.tags", [], .anyList, .low, mode: .clusterWide,
            synonym: "group.streams.rack.aware.assignment.tags"),
        .int(
            "streams.session.timeout.ms", 45_000, .atLeast(1), .medium, mode: .clusterWide, synonym: "group.streams.session.timeout.ms"),
        .int(
            "streams.task.offset.interval.ms", 60_000, .atLeast(1), .medium, mode: .clusterWide,
            synonym: "group.streams.task.offset.interval.ms"),
    ]

    static let clientMetricsKeys: [ConfigDefinition] = [
        .int("interval.ms", 300_000, .between(100, 3_600_000), .medium, mode: .clusterWide, doc: "Time between two pushes of metrics."),
        .list("match", [], .anyList, .medium, mode: .clusterWide, doc: "Which clients the subscription is for."),
        .list("metrics", [], .anyList, .medium, mode: .clusterWide, doc: "Prefixes of the metrics to push."),
    ]
}
