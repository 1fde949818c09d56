// What a node is and how it works on requests: identity, roles, topics' creation, limits.

extension ConfigTable {
    static let nodeKeys: [ConfigDefinition] = [
        .string(
            "authorizer.class.name", "", .any, .low,
            doc:
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer to have access control lists decide who may do what; empty for no "
                + "authorizer."),
        .int("background.threads", 10, .atLeast(1), .high, mode: .clusterWide, support: .ownThreads),
        .int("broker.id", -1, .any, .high, doc: "The old name of node.id; must be equal to it when both are given."),
        .string(
            "broker.rack", nil, .any, .medium,
            doc: "The rack or zone of this broker, for spreading replicas and for reading from the nearest one."),
        .int(
            "compression.gzip.level", -1, .gzipLevel, .medium, mode: .clusterWide, synonym: "compression.gzip.level",
            doc: "Level for batches that the broker compresses with gzip."),
        .int(
            "compression.lz4.level", 9, .between(1, 17), .medium, mode: .clusterWide, synonym: "compression.lz4.level",
            doc: "Level for batches that the broker compresses with lz4."),
        .string(
            "compression.type", "producer", .compressionTypes, .high, mode: .clusterWide, synonym: "compression.type",
            doc: "Codec of stored batches: one of the codecs, uncompressed, or producer to keep what the producer chose."),
        .int(
            "compression.zstd.level", 3, .between(-131_072, 22), .medium, mode: .clusterWide, synonym: "compression.zstd.level",
            doc: "Level for batches that the broker compresses with zstd."),
        .list(
            "config.providers", [], .anyList, .low, mode: .clusterWide,
            support: .refused("values cannot be fetched from providers; put them into the environment or a file"),
            doc: "Sources of secrets that values refer to as ${provider:path:key}."),
        .boolean("controlled.shutdown.enable", true, .medium, doc: "Move leaders away before the broker stops."),
        .boolean("delete.topic.enable", true, .high, doc: "Whether topics can be deleted."),
        .list(
            "early.start.listeners", nil, .anyList, .high,
            support: .acceptedWithoutEffect("all listeners open together, when the node is ready"),
            doc: "Listeners opened before the broker has caught up with the metadata."),
        .int("fetch.max.bytes", 57_671_680, .atLeast(1024), .medium, doc: "Upper bound of the records in one fetch response."),
        .int("max.incremental.fetch.session.cache.slots", 1000, .atLeast(0), .medium, doc: "Incremental fetch sessions kept."),
        .int(
            "max.request.partition.size.limit", 2000, .atLeast(1), .medium,
            doc: "Most partitions described in one answer to DescribeTopicPartitions."),
        .int(
            "message.max.bytes", 1_048_588, .atLeast(0), .high, mode: .clusterWide, synonym: "max.message.bytes",
            doc: "Largest record batch taken."),
        .int("node.id", nil, .atLeast(0), .high, doc: "This node's id, unique in the cluster.", required: true),
        .int("num.io.threads", 8, .atLeast(1), .high, mode: .clusterWide, support: .ownThreads, doc: "Threads that process requests."),
        .int(
            "num.replica.alter.log.dirs.threads", nil, .any, .high,
            doc: "Threads that move partitions between directories; as many as directories when not set."),
        .list(
            "process.roles", nil, .list(of: ["broker", "controller"], mayBeEmpty: false), .high,
            doc: "What this node does: broker, controller, or both.", required: true),
        .int(
            "request.timeout.ms", 30_000, .any, .high,
            doc: "How long a broker waits for the answer to its own requests."),
        .long("socket.connection.setup.timeout.max.ms", 30_000, .any, .medium, support: .notBetweenNodes),
        .long("socket.connection.setup.timeout.ms", 10_000, .any, .medium, support: .notBetweenNodes),
        .boolean(
            "unstable.api.versions.enable", false, .high, internal: true,
            support: .acceptedWithoutEffect("message versions that Kafka still changes are never offered")),
        .boolean(
            "unstable.feature.versions.enable", false, .high, internal: true,
            support: .acceptedWithoutEffect("feature versions that Kafka still changes are never offered")),
    ]
}
