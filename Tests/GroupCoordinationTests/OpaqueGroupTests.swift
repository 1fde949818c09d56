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

    /// A share group, with a member if asked for.
    private func replayShareGroup(into harness: GroupHarness, hasMember: Bool) {
        let epoch = CoordinatorRecord.shareGroup(.metadata(group: GroupHarness.group, ShareGroupMetadataValue()))
        harness.core.replay(epoch, offset: 0, producer: -1, now: harness.now)
        guard hasMember else { return }
        let member = CoordinatorRecord.shareGroup(.member(group: GroupHarness.group, member: "m", ShareGroupMemberMetadataValue()))
        harness.core.replay(member, offset: 1, producer: -1, now: harness.now)
    }

    @Test("A share group is listed, and takes part in nothing of the other protocols")
    func populated() {
        let harness = GroupHarness()
        replayShareGroup(into: harness, hasMember: true)
        let listed = harness.core.list(states: [], types: [])
        #expect(listed.map(\.groupState) == ["Stable"])
        #expect(listed.map(\.groupType) == ["share"])
        #expect(harness.core.describe(group: "group", apiVersion: 6).errorCode == .groupIdNotFound)
        #expect(harness.core.describeConsumerGroup("group").errorCode == .groupIdNotFound)
        var a = GroupClient("a")
        harness.join(&a)
        #expect(harness.joined["a"]?.errorCode == .inconsistentGroupProtocol)
        #expect(harness.consumerHeartbeat("b", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.nonEmptyGroup])
    }

    @Test("An empty streams group becomes a classic one when a classic member joins, in the log too")
    func streams() throws {
        let harness = GroupHarness()
        var key = StreamsGroupMetadataKey()
        key.groupId = GroupHarness.group
        harness.core.replay(try stored(17, key, StreamsGroupMetadataValue()), offset: 0, producer: -1, now: harness.now)
        #expect(harness.core.list(states: ["empty"], types: ["streams"]).count == 1)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        harness.advance(6_000)
        #expect(harness.joined["a"]?.generationId == 1)
        #expect(harness.core.list(states: [], types: []).map(\.groupType) == ["classic"])
        #expect(harness.log.contains { if case .opaque(_, nil) = $0 { true } else { false } })
    }
}
