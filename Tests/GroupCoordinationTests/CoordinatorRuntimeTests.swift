// The shell: finding the shard, loading, committing, and the older forms of requests.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Runtime
import Storage
import TestKit
import Testing

@Suite("Coordinator runtime")
struct CoordinatorRuntimeTests {
    private let clock = ManualClock()
    private let runtime: CoordinatorRuntime

    init() {
        var configuration = CoordinatorRuntimeConfiguration()
        configuration.partitionCount = 4
        let clock = clock
        runtime = CoordinatorRuntime(configuration: configuration, clock: { clock.now })
    }

    private func context(_ version: Int16) -> GroupRequestContext {
        GroupRequestContext(apiVersion: version, clientID: "c", clientHost: "/127.0.0.1")
    }

    private func load(_ log: MemoryCoordinatorLog = MemoryCoordinatorLog(), partition: Int32? = nil) throws {
        try runtime.load(partition: partition ?? runtime.partition(for: "group"), from: log)
    }

    private func commit(_ topics: [(String, [Int32])], version: Int16 = 9, offset: Offset = 5) -> Answer<OffsetCommitResponse> {
        var request = OffsetCommitRequest()
        request.groupId = "group"
        request.topics = topics.map { name, partitions in
            var topic = OffsetCommitRequest.OffsetCommitRequestTopic()
            if version >= 10 {
                topic.topicId = FixedTopics.ids[name] ?? .one
            } else {
                topic.name = name
            }
            topic.partitions = partitions.map { index in
                var partition = OffsetCommitRequest.OffsetCommitRequestPartition()
                partition.partitionIndex = index
                partition.committedOffset = offset
                return partition
            }
            return topic
        }
        let answer = Answer<OffsetCommitResponse>()
        runtime.commitOffsets(request, context: context(version), topics: FixedTopics(), completion: answer.completion)
        return answer
    }

    private func fetch(_ version: Int16, topics: [(String, [Int32])]?) -> OffsetFetchResponse? {
        var request = OffsetFetchRequest()
        if version < 8 {
            request.groupId = "group"
            request.topics = topics?.map { name, partitions in
                var topic = OffsetFetchRequest.OffsetFetchRequestTopic()
                topic.name = name
                topic.partitionIndexes = partitions
                return topic
            }
        } else {
            var group = OffsetFetchRequest.OffsetFetchRequestGroup()
            group.groupId = "group"
            group.topics = topics?.map { name, partitions in
                var topic = OffsetFetchRequest.OffsetFetchRequestTopics()
                if version >= 10 { topic.topicId = FixedTopics.ids[name] ?? .one } else { topic.name = name }
                topic.partitionIndexes = partitions
                return topic
            }
            request.groups = [group]
        }
        let answer = Answer<OffsetFetchResponse>()
        runtime.fetchOffsets(request, context: context(version), topics: FixedTopics(), completion: answer.completion)
        return answer.value
    }

    @Test(
        "A group's partition follows Java's hash code",
        arguments: [("", 0), ("group", 47), ("my-group", 12), ("polygenelubricants", 0), ("gruppe-ü-日本", 18)] as [(String, Int32)])
    func partitions(group: String, expected: Int32) {
        #expect(CoordinatorRuntime.partition(for: group, partitionCount: 50) == expected)
    }

