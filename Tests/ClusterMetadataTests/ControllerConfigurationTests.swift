// AlterConfigs in both forms, and features.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives
import Testing

@Suite("Controller: configuration and features")
struct ControllerConfigurationTests {
    typealias Operation = (key: String, operation: Int8, value: String?)

    static func alter(
        _ harness: inout ControllerHarness, _ kind: ConfigResource.Kind, _ name: String, _ operations: [Operation]
    ) throws -> IncrementalAlterConfigsResponse.AlterConfigsResourceResponse {
        var resource = IncrementalAlterConfigsRequest.AlterConfigsResource()
        resource.resourceType = kind.rawValue
        resource.resourceName = name
        resource.configs = operations.map { operation in
            var config = IncrementalAlterConfigsRequest.AlterableConfig()
            config.name = operation.key
            config.configOperation = operation.operation
            config.value = operation.value
            return config
        }
        var request = IncrementalAlterConfigsRequest()
        request.resources = [resource]
        let final = request
        return try #require(
            try harness.run { (controller, _) throws(RequestFailure) in try controller.incrementalAlterConfigs(final) }.responses.first)
    }

    @Test func setsRemovesAppendsAndSubtracts() throws {
        var harness = try ControllerHarness()
        try harness.createTopic("t")
        let resource = ConfigResource(.topic, "t")
        #expect(try Self.alter(&harness, .topic, "t", [("retention.ms", 0, "5"), ("cleanup.policy", 2, "compact")]).errorCode == .none)
        #expect(harness.controller.image.configurations.values(of: resource) == ["retention.ms": "5", "cleanup.policy": "delete,compact"])
        #expect(try Self.alter(&harness, .topic, "t", [("cleanup.policy", 3, "delete"), ("retention.ms", 1, nil)]).errorCode == .none)
        #expect(harness.controller.image.configurations.values(of: resource) == ["cleanup.policy": "compact"])
        var result = try Self.alter(&harness, .topic, "t", [("retention.ms", 2, "5")])
        #expect(result.errorMessage == "Can't APPEND to key retention.ms because its type is not LIST.")
        result = try Self.alter(&harness, .topic, "missing", [("retention.ms", 0, "5")])
        #expect(result.errorCode == .unknownTopicOrPartition && result.errorMessage == "The topic 'missing' does not exist.")
        #expect(try Self.alter(&harness, .topic, "t", [("retention.ms", 0, nil)]).errorCode == .invalidRequest)
        #expect(try Self.alter(&harness, .topic, "t", [("retention.ms", 0, "never")]).errorCode == .invalidConfig)
        #expect(try Self.alter(&harness, .broker, "", [("log.cleaner.threads", 0, "2")]).errorCode == .none)
        #expect(try Self.alter(&harness, .broker, "1", [("node.id", 0, "2")]).errorCode == .invalidRequest)
        #expect(harness.controller.image.configurations.value("log.cleaner.threads", of: .clusterDefault) == "2")
    }

    @Test func legacyFormReplacesEverything() throws {
        var harness = try ControllerHarness()
        try harness.createTopic("t", configs: ["retention.ms": "5", "segment.bytes": "1048576"])
        var config = AlterConfigsRequest.AlterableConfig()
        config.name = "max.message.bytes"
        config.value = "9000"
        var resource = AlterConfigsRequest.AlterConfigsResource()
        resource.resourceType = 2
        resource.resourceName = "t"
        resource.configs = [config]
        var request = AlterConfigsRequest()
        request.resources = [resource]
        let final = request
        let response = try harness.run { (controller, _) throws(RequestFailure) in try controller.alterConfigs(final) }
        #expect(response.responses.map(\.errorCode) == [.none])
        #expect(harness.controller.image.configurations.values(of: ConfigResource(.topic, "t")) == ["max.message.bytes": "9000"])
    }

    private static func update(
        _ harness: inout ControllerHarness, _ name: String, _ level: Int16, type: Int8 = 1, validateOnly: Bool = false
    ) throws -> UpdateFeaturesResponse {
        var update = UpdateFeaturesRequest.FeatureUpdateKey()
        update.feature = name
        update.maxVersionLevel = level
        update.upgradeType = type
        var request = UpdateFeaturesRequest()
        request.featureUpdates = [update]
        request.validateOnly = validateOnly
        let final = request
        return try harness.run { (controller, _) throws(RequestFailure) in
            controller.updateFeatures(final, apiVersion: 2, kraftVersion: 0)
        }
    }

    @Test func featuresGoUpAndDown() throws {
        var harness = try ControllerHarness(version: .version39)
        #expect(try Self.update(&harness, MetadataVersion.featureName, 22, validateOnly: true).errorCode == .none)
        #expect(harness.controller.image.features.metadataVersion == .version39)
        #expect(try Self.update(&harness, MetadataVersion.featureName, 22).errorCode == .none)
        #expect(harness.controller.image.features.metadataVersion == .groupVersion1)
        #expect(harness.publications.last?.changes.features == true)
        // Down again: no record changed between 21 and 22.
        #expect(try Self.update(&harness, MetadataVersion.featureName, 21).errorCode == .invalidUpdateVersion)
        #expect(try Self.update(&harness, MetadataVersion.featureName, 21, type: 2).errorCode == .none)
        let refused = try Self.update(&harness, MetadataVersion.featureName, 16, type: 2)
        #expect(
            refused.errorMessage
                == "Unsupported metadata.version downgrade from 21 to 16. Refusing to perform the requested downgrade because it might "
                + "delete metadata information.")
        #expect(try Self.update(&harness, FeatureName.group, 1).errorCode == .none)
        #expect(harness.controller.image.features.level(of: FeatureName.group) == 1)
        #expect(try Self.update(&harness, FeatureName.group, 0, type: 3).errorCode == .none)
        #expect(harness.controller.image.features.levels.isEmpty)
        // Needs metadata.version 23.
        let dependent = try Self.update(&harness, FeatureName.eligibleLeaderReplicas, 1)
        #expect(dependent.errorCode == .invalidUpdateVersion)
        #expect(try Self.update(&harness, "no.such.feature", 1).errorCode == .invalidUpdateVersion)
    }

    @Test func eligibleLeaderReplicasFixMinInSyncReplicas() throws {
        var harness = try ControllerHarness(version: .eligibleLeaderReplicas, fixed: ["min.insync.replicas": "2"])
        #expect(try Self.alter(&harness, .broker, "1", [("min.insync.replicas", 0, "1")]).errorCode == .none)
        #expect(try Self.update(&harness, FeatureName.eligibleLeaderReplicas, 1).errorCode == .none)
        let configurations = harness.controller.image.configurations
        #expect(configurations.value("min.insync.replicas", of: .clusterDefault) == "2")
        #expect(configurations.value("min.insync.replicas", of: ConfigResource(.broker, "1")) == nil)
        #expect(try Self.alter(&harness, .broker, "1", [("min.insync.replicas", 0, "1")]).errorCode != .none)
    }

    @Test func brokersConfigurationIsCheckedAsAWhole() throws {
        var harness = try ControllerHarness(fixed: ["log.cleaner.max.compaction.lag.ms": "50"])
        func refusal(_ name: String, _ operations: [Operation]) throws -> String? {
            let result = try Self.alter(&harness, .broker, name, operations)
            #expect(result.errorCode == .none || result.errorCode == .invalidRequest)
            return result.errorCode == .none ? nil : result.errorMessage
        }
        #expect(try refusal("", [("max.connections", 0, "many")])?.contains("max.connections") == true)
        #expect(try refusal("", [("num.partitions", 0, "3")]) == "Cannot update these configs dynamically: [num.partitions]")
        #expect(try refusal("1", [("listeners", 0, "PLAINTEXT://:9999")])?.contains("[listeners]") == true)
        #expect(try refusal("", [("max.connections.per.ip", 0, "0")])?.contains("max.connections.per.ip") == true)
        #expect(try refusal("", [("log.cleaner.min.compaction.lag.ms", 0, "60")]) != nil, "the file says at most 50")
        #expect(harness.controller.image.configurations.values(of: .clusterDefault).isEmpty)
        #expect(try refusal("", [("max.connections.per.ip.overrides", 0, "10.0.0.1:5")]) == nil)
        #expect(try refusal("1", [("max.connections.per.ip", 0, "0")]) == nil)
        #expect(try refusal("1", [("max.connections.per.ip", 1, nil)]) == nil)
    }

    /// From Kafka 3.9: such a topic lives on, and everything else about it can be changed.
    @Test func smallSegmentsFromBeforeStay() throws {
        var harness = try ControllerHarness()
        try harness.createTopic("t")
        var record = ConfigRecord()
        record.resourceType = ConfigResource.Kind.topic.rawValue
        record.resourceName = "t"
        record.name = "segment.bytes"
        record.value = "16384"
        let stored = VersionedRecord(.config(record))
        try harness.run { (_, _) throws(RequestFailure) in ControllerResult((), records: [stored]) }
        #expect(try Self.alter(&harness, .topic, "t", [("retention.ms", 0, "5")]).errorCode == .none)
        #expect(try Self.alter(&harness, .topic, "t", [("segment.bytes", 0, "16384")]).errorCode == .none, "it is what it was")
        #expect(try Self.alter(&harness, .topic, "t", [("segment.bytes", 0, "16385")]).errorCode == .invalidConfig)
        #expect(try harness.createTopic("u", configs: ["segment.bytes": "16384"]).errorCode == .invalidConfig)
    }
}
