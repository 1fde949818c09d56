// MirrorMaker 2's file, read as MirrorMaker reads it, and what is said about one that is wrong.
import Mirroring
import Testing

@Suite("MirrorMaker files")
struct MirrorConfigurationTests {
    static func entries(_ text: String) -> [MirrorEntry] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            guard let sign = line.firstIndex(of: "="), !line.hasPrefix("#") else { return nil }
            func trimmed(_ part: Substring) -> String {
                NamePatterns.items(String(part).replacing(",", with: "\u{1}"))[0].replacing("\u{1}", with: ",")
            }
            return MirrorEntry(key: trimmed(line[..<sign]), value: trimmed(line[line.index(after: sign)...]), line: index + 1)
        }
    }

    static func read(_ text: String, targets: [String]? = nil) throws -> MirrorConfiguration {
        try MirrorConfiguration(entries(text), targets: targets)
    }

    static func errors(_ text: String) -> [MirrorMistake] {
        do {
            _ = try MirrorConfiguration(entries(text))
            return []
        } catch {
            return error.errors
        }
    }

    static let base = """
        clusters = A, B
        A.bootstrap.servers = a1:9092, a2:9092
        B.bootstrap.servers = b1:9092
        A->B.enabled = true
        """

    @Test("Kafka's defaults hold where nothing is said")
    func defaults() throws {
        let configuration = try Self.read(Self.base)
        let flow = try #require(configuration.flows.first { $0.isEnabled })
        #expect(configuration.warnings.isEmpty)
        #expect(configuration.flows.map(\.name) == ["A->B", "B->A"], "the other direction emits heartbeats")
        #expect(flow.replicates("orders") && flow.replicates("heartbeats") && flow.replicates("C.orders"))
        for topic in [
            "__consumer_offsets", "mm2-offsets.B.internal", "x.replica", "B.orders", "A.orders", "C.B.orders", "B.checkpoints.internal",
        ] {
            #expect(!flow.replicates(topic), "\(topic)")
        }
        #expect(flow.groups.matches("billing") && !flow.groups.matches("console-consumer-12") && !flow.groups.matches("connect-x"))
        #expect(flow.excludedConfigProperties.matches("min.insync.replicas") && !flow.excludedConfigProperties.matches("retention.ms"))
        #expect(flow.replicationFactor == 2 && flow.workers == 1 && flow.maximumOffsetLag == 100)
        #expect(flow.refreshTopicsInterval == 600 && flow.emitCheckpointsInterval == 60 && flow.syncGroupOffsetsInterval == nil)
        #expect(flow.offsetSyncsTopic == "mm2-offset-syncs.B.internal" && flow.checkpointsTopic == "A.checkpoints.internal")
        #expect(flow.positionsTopic == "mm2-offsets.A.internal" && flow.transactionalID(worker: 0) == "A-mm2-MirrorSourceConnector-0")
        #expect(flow.sourceConsumer["bootstrap.servers"] == "a1:9092, a2:9092" && flow.targetProducer["bootstrap.servers"] == "b1:9092")
    }

    @Test("A flow's setting goes before the one for all flows, a cluster's before the file's, a role's before the cluster's")
    func precedence() throws {
        let configuration = try Self.read(
            Self.base + """

                topics = all.*
                A->B.topics = orders, payments.*
                B->A.enabled = true
                security.protocol = SSL
                A.security.protocol = SASL_SSL
                A.consumer.security.protocol = PLAINTEXT
                A.consumer.fetch.max.bytes = 1000
                A->B.consumer.fetch.max.bytes = 2000
                A->B.consumer.fetch.min.bytes = 3
                A->B.source.consumer.fetch.max.wait.ms = 77
                B.producer.batch.size = 10
                A->B.producer.batch.size = 20
                A->B.target.producer.max.request.size = 30
                """)
        let flow = configuration.flows[0]
        #expect(flow.topics.matches("orders") && flow.topics.matches("payments-eu") && !flow.topics.matches("all-x"))
        #expect(configuration.flows[1].topics.matches("all-x"))
        #expect(flow.sourceConsumer["security.protocol"] == "PLAINTEXT" && flow.sourceAdmin["security.protocol"] == "SASL_SSL")
        #expect(flow.targetAdmin["security.protocol"] == "SSL" && flow.targetProducer["security.protocol"] == "SSL")
        // The cluster's own goes before the flow's general one: MirrorMaker puts source.consumer. over consumer.
        #expect(flow.sourceConsumer["fetch.max.bytes"] == "1000" && flow.sourceConsumer["fetch.min.bytes"] == "3")
        #expect(flow.sourceConsumer["fetch.max.wait.ms"] == "77")
        #expect(flow.targetProducer["batch.size"] == "10" && flow.targetProducer["max.request.size"] == "30")
    }

    @Test("Switches, intervals and the rest are taken over")
    func settings() throws {
        let configuration = try Self.read(
            Self.base + """

                refresh.topics.interval.seconds = 5
                sync.topic.acls.enabled = false
                emit.heartbeats.enabled = false
                A->B.sync.group.offsets.enabled = true
                A->B.sync.group.offsets.interval.seconds = 7
                offset-syncs.topic.location = target
                replication.factor = 1
                tasks.max = 4
                replication.policy.separator = _
                replication.policy.internal.topic.separator.enabled = false
                B.exactly.once.source.support = enabled
                B.offset.flush.interval.ms = 250
                offset.storage.replication.factor = 1
                """)
        #expect(configuration.flows.map(\.name) == ["A->B"])
        let flow = configuration.flows[0]
        #expect(flow.refreshTopicsInterval == 5 && flow.syncTopicACLsInterval == nil && flow.syncGroupOffsetsInterval == 7)
        #expect(flow.offsetSyncsLocation == .target && flow.offsetSyncsTopic == "mm2-offset-syncs.A.internal")
        #expect(flow.replicationFactor == 1 && flow.workers == 4 && flow.positionsReplicationFactor == 1 && flow.positionsInterval == 250)
        #expect(flow.policy.remoteTopic("t") == "A_t" && flow.checkpointsTopic == "A.checkpoints.internal")
        #expect(flow.isExactlyOnce && flow.sourceConsumer["isolation.level"] == "read_committed")
    }

    @Test("What is wrong is said with its key, its value and what to write")
    func mistakes() {
        let cases: [(String, key: String, words: [String])] = [
            ("A->B.enabled = yes", "A->B.enabled", ["'yes'", "true", "false"]),
            ("refresh.topics.interval.seconds = soon", "refresh.topics.interval.seconds", ["'soon'", "600"]),
            ("topics = a(b", "topics", ["'a(b'", "regular expressions"]),
            ("A->B.topics.exclude = (?=x)y", "A->B.topics.exclude", ["look-ahead"]),
            ("A->C.enabled = true", "A->C.enabled", ["A, B"]),
            ("offset-syncs.topic.location = both", "offset-syncs.topic.location", ["source, target"]),
            (
                "replication.policy.class = com.example.Policy", "replication.policy.class",
                ["DefaultReplicationPolicy", "IdentityReplicationPolicy"]
            ),
            ("topic.filter.class = com.example.Filter", "topic.filter.class", ["topics.exclude"]),
            ("topics.blacklist = secret.*", "topics.blacklist", ["topics.exclude"]),
            ("B.sasl.jaas.config = ${file:/x:y}", "B.sasl.jaas.config", ["providers"]),
            ("replication.policy.separator = /", "replication.policy.separator", ["'/'"]),
            ("tasks.max = 0", "tasks.max", ["'0'"]),
            ("B.exactly.once.source.support = maybe", "B.exactly.once.source.support", ["enabled"]),
        ]
        for (line, key, words) in cases {
            let errors = Self.errors(Self.base + "\n" + line)
            #expect(errors.map(\.key) == [key], "\(line): \(errors)")
            for word in words { #expect(errors.first?.message.contains(word) == true, "\(line): \(errors)") }
            #expect(errors.first?.line == 5, "\(line)")
        }
        #expect(Self.errors("clusters = A").first?.key == "clusters")
        #expect(Self.errors(Self.base.replacing("B.bootstrap.servers = b1:9092", with: "")).map(\.key) == ["B.bootstrap.servers"])
        #expect(Self.errors(Self.base.replacing("true", with: "false")).first?.message.contains("A->B.enabled = true") == true)
        let both = Self.base + "\nB.exactly.once.source.support = enabled\nA.consumer.isolation.level = read_uncommitted"
        #expect(Self.errors(both).first?.message.contains("read_committed") == true)
    }

    @Test("Keys that have no effect are warned about, once each")
    func warnings() throws {
        let configuration = try Self.read(
            Self.base + """

                inter.worker.key.ttl.ms = 1000
                refresh.topic.interval.seconds = 5
                config.storage.replication.factor = 1
                A.consumer.no.such.thing = 1
                producer.acks = all
                B.producer.linger.ms = 4
                """)
        #expect(
            configuration.warnings.map(\.key) == [
                "inter.worker.key.ttl.ms", "refresh.topic.interval.seconds", "config.storage.replication.factor",
                "A.consumer.no.such.thing",
            ])
        #expect(configuration.warnings[1].message.contains("refresh.topics.interval.seconds"))
    }

    @Test("--clusters leaves only flows to them")
    func targets() throws {
        let configuration = try Self.read(Self.base, targets: ["B"])
        #expect(configuration.flows.map(\.name) == ["A->B"])
        #expect(throws: MirrorMistakes.self) { try Self.read(Self.base, targets: ["Z"]) }
    }
}
