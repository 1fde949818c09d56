// Tiered storage (KIP-405).

extension ConfigTable {
    static let remoteLogKeys: [ConfigDefinition] = [
        .long(
            "log.local.retention.bytes", -2, .atLeast(-2), .medium, mode: .clusterWide, synonym: "local.retention.bytes",
            support: .noTieredStorage, doc: "Bytes kept on local disk when a partition is tiered."),
        .long(
            "log.local.retention.ms", -2, .atLeast(-2), .medium, mode: .clusterWide, synonym: "local.retention.ms",
            support: .noTieredStorage, doc: "Time kept on local disk when a partition is tiered."),
        .long(
            "log.remote.copy.lag.bytes", -1, .atLeast(-1), .medium, mode: .clusterWide, synonym: "remote.copy.lag.bytes",
            support: .noTieredStorage),
        .long(
            "log.remote.copy.lag.ms", 0, .atLeast(-1), .medium, mode: .clusterWide, synonym: "remote.copy.lag.ms",
            support: .noTieredStorage),
        .int("remote.fetch.max.wait.ms", 500, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .long("remote.list.offsets.request.timeout.ms", 30_000, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .long(
            "remote.log.index.file.cache.total.size.bytes", 1_073_741_824, .atLeast(1), .low, mode: .clusterWide,
            support: .noTieredStorage),
        .long("remote.log.index.file.cache.ttl.ms", 900_000, .atLeast(-1), .low, internal: true, support: .noTieredStorage),
        .int("remote.log.manager.copier.thread.pool.size", 10, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .long("remote.log.manager.copy.max.bytes.per.second", .max, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .int("remote.log.manager.copy.quota.window.num", 11, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.manager.copy.quota.window.size.seconds", 1, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.manager.expiration.thread.pool.size", 10, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .long("remote.log.manager.fetch.max.bytes.per.second", .max, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .int("remote.log.manager.fetch.quota.window.num", 11, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.manager.fetch.quota.window.size.seconds", 1, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.manager.follower.thread.pool.size", 2, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .long("remote.log.manager.task.interval.ms", 30_000, .atLeast(1), .low, support: .noTieredStorage),
        .long("remote.log.manager.task.retry.backoff.max.ms", 30_000, .atLeast(1), .low, internal: true, support: .noTieredStorage),
        .long("remote.log.manager.task.retry.backoff.ms", 500, .atLeast(1), .low, internal: true, support: .noTieredStorage),
        .double("remote.log.manager.task.retry.jitter", 0.2, .fraction(upTo: 0.5), .low, internal: true, support: .noTieredStorage),
        .int("remote.log.manager.thread.pool.size", 2, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.metadata.custom.metadata.max.bytes", 128, .atLeast(0), .low, support: .noTieredStorage),
        .string(
            "remote.log.metadata.manager.class.name",
            "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", .nonEmptyString, .medium,
            support: .noTieredStorage),
        .string("remote.log.metadata.manager.class.path", nil, .any, .medium, support: .noTieredStorage),
        .string("remote.log.metadata.manager.impl.prefix", "rlmm.config.", .nonEmptyString, .medium, support: .noTieredStorage),
        .string("remote.log.metadata.manager.listener.name", nil, .nonEmptyString, .medium, support: .noTieredStorage),
        .int("remote.log.reader.max.pending.tasks", 100, .atLeast(1), .medium, support: .noTieredStorage),
        .int("remote.log.reader.threads", 10, .atLeast(1), .medium, mode: .clusterWide, support: .noTieredStorage),
        .string("remote.log.storage.manager.class.name", nil, .nonEmptyString, .medium, support: .noTieredStorage),
        .string("remote.log.storage.manager.class.path", nil, .any, .medium, support: .noTieredStorage),
        .string("remote.log.storage.manager.impl.prefix", "rsm.config.", .nonEmptyString, .medium, support: .noTieredStorage),
        .boolean(
            "remote.log.storage.system.enable", false, .medium, support: .refused("tiered storage is not available"),
            doc: "Whether tiered storage is on."),
    ]
}
