// Consumer groups (KIP-848): who joins, stays and goes, what each has, and that all of it survives a restart of the coordinator.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Consumer groups")
struct ConsumerGroupTests {
    private func isShared(_ members: [ConsumerMember], partitions: Int) -> Bool {
        members.flatMap(\.partitions).sorted() == (0..<Int32(partitions)).map { $0 }
    }

    @Test("Members share all partitions; nobody ever has one that another has not given back")
    func sharing() {
        let harness = GroupHarness.consumers()
        var members = [ConsumerMember("a")]
        harness.settle(&members)
        #expect(members[0].partitions == [0, 1, 2, 3, 4, 5])
        #expect(members[0].epoch == 1)
        members.append(ConsumerMember("b"))
        harness.beat(&members[1])
        #expect(members[1].partitions.isEmpty)
        #expect(harness.groupState == "Reconciling")
        harness.beat(&members[0])
        #expect(members[0].partitions.count == 3)
        #expect(members[0].epoch == 1, "until it has given back, it stays in its epoch")
        harness.beat(&members[1])
        #expect(members[1].partitions.isEmpty, "what the other has not yet given back is not given on")
        harness.settle(&members)
        #expect(isShared(members, partitions: 6))
        #expect(members.map(\.epoch) == [2, 2])
        #expect(harness.groupState == "Stable")
        #expect(harness.reasons.map(\.kind) == [.memberJoined, .memberJoined])
        #expect(harness.reasons.map(\.memberID) == ["a", "b"])
    }

    @Test("Whoever leaves or falls silent loses its share, and the reason is kept")
    func leaving() {
        let harness = GroupHarness.consumers()
        var members = ["a", "b", "c"].map { ConsumerMember($0) }
        harness.settle(&members)
        #expect(isShared(members, partitions: 6))
        #expect(harness.consumerHeartbeat("c", epoch: -1).memberEpoch == -1)
        members.removeLast()
        harness.settle(&members)
        #expect(isShared(members, partitions: 6))
        for _ in 0..<5 {
            harness.advance(10_000)
            harness.beat(&members[0])
        }
        var left = [members[0]]
        harness.settle(&left)
        #expect(isShared(left, partitions: 6))
        #expect(harness.reasons.suffix(2).map(\.kind) == [.memberLeft, .sessionTimedOut])
        harness.beat(&members[1])
        #expect(members[1].lastError == .unknownMemberId)
    }

    @Test("A member that does not give back in time is removed")
    func revocationTimeout() {
        let harness = GroupHarness.consumers()
        var a = ConsumerMember("a")
        a.rebalanceTimeout = 20_000
        var b = ConsumerMember("b")
        harness.beat(&a)
        harness.beat(&b)
        let held = a.owned
        harness.beat(&a)
        for _ in 0..<4 {
            // It beats on, and claims all that it had.
            a.owned = held
            harness.advance(5_000)
            harness.beat(&a)
            harness.beat(&b)
        }
        #expect(a.lastError == .unknownMemberId)
        #expect(b.partitions == [0, 1, 2, 3, 4, 5])
        #expect(harness.reasons.last?.kind == .rebalanceTimedOut)
    }

    @Test("A restarted coordinator knows what everybody has")
    func restart() {
        let harness = GroupHarness.consumers()
        var members = ["a", "b"].map { ConsumerMember($0) }
        harness.settle(&members)
        let before = members.map(\.owned)
        harness.restart()
        harness.settle(&members)
        #expect(members.map(\.owned) == before)
        #expect(members.allSatisfy { $0.lastError == .none })
        harness.advance(60_000)
        #expect(harness.groupState == "Empty", "sessions begin anew with the coordinator's term")
    }

    @Test("Wrong epochs are fenced, except the one before when the answer with the new one was lost")
    func fencing() {
        let harness = GroupHarness.consumers()
        var members = ["a", "b"].map { ConsumerMember($0) }
        harness.settle(&members)
        let epoch = members[0].epoch
        #expect(harness.consumerHeartbeat("a", epoch: epoch + 1, owned: members[0].owned).errorCode == .fencedMemberEpoch)
        #expect(harness.consumerHeartbeat("a", epoch: epoch - 1, owned: members[0].owned).errorCode == .none)
        #expect(harness.consumerHeartbeat("nobody", epoch: 3).errorCode == .unknownMemberId)
        let foreign = [TopicIDPartition(TestTopics.id(9), 0)]
        #expect(harness.consumerHeartbeat("a", epoch: epoch - 1, owned: foreign).errorCode == .fencedMemberEpoch)
    }

