// Every key that means something in a MirrorMaker file, so that a slip of the pen is noticed.

enum MirrorKeys {
    /// Settings of a flow, which may also stand alone for all flows.
    private static let connector: Set<String> = [
        "enabled", "topics", "topics.exclude", "groups", "groups.exclude", "config.properties.exclude", "use.defaults.from",
        "topic.filter.class", "group.filter.class", "config.property.filter.class", "forwarding.admin.class",
        "replication.policy.class", "replication.policy.separator", "replication.policy.internal.topic.separator.enabled",
        "replication.factor", "offset-syncs.topic.replication.factor", "checkpoints.topic.replication.factor",
        "heartbeats.topic.replication.factor", "offset-syncs.topic.location", "emit.offset-syncs.enabled", "offset.lag.max",
        "refresh.topics.enabled", "refresh.topics.interval.seconds", "refresh.groups.enabled", "refresh.groups.interval.seconds",
        "sync.topic.configs.enabled", "sync.topic.configs.interval.seconds", "sync.topic.acls.enabled", "sync.topic.acls.interval.seconds",
        "emit.heartbeats.enabled", "emit.heartbeats.interval.seconds", "heartbeats.replication.enabled", "emit.checkpoints.enabled",
        "emit.checkpoints.interval.seconds", "sync.group.offsets.enabled", "sync.group.offsets.interval.seconds", "tasks.max",
        "replication.provenance.headers.enable", "replication.provenance.lookback.records", "transforms",
    ]

    /// What settings of a flow begin with whose rest the operator names.
    private static let families = ["replication.policy", "transforms.", "topic.config."]

    /// Settings of MirrorMaker's Connect workers that are understood.
    private static let worker: Set<String> = [
        "group.id", "offset.storage.topic", "offset.storage.partitions", "offset.storage.replication.factor", "offset.flush.interval.ms",
        "exactly.once.source.support", "dedicated.mode.enable.internal.rest", "session.timeout.ms", "heartbeat.interval.ms",
    ]

    /// Keys of MirrorMaker and Connect that change nothing here, with the reason.
    private static let idle: [(prefix: String, reason: String)] = [
        ("listeners", "there is no REST interface"), ("rest.", "there is no REST interface"),
        ("admin.listeners", "there is no REST interface"),
        ("config.storage.", "nothing is kept in a configuration topic"), ("status.storage.", "nothing is kept in a status topic"),
        ("key.converter", "bytes are copied as they are"), ("value.converter", "bytes are copied as they are"),
        ("header.converter", "bytes are copied as they are"), ("plugin.", "Java classes are not run here"),
        ("metric.reporters", "--metrics serves metrics"), ("metric.names.formats", "--metrics serves metrics"),
        ("metrics.", "--metrics serves metrics"), ("admin.timeout.ms", "admin.default.api.timeout.ms bounds requests"),
        ("consumer.poll.timeout.ms", "consumer.fetch.max.wait.ms bounds waiting"),
        ("task.shutdown", "stopping waits for what is on its way"),
        ("task.", "workers are no Connect tasks"), ("worker.", "there are no Connect workers"),
        ("rebalance.timeout.ms", "nothing is rebalanced"), ("scheduled.rebalance.", "nothing is rebalanced"),
        ("connect.protocol", "nothing is rebalanced"), ("inter.worker.", "processes do not speak with one another"),
        ("offset.flush.timeout.ms", "storing positions is bounded by the producer's request.timeout.ms"),
        ("offset.storage.", "only topic, partitions and replication.factor are used"), ("errors.", "a record is never skipped"),
        ("transaction.boundary", "a transaction holds what one fetch brought"), ("name", "flows are named by their clusters"),
        ("connector.class", "flows are named by their clusters"),
        ("connector.client.config.override.policy", "every setting may be changed"),
    ]

    /// Names of keys before Kafka 4.0, which would exclude nothing if they were passed over.
    static let removed: [String: String] = [
        "topics.blacklist": "topics.exclude", "groups.blacklist": "groups.exclude",
        "config.properties.blacklist": "config.properties.exclude",
    ]

