// A broker's configuration as the layers it is made of. Kept apart, not merged, because DescribeConfigs has to say where each
// value comes from, and because taking a dynamic value away must bring the one below it back.
import Collections

/// What is set for one broker, by layer; the texts as they were given. Defaults are in `ConfigTable.broker`.
public struct BrokerConfigLayers: Sendable, Equatable {
    /// From the start: files, environment, command line.
    public var fixed: OrderedDictionary<String, String>
    /// Dynamic, for every broker (the BROKER resource with an empty name).
    public var dynamicDefault: OrderedDictionary<String, String>
    /// Dynamic, for this broker.
    public var dynamicBroker: OrderedDictionary<String, String>

    /// Nothing set: all defaults.
    public init() {
        self.init(fixed: [:], dynamicDefault: [:], dynamicBroker: [:])
    }

    /// What was set at the start, nothing dynamic.
    public init(fixed: OrderedDictionary<String, String>) {
        self.init(fixed: fixed, dynamicDefault: [:], dynamicBroker: [:])
    }

    public init(
        fixed: OrderedDictionary<String, String>, dynamicDefault: OrderedDictionary<String, String>,
        dynamicBroker: OrderedDictionary<String, String>
    ) {
        self.fixed = fixed
        self.dynamicDefault = dynamicDefault
        self.dynamicBroker = dynamicBroker
    }

    /// The value in force, the default included; nil when there is none, or when nobody knows the key.
    ///
    /// A text that does not parse is passed over, as Kafka does with dynamic values that an older version let through.
    public func value(_ key: String) -> ConfigValue? {
        guard let definition = ConfigTable.broker[key] ?? ConfigTable.dynamicBroker[key] else { return nil }
        return given(definition) ?? definition.defaultValue
    }

    /// The text in force, of the uppermost layer whose text parses; nil when only the default is left, or nobody knows the key.
    public func givenText(_ key: String) -> String? {
        (ConfigTable.broker[key] ?? ConfigTable.dynamicBroker[key]).flatMap { given($0)?.text }
    }

    /// The value in force unless it is the default.
    func given(_ definition: ConfigDefinition) -> ConfigValue? {
        for layer in [dynamicBroker, dynamicDefault, fixed] {
            if let text = layer[definition.name], let value = try? definition.parseStored(text) { return value }
        }
        return nil
    }

    /// Every mention of `keys` from the most specific layer down to the defaults, as DescribeConfigs lists synonyms.
    ///
    /// What precedes the first mention of `first` is left out, everything when it is never mentioned: Kafka does so (to hide
    /// listener overrides), which is why `retention.ms` has no synonyms while only `log.retention.hours` is set.
    func mentions(of keys: [String], startingAt first: String, isSensitive: Bool) -> [ConfigSynonym] {
        var found: [ConfigSynonym] = []
        func add(_ name: String, _ text: String?, _ source: ConfigSource) {
            if let text { found.append(ConfigSynonym(name: name, value: isSensitive ? nil : text, source: source)) }
        }
        for key in keys { add(key, dynamicBroker[key], .dynamicBroker) }
        for key in keys { add(key, dynamicDefault[key], .dynamicDefaultBroker) }
        for key in keys { add(key, fixed[key], .staticBroker) }
        for key in keys { add(key, ConfigTable.broker[key]?.defaultText, .defaultConfig) }
        return Array(found.drop { $0.name != first })
    }
}

/// One mention of a value, as DescribeConfigs lists them.
public struct ConfigSynonym: Sendable, Equatable {
    public var name: String
    /// nil when it is sensitive.
    public var value: String?
    public var source: ConfigSource

    public init(name: String, value: String?, source: ConfigSource) {
        self.name = name
        self.value = value
        self.source = source
    }
}

/// Broker keys that stand for one another, with what each has to be multiplied by.
enum BrokerSynonyms {
    private static let minute: Int64 = 60_000
    private static let hour: Int64 = 3_600_000

    /// The keys that give a value in place of `key`, the strongest first; only `key` itself for most keys.
    static func of(_ key: String) -> [(key: String, factor: Int64)] {
        switch key {
        case "log.retention.ms", "log.retention.minutes", "log.retention.hours":
            [("log.retention.ms", 1), ("log.retention.minutes", minute), ("log.retention.hours", hour)]
        case "log.roll.ms", "log.roll.hours": [("log.roll.ms", 1), ("log.roll.hours", hour)]
        case "log.roll.jitter.ms", "log.roll.jitter.hours": [("log.roll.jitter.ms", 1), ("log.roll.jitter.hours", hour)]
        case "log.flush.interval.ms": [("log.flush.interval.ms", 1), ("log.flush.scheduler.interval.ms", 1)]
        default: [(key, 1)]
        }
    }

    /// The topic key whose default a broker key has a part in; nil for most keys.
    static func topicKey(of key: String) -> String? {
        switch key {
        case "log.retention.minutes", "log.retention.hours": "retention.ms"
        case "log.roll.hours": "segment.ms"
        case "log.roll.jitter.hours": "segment.jitter.ms"
        case "log.flush.scheduler.interval.ms": "flush.ms"
        default: ConfigTable.broker[key]?.synonym
        }
    }

    /// The keys of `of(_:)`; for `listener.name.NAME.KEY` also the key that it overrides.
    static func names(_ key: String) -> [String] {
        if let base = ListenerPrefix.base(of: key) { return [key, base] }
        return of(key).map(\.key)
    }
}

/// Keys that hold for one listener only: `listener.name.NAME.KEY`, with `listener.name.NAME.MECHANISM.KEY` for SASL.
public enum ListenerPrefix {
    private static let perMechanism = [
        "sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class",
        "connections.max.reauth.ms",
    ]
    private static let perLogin = ["connect", "read", "refresh", "retry"].map { "oauthbearer.sasl.login.\($0)." }

    /// The listener's name (in lower case) and the rest; nil without the prefix.
    public static func split(_ key: String) -> (listener: String, rest: String)? {
        guard key.hasPrefix("listener.name.") else { return nil }
        let rest = key.dropFirst("listener.name.".count)
        guard let dot = rest.firstIndex(of: "."), dot != rest.startIndex, rest.index(after: dot) != rest.endIndex else { return nil }
        return (String(rest[..<dot]), String(rest[rest.index(after: dot)...]))
    }

    /// The key without listener and mechanism; nil without the prefix.
    public static func base(of key: String) -> String? {
        guard let (_, rest) = split(key) else { return nil }
        if rest.hasPrefix("oauthbearer.sasl.oauthbearer.") || perLogin.contains(where: rest.hasPrefix) {
            return String(rest.dropFirst("oauthbearer.".count))
        }
        return perMechanism.first { rest.hasSuffix($0) } ?? rest
    }
}
