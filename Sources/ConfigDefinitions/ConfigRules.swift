// What CreateTopics, AlterConfigs and IncrementalAlterConfigs must refuse: names, values, and values that contradict each other.
// The rules are those of Kafka's LogConfig, DynamicBrokerConfig and GroupConfig.
import Collections

/// Rules for whole sets of configuration. Each function throws the first thing wrong; on the wire that is INVALID_CONFIG.
public enum ConfigRules {
    /// Checks a topic's complete overrides, as they would be after the change.
    ///
    /// - Parameters:
    ///   - changed: the keys that are being set; the others may be older than today's bounds. Nil for all.
    ///   - layers: the broker's, for values that the topic does not override.
    public static func validateTopic(
        _ overrides: OrderedDictionary<String, String?>, changed: [String]? = nil, layers: BrokerConfigLayers
    ) throws(ConfigError) {
        for key in overrides.keys where ConfigTable.topic[key] == nil { throw ConfigTable.topic.unknownKey(key) }
        let texts = try withoutNulls(overrides, "topic")
        for (key, text) in texts {
            guard let definition = ConfigTable.topic[key] else { continue }
            let value = try parse(text, definition, isChanged: changed?.contains(key) ?? true)
            if key == "remote.storage.enable", value.boolean == true {
                throw ConfigError(
                    .conflict, key: key,
                    "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.")
            }
        }
        let effective = TopicConfiguration(layers: layers).applying(texts)
        if effective.minCompactionLagMilliseconds > effective.maxCompactionLagMilliseconds {
            throw ConfigError(
                .conflict, key: "min.compaction.lag.ms",
                "conflict topic config setting min.compaction.lag.ms (\(effective.minCompactionLagMilliseconds)) > max.compaction.lag.ms "
                    + "(\(effective.maxCompactionLagMilliseconds))")
        }
    }

    /// Checks the dynamic configuration of a broker, or of all brokers when `isPerBroker` is false. Unknown keys pass: they may
    /// be a plugin's.
    ///
    /// - Parameter changed: as for topics.
    public static func validateDynamicBroker(
        _ overrides: OrderedDictionary<String, String>, changed: [String]? = nil, isPerBroker: Bool
    ) throws(ConfigError) {
        try refuse(
            overrides.keys.filter { ConfigTable.broker[$0]?.isDynamic == false }, .notDynamic,
            "Cannot update these configs dynamically")
        try refuse(
            overrides.keys.filter { $0.hasPrefix("ssl.") && ConfigTable.broker[$0]?.isDynamic == true && isPerListener($0) }, .notDynamic,
            "These security configs can be dynamically updated only per-listener using the listener prefix")
        for (key, text) in overrides {
            let base = ListenerPrefix.base(of: key) ?? key
            guard let definition = ConfigTable.broker[base] ?? ConfigTable.dynamicBroker[base] else { continue }
            _ = try parse(text, definition, isChanged: changed?.contains(key) ?? true)
        }
        if !isPerBroker {
            try refuse(
                overrides.keys.filter(isPerBrokerKey), .notDynamic,
                "Cannot update these configs at default cluster level, broker id must be specified")
        }
    }

    /// Keys that Kafka changes on a running broker and Martlet reads at the start only: stored, they would have no effect, ever.
    private static let fixedAtStart = ["listeners", "listener.security.protocol.map"]

    /// Checks the keys that a change sets, apart from those that were there before.
    public static func validateDynamicBrokerChange(_ keys: [String]) throws(ConfigError) {
        try refuse(
            keys.filter(fixedAtStart.contains), .notDynamic,
            "Cannot update these configs dynamically, change the node's own configuration and start it again")
    }

    /// Checks a broker's values against each other, as all of its layers leave them.
    public static func validateBroker(_ layers: BrokerConfigLayers) throws(ConfigError) {
        let topics = TopicConfiguration(layers: layers)
        func require(_ condition: Bool, _ key: String, _ rule: String) throws(ConfigError) {
            if !condition { throw ConfigError(.conflict, key: key, "\(key) \(rule)") }
        }
        try require(topics.segmentMilliseconds >= 1, "log.roll.ms", "must be greater than or equal to 1")
        try require(topics.segmentJitterMilliseconds >= 0, "log.roll.jitter.ms", "must be greater than or equal to 0")
        try require(
            topics.retentionMilliseconds == -1 || topics.retentionMilliseconds >= 1, "log.retention.ms",
            "must be unlimited (-1) or greater than or equal to 1")
        try require(
            topics.minCompactionLagMilliseconds <= topics.maxCompactionLagMilliseconds, "log.cleaner.min.compaction.lag.ms",
            "must not be greater than log.cleaner.max.compaction.lag.ms")
        let key = "max.connections.per.ip.overrides"
        let overrides = PairList.parse(layers.value(key)?.text ?? "")
        for (text, pair) in overrides {
            guard let pair, !pair.key.isEmpty, let count = Int32(pair.value), count >= 0 else {
                throw ConfigError.invalidValue(text, key: key, "each element must have the form host:count")
            }
        }
        try require(
            layers.value("max.connections.per.ip")?.integer != 0 || !overrides.isEmpty, "max.connections.per.ip",
            "can be set to zero only if \(key) is set")
    }

