// Members that come and go, crash, stall and commit at random, from a seed: what must hold whatever happens.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import Testing

@Suite("Group simulation")
struct GroupSimulationTests {
    /// A member that follows the protocol, except that it may fall silent at any moment.
    private struct Member {
        var client: GroupClient
        var pending: ReplyToken?
        var isSyncing = false
        var isJoined = false
        var isDown = false
    }

    @Test("Invariants hold for any run", arguments: 0..<60 as Range<UInt64>)
    func invariants(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let harness = GroupHarness {
            $0.initialRebalanceDelayMilliseconds = 500
            $0.maximumGroupSize = seed % 5 == 0 ? 3 : 100
        }
        var members = (0..<6).map { index -> Member in
            var client = GroupClient("m\(index)", instanceID: index < 2 ? "static-\(index)" : nil)
            client.rebalanceTimeout = 8_000
            client.sessionTimeout = 6_000
            client.apiVersion = index == 5 ? 3 : 9
            return Member(client: client)
        }
        for round in 0..<400 {
            let index = Int.random(in: members.indices, using: &random)
            step(&members[index], harness, &random)
            if Int.random(in: 0..<8, using: &random) == 0 { harness.advance(Int64.random(in: 1..<3_000, using: &random)) }
            if Int.random(in: 0..<150, using: &random) == 0 {
                // Whoever waits has lost its connection.
                harness.restart()
                for position in members.indices { members[position].pending = nil }
            }
            check(harness)
            if round % 10 == 0 { checkReplay(harness) }
        }
        settle(harness, &members)
    }

    private func step(_ member: inout Member, _ harness: GroupHarness, _ random: inout SeededRandom) {
        harness.adopt(&member.client)
        if let token = member.pending, harness.waiting[token] != nil { return }
        if member.isDown {
            // It comes back as a new process: with its instance id, if it has one, and no memory.
            guard Int.random(in: 0..<6, using: &random) == 0 else { return }
            member.isDown = false
            member.client.memberID = ""
            member.isJoined = false
        }
        let wasAnswered = member.pending != nil
        member.pending = nil
        if wasAnswered { learn(&member, harness) }
        switch Int.random(in: 0..<40, using: &random) {
        case 0: member.isDown = true
        case 1 where member.isJoined:
            harness.leave(member.client)
            member.isJoined = false
            member.client.memberID = ""
        case 2: member.client.protocols = [("range", "v\(Int.random(in: 0..<3, using: &random))")]
        default: follow(&member, harness)
        }
    }

    /// Draws the consequences of the last answer.
    private func learn(_ member: inout Member, _ harness: GroupHarness) {
        let name = member.client.name
        let error = member.isSyncing ? harness.synced[name]?.errorCode : harness.joined[name]?.errorCode
        if error == .unknownMemberId || error == .fencedInstanceId { member.client.memberID = "" }
        member.isJoined = error == ErrorCode.none
        member.isSyncing = member.isSyncing ? false : error == ErrorCode.none
    }

    private func follow(_ member: inout Member, _ harness: GroupHarness) {
        if !member.isJoined {
            member.isSyncing = false
            member.pending = harness.join(&member.client)
        } else if member.isSyncing {
            let others = harness.joined[member.client.name]?.members ?? []
            member.pending = harness.sync(member.client, assignments: others.map { ($0.memberId, "p") })
        } else {
            let isCurrent = harness.core.describe(group: GroupHarness.group, apiVersion: 6).members.contains {
                $0.memberId == member.client.memberID
            }
            let error = harness.commit(member.client, offset: Offset(member.client.generation))
            // Only members of the current generation commit.
            if error == .none { #expect(isCurrent && member.client.generation == harness.currentGeneration) }
            if harness.heartbeat(member.client) != .none || error != .none { member.isJoined = false }
        }
    }

    private func check(_ harness: GroupHarness) {
        #expect(harness.unexpectedReplies == 0, "nobody is answered twice")
        #expect(zip(harness.generations, harness.generations.dropFirst()).allSatisfy { $0 <= $1 }, "generations only grow")
        #expect(harness.leaders.values.allSatisfy { $0.count == 1 }, "one leader makes the assignment of a generation")
        let described = harness.core.describe(group: GroupHarness.group, apiVersion: 6)
        #expect(Set(described.members.map(\.memberId)).count == described.members.count)
        let instances = described.members.compactMap(\.groupInstanceId)
        #expect(Set(instances).count == instances.count)
    }

    /// What the log tells is what is in force.
    private func checkReplay(_ harness: GroupHarness) {
        let replayed = harness.reloaded()
        #expect(
            replayed.committedOffset(group: GroupHarness.group, topic: "t", partition: 0)
                == harness.core.committedOffset(group: GroupHarness.group, topic: "t", partition: 0))
        let group = harness.core.describe(group: GroupHarness.group, apiVersion: 6)
        guard group.groupState == "Stable" || (group.groupState == "Empty" && harness.currentGeneration != nil) else { return }
        #expect(replayed.describe(group: GroupHarness.group, apiVersion: 6) == group)
    }

    /// Time alone answers everybody, and in the end nobody is left.
    private func settle(_ harness: GroupHarness, _ members: inout [Member]) {
        harness.advance(20 * 60_000)
        #expect(harness.waiting.isEmpty, "every request is answered in the end")
        #expect(harness.core.describe(group: GroupHarness.group, apiVersion: 6).members.isEmpty)
        let replayed = harness.reloaded()
        #expect(replayed.list(states: [], types: []) == harness.core.list(states: [], types: []))
        #expect(
            replayed.describe(group: GroupHarness.group, apiVersion: 6) == harness.core.describe(group: GroupHarness.group, apiVersion: 6))
    }
}
