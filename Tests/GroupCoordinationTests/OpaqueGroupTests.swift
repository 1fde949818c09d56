// Groups of the newer protocols: kept as they are, listed, protected, and given way to only when they are empty.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Groups of other protocols")
struct OpaqueGroupTests {
    private func stored(_ type: Int16, _ key: some KafkaMessage, _ value: (some KafkaMessage)?) throws -> CoordinatorRecord {
        var writer = WireWriter()
        writer.int16(type)
        try key.encode(to: &writer, version: 0)
        return .opaque(key: writer.buffer, value: try value?.encodedWithVersion(0))
    }

    /// A consumer group, with a member if asked for.
    private func replayConsumerGroup(into harness: GroupHarness, hasMember: Bool) throws {
        var key = ConsumerGroupMetadataKey()
        key.groupId = GroupHarness.group
        var value = ConsumerGroupMetadataValue()
        value.epoch = 4
        harness.core.replay(try stored(3, key, value), offset: 0, producer: -1, now: harness.now)
        var assignmentKey = ConsumerGroupTargetAssignmentMetadataKey()
        assignmentKey.groupId = GroupHarness.group
        var assignment = ConsumerGroupTargetAssignmentMetadataValue()
        assignment.assignmentEpoch = 4
        harness.core.replay(try stored(6, assignmentKey, assignment), offset: 1, producer: -1, now: harness.now)
        guard hasMember else { return }
        var memberKey = ConsumerGroupMemberMetadataKey()
        memberKey.groupId = GroupHarness.group
        memberKey.memberId = "m"
        var member = ConsumerGroupMemberMetadataValue()
        member.subscribedTopicNames = ["t"]
        harness.core.replay(try stored(5, memberKey, member), offset: 2, producer: -1, now: harness.now)
        var currentKey = ConsumerGroupCurrentMemberAssignmentKey()
        currentKey.groupId = GroupHarness.group
        currentKey.memberId = "m"
        var current = ConsumerGroupCurrentMemberAssignmentValue()
        current.memberEpoch = 4
        harness.core.replay(try stored(8, currentKey, current), offset: 3, producer: -1, now: harness.now)
    }

    @Test("A consumer group with members is listed, and takes part in nothing of the classic protocol")
    func populated() throws {
        let harness = GroupHarness()
        harness.commit(offset: 3)
        try replayConsumerGroup(into: harness, hasMember: true)
        let listed = harness.core.list(states: [], types: [])
        #expect(listed.map(\.groupState) == ["Stable"])
        #expect(listed.map(\.groupType) == ["consumer"])
        #expect(listed.map(\.protocolType) == ["consumer"])
        #expect(harness.core.describe(group: "group", apiVersion: 6).errorCode == .groupIdNotFound)
        var a = GroupClient("a")
        harness.join(&a)
        #expect(harness.joined["a"]?.errorCode == .inconsistentGroupProtocol)
        #expect(harness.heartbeat(a) == .unknownMemberId)
        #expect(harness.commit(offset: 4) == .unknownMemberId)
        var member = GroupClient("m")
        member.memberID = "m"
        member.generation = 4
        #expect(harness.commit(member, offset: 4) == .none)
        member.generation = 3
        #expect(harness.commit(member, offset: 5) == .staleMemberEpoch)
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.nonEmptyGroup])
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 4)
    }

    @Test("An empty consumer group becomes a classic one when a classic member joins, in the log too")
    func downgrade() throws {
        let harness = GroupHarness()
        try replayConsumerGroup(into: harness, hasMember: false)
        #expect(harness.core.list(states: ["empty"], types: ["consumer"]).count == 1)
        #expect(harness.commit(offset: 3) == .none)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        harness.advance(6_000)
        #expect(harness.joined["a"]?.generationId == 1)
        #expect(harness.core.list(states: [], types: []).map(\.groupType) == ["classic"])
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 3)
        let tombstones = harness.log.filter { if case .opaque(_, nil) = $0 { true } else { false } }
        #expect(tombstones.count == 2)
    }

    @Test("Deleting an empty consumer group takes all of its records out of the log")
    func deletion() throws {
        let harness = GroupHarness()
        try replayConsumerGroup(into: harness, hasMember: false)
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.none])
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.log.count == 2)
    }
}