    /// The keys of `SslConfigs.RECONFIGURABLE_CONFIGS`, which make no sense for all listeners at once.
    private static func isPerListener(_ key: String) -> Bool {
        let suffixes = ["keystore.", "key.password", "truststore."]
        return suffixes.contains { key.dropFirst("ssl.".count).hasPrefix($0) }
    }

    private static func isPerBrokerKey(_ key: String) -> Bool {
        if let definition = ConfigTable.broker[key] { return definition.updateMode == .perBroker }
        guard let (_, rest) = ListenerPrefix.split(key) else { return false }
        return !["max.connections", "max.connection.creation.rate", "num.network.threads"].contains(rest)
    }

    /// Checks a group's complete overrides against the bounds that the broker sets.
    public static func validateGroup(_ overrides: OrderedDictionary<String, String?>, layers: BrokerConfigLayers) throws(ConfigError) {
        for key in overrides.keys where ConfigTable.group[key] == nil { throw ConfigTable.group.unknownKey(key) }
        let texts = try withoutNulls(overrides, "group")
        var values: OrderedDictionary<String, ConfigValue> = [:]
        for (key, text) in texts { values[key] = try ConfigTable.group.parse(text, key: key) }
        for (key, value) in values {
            try checkGroupBounds(key, value, layers)
        }
        for kind in ["consumer", "share", "streams"] {
            let session = "\(kind).session.timeout.ms"
            let heartbeat = "\(kind).heartbeat.interval.ms"
            guard values[session] != nil || values[heartbeat] != nil else { continue }
            let sessionMilliseconds = (values[session] ?? layers.value("group.\(session)"))?.integer ?? 0
            let heartbeatMilliseconds = (values[heartbeat] ?? layers.value("group.\(heartbeat)"))?.integer ?? 0
            if sessionMilliseconds <= heartbeatMilliseconds {
                throw ConfigError(.conflict, key: session, "\(session) must be greater than \(heartbeat)")
            }
        }
    }

    private static func checkGroupBounds(_ key: String, _ value: ConfigValue, _ layers: BrokerConfigLayers) throws(ConfigError) {
        if key == "errors.deadletterqueue.topic.name", value.text.hasPrefix("__") {
            throw ConfigError(.invalidValue, key: key, "\(key): DLQ topic name must not start with '__'")
        }
        guard let number = value.integer, let dot = key.firstIndex(of: ".") else { return }
        // group.consumer.min.session.timeout.ms bounds consumer.session.timeout.ms, and so on.
        let kind = key[..<dot]
        let rest = key[key.index(after: dot)...]
        let plural = ["num.standby.replicas": "standby.replicas", "num.warmup.replicas": "warmup.replicas"]
        let name = plural[String(rest)] ?? String(rest)
        let minimum = layers.value("group.\(kind).min.\(name)")?.integer
        let maximum = layers.value("group.\(kind).max.\(name)")?.integer
        switch (minimum, maximum) {
        case (let minimum?, let maximum?) where number < minimum || number > maximum:
            throw ConfigError(.invalidValue, key: key, "\(key) must be in the range \(minimum) to \(maximum) inclusive.")
        case (nil, let maximum?) where number > maximum:
            throw ConfigError(.invalidValue, key: key, "\(key) must be less than or equal to \(maximum)")
        case (let minimum?, nil) where number < minimum:
            throw ConfigError(.invalidValue, key: key, "\(key) must be greater than or equal to \(minimum)")
        default: return
        }
    }

    private static func parse(_ text: String, _ definition: ConfigDefinition, isChanged: Bool) throws(ConfigError) -> ConfigValue {
        isChanged ? try definition.parse(text) : try definition.parseStored(text)
    }

    private static func withoutNulls(
        _ overrides: OrderedDictionary<String, String?>, _ kind: String
    ) throws(ConfigError) -> OrderedDictionary<String, String> {
        let nulls = overrides.filter { $0.value == nil }.keys
        if let first = nulls.first {
            throw ConfigError(
                .invalidValue, key: first, "Null value not supported for \(kind) configs: \(nulls.joined(separator: ","))")
        }
        return overrides.compactMapValues { $0 }
    }

    private static func refuse(_ keys: [String], _ kind: ConfigError.Kind, _ sentence: String) throws(ConfigError) {
        guard let first = keys.first else { return }
        throw ConfigError(kind, key: keys.count == 1 ? first : "", "\(sentence): [\(keys.sorted().joined(separator: ", "))]")
    }
}
