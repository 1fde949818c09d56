// Quotas and metrics.

extension ConfigTable {
    static let quotaAndMetricKeys: [ConfigDefinition] = [
        .int(
            "alter.log.dirs.replication.quota.window.num", 11, .atLeast(1), .low,
            doc: "Samples over which the rate of moves between directories is measured."),
        .int("alter.log.dirs.replication.quota.window.size.seconds", 1, .atLeast(1), .low, doc: "Length of one of them."),
        .className(
            "client.quota.callback.class", nil, .low, support: .refused("Java classes cannot be loaded"),
            doc: "The class that decides clients' quotas."),
        .int(
            "controller.quota.window.num", 11, .atLeast(1), .low,
            doc: "Windows of controller.quota.window.size.seconds whose partitions clients may create or delete at once."),
        .int(
            "controller.quota.window.size.seconds", 1, .atLeast(1), .low,
            doc: "Length of one window of the quota on creating and deleting partitions."),
        .int(
            "kafka.metrics.polling.interval.secs", 10, .atLeast(1), .low,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener")),
        .list(
            "kafka.metrics.reporters", [], .anyList, .low,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener")),
        .list(
            "metric.reporters", ["org.apache.kafka.common.metrics.JmxReporter"], .anyList, .low, mode: .clusterWide,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener"), doc: "Classes that report metrics."),
        .int(
            "metrics.num.samples", 2, .atLeast(1), .low,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener")),
        .string(
            "metrics.recording.level", "INFO", .any, .low,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener")),
        .long(
            "metrics.sample.window.ms", 30_000, .atLeast(1), .low,
            support: .acceptedWithoutEffect("metrics are Prometheus text on the admin listener")),
        .int("quota.window.num", 11, .atLeast(1), .low, doc: "Samples over which the rates of client quotas are measured."),
        .int("quota.window.size.seconds", 1, .atLeast(1), .low, doc: "Length of one of them."),
        .int(
            "replication.quota.window.num", 11, .atLeast(1), .low, doc: "Samples over which the rate of throttled replication is measured."),
        .int("replication.quota.window.size.seconds", 1, .atLeast(1), .low, doc: "Length of one of these samples."),
        .int(
            "telemetry.max.bytes", 1_048_576, .atLeast(1), .low,
            doc: "Largest push of client metrics taken."),
    ]

    /// Throttles of replication that are never in a file.
    static let dynamicBrokerKeys: [ConfigDefinition] = [
        .long(
            "leader.replication.throttled.rate", .max, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Bytes per second that leaders send to throttled followers."),
        .long(
            "follower.replication.throttled.rate", .max, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Bytes per second that throttled followers fetch."),
        .long(
            "replica.alter.log.dirs.io.max.bytes.per.second", .max, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Bytes per second that moving partitions between directories may use."),
    ]
}
