// A topic's configuration with every question answered: typed values for the code that writes, keeps and deletes logs.
import Collections

/// The values in force for one topic. Times are in milliseconds, sizes in bytes, as in Kafka's keys.
public struct TopicConfiguration: Sendable, Equatable {
    /// `message.timestamp.type`.
    public enum TimestampType: String, Sendable {
        case createTime = "CreateTime"
        case logAppendTime = "LogAppendTime"
    }

    public var segmentBytes: Int = 1_073_741_824
    public var segmentMilliseconds: Int64 = 604_800_000
    public var segmentJitterMilliseconds: Int64 = 0
    public var segmentIndexBytes: Int = 10_485_760
    public var indexIntervalBytes: Int = 4096
    public var flushMessages: Int64 = .max
    public var flushMilliseconds: Int64 = .max
    /// -1 keeps everything.
    public var retentionBytes: Int64 = -1
    /// -1 keeps records for ever.
    public var retentionMilliseconds: Int64 = 604_800_000
    public var maxMessageBytes: Int = 1_048_588
    public var fileDeleteDelayMilliseconds: Int64 = 60_000
    public var deleteRetentionMilliseconds: Int64 = 86_400_000
    public var minCompactionLagMilliseconds: Int64 = 0
    public var maxCompactionLagMilliseconds: Int64 = .max
    public var minCleanableDirtyRatio: Double = 0.5
    /// `cleanup.policy` names `delete`.
    public var deletes: Bool = true
    /// `cleanup.policy` names `compact`.
    public var compacts: Bool = false
    public var uncleanLeaderElectionEnable: Bool = false
    public var minInSyncReplicas: Int = 1
    /// `producer`, `uncompressed` or the name of a codec.
    public var compressionType: String = "producer"
    public var compressionGzipLevel: Int = -1
    public var compressionLz4Level: Int = 9
    public var compressionZstdLevel: Int = 3
    public var preallocate: Bool = false
    public var messageTimestampType: TimestampType = .createTime
    public var messageTimestampBeforeMaxMilliseconds: Int64 = .max
    public var messageTimestampAfterMaxMilliseconds: Int64 = 3_600_000

    /// Kafka's defaults.
    public init() {}

    /// The values for topics without overrides on a broker with these layers. Compute once, then `applying(_:)` per topic.
    public init(layers: BrokerConfigLayers) {
        self.init()
        // Only what is set can differ from the defaults above; a node with very many topics comes here often.
        for layer in [layers.fixed, layers.dynamicDefault, layers.dynamicBroker] {
            for key in layer.keys {
                guard let topicKey = BrokerSynonyms.topicKey(of: key), let definition = ConfigTable.topic[topicKey] else { continue }
                if let value = Self.inherited(definition, layers: layers) { set(topicKey, value) }
            }
        }
    }

    /// This with a topic's overrides on top; texts that do not parse and keys nobody knows are passed over.
    public func applying(_ overrides: OrderedDictionary<String, String>) -> TopicConfiguration {
        var result = self
        for (key, text) in overrides {
            if let value = try? ConfigTable.topic[key]?.parseStored(text) { result.set(key, value) }
        }
        // For tests only, and above `segment.bytes` wherever it stands.
        let key = "internal.segment.bytes"
        if let text = overrides[key], let value = try? ConfigTable.topic.parse(text, key: key) { result.set(key, value) }
        return result
    }

    /// The value of a topic key that no topic overrides: the broker's under any of its names, else the default.
    static func inherited(_ definition: ConfigDefinition, layers: BrokerConfigLayers) -> ConfigValue? {
        guard let key = definition.synonym else { return definition.defaultValue }
        for (name, factor) in BrokerSynonyms.of(key) {
            guard let value = layers.value(name) else { continue }
            guard factor != 1 || name == "log.retention.ms", let number = value.integer else { return value }
            if number < 0 { return .long(-1) }
            let (product, overflow) = number.multipliedReportingOverflow(by: factor)
            return .long(overflow ? .max : product)
        }
        return definition.defaultValue
    }

    private mutating func set(_ key: String, _ value: ConfigValue) {
        switch value {
        case .boolean(let flag): set(key, flag: flag)
        case .int, .short, .long: if let number = value.integer { set(key, number: number) }
        case .double(let number): if key == "min.cleanable.dirty.ratio" { minCleanableDirtyRatio = number }
        case .string(let text):
            if key == "compression.type" { compressionType = text }
            if key == "message.timestamp.type", let type = TimestampType(rawValue: text) { messageTimestampType = type }
        case .list(let elements):
            if key == "cleanup.policy" {
                deletes = elements.contains("delete")
                compacts = elements.contains("compact")
            }
        case .className, .password: break
        }
    }

    private mutating func set(_ key: String, flag: Bool) {
        switch key {
        case "preallocate": preallocate = flag
        case "unclean.leader.election.enable": uncleanLeaderElectionEnable = flag
        default: break
        }
    }

    private mutating func set(_ key: String, number: Int64) {
        switch key {
        case "segment.bytes", "internal.segment.bytes": segmentBytes = Int(number)
        case "segment.ms": segmentMilliseconds = number
        case "segment.jitter.ms": segmentJitterMilliseconds = number
        case "segment.index.bytes": segmentIndexBytes = Int(number)
        case "index.interval.bytes": indexIntervalBytes = Int(number)
        case "flush.messages": flushMessages = number
        case "flush.ms": flushMilliseconds = number
        case "retention.bytes": retentionBytes = number
        case "retention.ms": retentionMilliseconds = number
        case "max.message.bytes": maxMessageBytes = Int(number)
        case "file.delete.delay.ms": fileDeleteDelayMilliseconds = number
        case "delete.retention.ms": deleteRetentionMilliseconds = number
        case "min.compaction.lag.ms": minCompactionLagMilliseconds = number
        case "max.compaction.lag.ms": maxCompactionLagMilliseconds = number
        case "min.insync.replicas": minInSyncReplicas = Int(number)
        case "compression.gzip.level": compressionGzipLevel = Int(number)
        case "compression.lz4.level": compressionLz4Level = Int(number)
        case "compression.zstd.level": compressionZstdLevel = Int(number)
        case "message.timestamp.before.max.ms": messageTimestampBeforeMaxMilliseconds = number
        case "message.timestamp.after.max.ms": messageTimestampAfterMaxMilliseconds = number
        default: break
        }
    }
}