    @Test("Malformed requests are refused, and leave no group behind")
    func refusals() {
        let harness = GroupHarness.consumers { $0.consumer.maximumSize = 1 }
        #expect(harness.consumerHeartbeat("", epoch: 0, topics: ["t"]).errorCode == .invalidRequest)
        #expect(harness.consumerHeartbeat("a", epoch: 0).errorCode == .invalidRequest)
        #expect(harness.consumerHeartbeat("a", epoch: 0, topics: ["t"], owned: nil).errorCode == .invalidRequest)
        #expect(harness.consumerHeartbeat("a", epoch: -2).errorCode == .invalidRequest)
        #expect(harness.consumerHeartbeat("a", epoch: 5).errorCode == .groupIdNotFound)
        #expect(harness.consumerHeartbeat("a", epoch: 0, topics: ["t"], assignor: "mine").errorCode == .unsupportedAssignor)
        #expect(harness.consumerHeartbeat("a", epoch: 0, expression: "(").errorCode == .invalidRegularExpression)
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.log.isEmpty)
        #expect(harness.consumerHeartbeat("", epoch: 0, topics: ["t"], version: 0).memberId?.isEmpty == false)
        #expect(harness.consumerHeartbeat("b", epoch: 0, topics: ["t"]).errorCode == .groupMaxSizeReached)
    }

    @Test("A lost write changes nothing, and the member tries again")
    func lostWrite() {
        let harness = GroupHarness.consumers()
        harness.writeError = .coordinatorNotAvailable
        _ = harness.consumerHeartbeat("a", epoch: 0, topics: ["t"])
        #expect(harness.core.list(states: [], types: []).isEmpty)
        harness.writeError = nil
        var members = [ConsumerMember("a")]
        harness.settle(&members)
        harness.writeError = .coordinatorNotAvailable
        _ = harness.consumerHeartbeat("b", epoch: 0, topics: ["t"])
        harness.writeError = nil
        #expect(harness.core.describeConsumerGroup("group").members.map(\.memberId) == ["a"])
        harness.writeError = .coordinatorNotAvailable
        _ = harness.consumerHeartbeat("a", epoch: -1)
        harness.writeError = nil
        harness.beat(&members[0])
        #expect(members[0].lastError == .none, "its leaving was lost")
        harness.writeError = .coordinatorNotAvailable
        _ = harness.consumerHeartbeat("a", epoch: -1)
        harness.writeError = nil
        harness.advance(45_001)
        #expect(harness.groupState == "Empty", "whoever wanted to leave falls silent")
        members = ["a", "b"].map { ConsumerMember($0) }
        harness.settle(&members)
        #expect(isShared(members, partitions: 6))
    }

    @Test("A static member that is away keeps its share for whoever comes back in its place")
    func staticMember() {
        let harness = GroupHarness.consumers()
        var a = ConsumerMember("a")
        a.instanceID = "one"
        var members = [a, ConsumerMember("b")]
        harness.settle(&members)
        let share = members[0].owned
        let epoch = members[1].epoch
        #expect(harness.consumerHeartbeat("x", epoch: 0, topics: ["t"], instanceID: "one").errorCode == .unreleasedInstanceId)
        #expect(harness.consumerHeartbeat("a", epoch: -2, instanceID: "one").memberEpoch == -2)
        var returned = ConsumerMember("a2")
        returned.instanceID = "one"
        harness.beat(&returned)
        #expect(returned.owned == share)
        #expect(returned.epoch == epoch)
        harness.beat(&members[1])
        #expect(members[1].epoch == epoch, "nobody else notices")
        #expect(harness.consumerHeartbeat("a", epoch: epoch, instanceID: "one").errorCode == .fencedInstanceId)
        harness.restart()
        harness.beat(&returned)
        #expect(returned.lastError == .none)
        #expect(returned.owned == share)
    }

    @Test("New partitions and deleted topics rebalance with the next heartbeat; what does not concern the group does not")
    func topicChanges() {
        let harness = GroupHarness.consumers(partitions: 2)
        var members = [ConsumerMember("a", topics: ["t", "u"])]
        harness.settle(&members)
        #expect(members[0].partitions == [0, 1])
        harness.setTopics({ $0.add("other", partitions: 1) }, changed: ["other"], hasNew: true)
        harness.settle(&members)
        #expect(members[0].epoch == 1)
        harness.setTopics({ $0.add("u", partitions: 1) }, changed: ["u"], hasNew: true)
        harness.settle(&members)
        #expect(members[0].partitions == [0, 0, 1])
        #expect(harness.reasons.last?.kind == .topicsChanged)
        harness.setTopics({ $0.remove("t") }, changed: ["t"])
        harness.settle(&members)
        #expect(members[0].partitions == [0])
    }

    @Test("An expression means the topics that the member may see, at most every ten seconds anew")
    func expression() {
        let harness = GroupHarness.consumers(partitions: 1)
        for name in ["t2", "hidden-t"] { harness.setTopics({ $0.add(name, partitions: 1) }, changed: [name], hasNew: true) }
        let first = harness.consumerHeartbeat("a", epoch: 0, expression: ".*t[0-9]?", isTopicVisible: { !$0.hasPrefix("hidden") })
        #expect(first.assignment?.topicPartitions.count == 2)
        let records = harness.log.compactMap { record -> [String]? in
            if case .consumerGroup(.regularExpression(_, ".*t[0-9]?", let value?)) = record { value.topics } else { nil }
        }
        #expect(records == [["t", "t2"]])
        harness.setTopics({ $0.add("t3", partitions: 1) }, changed: ["t3"], hasNew: true)
        var member = ConsumerMember("a", topics: nil)
        member.epoch = first.memberEpoch
        member.owned = [TopicIDPartition(TestTopics.id(1), 0), TopicIDPartition(TestTopics.id(2), 0)]
        harness.beat(&member)
        #expect(member.owned.count == 2)
        harness.advance(10_001)
        harness.beat(&member)
        harness.beat(&member)
        #expect(member.owned.count == 4)
        _ = harness.consumerHeartbeat("a", epoch: -1)
        #expect(
            harness.log.contains { if case .consumerGroup(.regularExpression(_, _, nil)) = $0 { true } else { false } },
            "nobody subscribes to it any more")
    }

    @Test("Members that come one after the other get one assignment (KIP-1263)")
    func assignmentInterval() {
        let harness = GroupHarness.consumers { $0.consumer.assignmentIntervalMilliseconds = 1_000 }
        var members = ["a", "b", "c"].map { ConsumerMember($0) }
        for index in members.indices { harness.beat(&members[index]) }
        #expect(harness.core.describeConsumerGroup("group").groupEpoch == 3)
        #expect(harness.core.describeConsumerGroup("group").assignmentEpoch == 1)
        harness.advance(1_000)
        harness.settle(&members)
        #expect(harness.core.describeConsumerGroup("group").assignmentEpoch == 3)
        #expect(isShared(members, partitions: 6))
    }

    @Test("Commits need the member's epoch, or an earlier one in which it had the partition already")
    func commits() {
        let harness = GroupHarness.consumers(partitions: 2)
        var members = [ConsumerMember("a")]
        harness.settle(&members)
        members.append(ConsumerMember("b"))
        harness.settle(&members)
        let kept = members[0].partitions[0]
        let given = members[1].partitions[0]
        func commit(_ name: String, epoch: Int32, partition: Int32, version: Int16 = 9) -> ErrorCode {
            var client = GroupClient(name)
            client.memberID = name
            client.generation = epoch
            return harness.commit(client, topicID: TestTopics.id(1), partition: partition, offset: 1, apiVersion: version)
        }
        #expect(commit("a", epoch: 2, partition: kept) == .none)
        #expect(commit("a", epoch: 1, partition: kept) == .none)
        #expect(commit("a", epoch: 1, partition: given) == .staleMemberEpoch)
        #expect(commit("b", epoch: 1, partition: given) == .staleMemberEpoch)
        #expect(commit("a", epoch: 3, partition: kept) == .staleMemberEpoch)
        #expect(commit("nobody", epoch: 1, partition: kept) == .unknownMemberId)
        #expect(commit("a", epoch: 2, partition: kept, version: 8) == .unsupportedVersion)
        #expect(harness.commit(offset: 4) == .unknownMemberId)
        var fetch = OffsetFetchRequest.OffsetFetchRequestGroup()
        fetch.groupId = "group"
        fetch.memberId = "a"
        fetch.memberEpoch = 1
        fetch.topics = nil
        #expect(harness.core.fetchOffsets(fetch, requireStable: false).errorCode == .staleMemberEpoch)
        fetch.memberEpoch = 2
        #expect(harness.core.fetchOffsets(fetch, requireStable: false).topics.count == 1)
    }

    @Test("An empty group is deleted with all of its records, and gives way to a classic one")
    func deletion() {
        for byJoin in [false, true] {
            let harness = GroupHarness.consumers()
            var members = [ConsumerMember("a")]
            harness.settle(&members)
            #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.nonEmptyGroup])
            _ = harness.consumerHeartbeat("a", epoch: -1)
            if byJoin {
                var client = GroupClient("c")
                harness.joinWithID(&client)
                harness.advance(6_000)
                #expect(harness.core.list(states: [], types: []).map(\.groupType) == ["classic"])
            } else {
                #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.none])
                #expect(harness.core.list(states: [], types: []).isEmpty)
            }
            var last: [ByteBuffer: Bool] = [:]
            for case .consumerGroup(let record) in harness.log {
                if let (key, value) = try? CoordinatorRecord.consumerGroup(record).encoded() { last[key] = value == nil }
            }
            #expect(!last.isEmpty && last.values.allSatisfy { $0 }, "every key ends with a tombstone")
        }
    }

    @Test("Records are read as they were written")
    func records() throws {
        let harness = GroupHarness.consumers()
        var members = ["a", "b"].map { ConsumerMember($0) }
        members[0].instanceID = "one"
        harness.settle(&members)
        _ = harness.consumerHeartbeat("c", epoch: 0, expression: "t")
        #expect(harness.log.count > 10)
        for record in harness.log {
            let (key, value) = try record.encoded()
            #expect(try CoordinatorRecord(key: key, value: value) == record)
        }
    }
}
