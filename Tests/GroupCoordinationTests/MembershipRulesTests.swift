// Who may join, and what those who may not are told.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Membership rules")
struct MembershipRulesTests {
    private func request(_ configure: (inout JoinGroupRequest) -> Void = { _ in }) -> JoinGroupRequest {
        var offered = JoinGroupRequest.JoinGroupRequestProtocol()
        offered.name = "range"
        var request = JoinGroupRequest()
        request.groupId = GroupHarness.group
        request.sessionTimeoutMs = 10_000
        request.rebalanceTimeoutMs = 10_000
        request.protocolType = "consumer"
        request.protocols = [offered]
        configure(&request)
        return request
    }

    private func answer(_ harness: GroupHarness, version: Int16 = 9, _ configure: (inout JoinGroupRequest) -> Void) -> JoinGroupResponse? {
        let token = ReplyToken(rawValue: 99)
        let context = GroupRequestContext(apiVersion: version, clientID: "c", clientHost: "/127.0.0.1")
        let uuid = KafkaUUID(mostSignificantBits: 0x0123_4567_89ab_cdef, leastSignificantBits: 0xfedc_ba98_7654_3210)
        let result = harness.core.join(request(configure), context: context, uuid: uuid, token: token, now: harness.now)
        for case .reply(token, .join(let response)) in result.effects { return response }
        return nil
    }

    @Test("Requests that no group could accept")
    func invalidRequests() {
        let harness = GroupHarness()
        #expect(answer(harness) { $0.groupId = "" }?.errorCode == .invalidGroupId)
        #expect(answer(harness) { $0.sessionTimeoutMs = 5_999 }?.errorCode == .invalidSessionTimeout)
        #expect(answer(harness) { $0.sessionTimeoutMs = 1_800_001 }?.errorCode == .invalidSessionTimeout)
        #expect(answer(harness) { $0.memberId = "unheard-of" }?.errorCode == .unknownMemberId)
        #expect(answer(harness) { $0.protocols = [] }?.errorCode == .inconsistentGroupProtocol)
        #expect(answer(harness) { $0.protocolType = "" }?.errorCode == .inconsistentGroupProtocol)
    }

    @Test("A member id is the client's id and a UUID; before version 4 it comes with the generation")
    func memberID() {
        let harness = GroupHarness()
        let first = answer(harness) { _ in }
        #expect(first?.errorCode == .memberIdRequired)
        #expect(first?.memberId == "c-01234567-89ab-cdef-fedc-ba9876543210")
        var old = GroupClient("old")
        old.apiVersion = 3
        old.protocolType = "consumer"
        harness.join(&old)
        #expect(harness.waiting.count == 1)
        harness.advance(20_000)
        harness.adopt(&old)
        #expect(harness.joined["old"]?.errorCode == ErrorCode.none)
    }

