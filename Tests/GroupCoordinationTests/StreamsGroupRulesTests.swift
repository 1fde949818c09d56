// What a streams group refuses, who may commit offsets for it, and how it gets along with groups of other kinds.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Rules of streams groups")
struct StreamsGroupRulesTests {
    @Test("Requests that make no sense are refused, and leave no group behind")
    func validation() {
        let harness = GroupHarness.streams()
        func refusal(_ change: @escaping (inout StreamsGroupHeartbeatRequest) -> Void) -> ErrorCode {
            var thread = StreamsThread("a")
            harness.beat(&thread, change)
            return thread.lastError
        }
        #expect(refusal { $0.memberId = "" } == .invalidRequest)
        #expect(refusal { $0.instanceId = "" } == .invalidRequest)
        #expect(refusal { $0.rackId = "" } == .invalidRequest)
        #expect(refusal { $0.rebalanceTimeoutMs = -1 } == .invalidRequest)
        #expect(refusal { $0.topology = nil } == .invalidRequest)
        #expect(refusal { $0.topology?.epoch = -1 } == .invalidRequest)
        #expect(refusal { $0.topology?.subtopologies[0].sourceTopicRegex = ["t.*"] } == .invalidRequest)
        #expect(refusal { $0.topology?.subtopologies[1].stateChangelogTopics[0].partitions = 3 } == .streamsInvalidTopology)
        #expect(refusal { $0.topology?.subtopologies[0].repartitionSinkTopics = [] } == .streamsInvalidTopology)
        #expect(refusal { $0.standbyTasks = nil } == .invalidRequest)
        #expect(refusal { $0.memberEpoch = -3 } == .invalidRequest)
        #expect(
            refusal {
                $0.memberEpoch = 5; $0.topology = nil
            } == .groupIdNotFound)
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.log.isEmpty)
    }

    @Test("Epochs of others, tasks that do not exist and other topologies are refused")
    func fencing() {
        let harness = GroupHarness.streams { $0.maximumSize = 1 }
        var a = StreamsThread("a")
        harness.beat(&a)
        var b = StreamsThread("b")
        harness.beat(&b)
        #expect(b.lastError == .groupMaxSizeReached)
        func refusal(_ change: @escaping (inout StreamsGroupHeartbeatRequest) -> Void) -> ErrorCode {
            var copy = a
            harness.beat(&copy, change)
            return copy.lastError
        }
        #expect(refusal { $0.memberEpoch = 9 } == .fencedMemberEpoch)
        #expect(refusal { $0.memberEpoch = 1 } == .fencedMemberEpoch)
        #expect(refusal { $0.activeTasks?[0].subtopologyId = "7" } == .invalidRequest)
        #expect(refusal { $0.activeTasks?[0].partitions = [2] } == .invalidRequest)
        #expect(
            refusal {
                $0.memberEpoch = 0; $0.topology = StreamsThread.stateless; $0.activeTasks = []; $0.rebalanceTimeoutMs = 1
            } == .invalidRequest)
        harness.beat(&a)
        #expect(a.lastError == .none)
    }

    @Test("A member with an older topology is let in and told")
    func staleTopology() {
        let harness = GroupHarness.streams()
        var a = StreamsThread("a")
        a.topology.epoch = 1
        harness.beat(&a)
        var b = StreamsThread("b")
        harness.beat(&b)
        #expect(b.lastError == .none && b.lastStatus == [StreamsGroupStatusCode.staleTopology.rawValue])
        #expect(harness.core.describeStreamsGroup(GroupHarness.group).topology?.epoch == 1)
        var c = StreamsThread("c")
        c.topology.epoch = 2
        harness.beat(&c)
        #expect(c.lastError == .invalidRequest, "as in Kafka, a topology cannot be changed yet")
    }

    @Test("A member that missed its new epoch is let in with what it had")
    func missedAnswer() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.beat(&threads[0])
        harness.beat(&threads[1])
        var repeated = threads[0]
        harness.beat(&threads[0])
        harness.beat(&threads[0])
        #expect(threads[0].epoch == 3)
        repeated.active = threads[0].active
        harness.beat(&repeated)
        #expect(repeated.lastError == .none && repeated.epoch == 3)
    }

    private func commit(_ harness: GroupHarness, _ member: String, epoch: Int32, partition: Int32 = 0, version: Int16 = 9) -> ErrorCode {
        var client = GroupClient(member)
        client.memberID = member
        client.generation = epoch
        return harness.commit(client, partition: partition, offset: 5, apiVersion: version)
    }

    private func fetch(_ harness: GroupHarness, member: String?, epoch: Int32) -> ErrorCode {
        var request = OffsetFetchRequest.OffsetFetchRequestGroup()
        request.groupId = GroupHarness.group
        request.memberId = member
        request.memberEpoch = epoch
        return harness.core.fetchOffsets(request, requireStable: false).errorCode
    }

    @Test("Offsets are committed and read in the member's epoch; in an earlier one, what was the member's task then")
    func offsets() {
        let harness = GroupHarness.streams()
        var threads = [StreamsThread("a"), StreamsThread("b")]
        harness.beat(&threads[0])
        #expect(commit(harness, "a", epoch: 2) == .none)
        #expect(commit(harness, "a", epoch: 3) == .staleMemberEpoch)
        #expect(commit(harness, "a", epoch: 2, version: 8) == .unsupportedVersion)
        #expect(commit(harness, "x", epoch: 2) == .unknownMemberId)
        #expect(commit(harness, "", epoch: -1) == .unknownMemberId, "the group is in use")
        harness.settle(&threads)
        #expect(threads[0].epoch == 3)
        let kept = threads[0].active.contains("0-0") ? Int32(0) : 1
        #expect(commit(harness, "a", epoch: 2, partition: kept) == .none)
        #expect(commit(harness, "a", epoch: 2, partition: 1 - kept) == .staleMemberEpoch)
        #expect(fetch(harness, member: "a", epoch: 3) == .none)
        #expect(fetch(harness, member: "a", epoch: 2) == .staleMemberEpoch)
        #expect(fetch(harness, member: "x", epoch: 2) == .unknownMemberId)
        #expect(fetch(harness, member: nil, epoch: -1) == .none)
        for index in threads.indices { harness.beat(&threads[index]) { $0.memberEpoch = -1 } }
        #expect(commit(harness, "", epoch: -1) == .none, "an empty group takes offsets from outside")
    }

    @Test("Listed with its type, described by its own request, deleted when it is empty, with its offsets")
    func administration() throws {
        let harness = GroupHarness.streams()
        var a = StreamsThread("a")
        harness.beat(&a)
        #expect(commit(harness, "a", epoch: a.epoch) == .none)
        let listed = harness.core.list(states: [], types: [])
        #expect(listed.map(\.groupType) == ["streams"] && listed.map(\.protocolType) == ["streams"])
        #expect(harness.core.list(states: ["stable"], types: ["Streams"]).count == 1)
        #expect(harness.core.describe(group: "group", apiVersion: 6).errorCode == .groupIdNotFound)
        #expect(harness.core.describeConsumerGroup("group").errorMessage == "Group group is not a consumer group.")
        #expect(harness.core.describeStreamsGroup("nothing").errorMessage == "Group nothing not found.")
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.nonEmptyGroup])
        harness.beat(&a) { $0.memberEpoch = -1 }
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.none])
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.reloaded().list(states: [], types: []).isEmpty)
        #expect(harness.reloaded().committedOffset(group: "group", topic: "t", partition: 0) == nil)
    }

    @Test("Offsets of an empty group expire, and the group with them")
    func expiry() {
        let harness = GroupHarness.streams()
        var a = StreamsThread("a")
        harness.beat(&a)
        #expect(commit(harness, "a", epoch: a.epoch) == .none)
        harness.beat(&a) { $0.memberEpoch = -1 }
        harness.advance(8 * 24 * 3_600_000)
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) == nil)
    }

    @Test("Groups of other kinds and streams groups give way to each other only as Kafka has it")
    func otherKinds() {
        let harness = GroupHarness.streams()
        var a = StreamsThread("a")
        harness.beat(&a)
        var classic = GroupClient("c")
        harness.join(&classic)
        #expect(harness.joined["c"]?.errorCode == .inconsistentGroupProtocol)
        #expect(harness.consumerHeartbeat("b", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
        harness.beat(&a) { $0.memberEpoch = -1 }
        #expect(harness.consumerHeartbeat("b", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
        harness.joinWithID(&classic)
        harness.advance(6_000)
        #expect(harness.joined["c"]?.generationId == 1, "an empty streams group becomes a classic one")
        #expect(harness.core.list(states: [], types: []).map(\.groupType) == ["classic"])
        #expect(harness.reloaded().list(states: [], types: []).map(\.groupType) == ["classic"])
        a.epoch = 0
        harness.beat(&a)
        #expect(a.lastError == .groupIdNotFound)
        harness.adopt(&classic)
        harness.leave(classic)
        harness.beat(&a)
        #expect(a.lastError == .none, "and an empty classic group a streams one")
        #expect(harness.core.list(states: [], types: []).map(\.groupType) == ["streams"])
        #expect(harness.reloaded().list(states: [], types: []).map(\.groupType) == ["streams"])
    }

    @Test("A write that is lost leaves the group as it was")
    func lostWrites() {
        let harness = GroupHarness.streams()
        harness.writeError = .notEnoughReplicas
        var a = StreamsThread("a")
        harness.beat(&a)
        #expect(harness.core.list(states: [], types: []).isEmpty)
        harness.writeError = nil
        a = StreamsThread("a")
        harness.beat(&a)
        #expect(a.active == ["0-0", "0-1", "1-0", "1-1"])
        harness.writeError = .notEnoughReplicas
        harness.advance(50_000)
        #expect(harness.streamsState == "Stable")
        harness.writeError = nil
        harness.advance(5_000)
        #expect(harness.streamsState == "Empty", "the end of a session is tried again")
    }
}
