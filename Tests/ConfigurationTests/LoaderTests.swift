// The typed configuration: defaults, values, and rules over several keys.
import ConfigDefinitions
import Testing

@testable import Configuration

@Suite struct LoaderTests {
    @Test func defaultsAreKafkas() throws {
        let configuration = try load(minimal).configuration
        #expect(configuration.nodeID == 1 && configuration.processRoles == [.broker, .controller] && configuration.rack == nil)
        #expect(
            configuration.network.networkThreads == ProcessSurroundings.processorCount()
                && configuration.network.socketRequestMaxBytes == 104_857_600)
        #expect(configuration.network.connectionsMaxIdleMilliseconds == 600_000 && configuration.network.queuedMaxRequestBytes == -1)
        #expect(configuration.network.maxConnections == Int(Int32.max) && configuration.network.fetchMaxBytes == 57_671_680)
        #expect(configuration.storage.logDirectories == ["/var/lib/martlet"] && configuration.storage.recoveryThreadsPerDirectory == 2)
        #expect(configuration.metadataLog.directory == "/var/lib/martlet")
        #expect(configuration.metadataLog.maxRecordBytesBetweenSnapshots == 20_971_520)
        #expect(configuration.topics.autoCreateTopicsEnable && configuration.topics.deleteTopicEnable)
        #expect(configuration.topics.numPartitions == 1 && configuration.topics.defaultReplicationFactor == 1)
        #expect(configuration.topics.defaults == TopicConfiguration())
        #expect(configuration.groups.initialRebalanceDelayMilliseconds == 3000 && configuration.groups.maxSize == Int(Int32.max))
        #expect(configuration.offsets.topicPartitions == 50 && configuration.offsets.topicReplicationFactor == 3)
        #expect(configuration.offsets.retentionMilliseconds == 604_800_000)
        #expect(configuration.adminListeners == [HostAndPort(host: "127.0.0.1", port: 9644)] && configuration.logLevel == "info")
    }

    @Test func logDirStandsInForLogDirs() throws {
        let without = minimal.replacing("log.dirs=/var/lib/martlet\n", with: "")
        #expect(try load(without).configuration.storage.logDirectories == ["/tmp/kafka-logs"])
        #expect(try load(without + "log.dir=/a").configuration.storage.logDirectories == ["/a"])
        let both = try load(minimal + "log.dir=/a\nmetadata.log.dir=/m\n").configuration
        #expect(both.storage.logDirectories == ["/var/lib/martlet"] && both.metadataLog.directory == "/m")
        #expect(errors(without + "log.dirs=\n").first?.contains("must not be empty") == true)
    }

    @Test func directoriesAreNamedOnce() {
        let twice = minimal.replacing("log.dirs=/var/lib/martlet", with: "log.dirs=/a,/b,/a/")
        #expect(errors(twice).first?.contains("log.dirs: /a/ is named more than once") == true)
    }

    /// What it would have said is not complained about one by one.
    @Test func unreadableFileIsTheOnlyMistake() {
        do throws(ConfigurationMistakes) {
            _ = try ConfigurationLoader.load(file: "/nowhere/server.properties", environment: [:])
            Issue.record("it was read")
        } catch {
            #expect(error.description == "/nowhere/server.properties: cannot be read: No such file or directory")
        }
    }

    @Test(arguments: [
        ("queued.max.request.bytes=1000", "queued.max.request.bytes: must be at least socket.request.max.bytes (104857600)"),
        ("max.connections.per.ip=0", "max.connections.per.ip: can be 0 only when max.connections.per.ip.overrides is set"),
        ("max.connections.per.ip.overrides=host", "max.connections.per.ip.overrides: 'host' is not of the form host:count"),
        ("log.retention.ms=0", "log.retention.ms: must be -1 for no limit, or at least 1"),
        ("log.retention.hours=0", "log.retention.hours: must be -1 for no limit, or at least 1"),
        ("log.roll.ms=0", "log.roll.ms: must be at least 1"), ("log.roll.jitter.ms=-1", "log.roll.jitter.ms: must be at least 0"),
        ("log.cleaner.min.compaction.lag.ms=5\nlog.cleaner.max.compaction.lag.ms=4", "must not be greater than log.cleaner.max"),
        ("replica.fetch.wait.max.ms=40000", "replica.fetch.wait.max.ms: must not be greater than replica.socket.timeout.ms"),
        ("group.min.session.timeout.ms=9\ngroup.max.session.timeout.ms=8", "must not be greater than group.max.session.timeout.ms (8)"),
        ("martlet.admin.listeners=9644", "martlet.admin.listeners: '9644' is not of the form host:port"),
        ("martlet.admin.listener=:9644", "martlet.admin.listener: is not a known key; did you mean martlet.admin.listeners?"),
        ("remote.log.storage.system.enable=true", "is refused: tiered storage is not available"),
        ("port=9092", "port: removed in Kafka 3; say it with listeners and advertised.listeners"),
    ])
    func rulesOverSeveralKeys(_ text: String, _ expected: String) {
        #expect(errors(minimal + text).contains { $0.contains(expected) }, "\(errors(minimal + text))")
    }

    @Test func limitsAreRead() throws {
        let configuration = try load(
            minimal + """
                max.connections.per.ip=0
                max.connections.per.ip.overrides=127.0.0.1:5, [::1]:6,host:7
                num.network.threads=2
                log.retention.minutes=3
                message.max.bytes=2000000
                martlet.admin.listeners=:9644,[::1]:9645
                broker.rack=zone-a
                """
        ).configuration
        #expect(configuration.network.maxConnectionsPerAddressOverrides == ["127.0.0.1": 5, "[::1]": 6, "host": 7])
        #expect(configuration.network.networkThreads == 2 && configuration.rack == "zone-a")
        #expect(
            configuration.topics.defaults.retentionMilliseconds == 180_000 && configuration.topics.defaults.maxMessageBytes == 2_000_000)
        #expect(configuration.adminListeners.map(\.description) == [":9644", "[::1]:9645"])
    }

    @Test func kafkasOwnExampleLoads() throws {
        // The settings of the configuration that Kafka's container image starts with.
        let text = """
            process.roles=broker,controller
            node.id=1
            controller.quorum.voters=1@localhost:9093
            listeners=PLAINTEXT://:9092,CONTROLLER://:9093
            inter.broker.listener.name=PLAINTEXT
            advertised.listeners=PLAINTEXT://localhost:9092
            controller.listener.names=CONTROLLER
            listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
            num.network.threads=3
            num.io.threads=8
            socket.send.buffer.bytes=102400
            socket.receive.buffer.bytes=102400
            socket.request.max.bytes=104857600
            log.dirs=/tmp/kraft-combined-logs
            num.partitions=1
            num.recovery.threads.per.data.dir=2
            offsets.topic.replication.factor=1
            share.coordinator.state.topic.replication.factor=1
            share.coordinator.state.topic.min.isr=1
            transaction.state.log.replication.factor=1
            transaction.state.log.min.isr=1
            log.retention.hours=168
            log.segment.bytes=1073741824
            log.retention.check.interval.ms=300000
            """
        let loaded = try load(text)
        #expect(loaded.configuration.advertisedListeners.map(\.description) == ["PLAINTEXT://localhost:9092"])
        #expect(loaded.warnings.allSatisfy { $0.message.hasPrefix("is accepted without effect") })
    }

    @Test func containersConfigureThemselvesByEnvironmentAlone() throws {
        let environment = [
            "KAFKA_NODE_ID": "1", "KAFKA_PROCESS_ROLES": "broker,controller", "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
            "KAFKA_LISTENERS": "PLAINTEXT://:19092,CONTROLLER://:9093,PLAINTEXT_HOST://:9092",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PLAINTEXT_HOST:PLAINTEXT",
            "KAFKA_INTER_BROKER_LISTENER_NAME": "PLAINTEXT", "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@kafka-1:9093",
            "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka-1:19092,PLAINTEXT_HOST://localhost:29092",
            "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1", "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
            "KAFKA_LOG_DIRS": "/tmp/kraft-combined-logs", "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw", "KAFKA_HEAP_OPTS": "-Xmx1G",
        ]
        let configuration = try load("", environment: environment).configuration
        #expect(configuration.advertisedListeners.map(\.description) == ["PLAINTEXT://kafka-1:19092", "PLAINTEXT_HOST://localhost:29092"])
        #expect(configuration.advertisedControllerListeners.map(\.description) == ["CONTROLLER://kafka-1:9093"])
    }

    /// What Kafka 3.9 took and Kafka 4 refuses: whoever moves a node over has it in the file.
    @Test func smallSegmentsOfKafka39AreHonoured() throws {
        let text =
            minimal + "log.segment.bytes=65536\nmetadata.log.segment.bytes=8192\nmetadata.log.segment.min.bytes=8192\n"
            + "offsets.topic.segment.bytes=65536\n"
        let loaded = try load(text)
        #expect(loaded.configuration.topics.defaults.segmentBytes == 65_536)
        #expect(loaded.configuration.metadataLog.segmentBytes == 8192)
        #expect(loaded.configuration.offsets.topicSegmentBytes == 1_048_576)
        let warnings = loaded.warnings.map(\.description)
        #expect(
            warnings.contains {
                $0.contains("log.segment.bytes") && $0.contains("honoured as Kafka 3.9 did") && $0.contains("at least 1048576")
            })
        #expect(warnings.contains { $0.contains("metadata.log.segment.bytes") && $0.contains("at least 8388608") })
        #expect(warnings.contains { $0.contains("offsets.topic.segment.bytes") && $0.contains("created with 1048576") })
        #expect(errors(minimal + "log.segment.bytes=13\n").count == 1, "Kafka 3.9 had a bound, too")
    }

    @Test func offsetsTopicCodec() throws {
        #expect(try load(minimal).configuration.offsets.topicCompressionCodec == 0)
        #expect(try load(minimal + "offsets.topic.compression.codec=4\n").configuration.offsets.topicCompressionCodec == 4)
        #expect(errors(minimal + "offsets.topic.compression.codec=5\n").count == 1)
    }
}
