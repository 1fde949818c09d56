// Groups that change between the classic and the consumer protocol, one member at a time and back.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Groups that change their protocol")
struct GroupConversionTests {
    private func subscription(_ topics: [String]) throws -> String {
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = topics
        var writer = WireWriter()
        writer.int16(1)
        try subscription.encode(to: &writer, version: 1)
        return String(buffer: writer.buffer)
    }

    private func assignment(_ partitions: [Int32]) throws -> String {
        var assignment = ConsumerProtocolAssignment()
        var topic = ConsumerProtocolAssignment.TopicPartition()
        topic.topic = "t"
        topic.partitions = partitions
        assignment.assignedPartitions = [topic]
        var writer = WireWriter()
        writer.int16(1)
        try assignment.encode(to: &writer, version: 1)
        return String(buffer: writer.buffer)
    }

    private func classicMember(_ name: String) throws -> GroupClient {
        var client = GroupClient(name)
        client.protocolType = "consumer"
        client.protocols = [("range", try subscription(["t"]))]
        return client
    }

    /// A stable classic group whose only member has both partitions.
    private func classicGroup(_ configure: (inout GroupCoordinatorConfiguration) -> Void = { _ in }) throws -> (GroupHarness, GroupClient) {
        let harness = GroupHarness.consumers(partitions: 2) {
            $0.initialRebalanceDelayMilliseconds = 0
            configure(&$0)
        }
        var classic = try classicMember("classic")
        harness.joinWithID(&classic)
        harness.advance(0)
        harness.adopt(&classic)
        harness.sync(classic, assignments: [(classic.memberID, try assignment([0, 1]))])
        #expect(harness.synced["classic"]?.errorCode == ErrorCode.none)
        return (harness, classic)
    }

    private func types(_ harness: GroupHarness) -> [String] { harness.core.list(states: [], types: []).map(\.groupType) }

    @Test("A consumer makes a consumer group of a classic one; the last one to go makes a classic one of it again")
    func thereAndBack() throws {
        var (harness, classic) = try classicGroup()
        var member = ConsumerMember("new")
        harness.beat(&member)
        #expect(types(harness) == ["consumer"])
        #expect(member.partitions.isEmpty, "the classic member has everything until it joins again")
        #expect(harness.heartbeat(classic) == .rebalanceInProgress)
        harness.join(&classic)
        harness.sync(classic)
        harness.beat(&member)
        // It is to give one back, and says that it did by joining again with less.
        #expect(harness.heartbeat(classic) == .rebalanceInProgress)
        harness.join(&classic)
        harness.sync(classic)
        harness.beat(&member)
        #expect(member.partitions.count == 1)
        #expect(harness.synced["classic"]?.assignment == ByteBuffer(string: try assignment(member.partitions == [0] ? [1] : [0])))
        #expect(harness.heartbeat(classic) == .none)
        harness.restart()
        #expect(harness.heartbeat(classic) == .none)
        harness.beat(&member)
        #expect(member.lastError == .none)
        _ = harness.consumerHeartbeat("new", epoch: -1)
        #expect(types(harness) == ["classic"])
        #expect(harness.reasons.map(\.kind).contains(.downgraded))
        #expect(harness.heartbeat(classic) == .rebalanceInProgress)
        harness.join(&classic)
        harness.advance(0)
        harness.adopt(&classic)
        harness.sync(classic, assignments: [(classic.memberID, try assignment([0, 1]))])
        #expect(harness.synced["classic"]?.assignment == ByteBuffer(string: try assignment([0, 1])))
        harness.restart()
        #expect(types(harness) == ["classic"])
        #expect(harness.heartbeat(classic) == .none)
    }

    @Test("A change that the log does not take leaves the group as it was")
    func lost() throws {
        let (harness, classic) = try classicGroup()
        harness.writeError = .coordinatorNotAvailable
        _ = harness.consumerHeartbeat("new", epoch: 0, topics: ["t"])
        harness.writeError = nil
        #expect(types(harness) == ["classic"])
        #expect(harness.heartbeat(classic) == .none)
    }

    @Test("The policy decides which way is open")
    func policy() throws {
        var (harness, classic) = try classicGroup { $0.consumer.migrationPolicy = .downgrade }
        #expect(harness.consumerHeartbeat("new", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
        #expect(types(harness) == ["classic"])
        (harness, classic) = try classicGroup { $0.consumer.migrationPolicy = .upgrade }
        #expect(harness.consumerHeartbeat("new", epoch: 0, topics: ["t"]).errorCode == .none)
        _ = harness.consumerHeartbeat("new", epoch: -1)
        #expect(types(harness) == ["consumer"])
        #expect(harness.heartbeat(classic) != .unknownMemberId)
    }

    @Test("Groups of other kinds of clients do not change")
    func otherProtocolType() {
        let harness = GroupHarness.consumers()
        var worker = GroupClient("worker")
        harness.joinWithID(&worker)
        #expect(harness.consumerHeartbeat("new", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
    }
}
