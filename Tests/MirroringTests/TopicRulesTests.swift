// Topics that were added and blocked at run time, and what cannot be said of them.
import NIOCore
import Testing

@testable import Mirroring

@Suite("Topics at run time")
struct TopicRulesTests {
    private static func rules(_ said: [(String, TopicRule?)]) -> TopicRules {
        var rules = TopicRules()
        for (topic, rule) in said { rules.apply(key: ByteBuffer(string: topic), value: rule.map { TopicRules.value($0, time: 5) }) }
        return rules
    }

    private static func flow() throws -> MirrorFlow {
        try #require(try MirrorConfigurationTests.read(MirrorConfigurationTests.base + "\nA->B.topics = orders, B.x").flows.first)
    }

    @Test("What was said last counts, and goes before the file; internal topics and loops never do")
    func replicates() throws {
        let flow = try Self.flow()
        let rules = Self.rules([
            ("extra", .added), ("gone", .added), ("gone", nil), ("orders", .blocked), ("__consumer_offsets", .added), ("B.y", .added),
        ])
        #expect(flow.replicates("orders") && !flow.replicates("orders", rules))
        #expect(!flow.replicates("extra") && flow.replicates("extra", rules) && !flow.replicates("gone", rules))
        #expect(!flow.replicates("__consumer_offsets", rules) && !flow.replicates("B.y", rules) && !flow.replicates("B.x"))
        #expect(flow.replicates("heartbeats", rules) && !flow.replicates("heartbeats", Self.rules([("heartbeats", .blocked)])))
    }

    @Test("What cannot be said is refused with the reason")
    func objections() throws {
        let flow = try Self.flow()
        let rules = Self.rules([("extra", .added), ("orders", .blocked)])
        let cases: [(TopicChange, String, word: String?)] = [
            (.add, "new", nil), (.block, "new", nil), (.remove, "extra", nil), (.unblock, "orders", nil),
            (.add, "no name", "letters"), (.add, "", "letters"), (.add, "..", "letters"),
            (.block, String(repeating: "x", count: 250), "249"),
            (.add, "__consumer_offsets", "internal"), (.add, "B.orders", "comes from B"), (.remove, "new", "was not added"),
            (.unblock, "extra", "not blocked"),
        ]
        for (change, topic, word) in cases {
            let objection = flow.objection(to: change, topic, rules)
            #expect((objection == nil) == (word == nil), "\(change) \(topic): \(objection ?? "")")
            if let word { #expect(objection?.contains(word) == true) }
        }
        #expect(flow.objection(to: .remove, "orders", TopicRules())?.contains("block it") == true)
    }

    @Test("Records that are none are passed over, and no more are kept than the bound")
    func bounded() throws {
        var rules = TopicRules()
        for value in ["", "{}", "{\"rule\":\"x\"}", "["] { rules.apply(key: ByteBuffer(string: "t"), value: ByteBuffer(string: value)) }
        rules.apply(key: nil, value: nil)
        rules.apply(key: ByteBuffer(string: "no name"), value: TopicRules.value(.added, time: 0))
        #expect(rules == TopicRules())
        for number in 0...TopicRules.maximumCount {
            rules.apply(key: ByteBuffer(string: "t\(number)"), value: TopicRules.value(.added, time: 0))
        }
        #expect(rules.rules.count == TopicRules.maximumCount && rules["t0"] == .added && rules["t\(TopicRules.maximumCount)"] == nil)
        #expect(try Self.flow().objection(to: .add, "new", rules)?.contains("10000") == true)
    }
}
