// The tables: all keys of one kind of resource, found by name.
import Collections

/// Every key of one kind of resource, in the order of their names.
public struct ConfigTable: Sendable {
    /// What these keys configure.
    public let resource: ConfigResourceType
    private let entries: OrderedDictionary<String, ConfigDefinition>

    init(_ resource: ConfigResourceType, _ areas: [[ConfigDefinition]]) {
        self.resource = resource
        var entries: OrderedDictionary<String, ConfigDefinition> = [:]
        for definition in areas.joined().sorted(by: { $0.name < $1.name }) {
            precondition(entries.updateValue(definition, forKey: definition.name) == nil, "\(definition.name) is defined twice")
        }
        self.entries = entries
    }

    /// The keys of a broker's own configuration (server.properties).
    public static let broker = ConfigTable(.broker, brokerAreas)
    /// The broker keys that exist only as dynamic configuration (replication throttles, KIP-73 and KIP-113).
    public static let dynamicBroker = ConfigTable(.broker, [dynamicBrokerKeys])
    /// The keys of topics.
    public static let topic = ConfigTable(.topic, [topicKeys])
    /// The keys of groups (KIP-848, KIP-932, KIP-1071).
    public static let group = ConfigTable(.group, [groupKeys])
    /// The keys of client metrics subscriptions (KIP-714).
    public static let clientMetrics = ConfigTable(.clientMetrics, [clientMetricsKeys])

    private static let brokerAreas: [[ConfigDefinition]] = [
        nodeKeys, listenerKeys, quorumKeys, logKeys, cleanerKeys, replicationKeys, groupCoordinatorKeys, consumerGroupKeys,
        shareGroupKeys, streamsGroupKeys, transactionKeys, securityKeys, oauthKeys, tlsKeys, remoteLogKeys, quotaAndMetricKeys,
    ]

    public subscript(name: String) -> ConfigDefinition? { entries[name] }

    /// All definitions, by name.
    public var definitions: [ConfigDefinition] { Array(entries.values) }

    /// All names in order.
    public var names: [String] { Array(entries.keys) }

    /// Parses and validates the text of one key. Throws when the key is unknown or does not take the value.
    public func parse(_ text: String, key: String) throws(ConfigError) -> ConfigValue {
        guard let definition = entries[key] else { throw unknownKey(key) }
        return try definition.parse(text)
    }

    /// The error for a key nobody knows, in Kafka's words.
    public func unknownKey(_ key: String) -> ConfigError {
        let kind =
            switch resource {
            case .topic: "topic "
            case .group: "group "
            case .clientMetrics: "client metrics "
            default: "broker "
            }
        return ConfigError(.unknownKey, key: key, "Unknown \(kind)config name: \(key)")
    }

    /// The known key most like `name`, when one is so close that a slip of the finger explains it; nil otherwise.
    public func nearest(to name: String) -> String? {
        // One slip in short names, up to three in long ones: `log.dir` must not be taken for a typing error of something else.
        closest(to: name, limit: min(3, max(1, name.utf8.count / 6)))
    }

    /// The known key that may have been meant by a name that is further off: for a hint, not for a verdict.
    public func similar(to name: String) -> String? {
        closest(to: name, limit: name.utf8.count / 4)
    }

    private func closest(to name: String, limit: Int) -> String? {
        // What is no configuration at all may be a single line of megabytes.
        guard name.utf8.count <= 256 else { return nil }
        var best: (name: String, distance: Int)?
        for candidate in entries.keys {
            let distance = EditDistance.between(name, candidate, limit: best.map { $0.distance - 1 } ?? limit)
            if let distance { best = (candidate, distance) }
            if distance == 0 { break }
        }
        return best?.name
    }
}

extension ConfigDefinition {
    /// Parses, normalises and validates a value of this key.
    public func parse(_ text: String) throws(ConfigError) -> ConfigValue {
        let value = validator.normalised(try ConfigValue(parsing: text, as: type, key: name))
        try validator.check(value, key: name)
        return value
    }
}
