// Share groups (KIP-932): who joins, stays and goes, what each reads, which partitions have state, and that all of it survives a restart.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

/// A member of a share group that does what it is told.
private struct ShareMember {
    var name: String
    var epoch: Int32 = 0
    var topics: [String]
    var partitions: [TopicIDPartition] = []
    var lastError = ErrorCode.none
    var interval: Int32 = 0

    init(_ name: String, topics: [String] = ["t"]) {
        self.name = name
        self.topics = topics
    }

    var indexes: [Int32] { partitions.map(\.partition).sorted() }
}

extension GroupHarness {
    fileprivate func shareHeartbeat(
        _ name: String, epoch: Int32, topics: [String]? = nil, group: String = GroupHarness.group
    ) -> ShareHeartbeatOutcome {
        var request = ShareGroupHeartbeatRequest()
        request.groupId = group
        request.memberId = name
        request.memberEpoch = epoch
        request.subscribedTopicNames = topics
        let context = GroupRequestContext(apiVersion: 1, clientID: "client-\(name)", clientHost: "/127.0.0.1")
        return take(core.shareGroupHeartbeat(request, context: context, now: now))
    }

    /// One heartbeat; state that it asks for is there at once, unless it is to get lost.
    @discardableResult
    fileprivate func beat(_ member: inout ShareMember, initializes: Bool = true) -> ShareHeartbeatOutcome {
        let outcome = shareHeartbeat(member.name, epoch: member.epoch, topics: member.epoch == 0 ? member.topics : nil)
        member.lastError = outcome.response.errorCode
        guard outcome.response.errorCode == .none else { return outcome }
        member.epoch = outcome.response.memberEpoch
        member.interval = outcome.response.heartbeatIntervalMs
        if let assignment = outcome.response.assignment {
            member.partitions = assignment.topicPartitions.flatMap { topic in
                topic.partitions.map { TopicIDPartition(topic.topicId, $0) }
            }
        }
        if let initialization = outcome.initialization, initializes {
            take(core.shareStateInitialized(initialization, succeeded: true, now: now))
        }
        return outcome
    }

    fileprivate func settle(_ members: inout [ShareMember]) {
        for _ in 0..<20 {
            let before = members.map { "\($0.epoch) \($0.indexes)" }
            for index in members.indices { beat(&members[index]) }
            if members.map({ "\($0.epoch) \($0.indexes)" }) == before { return }
        }
    }

    fileprivate static func sharers(partitions: Int32 = 6) -> GroupHarness {
        let harness = GroupHarness { $0.share.assignmentIntervalMilliseconds = 0 }
        harness.setTopics({ $0.add("t", partitions: partitions) }, changed: ["t"], hasNew: true)
        return harness
    }
}

@Suite("Share groups")
struct ShareGroupTests {
    @Test("Partitions are read once share coordinators have state for them, and members are told to come back soon until then")
    func initialization() {
        let harness = GroupHarness.sharers(partitions: 2)
        var member = ShareMember("a")
        let first = harness.beat(&member, initializes: false)
        #expect(member.partitions.isEmpty && member.epoch == 1)
        #expect(first.initialization?.topics.map(\.name) == ["t"])
        #expect(first.initialization?.topics.first?.partitions == [.init(index: 0, startOffset: -1), .init(index: 1, startOffset: -1)])
        #expect(member.interval < 5_000)
        #expect(harness.beat(&member).initialization == nil, "asked for once")
        #expect(member.partitions.isEmpty)
        harness.advance(30_000)
        #expect(harness.beat(&member).initialization != nil, "the answer got lost")
        harness.beat(&member)
        #expect(member.indexes == [0, 1] && member.interval == 5_000)
    }

