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
    private func replayShareGroup(into harness: GroupHarness, hasMember: Bool) throws {
        var key = ShareGroupMetadataKey()
        key.groupId = GroupHarness.group
        harness.core.replay(try stored(11, key, ShareGroupMetadataValue()), offset: 0, producer: -1, now: harness.now)
        guard hasMember else { return }
        var memberKey = ShareGroupMemberMetadataKey()
        memberKey.groupId = GroupHarness.group
        memberKey.memberId = "m"
        harness.core.replay(try stored(10, memberKey, ShareGroupMemberMetadataValue()), offset: 1, producer: -1, now: harness.now)
    }

    @Test("A share group is listed, and takes part in nothing of the other protocols")
    func populated() throws {
        let harness = GroupHarness()
        try replayShareGroup(into: harness, hasMember: true)
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
}
