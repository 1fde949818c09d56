// Followers, leaders and the brokers' traffic among themselves.

extension ConfigTable {
    static let replicationKeys: [ConfigDefinition] = [
        .boolean(
            "auto.leader.rebalance.enable", true, .high,
            doc: "Hand leadership back to the preferred replica when it has moved away."),
        .int("controller.socket.timeout.ms", 30_000, .any, .medium, support: .notBetweenNodes),
        .int("default.replication.factor", 1, .any, .medium, doc: "Replicas of topics created automatically or without a count."),
        .int(
            "delete.records.purgatory.purge.interval.requests", 1, .any, .medium,
            support: .acceptedWithoutEffect("requests that wait leave no trace once they are answered")),
        .int(
            "fetch.purgatory.purge.interval.requests", 1000, .any, .medium,
            support: .acceptedWithoutEffect("requests that wait leave no trace once they are answered")),
        .boolean("follower.fetch.last.tiered.offset.enable", false, .medium, mode: .clusterWide, support: .noTieredStorage),
        .long(
            "leader.imbalance.check.interval.seconds", 300, .atLeast(1), .high,
            doc: "Time between two checks whether leaders have moved away from their preferred replicas."),
        .int(
            "num.replica.fetchers", 1, .atLeast(1), .high, mode: .clusterWide,
            doc: "Threads per leader that fetch for followers."),
        .int(
            "producer.purgatory.purge.interval.requests", 1000, .any, .medium,
            support: .acceptedWithoutEffect("requests that wait leave no trace once they are answered")),
        .int("replica.fetch.backoff.ms", 1000, .atLeast(0), .medium, doc: "How long a follower rests after an error."),
        .int(
            "replica.fetch.max.bytes", 1_048_576, .atLeast(0), .medium, doc: "Bytes a follower asks for per partition."),
        .int("replica.fetch.min.bytes", 1, .any, .high, doc: "Bytes a follower waits for."),
        .int(
            "replica.fetch.response.max.bytes", 10_485_760, .atLeast(0), .medium,
            doc: "Bytes a follower asks for per request."),
        .int("replica.fetch.wait.max.ms", 500, .any, .high, doc: "How long a follower waits for them."),
        .long(
            "replica.high.watermark.checkpoint.interval.ms", 5000, .any, .high,
            doc: "Time between two writes of the high watermarks."),
        .long(
            "replica.lag.time.max.ms", 30_000, .any, .high,
            doc: "A follower behind for this long leaves the in-sync replicas."),
        .string(
            "replica.selector.class", nil, .any, .medium,
            doc: "The class that picks the replica a consumer should read from."),
        .int(
            "replica.socket.receive.buffer.bytes", 65_536, .any, .high,
            doc: "Receive buffer of a follower's connections."),
        .int("replica.socket.timeout.ms", 30_000, .any, .high, doc: "How long a follower waits for an answer."),
        .boolean(
            "unclean.leader.election.enable", false, .high, mode: .clusterWide, synonym: "unclean.leader.election.enable",
            doc: "Whether a replica outside the in-sync replicas may lead, which loses records."),
        .long(
            "unclean.leader.election.interval.ms", 300_000, .atLeast(1), .medium, internal: true,
            doc: "Time between two looks for partitions without a leader that may have an unclean one."),
    ]
}