    @Test("Members share partitions; beyond their number several read the same")
    func sharing() {
        let harness = GroupHarness.sharers(partitions: 4)
        var members = [ShareMember("a"), ShareMember("b")]
        harness.settle(&members)
        #expect(members.flatMap(\.indexes).sorted() == [0, 1, 2, 3])
        #expect(members.map(\.indexes.count) == [2, 2])
        for name in ["c", "d", "e", "f"] { members.append(ShareMember(name)) }
        harness.settle(&members)
        #expect(members.allSatisfy { !$0.partitions.isEmpty })
        #expect(Set(members.flatMap(\.indexes)) == [0, 1, 2, 3])
        #expect(harness.core.describeShareGroup(GroupHarness.group).members.count == 6)
    }

    @Test("Different subscriptions: everybody reads its own topics only")
    func subscriptions() {
        let harness = GroupHarness.sharers(partitions: 2)
        harness.setTopics({ $0.add("u", partitions: 3) }, changed: ["u"], hasNew: true)
        var members = [ShareMember("a", topics: ["t"]), ShareMember("b", topics: ["t", "u"])]
        harness.settle(&members)
        #expect(members[0].partitions.allSatisfy { $0.topicID == TestTopics.id(1) })
        #expect(Set(members.flatMap(\.partitions)).count == 5)
    }

    @Test("Whoever leaves or falls silent is gone, and the others read what it read")
    func leaving() {
        let harness = GroupHarness.sharers(partitions: 2)
        var members = [ShareMember("a"), ShareMember("b")]
        harness.settle(&members)
        #expect(harness.shareHeartbeat("b", epoch: -1).response.memberEpoch == -1)
        members.removeLast()
        harness.settle(&members)
        #expect(members[0].indexes == [0, 1])
        #expect(harness.reasons.map(\.kind).contains(.memberLeft))
        harness.advance(45_000)
        #expect(harness.core.describeShareGroup(GroupHarness.group).groupState == "Empty")
        harness.beat(&members[0])
        #expect(members[0].lastError == .unknownMemberId)
    }

    @Test("A member of the past, or of the future, is told to begin anew; the epoch before the last may have been missed")
    func fencing() {
        let harness = GroupHarness.sharers(partitions: 2)
        var members = [ShareMember("a")]
        harness.settle(&members)
        let epoch = members[0].epoch
        #expect(harness.shareHeartbeat("a", epoch: epoch + 1).response.errorCode == .fencedMemberEpoch)
        harness.setTopics({ $0.add("t", partitions: 3) }, changed: ["t"])
        let next = harness.shareHeartbeat("a", epoch: epoch).response.memberEpoch
        #expect(next > epoch)
        #expect(harness.shareHeartbeat("a", epoch: epoch).response.errorCode == ErrorCode.none, "the answer may have got lost")
        harness.setTopics({ $0.add("t", partitions: 4) }, changed: ["t"])
        #expect(harness.shareHeartbeat("a", epoch: next).response.memberEpoch > next)
        #expect(harness.shareHeartbeat("a", epoch: epoch).response.errorCode == .fencedMemberEpoch)
        #expect(harness.shareHeartbeat("z", epoch: 4).response.errorCode == .unknownMemberId)
        #expect(harness.shareHeartbeat("z", epoch: 4, group: "other").response.errorCode == .groupIdNotFound)
        #expect(harness.shareHeartbeat("z", epoch: 0).response.errorCode == .invalidRequest)
        #expect(harness.shareHeartbeat("z", epoch: -2).response.errorCode == .invalidRequest)
    }

    @Test("New partitions are read from their beginning")
    func morePartitions() {
        let harness = GroupHarness.sharers(partitions: 1)
        var members = [ShareMember("a")]
        harness.settle(&members)
        harness.setTopics({ $0.add("t", partitions: 3) }, changed: ["t"])
        let outcome = harness.beat(&members[0], initializes: false)
        #expect(outcome.initialization?.topics.first?.partitions == [.init(index: 1, startOffset: 0), .init(index: 2, startOffset: 0)])
    }

