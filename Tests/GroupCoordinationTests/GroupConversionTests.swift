// Groups that change between the protocols (KIP-848): what classic members have stays with them, whatever their assignor added to it.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import Testing

@Suite("Groups that change their protocol")
struct GroupConversionTests {
    /// A subscription of version 0 to the topic `t`, as bytes that are text.
    private static let subscription = "\0\0" + "\0\0\0\u{1}" + "\0\u{1}t" + "\0\0\0\0"

    /// An assignment of version 0 of one partition of `t`, with what the assignor adds.
    private static func assignment(_ partition: Int, data: String) -> String {
        let number = "\0\0\0" + String(UnicodeScalar(UInt8(partition)))
        let count = "\0\0\0" + String(UnicodeScalar(UInt8(data.utf8.count)))
        return "\0\0" + "\0\0\0\u{1}" + "\0\u{1}t" + "\0\0\0\u{1}" + number + count + data
    }

    /// A stable classic group of two consumers with a partition each.
    private func classicPair(assignor: String, data: String) -> (GroupHarness, GroupClient, GroupClient) {
        let harness = GroupHarness.consumers(partitions: 2)
        var (a, b) = (GroupClient("a"), GroupClient("b"))
        a.protocolType = "consumer"
        a.protocols = [(assignor, Self.subscription)]
        b.protocolType = a.protocolType
        b.protocols = a.protocols
        harness.joinWithID(&a)
        harness.joinWithID(&b)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.adopt(&b)
        harness.sync(b)
        let shares = [(a.memberID, Self.assignment(0, data: data)), (b.memberID, Self.assignment(1, data: data))]
        harness.sync(a, assignments: shares)
        return (harness, a, b)
    }

    @Test(
        "A consumer joins a classic group, whose members keep what they have until they are told to give something back",
        arguments: [
            ("range", ""), ("range", "data"), ("roundrobin", "data"), ("sticky", "data"), ("cooperative-sticky", "data"), ("mine", ""),
        ])
    func upgrade(assignor: String, data: String) {
        let (harness, a, b) = classicPair(assignor: assignor, data: data)
        var joining = ConsumerMember("c")
        harness.beat(&joining)
        #expect(joining.lastError == .none)
        #expect(joining.partitions.isEmpty, "both partitions are still with the classic members")
        let group = harness.core.describeConsumerGroup(GroupHarness.group)
        #expect(group.errorCode == .none)
        let held = group.members.filter { $0.memberId != "c" }.flatMap { $0.assignment.topicPartitions.flatMap(\.partitions) }
        #expect(held.sorted() == [0, 1])
        #expect(harness.heartbeat(a) == .rebalanceInProgress)
        #expect(harness.heartbeat(b) == .rebalanceInProgress)
        let upgrade = harness.reasons.last { $0.kind == .upgraded }
        #expect(upgrade?.kind.rawValue == "became a consumer group")
        #expect(upgrade?.detail == "with 2 classic members")
    }

    @Test("A group stays classic where an assignor of somebody's own added data, which would be lost")
    func customAssignor() {
        let (harness, a, _) = classicPair(assignor: "mine", data: "data")
        let before = harness.log.count
        var joining = ConsumerMember("c")
        let answer = harness.beat(&joining)
        #expect(answer.errorCode == .groupIdNotFound)
        #expect(answer.errorMessage?.contains("custom assignor") == true)
        #expect(harness.log.count == before)
        #expect(harness.heartbeat(a) == .none)
    }

    @Test("When the last consumer of the newer protocol goes, the group is a classic one again and its members rejoin")
    func downgrade() {
        let (harness, a, _) = classicPair(assignor: "range", data: "")
        var joining = ConsumerMember("c")
        harness.beat(&joining)
        #expect(harness.consumerHeartbeat("c", epoch: -1).errorCode == .none)
        #expect(harness.core.describeConsumerGroup(GroupHarness.group).errorCode == .groupIdNotFound)
        #expect(harness.core.describe(group: GroupHarness.group, apiVersion: 6).members.count == 2)
        #expect(harness.reasons.last?.kind.rawValue == "became a classic group")
        #expect(harness.reasons.last?.detail == "with 2 classic members")
        #expect(harness.heartbeat(a) != .unknownMemberId)
    }
}
