// The words of `martlet group history`: each way in which a group comes to rebalance leaves the reason that operators are shown.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Reasons of rebalances")
struct RebalanceReasonTests {
    /// What has come to a group's history since it was last asked.
    private struct History {
        let harness: GroupHarness
        private var seen = 0

        init(_ harness: GroupHarness) { self.harness = harness }

        /// Word, whose doing it was, and details.
        mutating func news() -> [String] {
            let reasons = harness.reasons[seen...]
            seen = harness.reasons.count
            return reasons.map { reason in
                [reason.kind.rawValue, reason.clientID, reason.detail].filter { !$0.isEmpty }.joined(separator: ", ")
            }
        }
    }

    private func settle(_ client: inout GroupClient, _ harness: GroupHarness) {
        harness.adopt(&client)
        harness.sync(client)
    }

    @Test("Of a classic group")
    func classicGroups() {
        let harness = GroupHarness()
        var history = History(harness)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        harness.advance(6_000)
        settle(&a, harness)
        #expect(history.news() == ["member joined, a"])
        a.protocols = [("range", "v2")]
        harness.join(&a)
        settle(&a, harness)
        #expect(history.news() == ["subscription changed, a"])
        harness.join(&a)
        settle(&a, harness)
        #expect(history.news() == ["leader joined again, a"])
        #expect(harness.reasons.map(\.epoch) == [1, 2, 3], "each names the generation that it leads to")
        var b = GroupClient("b")
        harness.joinWithID(&b)
        #expect(history.news() == ["member joined, b"])
        // The other one neither joins nor beats.
        harness.advance(11_000)
        #expect(history.news() == ["session timed out, a"])
        harness.adopt(&b)
        for _ in 0..<8 {
            harness.heartbeat(b)
            harness.advance(9_000)
        }
        #expect(history.news() == ["rebalance timed out, b, did not sync"])
        #expect(harness.reasons.allSatisfy { $0.type == .classic && $0.group == GroupHarness.group && $0.clientHost == "/127.0.0.1" })
    }

    @Test("Of a classic group whose members return, leave, or cannot be told their assignment")
    func classicGroupsWithStaticMembers() {
        let harness = GroupHarness()
        var history = History(harness)
        var a = GroupClient("a", instanceID: "one")
        harness.joinWithID(&a)
        harness.advance(6_000)
        harness.adopt(&a)
        #expect(history.news() == ["member joined, a"])
        var returned = GroupClient("a", instanceID: "one")
        harness.join(&returned)
        #expect(history.news() == ["static member returned, a"])
        #expect(harness.reasons.last?.instanceID == "one")
        harness.adopt(&returned)
        harness.writeError = .notEnoughReplicas
        harness.sync(returned)
        harness.writeError = nil
        #expect(history.news() == ["assignment could not be stored"])
        harness.join(&returned)
        harness.adopt(&returned)
        harness.sync(returned)
        harness.leave(returned)
        #expect(history.news() == ["member left, a"])
    }

    @Test("Of a classic group that has become too large for a new limit")
    func loweredLimit() {
        let harness = GroupHarness()
        var clients = [GroupClient("a"), GroupClient("b")]
        for index in clients.indices { harness.joinWithID(&clients[index]) }
        harness.advance(6_000)
        harness.adopt(&clients)
        for client in clients { harness.sync(client) }
        var configuration = GroupCoordinatorConfiguration()
        configuration.maximumGroupSize = 1
        var core = GroupCoordinator(configuration: configuration)
        for (offset, record) in harness.log.enumerated() { core.replay(record, offset: Offset(offset), producer: -1, now: harness.now) }
        let words = core.loaded(now: harness.now).effects.compactMap { effect in
            if case .note(let reason) = effect { reason.kind.rawValue } else { nil }
        }
        #expect(words == ["group is larger than its limit"])
    }

    @Test("Of a consumer group")
    func consumerGroups() {
        let harness = GroupHarness.consumers()
        var history = History(harness)
        var members = [ConsumerMember("a")]
        harness.settle(&members)
        #expect(history.news() == ["member joined, client-a"])
        harness.setTopics({ $0.add("u", partitions: 1) }, changed: ["u"], hasNew: true)
        members[0].topics = ["t", "u"]
        harness.settle(&members)
        #expect(history.news() == ["subscription changed, client-a"])
        members[0].assignor = "range"
        harness.settle(&members)
        #expect(history.news() == ["assignor changed, client-a"])
        harness.setTopics({ $0.add("t", partitions: 8) }, changed: ["t"])
        harness.settle(&members)
        #expect(history.news() == ["topics changed, client-a"])
        #expect(harness.reasons.map(\.epoch) == [1, 2, 3, 4])
        #expect(harness.reasons.allSatisfy { $0.type == .consumer })
    }

    @Test("Of a consumer group whose members are late, or silent")
    func lateConsumers() {
        let harness = GroupHarness.consumers()
        var history = History(harness)
        var a = ConsumerMember("a")
        a.rebalanceTimeout = 20_000
        var b = ConsumerMember("b")
        harness.beat(&a)
        harness.beat(&b)
        #expect(history.news() == ["member joined, client-a", "member joined, client-b"])
        let held = a.owned
        harness.beat(&a)
        for _ in 0..<4 {
            // It was told to give partitions back, beats on, and claims all that it had.
            a.owned = held
            harness.advance(5_000)
            harness.beat(&a)
            harness.beat(&b)
        }
        #expect(history.news() == ["rebalance timed out, client-a"])
        harness.advance(46_000)
        #expect(history.news() == ["session timed out, client-b"])
    }

    @Test("Of a streams group")
    func streamsGroups() {
        let harness = GroupHarness.streams()
        var history = History(harness)
        var threads = [StreamsThread("a")]
        harness.settle(&threads)
        let joined = history.news()
        #expect(joined.first == "member joined, client-a", "\(joined)")
        harness.beat(&threads[0]) { request in
            var endpoint = StreamsGroupHeartbeatRequest.Endpoint()
            endpoint.host = "here"
            endpoint.port = 80
            request.userEndpoint = endpoint
        }
        #expect(history.news() == ["member changed, client-a"])
        var overrides = StreamsGroupOverrides()
        overrides.standbyReplicaCount = 1
        harness.setTopics({ $0.streamsOverrides[GroupHarness.group] = overrides }, changed: [])
        harness.settle(&threads)
        #expect(history.news() == ["settings changed, client-a, num.standby.replicas=1"])
        harness.beat(&threads[0]) { $0.memberEpoch = -1 }
        #expect(history.news() == ["member left, client-a"])
        #expect(harness.reasons.allSatisfy { $0.type == .streams })
    }
}
