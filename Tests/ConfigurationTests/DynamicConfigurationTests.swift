// Dynamic layers over a loaded configuration.
import ConfigDefinitions
import Testing

@testable import Configuration

@Suite struct DynamicConfigurationTests {
    @Test func dynamicValuesComeAndGo() throws {
        let started = try load(minimal + "max.connections=100\nlog.retention.hours=1\n").configuration
        var layers = started.layers
        layers.dynamicDefault = ["max.connections": "50", "log.retention.ms": "1000", "num.network.threads": "x", "num.partitions": "9"]
        layers.dynamicBroker = ["max.connections": "20", "listener.name.plaintext.max.connections": "5", "message.max.bytes": "77"]
        let changed = started.applying(layers)
        #expect(changed.network.maxConnections == 20 && changed.network.maxConnectionsPerListener == ["PLAINTEXT": 5])
        #expect(changed.topics.defaults.retentionMilliseconds == 1000 && changed.topics.defaults.maxMessageBytes == 77)
        #expect(changed.network.networkThreads == started.network.networkThreads, "nonsense is passed over")
        #expect(changed.topics.numPartitions == 1, "num.partitions is not dynamic")
        #expect(changed.listeners == started.listeners && changed.nodeID == started.nodeID)
        layers.dynamicBroker = [:]
        #expect(started.applying(layers).network.maxConnections == 50)
        layers.dynamicDefault = [:]
        let back = started.applying(layers)
        #expect(back.network == started.network && back.topics == started.topics && back.storage == started.storage)
        #expect(back.groups == started.groups && back.offsets == started.offsets)
    }

    @Test func whatHasNoEffectIsNamed() throws {
        var layers = BrokerConfigLayers()
        layers.dynamicDefault = ["max.connections": "50", "num.partitions": "9", "log.retention.ms": "soon", "plugin.key": "x"]
        layers.dynamicBroker = [
            "listeners": "PLAINTEXT://:1", "num.io.threads": "9", "num.network.threads": "4", "log.segment.bytes": "64",
        ]
        let warnings = BrokerConfiguration.withoutEffect(layers)
        #expect(
            warnings.map(\.key)
                == ["num.partitions", "log.retention.ms", "listeners", "num.io.threads", "num.network.threads"])
    }
}