    @Test("Before its log is read a group is being loaded, and elsewhere before that and after")
    func terms() throws {
        let partition = runtime.partition(for: "group")
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .notCoordinator)
        let term = runtime.beginTerm(partition: partition)
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .coordinatorLoadInProgress)
        #expect(runtime.listGroups(ListGroupsRequest()).errorCode == .coordinatorLoadInProgress)
        var heartbeat = HeartbeatRequest()
        heartbeat.groupId = "group"
        let answer = Answer<HeartbeatResponse>()
        runtime.heartbeat(heartbeat, completion: answer.completion)
        #expect(answer.value?.errorCode == ErrorCode.none, "members are not troubled while their group is loaded")
        try runtime.load(partition: partition, term: term, from: MemoryCoordinatorLog())
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == ErrorCode.none)
        runtime.endTerm(partition: partition)
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .notCoordinator)
        #expect(runtime.nextDeadline == nil)
    }

    @Test("A term that ended while its log was read does not begin to serve")
    func overtakenTerm() throws {
        let partition = runtime.partition(for: "group")
        let term = runtime.beginTerm(partition: partition)
        runtime.endTerm(partition: partition)
        try runtime.load(partition: partition, term: term, from: MemoryCoordinatorLog())
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .notCoordinator)
    }

    @Test("One commit is one batch, and what does not exist is refused apart from it")
    func oneBatch() throws {
        let log = MemoryCoordinatorLog()
        try load(log)
        let response = commit([("t", [0, 1, 2]), ("x", [0]), ("u", [0])]).value
        #expect(response?.topics.map(\.name) == ["t", "u", "x"])
        #expect(response?.topics[0].partitions.map(\.partitionIndex) == [0, 1, 2])
        #expect(response?.topics[0].partitions.map(\.errorCode) == [.none, .none, .unknownTopicOrPartition])
        #expect(response?.topics[2].partitions.map(\.errorCode) == [.unknownTopicOrPartition])
        #expect(log.batchCount == 1)
        #expect(log.endOffset == 3)
        #expect(commit([("x", [0])]).value?.topics[0].partitions[0].errorCode == .unknownTopicOrPartition)
        #expect(log.batchCount == 1)
    }

    @Test("Topics by id: unknown ids are named back, known ones keep theirs")
    func topicIDs() throws {
        try load()
        let response = commit([("t", [0]), ("x", [0])], version: 10).value
        #expect(response?.topics.map(\.topicId) == [FixedTopics.id, .one])
        #expect(response?.topics.map { $0.partitions[0].errorCode } == [.none, .unknownTopicId])
        let fetched = fetch(10, topics: [("t", [0]), ("x", [0])])?.groups[0]
        #expect(fetched?.topics.map(\.topicId) == [FixedTopics.id, .one])
        #expect(fetched?.topics[0].partitions[0].committedOffset == 5)
        #expect(fetched?.topics[1].partitions[0].errorCode == .unknownTopicId)
        #expect(fetch(10, topics: nil)?.groups[0].topics.map(\.topicId) == [FixedTopics.id])
    }

    @Test("OffsetFetch in the forms of all versions", arguments: 1...10 as ClosedRange<Int16>)
    func fetchVersions(version: Int16) throws {
        #expect(throws: Never.self) { try fetch(version, topics: [("t", [0])])?.encoded(version: version) }
        let before = fetch(version, topics: [("t", [0])])
        switch version {
        case 1: #expect(before?.topics[0].partitions[0].errorCode == .notCoordinator)
        case 2...7: #expect(before?.errorCode == .notCoordinator)
        default: #expect(before?.groups[0].errorCode == .notCoordinator)
        }
        try load()
        _ = commit([("t", [0])])
        let response = fetch(version, topics: [("t", [0, 1])])
        if version < 8 {
            #expect(response?.topics[0].partitions.map(\.committedOffset) == [5, -1])
        } else {
            #expect(response?.groups[0].topics[0].partitions.map(\.committedOffset) == [5, -1])
        }
        #expect(throws: Never.self) { try response?.encoded(version: version) }
    }

    @Test("An answer waits for the high watermark, and a lost leadership answers it too")
    func highWatermark() throws {
        let log = MemoryCoordinatorLog()
        try load(log)
        log.state.withLock { $0.isReplicated = false }
        let partition = runtime.partition(for: "group")
        let first = commit([("t", [0])], offset: 1)
        let second = commit([("t", [0])], offset: 2)
        #expect(first.value == nil)
        runtime.highWatermarkAdvanced(partition: partition, to: 1)
        #expect(first.value?.topics[0].partitions[0].errorCode == ErrorCode.none)
        #expect(second.value == nil)
        #expect(fetch(9, topics: [("t", [0])])?.groups[0].topics[0].partitions[0].committedOffset == 1)
        runtime.endTerm(partition: partition)
        #expect(second.value?.topics[0].partitions[0].errorCode == .notCoordinator)
        #expect(first.values.count == 1 && second.values.count == 1)
    }

    @Test("A failing log is told in the coordinator's terms, and nothing takes effect")
    func failingLog() throws {
        let log = MemoryCoordinatorLog()
        try load(log)
        log.state.withLock { $0.error = .kafkaStorageError }
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .notCoordinator)
        log.state.withLock { $0.error = .notEnoughReplicas }
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == .coordinatorNotAvailable)
        log.state.withLock { $0.error = nil }
        #expect(fetch(9, topics: [("t", [0])])?.groups[0].topics[0].partitions[0].committedOffset == -1)
        #expect(commit([("t", [0])]).value?.topics[0].partitions[0].errorCode == ErrorCode.none)
    }

    @Test("A member from its first join to its commit, and again after the coordinator moved", arguments: [0, 3, 4, 6, 7, 9] as [Int16])
    func lifeOfAMember(version: Int16) throws {
        let log = MemoryCoordinatorLog()
        try load(log)
        var request = JoinGroupRequest()
        request.groupId = "group"
        request.sessionTimeoutMs = 10_000
        request.rebalanceTimeoutMs = 10_000
        request.protocolType = "consumer"
        var offered = JoinGroupRequest.JoinGroupRequestProtocol()
        offered.name = "range"
        request.protocols = [offered]
        let joined = Answer<JoinGroupResponse>()
        runtime.join(request, context: context(version), completion: joined.completion)
        if version >= 4 {
            #expect(joined.value?.errorCode == .memberIdRequired)
            #expect(joined.value?.protocolName == (version >= 7 ? nil : ""))
            request.memberId = joined.value?.memberId ?? ""
            runtime.join(request, context: context(version), completion: joined.completion)
        }
        clock.advance(2_999)
        runtime.advance()
        #expect(joined.value?.errorCode != ErrorCode.none)
        #expect(runtime.nextDeadline == 3_000)
        clock.advance(1)
        runtime.advance()
        let answer = try #require(joined.value)
        #expect(answer.errorCode == .none)
        #expect(throws: Never.self) { try answer.encoded(version: version) }
        var sync = SyncGroupRequest()
        sync.groupId = "group"
        sync.memberId = answer.memberId
        sync.generationId = answer.generationId
        var assignment = SyncGroupRequest.SyncGroupRequestAssignment()
        assignment.memberId = answer.memberId
        assignment.assignment = ByteBuffer(string: "all")
        sync.assignments = [assignment]
        let synced = Answer<SyncGroupResponse>()
        runtime.sync(sync, context: context(5), completion: synced.completion)
        #expect(synced.value?.errorCode == .inconsistentGroupProtocol, "from version 5 on the protocol is named")
        runtime.sync(sync, context: context(4), completion: synced.completion)
        #expect(synced.value.map { String(buffer: $0.assignment) } == "all")

        runtime.endTerm(partition: runtime.partition(for: "group"))
        try load(log)
        var heartbeat = HeartbeatRequest()
        heartbeat.groupId = "group"
        heartbeat.memberId = answer.memberId
        heartbeat.generationId = answer.generationId
        let beaten = Answer<HeartbeatResponse>()
        runtime.heartbeat(heartbeat, completion: beaten.completion)
        #expect(beaten.value?.errorCode == ErrorCode.none)
        var leave = LeaveGroupRequest()
        leave.groupId = "group"
        leave.memberId = answer.memberId
        let left = Answer<LeaveGroupResponse>()
        runtime.leave(leave, context: context(1), completion: left.completion)
        runtime.leave(leave, context: context(1), completion: left.completion)
        #expect(left.values.map(\.errorCode) == [.none, .unknownMemberId])
        #expect(left.values.allSatisfy { $0.members.isEmpty })
        #expect(runtime.counts().count(of: .classic, in: "Empty") == 1)
        #expect(runtime.counts().count(of: .classic) == 1)
        #expect(runtime.reading(of: .completedRebalance).count == 1)
    }

    @Test("Groups of several shards are listed, described and deleted together")
    func severalShards() throws {
        for partition in 0..<4 as Range<Int32> { try load(partition: partition) }
        let names = (0..<20).map { "group-\($0)" }
        for name in names {
            var request = JoinGroupRequest()
            request.groupId = name
            request.sessionTimeoutMs = 10_000
            request.protocolType = "consumer"
            request.protocols = [JoinGroupRequest.JoinGroupRequestProtocol()]
            runtime.join(request, context: context(9), completion: { _ in })
        }
        #expect(Set(names.map(runtime.partition(for:))).count == 4)
        #expect(runtime.listGroups(ListGroupsRequest()).groups.map(\.groupId).sorted() == names.sorted())
        var describe = DescribeGroupsRequest()
        describe.groups = [names[3], "none"]
        #expect(runtime.describeGroups(describe, context: context(6)).groups.map(\.errorCode) == [.none, .groupIdNotFound])
        var delete = DeleteGroupsRequest()
        delete.groupsNames = names + ["none", names[0]]
        let deleted = Answer<DeleteGroupsResponse>()
        runtime.deleteGroups(delete, context: context(3), completion: deleted.completion)
        #expect(deleted.value?.results.count == 21)
        #expect(deleted.value?.results.filter { $0.errorCode != .none }.map(\.groupId) == ["none"])
        #expect(runtime.listGroups(ListGroupsRequest()).groups.isEmpty)
    }

    @Test("Deleted topics take their offsets along, and OffsetDelete names what does not exist")
    func deletions() throws {
        try load()
        _ = commit([("t", [0, 1]), ("u", [0])])
        var request = OffsetDeleteRequest()
        request.groupId = "group"
        request.topics = ([("t", [0, 7]), ("x", [0])] as [(String, [Int32])]).map { name, partitions in
            var topic = OffsetDeleteRequest.OffsetDeleteRequestTopic()
            topic.name = name
            topic.partitions = partitions.map { index in
                var partition = OffsetDeleteRequest.OffsetDeleteRequestPartition()
                partition.partitionIndex = index
                return partition
            }
            return topic
        }
        let answer = Answer<OffsetDeleteResponse>()
        runtime.deleteOffsets(request, topics: FixedTopics(), completion: answer.completion)
        #expect(answer.value?.topics.map(\.name) == ["t", "x"])
        #expect(answer.value?.topics[0].partitions.map(\.errorCode) == [.none, .unknownTopicOrPartition])
        #expect(fetch(9, topics: nil)?.groups[0].topics.map(\.partitions.count) == [1, 1])
        runtime.topicsDeleted([("t", FixedTopics.ids["t"] ?? .zero)])
        #expect(fetch(9, topics: nil)?.groups[0].topics.map(\.name) == ["u"])
    }

    @Test("Loading passes over what it cannot read, and keeps transactions apart")
    func loading() throws {
        let log = MemoryCoordinatorLog()
        try load(log)
        _ = commit([("t", [0])], offset: 1)
        var strange = RecordBatchBuilder()
        strange.append(timestamp: 0, key: ByteBuffer(bytes: [0, 77, 1]), value: nil)
        strange.append(timestamp: 0, key: nil, value: nil)
        _ = try log.append(strange.build(), transaction: TransactionTerms(), now: 0)
        let reload = CoordinatorRuntime(configuration: runtime.configuration)
        let report = try reload.load(partition: runtime.partition(for: "group"), from: log)
        #expect(report.recordCount == 3)
        #expect(report.skippedRecordCount == 2)
        #expect(report.nextOffset == 3)
    }

    @Test("Whoever asks sees what is over by then, before anybody looked at the timers")
    func timersBeforeRequests() throws {
        try load(MemoryCoordinatorLog())
        var join = JoinGroupRequest()
        join.groupId = "group"
        join.sessionTimeoutMs = 6_000
        join.rebalanceTimeoutMs = 60_000
        join.protocolType = "consumer"
        join.protocols = [JoinGroupRequest.JoinGroupRequestProtocol()]
        runtime.join(join, context: context(3), completion: { _ in })
        clock.advance(3_000)
        runtime.advance()
        var deletion = DeleteGroupsRequest()
        deletion.groupsNames = ["group"]
        let deadline = try #require(runtime.nextDeadline)
        clock.advance(deadline - 3_000 - 1)
        let early = Answer<DeleteGroupsResponse>()
        runtime.deleteGroups(deletion, context: context(2), completion: early.completion)
        #expect(early.value?.results.map(\.errorCode) == [.nonEmptyGroup])
        clock.advance(1)
        #expect(runtime.listGroups(ListGroupsRequest()).groups.map(\.groupState) == ["Empty"])
        let late = Answer<DeleteGroupsResponse>()
        runtime.deleteGroups(deletion, context: context(2), completion: late.completion)
        #expect(late.value?.results.map(\.errorCode) == [ErrorCode.none])
    }

    @Test("Every answer fits every version of its request")
    func versions() throws {
        for partition in 0..<4 as Range<Int32> { try load(partition: partition) }
        var join = JoinGroupRequest()
        join.groupId = "busy"
        join.sessionTimeoutMs = 10_000
        join.protocolType = "consumer"
        join.protocols = [JoinGroupRequest.JoinGroupRequestProtocol()]
        join.groupInstanceId = "instance"
        runtime.join(join, context: context(5), completion: { _ in })
        clock.advance(3_000)
        runtime.advance()
        for version in OffsetCommitRequest.validVersions {
            #expect(throws: Never.self) { try commit([("t", [0, 7]), ("x", [0])], version: version).value?.encoded(version: version) }
        }
        for version in ListGroupsRequest.validVersions {
            #expect(throws: Never.self) { try runtime.listGroups(ListGroupsRequest()).encoded(version: version) }
        }
        var describe = DescribeGroupsRequest()
        describe.groups = ["group", "busy", "none"]
        for version in DescribeGroupsRequest.validVersions {
            #expect(throws: Never.self) { try runtime.describeGroups(describe, context: context(version)).encoded(version: version) }
        }
        for version in SyncGroupRequest.validVersions {
            let answer = Answer<SyncGroupResponse>()
            runtime.sync(SyncGroupRequest(), context: context(version), completion: answer.completion)
            #expect(throws: Never.self) { try #require(answer.value).encoded(version: version) }
        }
        for version in LeaveGroupRequest.validVersions {
            let answer = Answer<LeaveGroupResponse>()
            var leave = LeaveGroupRequest()
            leave.groupId = "busy"
            leave.members = [LeaveGroupRequest.MemberIdentity()]
            runtime.leave(leave, context: context(version), completion: answer.completion)
            #expect(throws: Never.self) { try #require(answer.value).encoded(version: version) }
        }
        for version in DeleteGroupsRequest.validVersions {
            let answer = Answer<DeleteGroupsResponse>()
            var delete = DeleteGroupsRequest()
            delete.groupsNames = ["busy", "none", "group"]
            runtime.deleteGroups(delete, context: context(version), completion: answer.completion)
            #expect(throws: Never.self) { try #require(answer.value).encoded(version: version) }
        }
    }

    @Test("Whatever threads do at the same time, every request is answered once and no acknowledged commit is lost")
    func concurrency() async throws {
        let partition = runtime.partition(for: "group")
        let log = MemoryCoordinatorLog()
        try load(log)
        let acknowledged = await withTaskGroup(of: [Int32: Offset].self) { group in
            for worker in 0..<4 as Range<Int32> {
                group.addTask {
                    var highest: [Int32: Offset] = [:]
                    for offset in 1...300 as ClosedRange<Offset> {
                        let answer = commitOne(worker: worker, offset: offset)
                        #expect(answer.values.count == 1)
                        if answer.value?.topics[0].partitions[0].errorCode == ErrorCode.none { highest[worker] = offset }
                    }
                    return highest
                }
            }
            group.addTask {
                for _ in 0..<15 {
                    runtime.endTerm(partition: partition)
                    #expect(throws: Never.self) { try runtime.load(partition: partition, from: log) }
                    clock.advance(100)
                    runtime.advance()
                    await Task.yield()
                }
                return [:]
            }
            return await group.reduce(into: [:]) { $0.merge($1) { max($0, $1) } }
        }
        #expect(acknowledged.count == 4)
        for (worker, offset) in acknowledged {
            let response = fetch(9, topics: [("w\(worker)", [0])])
            #expect(response?.groups[0].topics[0].partitions[0].committedOffset == offset)
        }
    }

    private func commitOne(worker: Int32, offset: Offset) -> Answer<OffsetCommitResponse> {
        var partition = OffsetCommitRequest.OffsetCommitRequestPartition()
        partition.committedOffset = offset
        var topic = OffsetCommitRequest.OffsetCommitRequestTopic()
        topic.name = "w\(worker)"
        topic.partitions = [partition]
        var request = OffsetCommitRequest()
        request.groupId = "group"
        request.topics = [topic]
        let answer = Answer<OffsetCommitResponse>()
        runtime.commitOffsets(request, context: context(9), topics: EveryTopic(), completion: answer.completion)
        return answer
    }

    private struct EveryTopic: GroupTopicLookup {
        func topicName(for id: TopicID) -> String? { nil }
        func topicID(for name: String) -> TopicID? { .one }
        func hasPartition(topic: String, partition: Int32) -> Bool { true }
    }
}