    @Test("An id that is never used holds up the first generation until it expires")
    func unusedReservation() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        harness.joinWithID(&a)
        harness.advance(3_000)
        harness.adopt(&a)
        #expect(a.generation == 1)
        harness.sync(a)
        harness.join(&b)
        harness.join(&a)
        #expect(harness.waiting.count == 1, "b has an id and may come any time")
        harness.advance(10_000)
        harness.adopt(&a)
        #expect(a.generation == 2)
        b.memberID = harness.joined["b"]?.memberId ?? ""
        harness.join(&b)
        #expect(harness.joined["b"]?.errorCode == .unknownMemberId)
    }

    @Test("Members agree on the protocol that most of them prefer and all support")
    func votes() {
        let harness = GroupHarness()
        var clients = [GroupClient("a"), GroupClient("b"), GroupClient("c")]
        clients[0].protocols = [("range", ""), ("sticky", ""), ("own", "")]
        clients[1].protocols = [("sticky", ""), ("range", "")]
        clients[2].protocols = [("other", ""), ("sticky", ""), ("range", "")]
        for index in clients.indices { harness.joinWithID(&clients[index]) }
        harness.advance(9_000)
        for client in clients { #expect(harness.joined[client.name]?.protocolName == "sticky") }
        var stranger = GroupClient("d")
        stranger.protocols = [("own", "")]
        harness.join(&stranger)
        #expect(harness.joined["d"]?.errorCode == .inconsistentGroupProtocol)
        stranger.protocols = [("sticky", "")]
        stranger.protocolType = "connect"
        harness.join(&stranger)
        #expect(harness.joined["d"]?.errorCode == .inconsistentGroupProtocol)
    }

    @Test("A full group takes nobody in, and lowering the limit drops the last to come")
    func maximumSize() {
        let harness = GroupHarness { $0.maximumGroupSize = 2 }
        var clients = [GroupClient("a"), GroupClient("b"), GroupClient("c")]
        for index in clients.indices { harness.joinWithID(&clients[index]) }
        #expect(harness.joined["c"]?.errorCode == .groupMaxSizeReached)
        harness.advance(9_000)
        harness.adopt(&clients)
        harness.sync(clients[0])
        harness.join(&clients[2])
        #expect(harness.joined["c"]?.errorCode == .groupMaxSizeReached)

        var configuration = harness.core.configuration
        configuration.maximumGroupSize = 1
        var smaller = GroupCoordinator(configuration: configuration)
        for (offset, record) in harness.log.enumerated() { smaller.replay(record, offset: Offset(offset), producer: -1, now: harness.now) }
        harness.core = smaller
        harness.take(harness.core.loaded(now: harness.now))
        #expect(harness.heartbeat(clients[1]) == .rebalanceInProgress)
        harness.join(&clients[1])
        harness.join(&clients[0])
        #expect(harness.joined["a"]?.errorCode == .groupMaxSizeReached)
        #expect(harness.joined["b"]?.errorCode == ErrorCode.none)
    }

    @Test("Each new member extends the initial delay, up to the rebalance timeout")
    func initialDelay() {
        let harness = GroupHarness()
        var clients = (0..<6).map { GroupClient("m\($0)") }
        for index in clients.indices { clients[index].rebalanceTimeout = 10_000 }
        for index in clients.indices {
            harness.joinWithID(&clients[index])
            if index < 5 { harness.advance(1_900) }
        }
        #expect(harness.joined.values.allSatisfy { $0.errorCode == .memberIdRequired })
        harness.advance(499)
        #expect(harness.joined.values.allSatisfy { $0.errorCode == .memberIdRequired })
        harness.advance(1)
        #expect(harness.joined.values.allSatisfy { $0.errorCode == .none && $0.generationId == 1 })
    }

    @Test("A member that joins again unchanged is told the generation; a leader starts a new one")
    func rejoins() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.join(&a)
        #expect(harness.joined["a"]?.members.count == 2)
        #expect(harness.joined["a"]?.generationId == 1)
        harness.sync(a, assignments: [(a.memberID, "p")])
        harness.join(&b)
        #expect(harness.joined["b"]?.generationId == 1)
        #expect(harness.joined["b"]?.members.isEmpty == true)
        b.protocols = [("range", "v2")]
        harness.join(&b)
        #expect(harness.heartbeat(a) == .rebalanceInProgress)
        harness.join(&a)
        #expect(harness.joined["a"]?.generationId == 2)
        #expect(harness.joined["a"]?.members.contains { $0.metadata == ByteBuffer(string: "v2") } == true)
    }

    @Test("A second join of the same member releases the first")
    func duplicateJoin() {
        let harness = GroupHarness()
        var a = GroupClient("a")
        harness.joinWithID(&a)
        let first = harness.waiting.keys.map { $0 }
        harness.join(&a)
        #expect(harness.joined["a"]?.errorCode == .rebalanceInProgress)
        #expect(harness.waiting.count == 1)
        #expect(harness.waiting.keys.map { $0 } != first)
        harness.advance(6_000)
        #expect(harness.waiting.isEmpty)
    }

    @Test("Generation, member and protocol are checked before anything else")
    func stale() {
        let harness = GroupHarness()
        var a = GroupClient("a")
        #expect(harness.heartbeat(a) == .unknownMemberId)
        harness.sync(a)
        #expect(harness.synced["a"]?.errorCode == .unknownMemberId)
        harness.joinWithID(&a)
        harness.advance(6_000)
        harness.adopt(&a)
        var stale = a
        stale.generation = 0
        #expect(harness.heartbeat(stale) == .illegalGeneration)
        harness.sync(stale)
        #expect(harness.synced["a"]?.errorCode == .illegalGeneration)
        var other = a
        other.protocolType = "connect"
        harness.sync(other)
        #expect(harness.synced["a"]?.errorCode == .inconsistentGroupProtocol)
        #expect(harness.commit(a, offset: 1) == .rebalanceInProgress)
        harness.sync(a)
        #expect(harness.commit(a, offset: 1) == .none)
        #expect(harness.commit(stale, offset: 1) == .illegalGeneration)
    }

    @Test("A coordinator that goes away sends everybody to look for the new one")
    func unload() {
        let harness = GroupHarness()
        var a = GroupClient("a")
        harness.joinWithID(&a)
        let effects = harness.core.unload(now: harness.now)
        guard case .reply(_, .join(let response))? = effects.first else {
            Issue.record("the waiting join was not answered: \(effects)")
            return
        }
        #expect(response.errorCode == .notCoordinator)
    }

    @Test("LeaveGroup answers for each member on its own")
    func batchedLeave() {
        let harness = GroupHarness()
        var clients = [GroupClient("a"), GroupClient("b"), GroupClient("c", instanceID: "three")]
        for index in clients.indices { harness.joinWithID(&clients[index]) }
        harness.advance(9_000)
        harness.adopt(&clients)
        harness.sync(clients[0])
        var request = LeaveGroupRequest()
        request.groupId = GroupHarness.group
        request.members = [(clients[1].memberID, nil), ("nobody", nil), ("wrong", "three"), ("", "three")].map { memberID, instanceID in
            var identity = LeaveGroupRequest.MemberIdentity()
            identity.memberId = memberID
            identity.groupInstanceId = instanceID
            return identity
        }
        let response = harness.take(harness.core.leave(request, now: harness.now))
        #expect(response.members.map(\.errorCode) == [.none, .unknownMemberId, .fencedInstanceId, .none])
        harness.join(&clients[0])
        #expect(clients[0].generation == 2)
        #expect(harness.joined["a"]?.members.count == 1)
    }
}
