import Collections
import Primitives
import Testing

@testable import Linking

/// Modes of links, reversal, and the records of synchronous mirrors.
struct LinkModeTests {
    private static let id = KafkaUUID.random()

    private func refusal(_ configuration: OrderedDictionary<String, String>) -> LinkSettingError? {
        do throws(LinkSettingError) {
            _ = try LinkSettings(configuration)
            return nil
        } catch {
            return error
        }
    }

    @Test func modesHaveToFitTogether() throws {
        #expect(refusal([:])?.key == "bootstrap.servers")
        #expect(refusal(["connection.mode": "INBOUND"]) == nil)
        #expect(refusal(["connection.mode": "INBOUND", "bootstrap.servers": "a:1"])?.key == "bootstrap.servers")
        #expect(refusal(["connection.mode": "INBOUND", "security.protocol": "SSL"])?.key == "security.protocol")
        #expect(refusal(["link.mode": "SOURCE", "connection.mode": "INBOUND"])?.key == "connection.mode")
        #expect(refusal(["link.mode": "SOURCE", "bootstrap.servers": "a:1", "consumer.offset.sync.enable": "true"])?.key == "link.mode")
        #expect(refusal(["link.mode": "sideways", "bootstrap.servers": "a:1"])?.key == "link.mode")
        func settings(_ mode: String, _ connection: String) throws -> LinkSettings {
            var configuration: OrderedDictionary<String, String> = ["link.mode": mode, "connection.mode": connection]
            if connection == "OUTBOUND" { configuration["bootstrap.servers"] = "a:1" }
            return try LinkSettings(configuration)
        }
        #expect(try settings("SOURCE", "OUTBOUND").offersConnections && !settings("SOURCE", "OUTBOUND").mirrors)
        #expect(try settings("BIDIRECTIONAL", "OUTBOUND").offersConnections && settings("BIDIRECTIONAL", "OUTBOUND").mirrors)
        #expect(try !settings("BIDIRECTIONAL", "INBOUND").offersConnections && !settings("DESTINATION", "OUTBOUND").offersConnections)
    }

    private func coordinator(_ settings: OrderedDictionary<String, String>, _ state: MirrorState = .active) throws -> LinkCoordinator {
        var coordinator = LinkCoordinator()
        let link = LinkDefinition(name: "l", id: Self.id, configuration: settings, sourceClusterID: "", createdAt: 1)
        for record in try coordinator.createLink(link) { coordinator.replay(record) }
        let mirror = MirrorTopic(name: "t", topicID: Self.id, link: "l", sourceName: "t", sourceID: Self.id, state: state, since: 1)
        for record in try coordinator.addMirror(mirror) { coordinator.replay(record) }
        return coordinator
    }

    private static let both: OrderedDictionary<String, String> = ["link.mode": "BIDIRECTIONAL", "bootstrap.servers": "a:1"]

    private func apply(_ verb: MirrorVerb, _ coordinator: inout LinkCoordinator) throws -> [String?] {
        let plan = try coordinator.plan(verb, link: "l", topics: nil)
        for record in coordinator.records(verb, plan, reason: "", now: 2) { coordinator.replay(record) }
        return plan.map(\.refusal)
    }