    @Test("Everything is in the log")
    func restart() {
        let harness = GroupHarness.sharers(partitions: 3)
        var members = [ShareMember("a"), ShareMember("b")]
        harness.settle(&members)
        let before = harness.core.describeShareGroup(GroupHarness.group)
        harness.restart()
        harness.core.metadataChanged(harness.topics, changedTopics: [], hasNewTopics: false)
        #expect(harness.core.describeShareGroup(GroupHarness.group) == before)
        #expect(harness.core.sharePartitions(of: GroupHarness.group)?.count == 3)
        let epochs = members.map(\.epoch)
        harness.settle(&members)
        #expect(members.map(\.epoch) == epochs, "nothing moves because of a restart")
    }

    @Test("Offsets are altered in an empty group only; topics can be forgotten; then the group can be deleted")
    func administration() throws {
        let harness = GroupHarness.sharers(partitions: 2)
        var members = [ShareMember("a")]
        harness.settle(&members)
        let topic = ShareStateInitialization.Topic(id: TestTopics.id(1), name: "t", partitions: [.init(index: 0, startOffset: 5)])
        func alter() -> Result<ShareStateInitialization, ShareOffsetsRefusal> {
            harness.take(harness.core.alterShareOffsets(of: GroupHarness.group, to: [topic], now: harness.now))
        }
        #expect(alter() == .failure(ShareOffsetsRefusal(.nonEmptyGroup)))
        _ = harness.shareHeartbeat("a", epoch: -1)
        let epoch = harness.core.describeShareGroup(GroupHarness.group).groupEpoch
        let altered = try alter().get()
        #expect(altered.stateEpoch == epoch + 1)
        harness.take(harness.core.shareStateInitialized(altered, succeeded: true, now: harness.now))
        #expect(
            harness.take(harness.core.delete(groups: [GroupHarness.group], now: harness.now)).map(\.errorCode) == [.groupDeletionFailed])
        let deletion = try harness.take(
            harness.core.beginDeletingShareState(of: GroupHarness.group, topics: nil, now: harness.now)
        ).get()
        #expect(deletion.partitions.count == 2)
        #expect(harness.core.sharePartitions(of: GroupHarness.group) == [])
        harness.take(harness.core.shareStateDeleted(deletion, now: harness.now))
        #expect(harness.take(harness.core.delete(groups: [GroupHarness.group], now: harness.now)).map(\.errorCode) == [.none])
        #expect(harness.core.list(states: [], types: []).isEmpty)
        harness.restart()
        #expect(harness.core.list(states: [], types: []).isEmpty, "the log has nothing left of it either")
    }

    @Test("A topic that is deleted is forgotten")
    func deletedTopic() {
        let harness = GroupHarness.sharers(partitions: 2)
        var members = [ShareMember("a")]
        harness.settle(&members)
        harness.setTopics({ $0.remove("t") }, changed: ["t"])
        harness.take(harness.core.topicsDeleted([(name: "t", id: TestTopics.id(1))], now: harness.now))
        #expect(harness.core.sharePartitions(of: GroupHarness.group) == [])
        harness.settle(&members)
        #expect(members[0].partitions.isEmpty)
    }

    @Test("A share group is no other kind of group")
    func otherKinds() {
        let harness = GroupHarness.sharers(partitions: 2)
        var members = [ShareMember("a")]
        harness.settle(&members)
        #expect(harness.consumerHeartbeat("b", epoch: 0, topics: ["t"]).errorCode == .groupIdNotFound)
        var client = GroupClient("c")
        harness.join(&client)
        #expect(harness.joined["c"]?.errorCode == .inconsistentGroupProtocol)
        #expect(harness.core.list(states: ["stable"], types: ["share"]).map(\.groupId) == [GroupHarness.group])
        var consumers = [ConsumerMember("d")]
        let other = GroupHarness.consumers()
        other.settle(&consumers)
        #expect(other.shareHeartbeat("a", epoch: 0, topics: ["t"]).response.errorCode == .groupIdNotFound)
    }
}
