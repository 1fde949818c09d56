// AlterConfigs and IncrementalAlterConfigs: dynamic configuration of topics, brokers, groups and client metrics subscriptions.
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    private static let maximumValueLength = Int(Int16.max)
    private static let minInSyncReplicas = "min.insync.replicas"

    /// Decides an IncrementalAlterConfigs request (KIP-339): keys set, removed, appended to or subtracted from.
    ///
    /// - Throws: `RequestFailure` when it takes more records than one request may.
    public func incrementalAlterConfigs(
        _ request: IncrementalAlterConfigsRequest
    ) throws(RequestFailure) -> ControllerResult<IncrementalAlterConfigsResponse> {
        var response = IncrementalAlterConfigsResponse()
        var records: [VersionedRecord] = []
        var resources = Tally<[String]>()
        for resource in request.resources { resources.add([String(resource.resourceType), resource.resourceName]) }
        let repeated = resources.repeated
        for resource in request.resources {
            var result = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse()
            result.resourceType = resource.resourceType
            result.resourceName = resource.resourceName
            result.errorMessage = nil
            do throws(RequestFailure) {
                if repeated.contains([String(resource.resourceType), resource.resourceName]) {
                    throw RequestFailure(.invalidRequest, "Each resource must appear at most once.")
                }
                records += try incrementalChange(resource)
            } catch {
                result.errorCode = error.code
                result.errorMessage = error.description
            }
            response.responses.append(result)
            try ControllerConfiguration.checkRecordCount(records.count)
        }
        return ControllerResult(response, records: request.validateOnly ? [] : try withClearedEligibleLeaders(records))
    }

    /// Decides an AlterConfigs request: each resource gets exactly what the request lists, the rest is removed.
    ///
    /// - Throws: `RequestFailure` when it takes more records than one request may.
    public func alterConfigs(_ request: AlterConfigsRequest) throws(RequestFailure) -> ControllerResult<AlterConfigsResponse> {
        var response = AlterConfigsResponse()
        var records: [VersionedRecord] = []
        var resources = Tally<[String]>()
        for resource in request.resources { resources.add([String(resource.resourceType), resource.resourceName]) }
        let repeated = resources.repeated
        for resource in request.resources {
            var result = AlterConfigsResponse.AlterConfigsResourceResponse()
            result.resourceType = resource.resourceType
            result.resourceName = resource.resourceName
            result.errorMessage = nil
            do throws(RequestFailure) {
                if repeated.contains([String(resource.resourceType), resource.resourceName]) {
                    throw RequestFailure(.invalidRequest, "Each resource must appear at most once.")
                }
                records += try replacement(resource)
            } catch {
                result.errorCode = error.code
                result.errorMessage = error.description
            }
            response.responses.append(result)
            try ControllerConfiguration.checkRecordCount(records.count)
        }
        return ControllerResult(response, records: request.validateOnly ? [] : try withClearedEligibleLeaders(records))
    }

    private func incrementalChange(_ request: IncrementalAlterConfigsRequest.AlterConfigsResource) throws(RequestFailure)
        -> [VersionedRecord]
    {
        let resource = try configResource(request.resourceType, request.resourceName)
        try Self.checkKeys(request.configs.map(\.name))
        let nulls = request.configs.filter { $0.configOperation != 1 && $0.value == nil }.map(\.name)
        if !nulls.isEmpty { throw RequestFailure(.invalidRequest, "Null value not supported for : \(nulls.joined(separator: ", "))") }
        var changes: OrderedDictionary<String, String?> = [:]
        for config in request.configs {
            let current = image.configurations.value(config.name, of: resource)
            let value: String?
            switch config.configOperation {
            case 0: value = config.value
            case 1: value = nil
            case 2: value = try listChange(of: config.name, resource, current: current, config.value ?? "", isAppend: true)
            case 3: value = try listChange(of: config.name, resource, current: current, config.value ?? "", isAppend: false)
            default: throw RequestFailure(.invalidRequest, "Unknown operations type \(config.configOperation)")
            }
            changes[config.name] = .some(value)
        }
        return try change(resource, explicitly: changes, implicitlyRemoved: [])
    }

    private func replacement(_ request: AlterConfigsRequest.AlterConfigsResource) throws(RequestFailure) -> [VersionedRecord] {
        let resource = try configResource(request.resourceType, request.resourceName)
        try Self.checkKeys(request.configs.map(\.name))
        let nulls = request.configs.filter { $0.value == nil }.map(\.name)
        if !nulls.isEmpty { throw RequestFailure(.invalidRequest, "Null value not supported for : \(nulls.joined(separator: ", "))") }
        var changes: OrderedDictionary<String, String?> = [:]
        for config in request.configs { changes[config.name] = .some(config.value) }
        let removed = image.configurations.values(of: resource).keys.elements.filter { changes[$0] == nil }
        return try change(resource, explicitly: changes, implicitlyRemoved: removed)
    }

    private static func checkKeys(_ keys: [String]) throws(RequestFailure) {
        if OrderedSet(keys).count != keys.count { throw RequestFailure(.invalidRequest, "Error due to duplicate config keys") }
    }

    private func configResource(_ type: Int8, _ name: String) throws(RequestFailure) -> ConfigResource {
        guard let kind = ConfigResource.Kind(rawValue: type), kind != .brokerLogger else {
            throw RequestFailure(.invalidRequest, "Unknown resource type \(type)")
        }
        return ConfigResource(kind, name)
    }

    private func listChange(
        of key: String, _ resource: ConfigResource, current: String?, _ operand: String, isAppend: Bool
    ) throws(RequestFailure) -> String {
        let definition = Self.definition(of: key, resource)
        guard definition?.type == .list else {
            throw RequestFailure(
                .invalidConfig, "Can't \(isAppend ? "APPEND" : "SUBTRACT") to key \(key) because its type is not LIST.")
        }
        var elements = (current ?? definition?.defaultText ?? "").split(separator: ",").map(String.init)
        for element in operand.split(separator: ",", omittingEmptySubsequences: false).map(String.init) {
            if !isAppend {
                if let position = elements.firstIndex(of: element) { elements.remove(at: position) }
            } else if !elements.contains(element) {
                elements.append(element)
            }
        }
        return elements.joined(separator: ",")
    }

    private static func definition(of key: String, _ resource: ConfigResource) -> ConfigDefinition? {
        switch resource.kind {
        case .topic: ConfigTable.topic[key]
        case .broker: ConfigTable.broker[key] ?? ConfigTable.dynamicBroker[key]
        case .group: ConfigTable.group[key]
        case .clientMetrics: ConfigTable.clientMetrics[key]
        case .brokerLogger: nil
        }
    }

    /// The records of a change that was checked as a whole.
    private func change(
        _ resource: ConfigResource, explicitly changes: OrderedDictionary<String, String?>, implicitlyRemoved removed: [String]
    ) throws(RequestFailure) -> [VersionedRecord] {
        let current = image.configurations.values(of: resource)
        var all = current
        for key in removed { all.removeValue(forKey: key) }
        var records: [VersionedRecord] = []
        for (key, value) in changes {
            try checkMinInSyncReplicas(key, resource, isRemoved: value == nil)
            if let value, value.utf16.count > Self.maximumValueLength {
                throw RequestFailure(
                    .invalidConfig,
                    "The configuration value cannot be added because it exceeds the maximum value size of \(Self.maximumValueLength) bytes."
                )
            }
            if let value { all[key] = value } else { all.removeValue(forKey: key) }
            // A broker's key is written again even if it stays the same: it makes the broker read files anew (KAFKA-14136).
            if current[key] != value || resource.kind == .broker { records.append(Self.record(key, resource, value)) }
        }
        for key in removed {
            try checkMinInSyncReplicas(key, resource, isRemoved: true)
            records.append(Self.record(key, resource, nil))
        }
        let changed = changes.filter { key, value in value != nil && current[key] != value }
        try validate(all, changed: changed.keys.elements, of: resource)
        try checkExistence(of: resource)
        return records
    }

    private static func record(_ key: String, _ resource: ConfigResource, _ value: String?) -> VersionedRecord {
        var record = ConfigRecord()
        record.resourceType = resource.kind.rawValue
        record.resourceName = resource.name
        record.name = key
        record.value = value
        return VersionedRecord(.config(record))
    }

    /// With eligible leader replicas on, min ISR has to be the same on every controller: brokers may not differ (KIP-966).
    private func checkMinInSyncReplicas(_ key: String, _ resource: ConfigResource, isRemoved: Bool) throws(RequestFailure) {
        guard key == Self.minInSyncReplicas, resource.kind == .broker, image.features.hasEligibleLeaderReplicas else { return }
        if !resource.name.isEmpty {
            throw RequestFailure(.invalidConfig, "Broker-level min.insync.replicas cannot be altered while ELR is enabled.")
        }
        if isRemoved {
            throw RequestFailure(.invalidConfig, "Cluster-level min.insync.replicas cannot be removed while ELR is enabled.")
        }
    }

    /// Another min ISR makes what is known about eligible leaders worthless.
    private func withClearedEligibleLeaders(_ records: [VersionedRecord]) throws(RequestFailure) -> [VersionedRecord] {
        guard image.features.hasEligibleLeaderReplicas else { return records }
        var all = records
        for record in records {
            guard case .config(let config) = record.record, config.name == Self.minInSyncReplicas else { continue }
            var clear = ClearElrRecord()
            if config.resourceType == ConfigResource.Kind.topic.rawValue { clear.topicName = config.resourceName }
            all.append(VersionedRecord(.clearElr(clear)))
        }
        try ControllerConfiguration.checkRecordCount(all.count)
        return all
    }

    private func checkExistence(of resource: ConfigResource) throws(RequestFailure) {
        switch resource.kind {
        case .topic:
            if image.topics.topic(named: resource.name) == nil {
                throw RequestFailure(.unknownTopicOrPartition, "The topic '\(resource.name)' does not exist.")
            }
        case .broker:
            guard !resource.name.isEmpty, let id = NodeID(resource.name) else { return }
            if image.cluster.broker(id) == nil && image.cluster.controllers[id] == nil {
                throw RequestFailure(.brokerIdNotRegistered, "No node with id \(id) found.")
            }
        case .group, .clientMetrics, .brokerLogger: return
        }
    }

    /// Checks a resource's configuration as a whole.
    ///
    /// - Parameter changed: the keys that get another value; nil for all.
    /// - Throws: INVALID_CONFIG with what is wrong, INVALID_REQUEST for a name that no such resource can have.
    func validate(
        _ values: OrderedDictionary<String, String>, changed: [String]? = nil, of resource: ConfigResource
    ) throws(RequestFailure) {
        do throws(ConfigError) {
            switch resource.kind {
            case .topic:
                if resource.name.isEmpty { throw ConfigError(.conflict, key: "", "Default topic resources are not allowed.") }
                try ConfigRules.validateTopic(values.mapValues { $0 }, changed: changed, layers: layers)
            case .broker:
                if !resource.name.isEmpty && NodeID(resource.name).map({ $0 < 0 }) != false {
                    throw ConfigError(.conflict, key: "", "Unable to parse broker name as a base 10 number.")
                }
                try ConfigRules.validateDynamicBroker(values, changed: changed, isPerBroker: !resource.name.isEmpty)
                try ConfigRules.validateDynamicBrokerChange(changed ?? values.keys.elements)
                var layers = self.layers
                if resource.name.isEmpty { layers.dynamicDefault = values } else { layers.dynamicBroker = values }
                try ConfigRules.validateBroker(layers)
            case .group:
                if resource.name.isEmpty { throw ConfigError(.conflict, key: "", "Default group resources are not allowed.") }
                try ConfigRules.validateGroup(values.mapValues { $0 }, layers: layers)
            case .clientMetrics:
                if resource.name.isEmpty { throw ConfigError(.conflict, key: "", "Subscription name can't be empty") }
                for (key, value) in values {
                    let parsed = try ConfigTable.clientMetrics.parse(value, key: key)
                    if key == "match", case .list(let entries) = parsed { try Self.checkClientMatches(entries) }
                }
            case .brokerLogger: return
            }
        } catch {
            // Kafka answers INVALID_REQUEST for brokers, where the broker itself checks, and for names.
            let isRequest = resource.kind == .broker || (error.kind == .conflict && error.key.isEmpty)
            throw RequestFailure(isRequest ? .invalidRequest : .invalidConfig, error.message)
        }
    }

    private static let clientAttributes: Set<String> = [
        "client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port",
    ]

    /// Each entry is an attribute of clients and a pattern (KIP-714).
    private static func checkClientMatches(_ entries: [String]) throws(ConfigError) {
        for entry in entries {
            let parts = entry.split(separator: "=", omittingEmptySubsequences: false).map { part in String(part.drop { $0 == " " }) }
            guard parts.count == 2, clientAttributes.contains(String(parts[0].prefix { $0 != " " })), (try? LinearPattern(parts[1])) != nil
            else { throw ConfigError(.conflict, key: "match", "Illegal client matching pattern: \(entry)") }
        }
    }
}
