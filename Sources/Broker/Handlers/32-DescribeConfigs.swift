// DescribeConfigs: every configuration with its value, where that comes from, and what it would be without.
import ClusterMetadata
import Collections
import ConfigDefinitions
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func describeConfigs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeConfigsRequest.self)
        let image = self.image
        let layers = configurationLayers(image)
        let access = access(context)
        var response = DescribeConfigsResponse()
        response.results = request.resources.map { resource in
            var result = DescribeConfigsResponse.DescribeConfigsResult()
            result.resourceType = resource.resourceType
            result.resourceName = resource.resourceName
            do throws(ConfigResourceProblem) {
                if let error = refusal(of: resource, access) { throw ConfigResourceProblem(code: error, message: error.defaultMessage) }
                let entries = try entries(of: resource, image, layers)
                let asked = resource.configurationKeys.map(Set.init)
                result.configs = entries.values.filter { asked?.contains($0.name) ?? true }.map { entry in
                    describe(entry, includeSynonyms: request.includeSynonyms, includeDocumentation: request.includeDocumentation)
                }
            } catch {
                result.errorCode = error.code
                result.errorMessage = error.message
            }
            return result
        }
        context.responder.send(response)
    }

    /// Why the sender may not see a resource's configuration; nil when it may.
    private func refusal(of resource: DescribeConfigsRequest.DescribeConfigsResource, _ access: Access) -> ErrorCode? {
        switch ConfigResource.Kind(rawValue: resource.resourceType) {
        case .topic: access.allows(.describeConfigs, .topic, resource.resourceName) ? nil : .topicAuthorizationFailed
        case .group: access.allows(.describeConfigs, .group, resource.resourceName) ? nil : .groupAuthorizationFailed
        case .broker, .brokerLogger, .clientMetrics: access.allowsCluster(.describeConfigs) ? nil : .clusterAuthorizationFailed
        case nil: nil
        }
    }

    private struct ConfigResourceProblem: Error {
        var code: ErrorCode
        var message: String?
    }

    private func entries(
        of resource: DescribeConfigsRequest.DescribeConfigsResource, _ image: MetadataImage, _ layers: BrokerConfigLayers
    ) throws(ConfigResourceProblem) -> OrderedDictionary<String, ConfigEntry> {
        let name = resource.resourceName
        switch ConfigResource.Kind(rawValue: resource.resourceType) {
        case .topic:
            if let problem = topicNameProblem(name) { throw ConfigResourceProblem(code: .invalidTopicException, message: problem) }
            guard image.topics.topic(named: name) != nil else { throw ConfigResourceProblem(code: .unknownTopicOrPartition) }
            return ConfigDescription.topic(overrides: image.configurations.values(of: ConfigResource(.topic, name)), layers: layers)
        case .broker:
            if name.isEmpty { return ConfigDescription.brokerDefaults(layers: layers) }
            try checkNode(name)
            return ConfigDescription.broker(layers: layers)
        case .brokerLogger:
            try checkNode(name)
            return loggerEntries()
        case .clientMetrics:
            guard !name.isEmpty else {
                throw ConfigResourceProblem(code: .invalidRequest, message: "The name of a client metrics subscription must not be empty.")
            }
            return ConfigDescription.clientMetrics(overrides: image.configurations.values(of: ConfigResource(.clientMetrics, name)))
        case .group:
            guard !name.isEmpty else {
                throw ConfigResourceProblem(code: .invalidRequest, message: "The name of a group must not be empty.")
            }
            return ConfigDescription.group(overrides: image.configurations.values(of: ConfigResource(.group, name)), layers: layers)
        case nil:
            throw ConfigResourceProblem(code: .invalidRequest, message: "There is no resource type \(resource.resourceType).")
        }
    }

    private func checkNode(_ name: String) throws(ConfigResourceProblem) {
        guard Int32(name) == nodeID else {
            throw ConfigResourceProblem(
                code: .invalidRequest,
                message: "Ask broker \(name) itself: this is broker \(nodeID), which knows only its own configuration.")
        }
    }

    private func describe(
        _ entry: ConfigEntry, includeSynonyms: Bool, includeDocumentation: Bool
    ) -> DescribeConfigsResponse.DescribeConfigsResourceResult {
        var result = DescribeConfigsResponse.DescribeConfigsResourceResult()
        result.name = entry.name
        result.value = entry.text
        result.readOnly = entry.isReadOnly
        result.configSource = entry.source.rawValue
        result.isSensitive = entry.isSensitive
        result.configType = entry.type.rawValue
        if includeDocumentation { result.documentation = entry.documentation }
        if includeSynonyms {
            result.synonyms = entry.synonyms.map { synonym in
                var item = DescribeConfigsResponse.DescribeConfigsSynonym()
                item.name = synonym.name
                item.value = synonym.value
                item.source = synonym.source.rawValue
                return item
            }
        }
        return result
    }
}
