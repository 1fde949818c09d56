// Whole conversations with a group, written down: what each client was told, and what went into the log.
import GroupCoordination
import KafkaWire
import Testing

@Suite("Rebalances")
struct RebalanceTranscripts {
    /// Two members up to a stable group.
    private func stablePair(_ harness: GroupHarness) -> (GroupClient, GroupClient) {
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(b)
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        return (a, b)
    }

    @Test("The first members wait for each other, the leader assigns, both learn their part")
    func firstGeneration() {
        let harness = GroupHarness()
        _ = stablePair(harness)
        #expect(
            harness.transcript == """
                a joins
                  a MEMBER_ID_REQUIRED (a#1)
                  stored generation 0 of 0
                a joins as a#1
                b joins
                  b MEMBER_ID_REQUIRED (b#3)
                b joins as b#3
                ... 6000 ms
                  a in generation 1 by range as a#1, leader a#1, members a#1 b#3
                  b in generation 1 by range as b#3, leader a#1
                b syncs generation 1
                a syncs generation 1 with 2 assignments
                  stored generation 1 of 2
                  a is assigned 'p0'
                  b is assigned 'p1'

                """)
    }

    @Test("A third member makes the others join again; who does not come in time is dropped")
    func thirdMember() {
        let harness = GroupHarness()
        var (a, b) = stablePair(harness)
        var c = GroupClient("c")
        let start = harness.transcript.endIndex
        harness.joinWithID(&c)
        harness.heartbeat(a)
        harness.join(&a)
        harness.heartbeat(b)
        for _ in 0..<7 {
            harness.advance(9_000)
            harness.heartbeat(b)
        }
        harness.adopt(&a)
        harness.adopt(&c)
        b.generation = a.generation
        harness.sync(a, assignments: [(a.memberID, "p0"), (c.memberID, "p1")])
        harness.sync(c)
        #expect(
            harness.transcript[start...] == """
                c joins
                  c MEMBER_ID_REQUIRED (c#5)
                c joins as c#5
                a heartbeats: REBALANCE_IN_PROGRESS
                a joins as a#1
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                ... 9000 ms
                  a in generation 2 by range as a#1, leader a#1, members a#1 c#5
                  c in generation 2 by range as c#5, leader a#1
                b heartbeats: UNKNOWN_MEMBER_ID
                a syncs generation 2 with 2 assignments
                  stored generation 2 of 2
                  a is assigned 'p0'
                c syncs generation 2
                  c is assigned 'p1'

                """)
    }

    @Test("A member that falls silent loses its session, and its place goes to the next leader")
    func silentLeader() {
        let harness = GroupHarness()
        var (_, b) = stablePair(harness)
        let start = harness.transcript.endIndex
        harness.advance(6_000)
        harness.heartbeat(b)
        harness.advance(6_000)
        harness.heartbeat(b)
        harness.join(&b)
        harness.sync(b, assignments: [(b.memberID, "p0 p1")])
        #expect(
            harness.transcript[start...] == """
                ... 6000 ms
                b heartbeats: NONE
                ... 6000 ms
                b heartbeats: REBALANCE_IN_PROGRESS
                b joins as b#3
                  b in generation 2 by range as b#3, leader b#3, members b#3
                b syncs generation 2 with 1 assignments
                  stored generation 2 of 1
                  b is assigned 'p0 p1'

                """)
    }

    @Test("The last member that leaves empties the group, and the empty generation is stored")
    func everybodyLeaves() {
        let harness = GroupHarness()
        var (a, b) = stablePair(harness)
        let start = harness.transcript.endIndex
        harness.leave(a)
        harness.join(&b)
        harness.leave(b)
        #expect(
            harness.transcript[start...] == """
                a leaves
                b joins as b#3
                  b in generation 2 by range as b#3, leader b#3, members b#3
                b leaves
                  stored generation 3 of 0

                """)
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "Empty")
        #expect(harness.leave(b) == .unknownMemberId)
    }

    @Test("Members who never fetch their assignment are dropped after the rebalance timeout")
    func neverSyncs() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        b.rebalanceTimeout = 20_000
        a.rebalanceTimeout = 20_000
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        let start = harness.transcript.endIndex
        for _ in 0..<3 {
            harness.advance(7_000)
            harness.heartbeat(a)
            harness.heartbeat(b)
        }
        #expect(
            harness.transcript[start...] == """
                ... 7000 ms
                a heartbeats: NONE
                b heartbeats: NONE
                ... 7000 ms
                a heartbeats: NONE
                b heartbeats: NONE
                ... 7000 ms
                a heartbeats: REBALANCE_IN_PROGRESS
                b heartbeats: UNKNOWN_MEMBER_ID

                """)
    }

    @Test("An assignment that cannot be stored sends everybody back to join")
    func storageFails() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(b)
        harness.writeError = .notCoordinator
        let start = harness.transcript.endIndex
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        harness.writeError = nil
        harness.join(&a)
        harness.join(&b)
        #expect(
            harness.transcript[start...] == """
                a syncs generation 1 with 2 assignments
                  a NOT_COORDINATOR
                  b NOT_COORDINATOR
                a joins as a#1
                b joins as b#3
                  a in generation 2 by range as a#1, leader a#1, members a#1 b#3
                  b in generation 2 by range as b#3, leader a#1

                """)
    }

    @Test("A member that joins while the assignment is on its way to the log makes it void")
    func joinDuringCommit() {
        let harness = GroupHarness()
        var (a, b, c) = (GroupClient("a"), GroupClient("b"), GroupClient("c"))
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(b)
        harness.holdsWrites = true
        let start = harness.transcript.endIndex
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        harness.joinWithID(&c)
        harness.commitHeldWrites()
        #expect(harness.core.describe(group: "group", apiVersion: 6).groupState == "PreparingRebalance")
        #expect(
            harness.transcript[start...] == """
                a syncs generation 1 with 2 assignments
                c joins
                  c MEMBER_ID_REQUIRED (c#5)
                c joins as c#5
                  a REBALANCE_IN_PROGRESS
                  b REBALANCE_IN_PROGRESS
                  stored generation 1 of 2

                """)
    }

    @Test("After a restart of the coordinator the group goes on as it was")
    func restart() {
        let harness = GroupHarness()
        let (a, b) = stablePair(harness)
        harness.restart()
        #expect(harness.heartbeat(a) == .none)
        #expect(harness.heartbeat(b) == .none)
        harness.sync(b)
        #expect(harness.synced["b"]?.assignment.readableBytes == 2)
        harness.advance(10_000)
        #expect(harness.heartbeat(a) == .unknownMemberId)
    }

    @Test("Cooperative members keep what they have while the group rebalances twice to move one partition")
    func cooperative() {
        let harness = GroupHarness()
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        a.protocols = [("cooperative-sticky", "owns nothing")]
        harness.joinWithID(&a)
        harness.advance(3_000)
        harness.adopt(&a)
        harness.sync(a, assignments: [(a.memberID, "p0 p1")])
        let start = harness.transcript.endIndex
        b.protocols = [("cooperative-sticky", "owns nothing")]
        harness.joinWithID(&b)
        a.protocols = [("cooperative-sticky", "owns p0 p1")]
        harness.join(&a)
        harness.adopt(&b)
        harness.sync(b)
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "")])
        // a has let go of p1 and joins at once so that b can have it.
        a.protocols = [("cooperative-sticky", "owns p0")]
        harness.join(&a)
        harness.heartbeat(b)
        harness.commit(b, offset: 1)
        harness.join(&b)
        harness.adopt(&a)
        harness.sync(a, assignments: [(a.memberID, "p0"), (b.memberID, "p1")])
        harness.sync(b)
        #expect(
            harness.transcript[start...] == """
                b joins
                  b MEMBER_ID_REQUIRED (b#3)
                b joins as b#3
                a joins as a#1
                  a in generation 2 by cooperative-sticky as a#1, leader a#1, members a#1 b#3
                  b in generation 2 by cooperative-sticky as b#3, leader a#1
                b syncs generation 2
                a syncs generation 2 with 2 assignments
                  stored generation 2 of 2
                  a is assigned 'p0'
                  b is assigned ''
                a joins as a#1
                b heartbeats: REBALANCE_IN_PROGRESS
                b joins as b#3
                  a in generation 3 by cooperative-sticky as a#1, leader a#1, members a#1 b#3
                  b in generation 3 by cooperative-sticky as b#3, leader a#1
                a syncs generation 3 with 2 assignments
                  stored generation 3 of 2
                  a is assigned 'p0'
                b syncs generation 3
                  b is assigned 'p1'

                """)
        #expect(
            harness.core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 1, "a member of the generation commits on")
    }

    @Test("Members change their protocol one after the other: the group follows when the last has")
    func protocolUpgrade() {
        let harness = GroupHarness()
        var (a, b) = stablePair(harness)
        func rejoin(_ aProtocols: [String], _ bProtocols: [String]) -> String? {
            a.protocols = aProtocols.map { ($0, "") }
            b.protocols = bProtocols.map { ($0, "") }
            harness.join(&a)
            harness.join(&b)
            harness.adopt(&a)
            harness.sync(a)
            return harness.joined["b"]?.protocolName
        }
        #expect(rejoin(["cooperative-sticky", "range"], ["range"]) == "range")
        #expect(rejoin(["cooperative-sticky", "range"], ["cooperative-sticky", "range"]) == "cooperative-sticky")
        #expect(rejoin(["cooperative-sticky"], ["cooperative-sticky", "range"]) == "cooperative-sticky")
        a.protocols = [("range", "")]
        harness.join(&a)
        #expect(harness.joined["a"]?.errorCode == .inconsistentGroupProtocol, "not everybody in the group supports range any more")
    }
}
