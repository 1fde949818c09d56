// Environment, overrides, precedence, and how mistakes are reported.
import ConfigDefinitions
import Testing

@testable import Configuration

@Suite struct SourcesTests {
    @Test(arguments: [
        ("KAFKA_LOG_DIRS", "x", "log.dirs"), ("KAFKA_NODE_ID", "1", "node.id"), ("KAFKA_CFG_LOG_DIRS", "x", "log.dirs"),
        ("KAFKA_A__B", "x", "a_b"), ("KAFKA_A___B", "x", "a-b"), ("KAFKA_A____B", "x", "a-.b"), ("KAFKA_A_____B", "x", "a-_b"),
        ("KAFKA_LISTENER_NAME_INTERNAL_MAX_CONNECTIONS", "1", "listener.name.internal.max.connections"),
        ("MARTLET_ADMIN_LISTENERS", "x", "martlet.admin.listeners"), ("MARTLET_BOOTSTRAP_SERVER", "host:9092", nil),
        ("KAFKA_HEAP_OPTS", "-Xmx1G", nil), ("KAFKA_OPTS", "", nil),
        ("KAFKA_JMX_PORT", "1", nil), ("KAFKA_JMX_HOSTNAME", "x", nil), ("KAFKA_LOG4J_LOGGERS", "x", nil), ("KAFKA_VERSION", "4", nil),
        ("KAFKA_JVM_PERFORMANCE_OPTS", "", nil), ("KAFKA_GC_LOG_OPTS", "", nil), ("KAFKA_TOOLS_LOG4J_LOGLEVEL", "x", nil),
        ("KAFKA_PORT", "tcp://10.0.0.1:9092", nil), ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1", nil), ("KAFKA_SERVICE_HOST", "h", nil),
        ("KAFKA_PORT", "9092", "port"), ("PATH", "/bin", nil), ("KAFKA_", "x", nil), ("CLUSTER_ID", "x", nil), ("kafka_log_dirs", "x", nil),
    ])
    func environmentVariables(_ variable: String, _ value: String, _ key: String?) {
        #expect(EnvironmentSource.key(of: variable, value: value) == key)
        #expect(EnvironmentSource.entries([variable: value]).map(\.key) == (key.map { [$0] } ?? []))
    }

