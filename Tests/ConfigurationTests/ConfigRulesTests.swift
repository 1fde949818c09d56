// What AlterConfigs and CreateTopics refuse.
import Collections
import Testing

@testable import ConfigDefinitions

@Suite struct ConfigRulesTests {
    private func topic(_ overrides: OrderedDictionary<String, String?>, _ layers: BrokerConfigLayers = BrokerConfigLayers()) -> String? {
        do {
            try ConfigRules.validateTopic(overrides, layers: layers)
            return nil
        } catch {
            return error.message
        }
    }

    private func broker(_ overrides: OrderedDictionary<String, String>, isPerBroker: Bool) -> String? {
        do {
            try ConfigRules.validateDynamicBroker(overrides, isPerBroker: isPerBroker)
            return nil
        } catch {
            return error.message
        }
    }

    private func group(_ overrides: OrderedDictionary<String, String?>, _ layers: BrokerConfigLayers = BrokerConfigLayers()) -> String? {
        do {
            try ConfigRules.validateGroup(overrides, layers: layers)
            return nil
        } catch {
            return error.message
        }
    }

    @Test func goodTopicsPass() {
        #expect(topic([:]) == nil)
        #expect(topic(["cleanup.policy": "compact,delete", "segment.bytes": "1048576", "retention.ms": "-1"]) == nil)
        #expect(topic(["remote.storage.enable": "false"]) == nil)
    }

    @Test func topicNamesAndNulls() {
        #expect(topic(["retention": "1"]) == "Unknown topic config name: retention")
        #expect(
            topic(["retention.ms": nil, "flush.ms": nil])
                == "Null value not supported for topic configs: retention.ms,flush.ms")
    }

    @Test func compactionLagsMustNotContradict() {
        let conflict = "conflict topic config setting min.compaction.lag.ms (100) > max.compaction.lag.ms (50)"
        #expect(topic(["min.compaction.lag.ms": "100", "max.compaction.lag.ms": "50"]) == conflict)
        // The other side of the contradiction may be the broker's.
        let layers = BrokerConfigLayers(fixed: ["log.cleaner.max.compaction.lag.ms": "50"])
        #expect(topic(["min.compaction.lag.ms": "100"], layers) == conflict)
        #expect(topic(["min.compaction.lag.ms": "50"], layers) == nil)
    }

    @Test func tieredTopicsAreRefused() throws {
        #expect(try #require(topic(["remote.storage.enable": "true"])).contains("Tiered Storage functionality is disabled"))
    }

    @Test func onlyDynamicBrokerKeysChange() throws {
        #expect(broker(["log.retention.ms": "1000"], isPerBroker: false) == nil)
        #expect(broker(["log.retention.hours": "1"], isPerBroker: true) == "Cannot update these configs dynamically: [log.retention.hours]")
        #expect(
            broker(["node.id": "1", "broker.id": "1"], isPerBroker: true)
                == "Cannot update these configs dynamically: [broker.id, node.id]")
        #expect(broker(["leader.replication.throttled.rate": "1000"], isPerBroker: true) == nil)
        #expect(broker(["plugin.key": "x"], isPerBroker: false) == nil)
        #expect(try #require(broker(["log.segment.bytes": "7"], isPerBroker: false)).hasPrefix("Invalid value 7 for configuration"))
    }

    @Test func valuesOfBrokersAgree() throws {
        func conflict(_ values: OrderedDictionary<String, String>) -> String? {
            do throws(ConfigError) {
                try ConfigRules.validateBroker(BrokerConfigLayers(fixed: [:], dynamicDefault: [:], dynamicBroker: values))
                return nil
            } catch {
                return error.message
            }
        }
        #expect(conflict(["max.connections.per.ip": "0", "max.connections.per.ip.overrides": "10.0.0.1:5,::1:7"]) == nil)
        #expect(conflict(["max.connections.per.ip": "0"])?.contains("can be set to zero only if") == true)
        #expect(conflict(["max.connections.per.ip.overrides": "10.0.0.1"])?.contains("must have the form host:count") == true)
        #expect(conflict(["log.retention.ms": "0"])?.hasPrefix("log.retention.ms must be unlimited (-1)") == true)
        #expect(conflict(["log.roll.ms": "0"])?.hasPrefix("log.roll.ms must be") == true)
        let lags: OrderedDictionary = ["log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "5"]
        #expect(conflict(lags)?.hasPrefix("log.cleaner.min.compaction.lag.ms must not be greater") == true)
        #expect(throws: ConfigError.self) { try ConfigRules.validateDynamicBrokerChange(["listeners"]) }
    }

    @Test func olderValuesStayUntilTheyAreChanged() throws {
        let small: OrderedDictionary<String, String?> = ["segment.bytes": "16384", "retention.ms": "5"]
        #expect(topic(small)?.contains("at least 1048576") == true)
        try ConfigRules.validateTopic(small, changed: ["retention.ms"], layers: BrokerConfigLayers())
        #expect(TopicConfiguration().applying(["segment.bytes": "16384"]).segmentBytes == 16_384)
        #expect(
            ConfigDescription.topic(overrides: ["segment.bytes": "16384"], layers: BrokerConfigLayers())["segment.bytes"]?.value
                == .int(16_384))
    }

    @Test func perBrokerKeysNeedABroker() {
        let message = "Cannot update these configs at default cluster level, broker id must be specified"
        #expect(broker(["listeners": "PLAINTEXT://:9092"], isPerBroker: false) == "\(message): [listeners]")
        #expect(broker(["listeners": "PLAINTEXT://:9092"], isPerBroker: true) == nil)
        #expect(broker(["listener.name.internal.max.connections": "5"], isPerBroker: false) == nil)
        #expect(
            broker(["listener.name.internal.ssl.keystore.location": "/x"], isPerBroker: false)
                == "\(message): [listener.name.internal.ssl.keystore.location]")
        #expect(broker(["ssl.keystore.location": "/x"], isPerBroker: true)?.contains("only per-listener") == true)
    }

    @Test func groupsKeepTheBrokersBounds() {
        #expect(group(["consumer.session.timeout.ms": "50000"]) == nil)
        #expect(
            group(["consumer.session.timeout.ms": "44000"]) == "consumer.session.timeout.ms must be in the range 45000 to 60000 inclusive.")
        let layers = BrokerConfigLayers(fixed: ["group.consumer.min.session.timeout.ms": "1000"])
        #expect(group(["consumer.session.timeout.ms": "44000"], layers) == nil)
        #expect(group(["streams.num.standby.replicas": "3"]) == "streams.num.standby.replicas must be less than or equal to 2")
        #expect(
            group(["streams.task.offset.interval.ms": "1"]) == "streams.task.offset.interval.ms must be greater than or equal to 15000")
        #expect(group(["consumer.nonsense": "1"]) == "Unknown group config name: consumer.nonsense")
        #expect(group(["errors.deadletterqueue.topic.name": "__x"])?.contains("must not start with '__'") == true)
    }

    @Test func sessionsOutlastHeartbeats() {
        let layers = BrokerConfigLayers(fixed: [
            "group.consumer.min.session.timeout.ms": "1000", "group.consumer.min.heartbeat.interval.ms": "100",
        ])
        #expect(
            group(["consumer.session.timeout.ms": "2000"], layers)
                == "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms")
        #expect(group(["consumer.session.timeout.ms": "2000", "consumer.heartbeat.interval.ms": "500"], layers) == nil)
    }
}
