// Dynamic configuration: what was set on topics, brokers, the cluster, groups and client metrics subscriptions.
import OrderedCollections

/// What a configuration belongs to.
public struct ConfigResource: Hashable, Sendable, CustomStringConvertible {
    /// Kafka's numbers for kinds of resources.
    public enum Kind: Int8, Sendable {
        case topic = 2
        case broker = 4
        case brokerLogger = 8
        case clientMetrics = 16
        case group = 32

        /// Kafka's upper-case word for it.
        public var name: String {
            switch self {
            case .topic: "TOPIC"
            case .broker: "BROKER"
            case .brokerLogger: "BROKER_LOGGER"
            case .clientMetrics: "CLIENT_METRICS"
            case .group: "GROUP"
            }
        }
    }

    public var kind: Kind
    /// Empty for the default of all brokers.
    public var name: String

    public init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }

    /// The default of all brokers in the cluster.
    public static let clusterDefault = ConfigResource(.broker, "")

    public var description: String { "\(kind.name):\(name)" }
}

/// All dynamic configuration, by resource and key, in the order in which it was first set.
public struct ConfigurationsImage: Hashable, Sendable {
    public private(set) var byResource: OrderedDictionary<ConfigResource, OrderedDictionary<String, String>> = [:]

    public init() {}

    /// What is set on that resource itself, nothing inherited.
    public func values(of resource: ConfigResource) -> OrderedDictionary<String, String> { byResource[resource] ?? [:] }

    public func value(_ key: String, of resource: ConfigResource) -> String? { byResource[resource]?[key] }

    /// Whether the same is set, in whatever order: a snapshot and the log before it differ there.
    public func hasSameContents(as other: ConfigurationsImage) -> Bool {
        guard byResource.count == other.byResource.count else { return false }
        return byResource.allSatisfy { resource, values in
            guard let others = other.byResource[resource], others.count == values.count else { return false }
            return values.allSatisfy { key, value in others[key] == value }
        }
    }

    mutating func set(_ key: String, of resource: ConfigResource, to value: String?) {
        if let value {
            byResource[resource, default: [:]][key] = value
        } else if byResource[resource] != nil {
            byResource[resource]?.removeValue(forKey: key)
            if byResource[resource]?.isEmpty == true { byResource.removeValue(forKey: resource) }
        }
    }

    mutating func removeAll(of resource: ConfigResource) { byResource.removeValue(forKey: resource) }
}