    @Test func ownKeysThatDoNotExistAreMistakes() throws {
        let own = ConfigTable.martlet.definitions.map(\.name).filter { $0.hasPrefix("martlet.") }.joined(separator: ", ")
        #expect(
            errors(minimal + "martlet.admin.port=9644\n") == [
                "server.properties:7: martlet.admin.port: is not a known key; Martlet's own are \(own); did you mean "
                    + "martlet.admin.listeners?"
            ])
        #expect(
            errors(minimal, environment: ["MARTLET_NUM_PARTITIONS": "3", "MARTLET_LOG_LEVL": "debug"]) == [
                "environment variable MARTLET_LOG_LEVL: martlet.log.levl: is not a known key; did you mean martlet.log.level?",
                "environment variable MARTLET_NUM_PARTITIONS: martlet.num.partitions: is not a known key; num.partitions is set by "
                    + "KAFKA_NUM_PARTITIONS",
            ])
        let warned = try load(minimal, environment: ["MARTLET_HOME": "/opt/martlet", "MARTLET_BOOTSTRAP_SERVER": "host:9092"]).warnings
        #expect(
            warned.map(\.description) == [
                "environment variable MARTLET_HOME: martlet.home: is not a known key; Martlet's own are \(own); the variable has no effect"
            ])
    }

    @Test func laterSourcesWin() throws {
        func partitions(_ environment: [String: String], _ overrides: [String]) throws -> Int32 {
            try load(minimal + "num.partitions=2\n", environment: environment, overrides: overrides).configuration.topics.numPartitions
        }
        #expect(try load(minimal).configuration.topics.numPartitions == 1)
        #expect(try partitions([:], []) == 2)
        #expect(try partitions(["KAFKA_NUM_PARTITIONS": "3"], []) == 3)
        #expect(try partitions(["KAFKA_NUM_PARTITIONS": "3"], ["num.partitions=4"]) == 4)
        #expect(try partitions([:], ["num.partitions=4", "num.partitions=5"]) == 5)
    }

    @Test func everyMistakeIsReportedWithItsPlace() {
        let text =
            minimal + """
                num.partitions=none
                log.retenton.hours=2
                # a comment
                compression.type=brotli
                retention.ms=1
                zookeeper.connect=localhost:2181
                authorizer.class.name=org.example.Authorizer
                """
        #expect(
            errors(text, environment: ["KAFKA_LOG_SEGMENT_BYTES": "7", "KAFKA_MIN_INSYNC_REPLICA": "1"]) == [
                "server.properties:7: num.partitions: invalid value 'none': Not a number of type INT",
                "server.properties:8: log.retenton.hours: is not a known key; did you mean log.retention.hours?",
                "server.properties:10: compression.type: invalid value 'brotli': String must be one of: "
                    + "uncompressed, zstd, lz4, snappy, gzip, producer",
                "server.properties:11: retention.ms: is a topic's key; the broker's default for topics is log.retention.ms",
                "server.properties:12: zookeeper.connect: Kafka 4 has no ZooKeeper; the cluster's metadata live in the quorum of "
                    + "controller.quorum.voters. Migrate the cluster to KRaft with Kafka 3.9 first",
                "environment variable KAFKA_LOG_SEGMENT_BYTES: log.segment.bytes: invalid value '7': Value must be at least 1048576",
                "environment variable KAFKA_MIN_INSYNC_REPLICA: min.insync.replica: is not a known key; did you mean min.insync.replicas?",
                "server.properties:13: authorizer.class.name: 'org.example.Authorizer' cannot be used here; the authorizer there is is called "
                    + "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ])
    }

    @Test func warningsDoNotStopTheStart() throws {
        let loaded = try load(
            minimal + """
                num.io.threads=8
                plugin.some.key=1
                num.partitions=1
                num.partitions=2
                inter.broker.protocol.version=3.9
                authorizer.class.name=
                leader.replication.throttled.rate=5
                """, overrides: ["queued.max.requests=5"])
        #expect(loaded.configuration.topics.numPartitions == 2)
        #expect(
            loaded.warnings.map(\.description) == [
                "server.properties:10: num.partitions: is set twice, first at server.properties:9; the last one counts",
                "server.properties:7: num.io.threads: is accepted without effect: requests are worked on by the event loops of "
                    + "num.network.threads",
                "server.properties:8: plugin.some.key: is not a known key; it is kept but has no effect",
                "server.properties:11: inter.broker.protocol.version: has no effect: removed in Kafka 4; the cluster's metadata.version "
                    + "decides",
                "server.properties:13: leader.replication.throttled.rate: has no effect in a file: it is dynamic configuration only",
                "--override queued.max.requests=...: queued.max.requests: is accepted without effect: what waits is bounded in bytes, by "
                    + "queued.max.request.bytes",
            ])
    }

    @Test func strangeKeysGetAHintWhenThereIsOne() throws {
        let loaded = try load(minimal + "max.connections.per.host=7\nsome.plugins.own.key=1\n")
        #expect(
            loaded.warnings.map(\.description) == [
                "server.properties:7: max.connections.per.host: is not a known key; it is kept but has no effect; did you mean "
                    + "max.connections.per.ip?",
                "server.properties:8: some.plugins.own.key: is not a known key; it is kept but has no effect",
            ])
    }

    @Test func requiredKeysAreAskedFor() {
        let all = errors("")
        #expect(all.contains("configuration: node.id: must be set: every node of a cluster has an id of its own, such as 1"))
        #expect(all.contains { $0.hasPrefix("configuration: process.roles: must be set") })
        #expect(all.contains { $0.hasPrefix("configuration: controller.listener.names: must be set") })
        #expect(all.count == 3)
    }

    @Test func brokerIDStandsForNodeID() throws {
        let text = minimal.replacing("node.id=1", with: "broker.id=1")
        #expect(try load(text).configuration.nodeID == 1)
        #expect(try load(minimal).configuration.layers.fixed["broker.id"] == "1")
        #expect(errors(minimal + "broker.id=2\n") == ["server.properties:7: broker.id: must be the same as node.id (1)"])
    }

    @Test func filesThatCannotBeReadSayWhy() {
        let content = ConfigurationFile.read("/nonexistent/server.properties")
        #expect(content.mistakes.map(\.description) == ["/nonexistent/server.properties: cannot be read: No such file or directory"])
        #expect(ConfigurationFile.read("/").mistakes.first?.message == "cannot be read: Is a directory")
        #expect(ConfigurationFile.read("/dev/zero").mistakes.first?.message == "is larger than 4 MiB, which no configuration is")
    }

    @Test func overridesNeedAnEqualsSign() {
        let content = OverrideSource.parse(["a", "=b", "c=d=e", " f = g"])
        #expect(
            content.mistakes.map(\.description) == [
                "--override a: an override has the form key=value", "--override =b: an override has the form key=value",
            ])
        #expect(content.entries.map { "\($0.key)|\($0.value)" } == ["c|d=e", "f| g"])
    }

    @Test func yamlLoadsAlike() throws {
        let text = """
            node.id: 1
            process.roles: [broker, controller]
            listeners:
              - PLAINTEXT://:9092
              - CONTROLLER://:9093
            controller:
              listener.names: CONTROLLER
              quorum.voters: 1@localhost:9093
            log:
              dirs: /var/lib/martlet
              retention.huors: 1
            """
        #expect(
            errors(text, path: "martlet.yaml") == [
                "martlet.yaml:11: log.retention.huors: is not a known key; did you mean log.retention.hours?"
            ])
        let loaded = try load(text.replacing("huors", with: "hours"), path: "martlet.yml").configuration
        #expect(loaded.topics.defaults.retentionMilliseconds == 3_600_000)
        #expect(loaded.listeners == (try load(minimal).configuration.listeners))
    }

    @Test func theProcessKnowsItsSurroundings() {
        #expect(ProcessSurroundings.environment()["PATH"] != nil)
        #expect(!ProcessSurroundings.hostName().isEmpty)
    }
}
