// What Martlet knows about one configuration key, as data: DescribeConfigs, the loader, the validation of AlterConfigs and the
// reference in docs/ all read the same entry, so they cannot disagree.

/// The type of a key's value; the raw value is `ConfigType` of DescribeConfigs' response.
public enum ConfigType: Int8, Sendable, CaseIterable {
    case unknown = 0
    case boolean = 1
    case string = 2
    case int = 3
    case short = 4
    case long = 5
    case double = 6
    case list = 7
    case className = 8
    case password = 9

    /// Kafka's word for the type, as its documentation and the error sentences have it.
    public var name: String {
        switch self {
        case .unknown: "unknown"
        case .boolean: "boolean"
        case .string: "string"
        case .int: "int"
        case .short: "short"
        case .long: "long"
        case .double: "double"
        case .list: "list"
        case .className: "class"
        case .password: "password"
        }
    }
}

/// Where a value comes from; the raw value is `ConfigSource` of DescribeConfigs' response.
public enum ConfigSource: Int8, Sendable {
    case unknown = 0
    case dynamicTopic = 1
    case dynamicBroker = 2
    case dynamicDefaultBroker = 3
    case staticBroker = 4
    case defaultConfig = 5
    case dynamicBrokerLogger = 6
    case clientMetrics = 7
    case group = 8

    /// The constant's name in Kafka's admin client.
    public var name: String {
        switch self {
        case .unknown: "UNKNOWN"
        case .dynamicTopic: "DYNAMIC_TOPIC_CONFIG"
        case .dynamicBroker: "DYNAMIC_BROKER_CONFIG"
        case .dynamicDefaultBroker: "DYNAMIC_DEFAULT_BROKER_CONFIG"
        case .staticBroker: "STATIC_BROKER_CONFIG"
        case .defaultConfig: "DEFAULT_CONFIG"
        case .dynamicBrokerLogger: "DYNAMIC_BROKER_LOGGER_CONFIG"
        case .clientMetrics: "DYNAMIC_CLIENT_METRICS_CONFIG"
        case .group: "DYNAMIC_GROUP_CONFIG"
        }
    }
}

/// The kinds of things that carry configuration; the raw value is the `ResourceType` of the config APIs.
public enum ConfigResourceType: Int8, Sendable, CaseIterable {
    case unknown = 0
    case topic = 2
    case broker = 4
    case brokerLogger = 8
    case clientMetrics = 16
    case group = 32
}

/// How much a key matters, in Kafka's three steps.
public enum ConfigImportance: String, Sendable, Comparable {
    case high, medium, low

    public static func < (left: ConfigImportance, right: ConfigImportance) -> Bool { left.rank < right.rank }

    private var rank: Int {
        switch self {
        case .high: 0
        case .medium: 1
        case .low: 2
        }
    }
}

/// Whether a broker key can be changed while the broker runs (KIP-226).
public enum ConfigUpdateMode: String, Sendable {
    /// Takes effect on restart only.
    case readOnly = "read-only"
    /// Changeable for one broker id.
    case perBroker = "per-broker"
    /// Changeable for one broker id, or for all brokers at once through the empty resource name.
    case clusterWide = "cluster-wide"
}

/// What Martlet does with a key.
public enum ConfigSupport: Sendable, Equatable {
    /// Does what Kafka documents.
    case supported
    /// Read, validated and reported, but changes nothing; the reason is a sentence without its full stop.
    case acceptedWithoutEffect(String)
    /// Any value other than the default stops the start: running on as if it were not there would surprise.
    case refused(String)

    /// The word for the reference table.
    public var name: String {
        switch self {
        case .supported: "supported"
        case .acceptedWithoutEffect: "accepted without effect"
        case .refused: "refused"
        }
    }

    /// Why a key is without effect or refused; nil when it is supported.
    public var reason: String? {
        switch self {
        case .supported: nil
        case .acceptedWithoutEffect(let reason), .refused(let reason): reason
        }
    }
}

/// One configuration key: everything that Kafka's documentation says about it, and what Martlet does with it.
public struct ConfigDefinition: Sendable, Equatable {
    /// The key, as in `log.segment.bytes`.
    public let name: String
    public let type: ConfigType
    /// nil: there is no value unless one is given (Kafka's `null`), or the key is required.
    public let defaultValue: ConfigValue?
    /// The broker does not start without it.
    public let isRequired: Bool
    public let validator: ConfigValidator
    public let importance: ConfigImportance
    /// Meaningful for broker keys only; topic and group keys are always dynamic.
    public let updateMode: ConfigUpdateMode
    /// For a broker key the topic key it is the default of; for a topic or group key the broker key that holds its default.
    public let synonym: String?
    /// Not listed by DescribeConfigs unless set.
    public let isInternal: Bool
    public let support: ConfigSupport
    /// One sentence; empty for keys whose name says it all or that are without effect.
    public let documentation: String

    /// Values of passwords, and of keys nobody knows the type of, are never shown.
    public var isSensitive: Bool { type == .password || type == .unknown }

    /// The default as DescribeConfigs writes it; nil for no value.
    public var defaultText: String? { defaultValue?.text }

    /// Whether AlterConfigs may change the key on a running broker.
    public var isDynamic: Bool { updateMode != .readOnly }
}
