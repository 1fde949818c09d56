// Static members (KIP-345): they come back under a new id without a rebalance, and fence their former selves.
import GroupCoordination
import KafkaWire
import Testing

@Suite("Static members")
struct StaticMemberTranscripts {
    private func stableGroup(_ harness: GroupHarness) -> (GroupClient, GroupClient) {
        var (a, b) = (GroupClient("a", instanceID: "one"), GroupClient("b", instanceID: "two"))
        harness.join(&a)
        harness.join(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        harness.sync(b)
        return (a, b)
    }

    @Test("A follower that restarts keeps its assignment, and the others notice nothing")
    func followerRestarts() {
        let harness = GroupHarness()
        let (a, formerB) = stableGroup(harness)
        let start = harness.transcript.endIndex
        var b = GroupClient("b", instanceID: "two")
        harness.join(&b)
        harness.sync(b)
        harness.heartbeat(a)
        harness.heartbeat(formerB)
        harness.heartbeat(b)
        #expect(
            harness.transcript[start...] == """
                b joins
                  stored generation 1 of 2
                  b in generation 1 by range as b#3, leader a#2
                b syncs generation 1
                  b is assigned 'p1'
                a heartbeats: NONE
                b heartbeats: FENCED_INSTANCE_ID
                b heartbeats: NONE

                """)
    }

    @Test("A leader that restarts is told the members but to skip the assignment; older clients are told of the former leader")
    func leaderRestarts() {
        for (version, expected) in [(Int16(9), true), (8, false)] {
            let harness = GroupHarness()
            let (formerA, _) = stableGroup(harness)
            var a = GroupClient("a", instanceID: "one")
            a.apiVersion = version
            harness.join(&a)
            let response = harness.joined["a"]
            #expect(response?.skipAssignment == expected)
            #expect(response?.members.count == (expected ? 2 : 0))
            #expect(response?.leader == (expected ? a.memberID : formerA.memberID))
            #expect(response?.generationId == 1)
        }
    }

    @Test("A static member that joins during a rebalance fences the former one that waits")
    func fencesWaitingSelf() {
        let harness = GroupHarness()
        var a = GroupClient("a", instanceID: "one")
        harness.join(&a)
        var again = GroupClient("again", instanceID: "one")
        harness.join(&again)
        #expect(harness.joined["a"]?.errorCode == .fencedInstanceId)
        #expect(harness.waiting.values.map(\.client) == ["again"])
        harness.advance(6_000)
        #expect(harness.joined["again"]?.errorCode == ErrorCode.none)
    }

    @Test("A static member that restarts while members wait for their assignment starts a rebalance")
    func restartsDuringSync() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a", instanceID: "one"), GroupClient("b", instanceID: "two"))
        harness.join(&a)
        harness.join(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(b)
        var restarted = GroupClient("restarted", instanceID: "one")
        harness.join(&restarted)
        #expect(harness.synced["b"]?.errorCode == .rebalanceInProgress)
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "PreparingRebalance")
        harness.join(&b)
        harness.adopt(&restarted)
        #expect(restarted.generation == 2)
    }

    @Test("A static member whose protocols change the group's choice starts a rebalance")
    func changedProtocol() {
        let harness = GroupHarness()
        _ = stableGroup(harness)
        var a = GroupClient("a", instanceID: "one")
        a.protocols = [("range", "v1"), ("sticky", "v1")]
        harness.join(&a)
        #expect(harness.joined["a"]?.generationId == 1)
        #expect(harness.waiting.isEmpty)
        var b = GroupClient("b", instanceID: "two")
        b.protocols = [("sticky", "v1"), ("range", "v1")]
        a.protocols = [("sticky", "v1"), ("range", "v1")]
        harness.join(&b)
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "Stable")
        var restarted = GroupClient("restarted", instanceID: "one")
        restarted.protocols = a.protocols
        harness.join(&restarted)
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "PreparingRebalance")
    }

    @Test("A replacement that cannot be stored is undone")
    func replacementFails() {
        let harness = GroupHarness()
        let (formerA, _) = stableGroup(harness)
        harness.writeError = .coordinatorNotAvailable
        var a = GroupClient("a", instanceID: "one")
        harness.join(&a)
        #expect(harness.joined["a"]?.errorCode == .coordinatorNotAvailable)
        #expect(harness.heartbeat(formerA) == .none)
        #expect(harness.core.describe(group: "group", apiVersion: 6).members.contains { $0.memberId == formerA.memberID })
        #expect(harness.waiting.isEmpty)
    }

    @Test("An administrator removes a static member by its instance id; an absent one stays until its session ends")
    func administratorRemoves() {
        let harness = GroupHarness()
        let (a, b) = stableGroup(harness)
        #expect(harness.leave(b, byInstance: true) == .none)
        #expect(harness.leave(GroupClient("x", instanceID: "none"), byInstance: true) == .unknownMemberId)
        #expect(harness.heartbeat(a) == .rebalanceInProgress)
        harness.advance(9_000)
        #expect(harness.core.describe(group: "group", apiVersion: 6).members.count == 1)
        harness.advance(9_000)
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "Empty")
    }
}
