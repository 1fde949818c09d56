import Collections
import Primitives
import Testing

@testable import Linking

struct LinkCoordinatorTests {
    private static let id = KafkaUUID.random()

    private static func link(_ name: String = "dr", _ settings: OrderedDictionary<String, String> = [:]) -> LinkDefinition {
        var configuration: OrderedDictionary<String, String> = ["bootstrap.servers": "a:1"]
        configuration.merge(settings) { $1 }
        return LinkDefinition(name: name, id: id, configuration: configuration, sourceClusterID: "source", createdAt: 1)
    }

    private static func mirror(_ name: String, _ state: MirrorState = .active) -> MirrorTopic {
        MirrorTopic(name: name, topicID: id, link: "dr", sourceName: name, sourceID: id, state: state, since: 1)
    }

    /// A coordinator with a link and some mirrors.
    private func coordinator(_ mirrors: [MirrorTopic] = []) throws -> LinkCoordinator {
        var coordinator = LinkCoordinator()
        for record in try coordinator.createLink(Self.link()) { coordinator.replay(record) }
        for mirror in mirrors {
            for record in try coordinator.addMirror(mirror) { coordinator.replay(record) }
        }
        return coordinator
    }

    private func refusal(_ body: () throws(LinkRefusal) -> Void) -> LinkRefusal? {
        do throws(LinkRefusal) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    @Test func aLinkIsMadeOnce() throws {
        let coordinator = try coordinator()
        #expect(refusal { () throws(LinkRefusal) in _ = try coordinator.createLink(Self.link()) }?.kind == .exists)
        #expect(refusal { () throws(LinkRefusal) in _ = try coordinator.createLink(Self.link("a b")) }?.kind == .invalid)
        #expect(refusal { () throws(LinkRefusal) in _ = try coordinator.createLink(Self.link("x", ["no.such": "1"])) }?.kind == .invalid)
    }

    @Test func whatIsFixedStaysAndTheRestChanges() throws {
        var coordinator = try coordinator()
        let change: OrderedDictionary<String, String> = ["mirror.gap.policy": "skip"]
        for record in try coordinator.alterLink("dr", set: change, remove: []) { coordinator.replay(record) }
        #expect(coordinator.image.links["dr"]?.configuration["mirror.gap.policy"] == "skip")
        for record in try coordinator.alterLink("dr", set: [:], remove: ["mirror.gap.policy"]) { coordinator.replay(record) }
        #expect(coordinator.image.links["dr"]?.configuration["mirror.gap.policy"] == nil)
        let now = coordinator
        #expect(
            refusal { () throws(LinkRefusal) in _ = try now.alterLink("dr", set: ["cluster.link.prefix": "x"], remove: []) }?.kind
                == .invalid)
        #expect(
            refusal { () throws(LinkRefusal) in _ = try now.alterLink("dr", set: [:], remove: ["bootstrap.servers"]) }?.kind == .invalid)
    }

    @Test func aLinkWithMirrorsIsDeletedByForceOnly() throws {
        var coordinator = try coordinator([Self.mirror("t")])
        let now = coordinator
        #expect(refusal { () throws(LinkRefusal) in _ = try now.deleteLink("dr", force: false) }?.kind == .wrongState)
        for record in try coordinator.deleteLink("dr", force: true) { coordinator.replay(record) }
        #expect(coordinator.image.isEmpty)
    }

    @Test(arguments: MirrorVerb.allCases, MirrorState.allCases)
    func everyVerbIsSafeToRepeat(_ verb: MirrorVerb, _ state: MirrorState) throws {
        var coordinator = try coordinator([Self.mirror("t", state)])
        for round in 0..<2 {
            let plan = try coordinator.plan(verb, link: "dr", topics: ["t"])
            let records = coordinator.records(verb, plan, reason: "", now: 5)
            for record in records { coordinator.replay(record) }
            if plan[0].refusal != nil {
                #expect(records.isEmpty)
                break
            }
            // Once in the state that the verb leads to, nothing more is recorded.
            if round == 1 { #expect(records.isEmpty, "\(verb) of \(state)") }
        }
        let after = try #require(coordinator.image.mirrors["t"])
        // Nobody may write before what the source left open is ended.
        if state != .stopped { #expect(!after.state.isWritable) }
    }

    @Test func aStateIsLeftOnlyFromWhereItFollows() throws {
        let coordinator = try coordinator([Self.mirror("t", .paused)])
        func records(_ mirror: MirrorTopic) -> [LinkRecord] {
            coordinator.records(of: [MirrorStep(mirror, .enter(.failed, reason: "x"))], now: 2)
        }
        #expect(records(Self.mirror("t", .active)).isEmpty)
        #expect(records(Self.mirror("gone", .paused)).isEmpty)
        // Paused again since: what followed from the first time does not follow from the second.
        #expect(records(Self.mirror("t", .paused).entering(.paused, at: 9)).isEmpty)
        #expect(records(Self.mirror("t", .paused)).count == 1)
    }

    /// Brokers that have not heard of it may take writes: it is a mirror only when all of them know, whatever comes between.
    @Test(arguments: [MirrorState.failed, .paused])
    func whatFailsWhileItIsRestoredIsRestoredAgain(_ state: MirrorState) throws {
        var coordinator = try coordinator([Self.mirror("a", .pendingRestore), Self.mirror("b")])
        for name in ["a", "b"] {
            let entered = try #require(coordinator.image.mirrors[name]).entering(state, at: 2)
            let (key, value) = LinkRecord.mirror(entered).encoded
            coordinator.replay(try #require(LinkRecord(key: key, value: value)))
        }
        let resumed = coordinator.records(.resume, try coordinator.plan(.resume, link: "dr", topics: nil), reason: "", now: 3)
        for record in resumed { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["a"]?.state == .pendingRestore && coordinator.image.mirrors["b"]?.state == .active)
        let again = coordinator.records(.resume, try coordinator.plan(.resume, link: "dr", topics: nil), reason: "", now: 4)
        #expect(again.isEmpty)
        coordinator.replay(.mirror(try #require(coordinator.image.mirrors["a"]).entering(.active, at: 5).entering(.failed, at: 6)))
        #expect(coordinator.image.mirrors["a"]?.isRestoring == false)
    }

    @Test func restoringTakesAFenceAway() throws {
        var coordinator = try coordinator()
        for record in coordinator.fence(["t"], by: "other", now: 1) { coordinator.replay(record) }
        #expect(coordinator.fence(["t"], by: "other", now: 2).isEmpty)
        for record in try coordinator.addMirror(Self.mirror("t", .pendingRestore)) { coordinator.replay(record) }
        #expect(coordinator.image.fences.isEmpty)
        #expect(coordinator.image.mirrors["t"]?.state == .pendingRestore)
    }

    @Test func recordsAndImagesComeBackAsTheyWere() throws {
        var coordinator = try coordinator([Self.mirror("t"), Self.mirror("u", .failed)])
        for record in coordinator.fence(["f"], by: "o", now: 7) { coordinator.replay(record) }
        for record in coordinator.image.records {
            let (key, value) = record.encoded
            let text = try (JSONValue(parsing: key.description), value.map { try JSONValue(parsing: $0.description) })
            #expect(LinkRecord(key: text.0, value: text.1) == record)
        }
        #expect(LinkImage(try JSONValue(parsing: coordinator.image.json.description)) == coordinator.image)
        #expect(LinkRecord(key: ["type": "link", "name": "x"], value: nil) == .linkRemoved("x"))
        #expect(LinkRecord(key: ["type": "of a later version", "name": "x"], value: .object([])) == nil)
        #expect(LinkRecord(key: ["type": "mirror", "name": "x"], value: ["state": "OF_A_LATER_VERSION", "link": "l"]) == nil)
    }

    @Test func secretsAreNotShown() {
        let link = Self.link(
            "dr", ["sasl.jaas.config": "x", "ssl.keystore.password": "x", "ssl.truststore.location": "/t", "security.protocol": "SSL"])
        #expect(Array(link.readableConfiguration.keys) == ["bootstrap.servers", "ssl.truststore.location", "security.protocol"])
    }
}

struct LinkSettingsTests {
    @Test func everySettingOfTheTableIsRead() throws {
        for setting in LinkSettings.table {
            guard let value = setting.defaultValue else { continue }
            _ = try LinkSettings(["bootstrap.servers": "a:1", setting.key: value])
        }
    }

    @Test(arguments: [
        ("topic.config.sync.ms", "0", "from 500"), ("topic.config.sync.ms", "soon", "whole number"),
        ("consumer.offset.sync.enable", "yes", "true or false"), ("mirror.gap.policy", "hide", "fail or skip"),
        ("bootstrap.server", "a:1", "no setting of a link"), ("auto.create.mirror.topics.enable", "true", "say which topics"),
    ])
    func mistakesNameKeyAndRemedy(_ key: String, _ value: String, _ word: String) {
        do throws(LinkSettingError) {
            _ = try LinkSettings(["bootstrap.servers": "a:1", key: value])
            Issue.record("\(key)=\(value) was taken")
        } catch {
            #expect(error.description.contains(word) && error.key.hasPrefix(key.prefix(16)), "\(error)")
        }
    }
}
