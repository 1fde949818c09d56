// Producers and consumers as Kafka's client properties describe them.
import MartletClient

extension ToolProperties {
    /// A producer with Kafka's defaults and whatever the properties change.
    func producer(_ servers: String, clientID: String) throws -> ProducerConfiguration {
        var configuration = ProducerConfiguration(try client(servers, clientID: clientID))
        switch self["acks"] ?? "all" {
        case "0": configuration.acknowledgements = .none
        case "1": configuration.acknowledgements = .leader
        case "all", "-1": configuration.acknowledgements = .all
        case let other:
            throw ToolExit.saying(
                "org.apache.kafka.common.config.ConfigException: Invalid value \(other) for configuration acks: String must be one of: all, "
                    + "-1, 0, 1")
        }
        configuration.isIdempotent = configuration.acknowledgements == .all && isTrue("enable.idempotence") != false
        let name = self["compression.type"] ?? "none"
        guard let type = CompressionType(name: name) else {
            throw ToolExit.saying(
                "org.apache.kafka.common.config.ConfigException: Invalid value \(name) for configuration compression.type: String must be "
                    + "one of: \(CompressionType.allCases.map(\.name).joined(separator: ", "))")
        }
        configuration.compression = Compression(type, level: try integer("compression.\(name).level"))
        configuration.batchSize = max(1, try integer("batch.size") ?? 16384)
        configuration.linger = try milliseconds("linger.ms") ?? .milliseconds(5)
        configuration.maximumRequestSize = max(try integer("max.request.size") ?? 1 << 20, configuration.batchSize + 4096)
        configuration.bufferMemory = max(try integer("buffer.memory") ?? 32 << 20, configuration.maximumRequestSize)
        configuration.deliveryTimeout = try milliseconds("delivery.timeout.ms") ?? .seconds(120)
        configuration.maximumBlockTime = try milliseconds("max.block.ms") ?? .seconds(60)
        if let most = try integer("max.in.flight.requests.per.connection") {
            configuration.client.maximumInFlightRequests = max(1, most)
        }
        return configuration
    }

    /// A consumer with Kafka's defaults and whatever the properties change; its group is `group.id`.
    func consumer(_ servers: String, clientID: String) throws -> ConsumerConfiguration {
        var configuration = ConsumerConfiguration(try client(servers, clientID: clientID), group: self["group.id"])
        configuration.groupInstanceID = self["group.instance.id"]
        switch self["auto.offset.reset"] ?? "latest" {
        case "earliest": configuration.offsetReset = .earliest
        case "latest": configuration.offsetReset = .latest
        case "none": configuration.offsetReset = .none
        case let other:
            throw ToolExit.saying(
                "org.apache.kafka.common.config.ConfigException: Invalid value \(other) for configuration auto.offset.reset")
        }
        switch self["isolation.level"] ?? "read_uncommitted" {
        case "read_committed": configuration.isolation = .readCommitted
        case "read_uncommitted": configuration.isolation = .readUncommitted
        case let other:
            throw ToolExit.saying(
                "org.apache.kafka.common.config.ConfigException: Invalid value \(other) for configuration isolation.level: String must be "
                    + "one of: read_committed, read_uncommitted")
        }
        configuration.commitsAutomatically = isTrue("enable.auto.commit") ?? true
        if let interval = try milliseconds("auto.commit.interval.ms") { configuration.automaticCommitInterval = interval }
        if let timeout = try milliseconds("session.timeout.ms") { configuration.sessionTimeout = timeout }
        if let interval = try milliseconds("heartbeat.interval.ms") { configuration.heartbeatInterval = interval }
        if let interval = try milliseconds("max.poll.interval.ms") { configuration.maximumPollInterval = interval }
        if let bytes = try integer("fetch.min.bytes") { configuration.fetchMinimumBytes = bytes }
        if let wait = try milliseconds("fetch.max.wait.ms") { configuration.fetchMaximumWait = wait }
        if let bytes = try integer("fetch.max.bytes") { configuration.fetchMaximumBytes = bytes }
        if let bytes = try integer("max.partition.fetch.bytes") { configuration.partitionMaximumBytes = bytes }
        if let verifies = isTrue("check.crcs") { configuration.verifiesChecksums = verifies }
        if let names = self["partition.assignment.strategy"] {
            let assignors = names.split(separator: ",").compactMap { Self.assignor(String($0)) }
            if !assignors.isEmpty { configuration.assignors = assignors }
        }
        return configuration
    }

    /// By Java's class name or Kafka's short one.
    private static func assignor(_ name: String) -> ConsumerAssignor? {
        switch name.trimmingBlanks.split(separator: ".").last.map(String.init) ?? "" {
        case "RangeAssignor", "range": .range
        case "RoundRobinAssignor", "roundrobin": .roundRobin
        case "CooperativeStickyAssignor", "cooperative-sticky": .cooperativeSticky
        default: nil
        }
    }
}
