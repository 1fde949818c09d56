// DescribeConfigs: values in force, where they come from, and under which names.
import Collections
import Testing

@testable import ConfigDefinitions

@Suite struct ConfigDescriptionTests {
    private func synonym(_ name: String, _ value: String?, _ source: ConfigSource) -> ConfigSynonym {
        ConfigSynonym(name: name, value: value, source: source)
    }

    @Test func topicValuesFallThroughTheLayers() throws {
        var layers = BrokerConfigLayers(fixed: ["log.segment.bytes": "2097152"])
        layers.dynamicDefault = ["log.segment.bytes": "3145728"]
        layers.dynamicBroker = ["log.segment.bytes": "4194304"]
        var entries = ConfigDescription.topic(overrides: ["segment.bytes": "5242880"], layers: layers)
        var entry = try #require(entries["segment.bytes"])
        #expect(entry.value == .int(5_242_880) && entry.source == .dynamicTopic && entry.type == .int && !entry.isReadOnly)
        #expect(
            entry.synonyms == [
                synonym("segment.bytes", "5242880", .dynamicTopic), synonym("log.segment.bytes", "4194304", .dynamicBroker),
                synonym("log.segment.bytes", "3145728", .dynamicDefaultBroker), synonym("log.segment.bytes", "2097152", .staticBroker),
                synonym("log.segment.bytes", "1073741824", .defaultConfig),
            ])
        entries = ConfigDescription.topic(overrides: [:], layers: layers)
        entry = try #require(entries["segment.bytes"])
        #expect(entry.value == .int(4_194_304) && entry.source == .dynamicBroker && entry.synonyms.count == 4)
        layers.dynamicBroker = [:]
        #expect(ConfigDescription.topic(overrides: [:], layers: layers)["segment.bytes"]?.source == .dynamicDefaultBroker)
        layers.dynamicDefault = [:]
        #expect(ConfigDescription.topic(overrides: [:], layers: layers)["segment.bytes"]?.source == .staticBroker)
        layers.fixed = [:]
        #expect(ConfigDescription.topic(overrides: [:], layers: layers)["segment.bytes"]?.source == .defaultConfig)
    }

    @Test func everyTopicKeyIsDescribedButInternalOnes() {
        let entries = ConfigDescription.topic(overrides: [:], layers: BrokerConfigLayers())
        #expect(entries.count == 36 && entries["internal.segment.bytes"] == nil)
        #expect(entries["leader.replication.throttled.replicas"]?.text == "")
        #expect(entries["flush.ms"]?.text == "9223372036854775807")
        let withInternal = ConfigDescription.topic(overrides: ["internal.segment.bytes": "1000"], layers: BrokerConfigLayers())
        #expect(withInternal["internal.segment.bytes"]?.value == .int(1000))
    }

    @Test func hoursAndMinutesBecomeMilliseconds() throws {
        var layers = BrokerConfigLayers(fixed: ["log.retention.hours": "2", "log.roll.hours": "3", "log.roll.jitter.hours": "1"])
        var defaults = TopicConfiguration(layers: layers)
        #expect(defaults.retentionMilliseconds == 7_200_000)
        #expect(defaults.segmentMilliseconds == 10_800_000)
        #expect(defaults.segmentJitterMilliseconds == 3_600_000)
        // As in Kafka: what is set is hours, so the key asked for has no mention and the value counts as a default.
        let entry = try #require(ConfigDescription.topic(overrides: [:], layers: layers)["retention.ms"])
        #expect(entry.value == .long(7_200_000) && entry.source == .defaultConfig && entry.synonyms.isEmpty)
        layers.fixed["log.retention.minutes"] = "5"
        defaults = TopicConfiguration(layers: layers)
        #expect(defaults.retentionMilliseconds == 300_000)
        layers.dynamicDefault["log.retention.ms"] = "1000"
        defaults = TopicConfiguration(layers: layers)
        #expect(defaults.retentionMilliseconds == 1000)
        let dynamic = try #require(ConfigDescription.topic(overrides: [:], layers: layers)["retention.ms"])
        #expect(
            dynamic.synonyms == [
                synonym("log.retention.ms", "1000", .dynamicDefaultBroker), synonym("log.retention.minutes", "5", .staticBroker),
                synonym("log.retention.hours", "2", .staticBroker), synonym("log.retention.hours", "168", .defaultConfig),
            ])
        layers.dynamicDefault["log.retention.ms"] = "-7"
        #expect(TopicConfiguration(layers: layers).retentionMilliseconds == -1)
    }

    @Test func defaultsAreKafkas() {
        #expect(TopicConfiguration(layers: BrokerConfigLayers()) == TopicConfiguration())
    }

    @Test func overridesApply() {
        let topic = TopicConfiguration().applying([
            "cleanup.policy": "compact", "segment.ms": "5000", "message.timestamp.type": "LogAppendTime", "compression.type": "zstd",
            "min.insync.replicas": "2", "preallocate": "true", "min.cleanable.dirty.ratio": "0.1", "retention.bytes": "nonsense",
            "max.message.bytes": "10", "unknown.key": "1",
        ])
        #expect(topic.compacts && !topic.deletes && topic.segmentMilliseconds == 5000 && topic.messageTimestampType == .logAppendTime)
        #expect(topic.compressionType == "zstd" && topic.minInSyncReplicas == 2 && topic.preallocate && topic.maxMessageBytes == 10)
        #expect(topic.minCleanableDirtyRatio == 0.1 && topic.retentionBytes == -1)
    }

    @Test func theInternalSegmentSizeWins() {
        #expect(TopicConfiguration().applying(["internal.segment.bytes": "512", "segment.bytes": "1048576"]).segmentBytes == 512)
    }

    @Test func brokersAreDescribed() throws {
        var layers = BrokerConfigLayers(fixed: ["node.id": "7", "ssl.key.password": "secret", "plugin.password": "hidden"])
        layers.dynamicDefault = ["log.retention.ms": "60000"]
        let entries = ConfigDescription.broker(layers: layers)
        let nodeID = try #require(entries["node.id"])
        #expect(nodeID.text == "7" && nodeID.isReadOnly && nodeID.source == .staticBroker)
        let retention = try #require(entries["log.retention.ms"])
        #expect(retention.text == "60000" && !retention.isReadOnly && retention.source == .dynamicDefaultBroker)
        let password = try #require(entries["ssl.key.password"])
        #expect(password.text == nil && password.isSensitive && password.type == .password)
        #expect(password.synonyms.allSatisfy { $0.value == nil } && !password.synonyms.isEmpty)
        let unknown = try #require(entries["plugin.password"])
        #expect(unknown.text == nil && unknown.isSensitive && unknown.type == .unknown)
        #expect(entries["log.retention.minutes"]?.value == nil)
        #expect(entries["unstable.api.versions.enable"] == nil, "internal keys are not listed")
    }

    @Test func hoursAreDescribedFromTheirOwnMention() throws {
        let layers = BrokerConfigLayers(fixed: ["log.retention.ms": "1", "log.retention.hours": "2"])
        let entry = try #require(ConfigDescription.broker(layers: layers)["log.retention.hours"])
        #expect(
            entry.synonyms == [synonym("log.retention.hours", "2", .staticBroker), synonym("log.retention.hours", "168", .defaultConfig)])
    }

    @Test func listenerOverridesFallBackToTheirKey() throws {
        let layers = BrokerConfigLayers(fixed: ["listener.name.internal.max.connections": "5", "max.connections": "9"])
        let entry = try #require(ConfigDescription.broker(layers: layers)["listener.name.internal.max.connections"])
        #expect(entry.value == .int(5) && entry.type == .int)
        #expect(entry.synonyms.map(\.name) == ["listener.name.internal.max.connections", "max.connections", "max.connections"])
    }

    @Test func theDefaultResourceShowsDynamicDefaultsOnly() throws {
        var layers = BrokerConfigLayers(fixed: ["log.retention.ms": "1"])
        layers.dynamicDefault = ["log.retention.ms": "2"]
        let entries = ConfigDescription.brokerDefaults(layers: layers)
        #expect(entries.count == 1)
        #expect(entries["log.retention.ms"]?.synonyms == [synonym("log.retention.ms", "2", .dynamicDefaultBroker)])
    }

    @Test func groupsAreDescribed() throws {
        let layers = BrokerConfigLayers(fixed: ["group.consumer.session.timeout.ms": "50000"])
        let entries = ConfigDescription.group(overrides: ["consumer.heartbeat.interval.ms": "6000"], layers: layers)
        #expect(entries["consumer.session.timeout.ms"]?.value == .int(50_000))
        #expect(entries["consumer.session.timeout.ms"]?.source == .staticBroker)
        #expect(entries["consumer.heartbeat.interval.ms"]?.source == .group)
        #expect(entries["streams.assignor.name"]?.text == "sticky")
        #expect(entries["share.isolation.level"]?.synonyms == [synonym("share.isolation.level", "read_uncommitted", .defaultConfig)])
    }

    @Test func badDynamicValuesArePassedOver() {
        var layers = BrokerConfigLayers(fixed: ["log.segment.bytes": "2097152"])
        layers.dynamicBroker = ["log.segment.bytes": "12"]
        #expect(layers.value("log.segment.bytes") == .int(2_097_152))
        #expect(layers.value("nonsense") == nil)
    }
}