    @Test func aReversalIsRememberedUntilTheOtherSideFollows() throws {
        var coordinator = try coordinator(Self.both)
        #expect(coordinator.problem(withReversing: "l") == nil)
        #expect(try apply(.reverse, &coordinator) == [nil])
        #expect(coordinator.image.mirrors["t"]?.state == .pendingStopped && coordinator.image.mirrors["t"]?.reversal == .asked)
        #expect(coordinator.reversed("t", problem: nil).isEmpty, "not before it is writable")
        coordinator.replay(.mirror(try #require(coordinator.image.mirrors["t"]).entering(.stopped, at: 3)))
        for record in coordinator.reversed("t", problem: "gone") { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["t"]?.reason == "gone" && coordinator.reversed("t", problem: "gone").isEmpty)
        // As another coordinator would have it.
        let again = LinkImage(coordinator.image.json)
        #expect(again == coordinator.image && again.mirrors["t"]?.reversal == .asked)
        for record in coordinator.reversed("t", problem: nil) { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["t"]?.reversal == .done && coordinator.reversed("t", problem: nil).isEmpty)
        #expect(try apply(.reverse, &coordinator) == [nil])
        #expect(coordinator.image.mirrors["t"]?.reversal == .done)
    }

    @Test func aPromotionOnItsWayCanBecomeAReversalAndAFailoverEndsIt() throws {
        var coordinator = try coordinator(Self.both)
        _ = try apply(.promote, &coordinator)
        #expect(coordinator.image.mirrors["t"]?.reversal == MirrorReversal.none)
        _ = try apply(.reverse, &coordinator)
        #expect(coordinator.image.mirrors["t"]?.reversal == .asked)
        _ = try apply(.failover, &coordinator)
        #expect(coordinator.image.mirrors["t"]?.state == .stopping && coordinator.image.mirrors["t"]?.reversal == MirrorReversal.none)
        #expect(try apply(.reverse, &coordinator)[0]?.contains("restore") == true)
    }

    @Test func theOtherSideFollowsWhatIsFencedAndSaysSoTwice() throws {
        var coordinator = try coordinator(Self.both)
        let back = MirrorTopic(
            name: "u", topicID: Self.id, link: "l", sourceName: "u", sourceID: Self.id, state: .pendingRestore, since: 1)
        #expect(throws: LinkRefusal.self) { try coordinator.follow(reversed: back) }
        for record in coordinator.fence(["u"], by: "them", now: 1) { coordinator.replay(record) }
        for record in try coordinator.follow(reversed: back) { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["u"]?.state == .pendingRestore && coordinator.image.fences.isEmpty)
        #expect(try coordinator.follow(reversed: back).isEmpty)
    }

    @Test func aReversedMirrorMayBePaused() throws {
        var coordinator = try coordinator(Self.both)
        #expect(try apply(.reverseAndPause, &coordinator) == [nil])
        #expect(coordinator.image.mirrors["t"]?.state == .pendingStopped && coordinator.image.mirrors["t"]?.reversal == .askedPaused)
        #expect(LinkImage(coordinator.image.json) == coordinator.image)
        coordinator.replay(.mirror(try #require(coordinator.image.mirrors["t"]).entering(.stopped, at: 3)))
        for record in coordinator.reversed("t", problem: nil) { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["t"]?.reversal == .done)
        // The other side.
        let back = MirrorTopic(
            name: "u", topicID: Self.id, link: "l", sourceName: "u", sourceID: Self.id, state: .pendingRestore, since: 1)
        for record in coordinator.fence(["u"], by: "them", now: 1) { coordinator.replay(record) }
        for record in try coordinator.follow(reversed: back, isPaused: true) { coordinator.replay(record) }
        #expect(coordinator.image.mirrors["u"]?.state == .paused && coordinator.image.fences.isEmpty)
        #expect(coordinator.image.access(toTopic: "u", id: Self.id) != .open, "nobody writes to what is paused")
        #expect(try coordinator.follow(reversed: back, isPaused: true).isEmpty)
    }

    @Test func onlyBidirectionalLinksAreReversed() throws {
        #expect(try coordinator(["bootstrap.servers": "a:1"]).problem(withReversing: "l")?.contains("BIDIRECTIONAL") == true)
        let prefixed = Self.both.merging(["cluster.link.prefix": "x."]) { $1 }
        #expect(try coordinator(prefixed).problem(withReversing: "l")?.contains("prefix") == true)
        #expect(throws: LinkRefusal.self) { try coordinator(["link.mode": "SOURCE", "bootstrap.servers": "a:1"]) }
    }

    @Test func synchronousTopicsAreRecordedByLink() throws {
        var coordinator = LinkCoordinator()
        func topic(_ name: String, _ timeout: Int64 = 1) -> SynchronousTopic {
            SynchronousTopic(topic: name, topicID: Self.id, cluster: "c", link: "l", timeoutMilliseconds: timeout, since: 1)
        }
        func apply(_ wanted: Set<String>, _ ready: [SynchronousTopic], link: String = "l") -> Int {
            let records = coordinator.synchronize(wanted, ready: ready, cluster: "c", link: link)
            for record in records { coordinator.replay(record) }
            return records.count
        }
        #expect(apply(["a", "b"], [topic("a")]) == 1)
        #expect(apply(["a", "b"], []) == 0, "a mirror that fell behind is waited for still")
        #expect(apply(["a", "b"], [topic("a"), topic("b")]) == 1)
        #expect(apply(["a", "b"], [topic("b", 5)]) == 1)
        #expect(apply([], [], link: "other") == 0)
        #expect(LinkImage(coordinator.image.json) == coordinator.image && coordinator.image.synchronous.count == 2)
        #expect(apply(["b"], []) == 1)
        #expect(coordinator.image.synchronous.values.map(\.topic) == ["b"])
        for record in coordinator.endSynchronous(["b"]) { coordinator.replay(record) }
        #expect(coordinator.image.isEmpty)
    }
}
