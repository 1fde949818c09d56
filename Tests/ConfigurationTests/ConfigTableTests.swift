// The tables of keys against Kafka's facts, and the questions asked of them.
import Testing

@testable import ConfigDefinitions

@Suite struct ConfigTableTests {
    /// The facts carry Java's enum names and where a JVM fills in; neither is what Kafka reports.
    private func comparable(_ text: String) -> String {
        text.lowercased().replacing(" (jvm)", with: "").replacing("e+308", with: "e308")
    }

    private func check(_ table: ConfigTable, _ name: String, _ synonymColumn: String?) throws {
        guard let factsFolder else { return }
        let facts = try rows(name, in: factsFolder)
        #expect(Set(table.names) == Set(facts.compactMap { $0["key"] }))
        for fact in facts {
            let key = try #require(fact["key"])
            let definition = try #require(table[key])
            #expect(definition.type.name == fact["type"], "\(key)")
            let expected = try #require(fact["default"])
            if expected == "(required)" {
                #expect(definition.isRequired && definition.defaultValue == nil, "\(key)")
            } else if expected == "null" {
                #expect(definition.defaultValue == nil && !definition.isRequired, "\(key)")
            } else {
                #expect(definition.defaultText.map(comparable) == comparable(expected), "\(key)")
            }
            #expect(definition.importance.rawValue == fact["importance"], "\(key)")
            #expect(definition.isInternal == (fact["internal"] == "internal"), "\(key)")
            if let mode = fact["updateMode"] { #expect(definition.updateMode.rawValue == mode, "\(key)") }
            if let synonymColumn { #expect(definition.synonym ?? "" == fact[synonymColumn] ?? "", "\(key)") }
        }
    }

    @Test(.enabled(if: factsFolder != nil)) func everyBrokerKeyIsKnown() throws {
        try check(.broker, "broker-configs.tsv", "topicSynonym")
    }

    @Test(.enabled(if: factsFolder != nil)) func everyTopicKeyIsKnown() throws {
        try check(.topic, "topic-configs.tsv", "brokerSynonym")
    }

    @Test(.enabled(if: factsFolder != nil)) func everyGroupKeyIsKnown() throws {
        try check(.group, "group-configs.tsv", nil)
    }

    @Test func tablesHaveTheirSize() {
        #expect(ConfigTable.broker.definitions.count == 378)
        #expect(ConfigTable.topic.definitions.count == 37)
        #expect(ConfigTable.group.definitions.count == 27)
    }

    @Test func everyDefaultKeepsItsOwnRule() throws {
        for table in [ConfigTable.broker, .dynamicBroker, .topic, .group, .clientMetrics, .martlet] {
            for definition in table.definitions {
                guard let value = definition.defaultValue else { continue }
                #expect(try definition.parse(value.text) == value, "\(definition.name)")
            }
        }
    }

    @Test func synonymsPointAtKeysThatExistAndBack() throws {
        for definition in ConfigTable.topic.definitions {
            guard let synonym = definition.synonym else { continue }
            let broker = try #require(ConfigTable.broker[synonym])
            #expect(broker.synonym == definition.name)
            #expect(broker.isDynamic)
        }
        for definition in ConfigTable.group.definitions {
            if let synonym = definition.synonym { #expect(ConfigTable.broker[synonym] != nil, "\(synonym)") }
        }
    }

    @Test func everyKeyWithoutEffectSaysWhy() {
        for definition in ConfigTable.broker.definitions {
            guard let reason = definition.support.reason else { continue }
            #expect(!reason.isEmpty && !reason.hasSuffix("."), "\(definition.name)")
        }
    }

    @Test func supportedKeysAreDocumented() {
        for table in [ConfigTable.broker, .topic, .martlet] {
            for definition in table.definitions where definition.support == .supported {
                #expect(definition.documentation.hasSuffix("."), "\(definition.name) has no sentence")
            }
        }
        #expect(ConfigTable.broker.definitions.count { !$0.documentation.isEmpty } >= 120)
    }

    @Test(arguments: [
        ("log.dir", "log.dir"), ("log.dirss", "log.dirs"), ("log_dirs", "log.dirs"), ("num.partition", "num.partitions"),
        ("auto.create.topic.enable", "auto.create.topics.enable"), ("log.retention.huors", "log.retention.hours"),
        ("advertised.listener", "advertised.listeners"), ("min.isr.replicas", nil), ("my.plugin.key", nil), ("x", nil), ("", nil),
        ("Node.Id", "node.id"), ("offset.topic.replication.factor", "offsets.topic.replication.factor"),
    ])
    func nearestKeys(_ key: String, _ expected: String?) {
        #expect(ConfigTable.broker.nearest(to: key) == expected)
    }

    @Test func editDistanceCountsEdits() {
        #expect(EditDistance.between("", "", limit: 0) == 0)
        #expect(EditDistance.between("abc", "abc", limit: 3) == 0)
        #expect(EditDistance.between("abc", "acb", limit: 3) == 1)
        #expect(EditDistance.between("abc", "abcd", limit: 3) == 1)
        #expect(EditDistance.between("kitten", "sitting", limit: 3) == 3)
        #expect(EditDistance.between("kitten", "sitting", limit: 2) == nil)
        #expect(EditDistance.between("abc", "", limit: 3) == 3)
        #expect(EditDistance.between("abc", "abc", limit: -1) == nil)
    }
}
