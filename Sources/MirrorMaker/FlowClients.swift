// Kafka's client properties of one flow, made into clients. Whatever cannot be used is said before anything is copied.
import MartletClient
import Mirroring
import OrderedCollections

/// What is used of a consumer's settings.
struct FetchSettings: Sendable {
    var minimumBytes: Int32 = 1
    var maximumWait = Duration.milliseconds(500)
    var maximumBytes: Int32 = 50 << 20
    var partitionMaximumBytes: Int32 = 1 << 20
    var isolation = IsolationLevel.readUncommitted
    /// Where a partition begins that was never copied, and where copying goes on after records were lost.
    var reset = OffsetResetPolicy.earliest
    var verifiesChecksums = true
}

/// What is used of a producer's settings.
struct ProduceSettings: Sendable {
    /// Nil to leave batches compressed as they are.
    var compression: Compression?
    /// Bytes up to which small batches are put together.
    var batchSize = 256 << 10
    var maximumRequestSize = 1 << 20
    var transactionTimeout = Duration.seconds(60)
}

/// All clients of a flow.
struct FlowClients: Sendable {
    let sourceAdmin: ClientConfiguration
    let targetAdmin: ClientConfiguration
    let sourceConsumer: ClientConfiguration
    let sourceProducer: ClientConfiguration
    let targetProducer: ClientConfiguration
    let targetConsumer: ClientConfiguration
    let fetch: FetchSettings
    let produce: ProduceSettings

    /// - Throws: `invalidArgument` with the property that cannot be used.
    init(_ flow: MirrorFlow) throws(KafkaError) {
        sourceAdmin = try Self.client(flow.sourceAdmin, flow, "source-admin")
        targetAdmin = try Self.client(flow.targetAdmin, flow, "target-admin")
        sourceConsumer = try Self.client(flow.sourceConsumer, flow, "replication-consumer")
        sourceProducer = try Self.client(flow.sourceProducer, flow, "offset-syncs-source-producer")
        targetProducer = try Self.client(flow.targetProducer, flow, "replication-producer")
        targetConsumer = try Self.client(flow.targetConsumer, flow, "target-consumer")
        fetch = try Self.fetchSettings(flow.sourceConsumer)
        produce = try Self.produceSettings(flow.targetProducer)
    }

    /// Where the offset-syncs topic is.
    func offsetSyncsProducer(_ flow: MirrorFlow) -> ClientConfiguration {
        flow.offsetSyncsLocation == .source ? sourceProducer : targetProducer
    }

    func offsetSyncsReader(_ flow: MirrorFlow) -> ClientConfiguration {
        flow.offsetSyncsLocation == .source ? sourceConsumer : targetConsumer
    }

    private static func client(_ properties: ClientProperties, _ flow: MirrorFlow, _ role: String) throws(KafkaError) -> ClientConfiguration
    {
        var configuration = try ClientConfiguration(bootstrapServers: properties["bootstrap.servers"] ?? "")
        configuration.security = try ClientSecurity { properties[$0] }
        let own = properties["client.id"].map { $0 + "|" } ?? ""
        configuration.clientID = "\(own)\(flow.name)|\(SourcePosition.connector)|\(role)"
        if let timeout = try milliseconds(properties, "request.timeout.ms") { configuration.requestTimeout = timeout }
        if let timeout = try milliseconds(properties, "default.api.timeout.ms") { configuration.operationTimeout = timeout }
        if let pause = try milliseconds(properties, "retry.backoff.ms") { configuration.retryBackoff = pause }
        if let age = try milliseconds(properties, "metadata.max.age.ms") { configuration.metadataMaximumAge = age }
        return configuration
    }

    private static func fetchSettings(_ properties: ClientProperties) throws(KafkaError) -> FetchSettings {
        var settings = FetchSettings()
        if let bytes = try integer(properties, "fetch.min.bytes") { settings.minimumBytes = Int32(clamping: bytes) }
        if let wait = try milliseconds(properties, "fetch.max.wait.ms") { settings.maximumWait = wait }
        if let bytes = try integer(properties, "fetch.max.bytes") { settings.maximumBytes = Int32(clamping: bytes) }
        if let bytes = try integer(properties, "max.partition.fetch.bytes") { settings.partitionMaximumBytes = Int32(clamping: bytes) }
        switch try choice(properties, "isolation.level", "read_uncommitted", ["read_uncommitted", "read_committed"]) {
        case "read_committed": settings.isolation = .readCommitted
        default: settings.isolation = .readUncommitted
        }
        switch try choice(properties, "auto.offset.reset", "earliest", ["earliest", "latest"]) {
        case "latest": settings.reset = .latest
        default: settings.reset = .earliest
        }
        settings.verifiesChecksums = try choice(properties, "check.crcs", "true", ["true", "false"]) == "true"
        return settings
    }

    private static func produceSettings(_ properties: ClientProperties) throws(KafkaError) -> ProduceSettings {
        var settings = ProduceSettings()
        if properties["compression.type"] != nil {
            let name = try choice(properties, "compression.type", "none", CompressionType.allCases.map(\.name))
            let level = try integer(properties, "compression.\(name).level")
            settings.compression = CompressionType(name: name).map { Compression($0, level: level) }
        }
        if let size = try integer(properties, "batch.size") { settings.batchSize = max(1, size) }
        if let size = try integer(properties, "max.request.size") { settings.maximumRequestSize = max(1, size) }
        if let timeout = try milliseconds(properties, "transaction.timeout.ms") { settings.transactionTimeout = timeout }
        return settings
    }

    private static func integer(_ properties: ClientProperties, _ key: String) throws(KafkaError) -> Int? {
        guard let text = properties[key] else { return nil }
        guard let number = Int(text), number >= 0 else {
            throw KafkaError(.invalidArgument, "\(key) is '\(text)'; it is a number")
        }
        return number
    }

    private static func milliseconds(_ properties: ClientProperties, _ key: String) throws(KafkaError) -> Duration? {
        try integer(properties, key).map { .milliseconds($0) }
    }

    private static func choice(
        _ properties: ClientProperties, _ key: String, _ standard: String, _ values: [String]
    ) throws(KafkaError) -> String {
        let value = properties[key] ?? standard
        guard values.contains(value) else {
            throw KafkaError(.invalidArgument, "\(key) is '\(value)'; it is one of \(values.joined(separator: ", "))")
        }
        return value
    }
}
