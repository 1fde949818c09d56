// MirrorMaker 2's settings in a link's words, and what is said of those that a link cannot have.
import Collections
import Mirroring
import Primitives
import Testing

@testable import Linking

struct MirrorMakerTranslationTests {
    static func entries(_ text: String) -> [MirrorEntry] {
        text.split(separator: "\n").enumerated().compactMap { index, line in
            let parts = line.split(separator: "=", maxSplits: 1).map { part in
                String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
            }
            return parts.count == 2 ? MirrorEntry(key: parts[0], value: parts[1], line: index + 1) : nil
        }
    }

    static func translate(_ text: String, flow: String? = nil) throws -> MirrorMakerTranslation {
        try MirrorMakerTranslation(entries(text), flow: flow)
    }

    static let base = """
        clusters = A, B
        A.bootstrap.servers = a1:9092, a2:9092
        B.bootstrap.servers = b1:9092
        A->B.enabled = true

        """

    private func setting(_ key: String, _ found: MirrorMakerTranslation) throws -> TranslatedSetting {
        try #require(found.settings.first { $0.entry.key == key }, "\(key) among \(found.settings.map(\.entry.key))")
    }

    @Test func aFileMeansWhatMirrorMakerMakesOfIt() throws {
        let found = try Self.translate(Self.base)
        #expect(
            found.settings.filter { !$0.isDefault }.map(\.entry.key)
                == ["A.bootstrap.servers", "B.bootstrap.servers", "A->B.enabled"])
        #expect(try setting("B.bootstrap.servers", found).remark.contains("-b"))
        let settings = try LinkSettings(found.configuration)
        #expect(settings.bootstrapServers == "a1:9092, a2:9092" && settings.topicPrefix == "A.")
        #expect(!settings.syncsOffsets && settings.synchronization.accessRules.isEnabled && settings.autoCreatesMirrors)
        #expect(!settings.synchronization.users.isEnabled && settings.synchronization.replicationFactor == -1)
        for topic in ["orders", "C.orders", "BB.orders", "mm3"] { #expect(settings.autoCreateFilter.admits(topic), "\(topic)") }
        // As MirrorFlow.replicates has it.
        for topic in [
            "__consumer_offsets", "mm2-offsets.B.internal", "mm2-offset-syncs.B.internal", "x.replica", "B.orders", "A.orders",
            "C.B.orders",
            "B.checkpoints.internal",
        ] {
            #expect(!settings.autoCreateFilter.admits(topic), "\(topic)")
        }
        for setting in found.settings where setting.isDefault { #expect(setting.entry.line == 0) }
    }

    @Test func everySettingBecomesALinks() throws {
        let found = try Self.translate(
            Self.base + """
                A->B.topics = orders, pay\\..*
                topics.exclude = .*-test
                groups = billing, team-.*
                A->B.sync.group.offsets.enabled = true
                A->B.sync.group.offsets.interval.seconds = 7
                refresh.topics.interval.seconds = 30
                sync.topic.configs.interval.seconds = 20
                config.properties.exclude = local\\..*, retention.ms
                sync.topic.acls.interval.seconds = 9
                replication.factor = 3
                replication.policy.class = org.apache.kafka.connect.mirror.IdentityReplicationPolicy
                A.security.protocol = SASL_SSL
                A.sasl.jaas.config = secret
                A.consumer.fetch.max.bytes = 4000000
                acl.sync.enable = false
                """)
        #expect(
            found.configuration.filter { !$0.key.hasSuffix("filters") } == [
                "bootstrap.servers": "a1:9092, a2:9092", "auto.create.mirror.topics.enable": "true", "consumer.offset.sync.enable": "true",
                "consumer.offset.sync.ms": "7000", "topic.config.sync.ms": "20000",
                "topic.config.sync.exclude": "local\\..*, retention.ms", "acl.sync.ms": "9000", "mirror.replication.factor": "3",
                "security.protocol": "SASL_SSL", "sasl.jaas.config": "secret", "replica.fetch.response.max.bytes": "4000000",
                // A link's own goes before.
                "acl.sync.enable": "false",
            ])
        let settings = try LinkSettings(found.configuration)
        #expect(
            settings.topicPrefix.isEmpty && settings.autoCreateFilter.admits("pay.eu")
                && settings.autoCreateFilter.admits("B.pay.eu") == false)
        #expect(!settings.autoCreateFilter.admits("orders-test") && !settings.autoCreateFilter.admits("payeu"))
        #expect(settings.groupFilter.admits("team-1") && !settings.groupFilter.admits("other"))
        #expect(settings.excludesTopicConfig("local.retention.ms") && !settings.excludesTopicConfig("min.insync.replicas"))
        let rule = AccessRule(
            resourceType: "TOPIC", patternType: "LITERAL", resourceName: "pay.eu", principal: "User:a", host: "*", operation: "READ",
            permission: "ALLOW")
        var other = rule
        other.resourceName = "other"
        #expect(settings.synchronization.accessRuleFilter.admits(rule) && !settings.synchronization.accessRuleFilter.admits(other))
        #expect(found.settings.allSatisfy { !$0.isWarning } && found.warnings.isEmpty)
    }

    @Test func whatALinkHasNoNeedOfIsSaidToBeSo() throws {
        let found = try Self.translate(
            Self.base + """
                exactly.once.source.support = enabled
                offset-syncs.topic.replication.factor = 1
                checkpoints.topic.replication.factor = 1
                heartbeats.topic.replication.factor = 1
                offset.storage.replication.factor = 1
                emit.heartbeats.interval.seconds = 5
                tasks.max = 4
                A->B.producer.linger.ms = 5
                sync.topic.configs.enabled = true
                """)
        for setting in found.settings.filter({ $0.entry.line > 4 }) {
            #expect(setting.settings.isEmpty && !setting.remark.isEmpty && !setting.isWarning, "\(setting)")
            #expect(setting.remark != "a link has no such setting", "\(setting)")
        }
        #expect(found.settings.count { $0.entry.line > 4 } == 9)
    }

    @Test(arguments: [
        ("A.consumer.auto.offset.reset = latest", "begin at the end"), ("refresh.topics.enabled = false", "martlet link mirror"),
        ("use.defaults.from = source", "martlet mirror run"), ("B.producer.compression.type = zstd", "martlet mirror run"),
    ])
    func whatALinkDoesOtherwiseIsWarnedAbout(_ line: String, _ words: String) throws {
        let found = try Self.translate(Self.base + line)
        let warning = try #require(found.settings.first { $0.isWarning })
        #expect(warning.entry.line == 5 && warning.remark.contains(words), "\(warning)")
    }

    @Test func theSameNamesBothWaysAreWarnedAbout() throws {
        let text = Self.base + "B->A.enabled = true\nreplication.policy.class = IdentityReplicationPolicy"
        let found = try Self.translate(text, flow: "B->A")
        #expect(found.configuration["bootstrap.servers"] == "b1:9092" && found.configuration["cluster.link.prefix"] == nil)
        #expect(try setting("replication.policy.class", found).isWarning)
    }

    @Test(arguments: [
        ("A->B.transforms = x\nA->B.transforms.x.drop = value.ssn", "martlet mirror run"),
        ("topic.config.retention.ms = 5", "topic.config.sync.exclude"),
        ("replication.provenance.headers.enable = true", "leave the key out"), ("B->A.enabled = true", "--flow"),
        ("topics = a(?=b)", "look-ahead"), ("A.admin.security.protocol = SSL", "make them the same"),
        ("topics.blacklist = x", "topics.exclude"),
    ])
    func whatALinkCannotDoIsRefused(_ lines: String, _ words: String) {
        let error = #expect(throws: MirrorMistakes.self) { try Self.translate(Self.base + lines) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test func singleSettingsMeanThemselvesAlone() throws {
        let found = try Self.translate(
            """
            bootstrap.servers = a:1
            topics = orders
            link.mode = BIDIRECTIONAL
            """)
        #expect(
            found.configuration.filter { $0.key != "auto.create.mirror.topics.filters" } == [
                "auto.create.mirror.topics.enable": "true", "bootstrap.servers": "a:1", "link.mode": "BIDIRECTIONAL",
            ])
        #expect(found.settings.map(\.entry.key) == ["topics", "topics.exclude"])
        #expect(try LinkSettings(found.configuration).autoCreateFilter.admits("orders"))
        let named = try Self.translate(
            """
            source.cluster.alias = eu
            source.cluster.bootstrap.servers = a:1
            replication.policy.separator = -
            source.consumer.fetch.max.wait.ms = 100
            """)
        #expect(
            Dictionary(named.configuration.elements.map { ($0.key, $0.value) }) { $1 }
                == ["bootstrap.servers": "a:1", "cluster.link.prefix": "eu-", "replica.fetch.wait.max.ms": "100"])
        #expect(named.settings.contains { $0.entry.key == "source.cluster.alias" } && named.warnings.isEmpty, "\(named.warnings)")
    }

    @Test(arguments: [
        ("topics.exclude = x", "topics = .*"), ("groups.exclude = x", "groups = .*"), ("A->B.topics = x", "clusters"),
        ("replication.policy.separator = -", "source.cluster.alias"),
    ])
    func whatIsMissingIsSaid(_ line: String, _ words: String) {
        let error = #expect(throws: MirrorMistakes.self) { try Self.translate(line) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test func aLinksOwnSettingsAreNotMirrorMakers() {
        #expect(!MirrorMakerTranslation.isNeeded(LinkSettings.table.map(\.key) + ["security.protocol", "sasl.jaas.config", "ssl.ca"]))
        for key in ["clusters", "topics", "A->B.topics", "sync.group.offsets.enabled", "consumer.fetch.max.bytes"] {
            #expect(MirrorMakerTranslation.isNeeded([key]), "\(key)")
        }
    }
}