    /// Settings of clients that are used.
    private static let consumer: Set<String> = [
        "fetch.min.bytes", "fetch.max.wait.ms", "fetch.max.bytes", "max.partition.fetch.bytes", "isolation.level", "auto.offset.reset",
        "check.crcs",
    ]
    private static let producer: Set<String> = [
        "compression.type", "compression.gzip.level", "compression.lz4.level", "compression.zstd.level", "batch.size", "max.request.size",
        "transaction.timeout.ms",
    ]
    private static let everyClient: Set<String> = [
        "client.id", "request.timeout.ms", "default.api.timeout.ms", "retry.backoff.ms", "metadata.max.age.ms",
        "max.in.flight.requests.per.connection",
    ]
    /// What Kafka's clients have and nobody needs here, without a word.
    private static let fixed: Set<String> = [
        "acks", "enable.idempotence", "linger.ms", "buffer.memory", "retries", "delivery.timeout.ms", "max.block.ms", "enable.auto.commit",
        "max.poll.records", "max.poll.interval.ms", "receive.buffer.bytes", "send.buffer.bytes", "poll.timeout.ms",
    ]

    static var workerKeys: [String] { worker.sorted() }

    /// Keys that MirrorMaker alone has, be they used or not, as in a file or without a flow in front.
    static func isMirrorMakers(_ key: String) -> Bool {
        let sides = ["source.cluster.", "target.cluster.", "source.consumer.", "source.admin.", "target.producer.", "target.admin."]
        return key == "clusters" || isConnectorKey(key) || worker.contains(key) || removed[key] != nil
            || sides.contains(where: key.hasPrefix)
    }

    static func isConnectorKey(_ key: String) -> Bool { connector.contains(key) || families.contains(where: key.hasPrefix) }

    /// Keys of one kind of client, as MirrorMaker tells them apart.
    static func isRoleKey(_ key: String) -> Bool { key.hasPrefix("consumer") || key.hasPrefix("producer") || key.hasPrefix("admin") }

    /// Where the cluster is and how to log in: what every client of a cluster shares (`MirrorClientConfig.CLIENT_CONFIG_DEF`).
    static func isClientKey(_ key: String) -> Bool {
        key == "bootstrap.servers" || key == "security.protocol" || key.hasPrefix("ssl.") || key.hasPrefix("sasl.")
    }

    /// What is to be said about a key without alias or flow in front; nil when it is used.
    static func objection(to key: String) -> String? {
        if isConnectorKey(key) || worker.contains(key) || isClientKey(key) || key == "clusters" { return nil }
        for (role, known) in [("consumer.", consumer), ("producer.", producer), ("admin.", [])] {
            guard let name = key.dropping(role) else { continue }
            if known.contains(name) || everyClient.contains(name) || fixed.contains(name) || isClientKey(name) { return nil }
            if idle.contains(where: { $0.prefix == key }) { break }
            return "has no effect: the client has no such setting, or keeps to a value of its own"
        }
        if let found = idle.first(where: {
            $0.prefix.hasSuffix(".") ? key.hasPrefix($0.prefix) : key == $0.prefix || key.hasPrefix($0.prefix + ".")
        }) {
            return "has no effect: \(found.reason)"
        }
        let near = connector.union(worker).sorted().min { Self.distance($0, key) < Self.distance($1, key) }
        let hint = near.flatMap { Self.distance($0, key) <= 3 ? "; did you mean \($0)?" : nil } ?? ""
        return "is not known and has no effect\(hint)"
    }

    /// Changes of a letter that make one word the other.
    private static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        var row = Array(0...right.count)
        for (index, letter) in left.enumerated() {
            var diagonal = row[0]
            row[0] = index + 1
            for (position, other) in right.enumerated() {
                let change = diagonal + (letter == other ? 0 : 1)
                diagonal = row[position + 1]
                row[position + 1] = min(change, row[position] + 1, row[position + 1] + 1)
            }
        }
        return row[right.count]
    }
}
