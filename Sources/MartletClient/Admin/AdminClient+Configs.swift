// Settings of topics, brokers and groups.
import KafkaMessages
import KafkaWire
import Primitives

/// Something that has settings.
public struct ConfigResource: Hashable, Sendable, CustomStringConvertible {
    /// The protocol's resource types.
    public enum Kind: Int8, CaseIterable, Sendable {
        case topic = 2
        case broker = 4
        case brokerLogger = 8
        case clientMetrics = 16
        case group = 32
    }

    public var kind: Kind
    /// Topic, group or broker id; empty for the default of all brokers.
    public var name: String

    public init(_ kind: Kind, _ name: String) {
        self.kind = kind
        self.name = name
    }

    public static func topic(_ name: String) -> ConfigResource { ConfigResource(.topic, name) }
    /// A broker's settings; those that all brokers share for nil.
    public static func broker(_ id: Int32?) -> ConfigResource { ConfigResource(.broker, id.map { "\($0)" } ?? "") }
    public static func group(_ name: String) -> ConfigResource { ConfigResource(.group, name) }

    public var description: String { "\(kind) '\(name)'" }

    /// A broker answers for its own settings only.
    var target: RequestTarget {
        if kind == .broker || kind == .brokerLogger, let id = Int32(name) { .node(id) } else { .any }
    }
}

/// One setting of a resource.
public struct ConfigSetting: Hashable, Sendable {
    /// Where a value comes from.
    public enum Source: Int8, Sendable {
        case unknown = 0
        case topic = 1
        case dynamicBroker = 2
        case dynamicDefaultBroker = 3
        case staticBroker = 4
        case defaultConfig = 5
        case dynamicBrokerLogger = 6
        case clientMetrics = 7
        case group = 8
    }

    /// A value that would hold if the ones before it were taken away.
    public struct Synonym: Hashable, Sendable {
        public var name: String
        public var value: String?
        public var source: Source
    }

    public var name: String
    /// Nil for sensitive values and for those without one.
    public var value: String?
    public var source: Source
    public var isReadOnly: Bool
    public var isSensitive: Bool
    /// Empty unless asked for.
    public var synonyms: [Synonym]
    /// Nil unless asked for.
    public var documentation: String?

    public var isDefault: Bool { source == .defaultConfig || source == .staticBroker }
}

/// A change of one setting (KIP-339).
public struct ConfigChange: Hashable, Sendable {
    public enum Operation: Int8, Sendable {
        case set = 0
        /// Back to the default.
        case delete = 1
        /// Adds to a list.
        case append = 2
        /// Takes away from a list.
        case subtract = 3
    }

    public var name: String
    public var operation: Operation
    public var value: String?

    public init(_ name: String, _ operation: Operation, _ value: String? = nil) {
        self.name = name
        self.operation = operation
        self.value = value
    }

    public static func set(_ name: String, _ value: String) -> ConfigChange { ConfigChange(name, .set, value) }
    public static func delete(_ name: String) -> ConfigChange { ConfigChange(name, .delete) }
}

extension AdminClient {
    /// The settings of resources.
    ///
    /// - Parameters:
    ///   - names: only these settings; all for nil.
    ///   - includingSynonyms: where each value comes from and what lies beneath it.
    ///   - includingDocumentation: a sentence for each.
    public func describeConfigs(
        _ resources: [ConfigResource], names: [String]? = nil, includingSynonyms: Bool = false, includingDocumentation: Bool = false
    ) async throws(KafkaError) -> [Outcome<ConfigResource, [ConfigSetting]>] {
        var outcomes: [Outcome<ConfigResource, [ConfigSetting]>] = []
        for (target, group) in Self.byTarget(resources, \.target) {
            var request = DescribeConfigsRequest()
            request.includeSynonyms = includingSynonyms
            request.includeDocumentation = includingDocumentation
            request.resources = group.map { resource in
                var wanted = DescribeConfigsRequest.DescribeConfigsResource()
                wanted.resourceType = resource.kind.rawValue
                wanted.resourceName = resource.name
                wanted.configurationKeys = names
                return wanted
            }
            outcomes += try await retryingOutcomes { [request] () throws(KafkaError) in
                let response = try await self.cluster.send(request, to: target)
                return response.results.compactMap { result in
                    guard let kind = ConfigResource.Kind(rawValue: result.resourceType) else { return nil }
                    let resource = ConfigResource(kind, result.resourceName)
                    return Outcome(
                        item: resource,
                        result: result.errorCode.result(result.configs.map(ConfigSetting.init), result.errorMessage, about: "\(resource)"))
                }
            }
        }
        return outcomes
    }

    /// Changes single settings and leaves the others alone.
    @discardableResult
    public func alterConfigs(
        _ changes: [(resource: ConfigResource, changes: [ConfigChange])], validateOnly: Bool = false
    ) async throws(KafkaError) -> [Outcome<ConfigResource, Void>] {
        var outcomes: [Outcome<ConfigResource, Void>] = []
        for (target, group) in Self.byTarget(changes, \.resource.target) {
            var request = IncrementalAlterConfigsRequest()
            request.validateOnly = validateOnly
            request.resources = group.map { change in
                var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
                resource.resourceType = change.resource.kind.rawValue
                resource.resourceName = change.resource.name
                resource.configs = change.changes.map { change in
                    var config = IncrementalAlterConfigsRequest.AlterableConfig()
                    config.name = change.name
                    config.configOperation = change.operation.rawValue
                    config.value = change.value
                    return config
                }
                return resource
            }
            outcomes += try await retryingOutcomes { [request] () throws(KafkaError) in
                let response = try await self.cluster.send(request, to: target == .any ? .controller : target)
                return response.responses.compactMap { result in
                    guard let kind = ConfigResource.Kind(rawValue: result.resourceType) else { return nil }
                    let resource = ConfigResource(kind, result.resourceName)
                    return Outcome(item: resource, result: result.errorCode.result((), result.errorMessage, about: "\(resource)"))
                }
            }
        }
        return outcomes
    }

    private static func byTarget<Item>(_ items: [Item], _ target: (Item) -> RequestTarget) -> [(RequestTarget, [Item])] {
        var groups: [(RequestTarget, [Item])] = []
        for item in items {
            let wanted = target(item)
            if let index = groups.firstIndex(where: { $0.0 == wanted }) {
                groups[index].1.append(item)
            } else {
                groups.append((wanted, [item]))
            }
        }
        return groups
    }
}

extension ConfigSetting {
    init(_ config: DescribeConfigsResponse.DescribeConfigsResourceResult) {
        self.init(
            name: config.name, value: config.value, source: Source(rawValue: config.configSource) ?? .unknown,
            isReadOnly: config.readOnly, isSensitive: config.isSensitive,
            synonyms: config.synonyms.map {
                Synonym(name: $0.name, value: $0.value, source: Source(rawValue: $0.source) ?? .unknown)
            },
            documentation: config.documentation.flatMap { $0.isEmpty ? nil : $0 })
    }
}
