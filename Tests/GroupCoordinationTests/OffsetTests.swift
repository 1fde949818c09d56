// Commits, fetches, deletions and the end of offsets.
import GroupCoordination
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import Testing

@Suite("Offsets")
struct OffsetTests {
    private let day: Int64 = 24 * 3_600 * 1_000

    private func fetch(
        _ core: GroupCoordinator, group: String = GroupHarness.group, topics: [(String, [Int32])]? = nil, topicID: TopicID = .zero,
        requireStable: Bool = false
    ) -> OffsetFetchResponse.OffsetFetchResponseGroup {
        var request = OffsetFetchRequest.OffsetFetchRequestGroup()
        request.groupId = group
        request.topics = topics?.map { name, partitions in
            var topic = OffsetFetchRequest.OffsetFetchRequestTopics()
            topic.name = name
            topic.topicId = topicID
            topic.partitionIndexes = partitions
            return topic
        }
        return core.fetchOffsets(request, requireStable: requireStable)
    }

    private func record(topic: String = "t", partition: Int32 = 0, offset: Offset, group: String = GroupHarness.group) -> CoordinatorRecord
    {
        var value = OffsetCommitValue()
        value.offset = offset
        return .offsetCommit(group: group, topic: topic, partition: partition, value)
    }

    @Test("A simple consumer commits without a group, and reads back what it stored")
    func simpleConsumer() {
        let harness = GroupHarness()
        #expect(harness.commit(topic: "t", partition: 2, offset: 7, metadata: "note") == .none)
        #expect(harness.commit(topic: "t", partition: 2, offset: 8) == .none)
        #expect(harness.commit(topic: "u", partition: 0, offset: 1) == .none)
        let chosen = fetch(harness.core, topics: [("t", [2, 3]), ("x", [0])])
        #expect(chosen.topics.map(\.name) == ["t", "x"])
        #expect(chosen.topics[0].partitions.map(\.committedOffset) == [8, -1])
        #expect(chosen.topics[1].partitions.map(\.committedOffset) == [-1])
        let all = fetch(harness.core)
        #expect(all.topics.map(\.name) == ["t", "u"])
        #expect(all.errorCode == .none)
        #expect(fetch(harness.core, group: "other").topics.isEmpty)
        #expect(harness.core.describe(group: "group", apiVersion: 6).protocolType == "")
    }

    @Test("Commits of generations that do not exist")
    func refusals() {
        let harness = GroupHarness()
        var ghost = GroupClient("ghost")
        ghost.memberID = "ghost-1"
        ghost.generation = 3
        #expect(harness.commit(ghost, offset: 1, apiVersion: 8) == .illegalGeneration)
        #expect(harness.commit(ghost, offset: 1, apiVersion: 9) == .groupIdNotFound)
        #expect(harness.commit(offset: 1) == .none)
        #expect(harness.commit(ghost, offset: 1) == .unknownMemberId)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        #expect(harness.commit(offset: 2) == .unknownMemberId, "somebody is in the group now")
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 1)
    }

    @Test("A commit keeps its member's session alive")
    func commitIsHeartbeat() {
        let harness = GroupHarness()
        var a = GroupClient("a")
        harness.joinWithID(&a)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.sync(a)
        for offset in 0..<10 {
            harness.advance(6_000)
            #expect(harness.commit(a, offset: Offset(offset)) == .none)
        }
        #expect(harness.heartbeat(a) == .none)
    }

    @Test("Metadata is measured as Kafka does, in UTF-16 units")
    func metadataSize() {
        let harness = GroupHarness { $0.offsetMetadataMaximumSize = 4 }
        #expect(harness.commit(offset: 1, metadata: "日本語字") == .none)
        #expect(harness.commit(offset: 2, metadata: "12345") == .offsetMetadataTooLarge)
        #expect(harness.commit(offset: 3, metadata: "😀😀😀") == .offsetMetadataTooLarge)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 1)
    }

    @Test("An offset of a former topic of the same name is none of the new one's")
    func topicIDs() {
        let harness = GroupHarness()
        let old = KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 1)
        let new = KafkaUUID(mostSignificantBits: 2, leastSignificantBits: 2)
        harness.commit(topicID: old, offset: 5)
        #expect(fetch(harness.core, topics: [("t", [0])], topicID: old).topics[0].partitions[0].committedOffset == 5)
        #expect(fetch(harness.core, topics: [("t", [0])], topicID: new).topics[0].partitions[0].committedOffset == -1)
        #expect(fetch(harness.core, topics: [("t", [0])]).topics[0].partitions[0].committedOffset == 5)
        harness.take(harness.core.topicsDeleted([("t", new)], now: harness.now))
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) != nil)
        harness.take(harness.core.topicsDeleted([("t", old)], now: harness.now))
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) == nil)
    }

    @Test("Offsets of a transaction count from its commit on, and make the partition unstable until then")
    func transactions() {
        let harness = GroupHarness()
        harness.commit(offset: 10)
        harness.core.replay(record(offset: 20), offset: 5, producer: 7, now: harness.now)
        harness.core.replay(record(partition: 1, offset: 21), offset: 6, producer: 7, now: harness.now)
        #expect(fetch(harness.core, topics: [("t", [0, 1])]).topics[0].partitions.map(\.committedOffset) == [10, -1])
        let unstable = fetch(harness.core, topics: [("t", [0, 2])], requireStable: true).topics[0].partitions
        #expect(unstable.map(\.errorCode) == [.unstableOffsetCommit, .none])
        harness.core.replayEndOfTransaction(producer: 7, isCommitted: true)
        let stable = fetch(harness.core, topics: [("t", [0, 1])], requireStable: true).topics[0].partitions
        #expect(stable.map(\.committedOffset) == [20, 21])

        harness.core.replay(record(offset: 30), offset: 8, producer: 8, now: harness.now)
        harness.core.replayEndOfTransaction(producer: 8, isCommitted: false)
        #expect(fetch(harness.core, topics: [("t", [0])], requireStable: true).topics[0].partitions[0].committedOffset == 20)
    }

    @Test("A plain commit after a transactional one wins, whenever the transaction ends")
    func laterCommitWins() {
        var core = GroupCoordinator(configuration: GroupCoordinatorConfiguration())
        let now = CoordinatorInstant(timestamp: 0, monotonicMilliseconds: 0)
        core.replay(record(offset: 20), offset: 5, producer: 7, now: now)
        core.replay(record(offset: 30), offset: 6, producer: -1, now: now)
        core.replayEndOfTransaction(producer: 7, isCommitted: true)
        #expect(core.committedOffset(group: "group", topic: "t", partition: 0)?.offset == 30)
        core.replay(record(offset: 40), offset: 7, producer: 7, now: now)
        core.replay(.offsetCommit(group: "group", topic: "t", partition: 0, nil), offset: 8, producer: -1, now: now)
        core.replayEndOfTransaction(producer: 7, isCommitted: true)
        #expect(core.committedOffset(group: "group", topic: "t", partition: 0) == nil, "a tombstone takes the pending offset along")
    }

    @Test("OffsetDelete spares topics that members subscribe to")
    func offsetDelete() {
        let harness = GroupHarness()
        func delete(_ topics: [String]) -> OffsetDeleteResponse {
            var request = OffsetDeleteRequest()
            request.groupId = GroupHarness.group
            request.topics = topics.map { name in
                var topic = OffsetDeleteRequest.OffsetDeleteRequestTopic()
                topic.name = name
                topic.partitions = [OffsetDeleteRequest.OffsetDeleteRequestPartition()]
                return topic
            }
            return harness.take(harness.core.deleteOffsets(request, now: harness.now))
        }
        #expect(delete(["t"]).errorCode == .groupIdNotFound)
        harness.commit(topic: "t", offset: 1)
        harness.commit(topic: "u", offset: 1)
        var subscription = ConsumerProtocolSubscription()
        subscription.topics = ["t"]
        var a = GroupClient("a")
        a.protocolType = "consumer"
        a.apiVersion = 9
        guard let metadata = try? subscription.encodedWithVersion(0) else {
            Issue.record("cannot encode a subscription")
            return
        }
        a.protocols = [("range", String(buffer: metadata))]
        harness.joinWithID(&a)
        harness.advance(6_000)
        let response = delete(["t", "u"])
        #expect(response.topics.map { $0.partitions[0].errorCode } == [.groupSubscribedToTopic, .none])
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) != nil)
        #expect(harness.core.committedOffset(group: "group", topic: "u", partition: 0) == nil)
    }

    @Test("A simple consumer's offsets expire one by one, and the group with the last")
    func simpleExpiry() {
        let harness = GroupHarness { $0.offsetsRetentionMilliseconds = 24 * 3_600 * 1_000 }
        harness.commit(topic: "t", offset: 1)
        harness.advance(day / 2)
        harness.commit(topic: "u", offset: 1)
        harness.advance(day / 2 + 600_000)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) == nil)
        #expect(harness.core.committedOffset(group: "group", topic: "u", partition: 0) != nil)
        #expect(harness.core.list(states: [], types: []).count == 1)
        harness.advance(day / 2)
        #expect(harness.core.list(states: [], types: []).isEmpty)
        #expect(harness.log.last == .groupMetadata(group: "group", nil))
    }

    @Test("A group's offsets expire some time after it became empty, not while it has members")
    func groupExpiry() {
        let harness = GroupHarness { $0.offsetsRetentionMilliseconds = 24 * 3_600 * 1_000 }
        var a = GroupClient("a")
        a.protocolType = "connect"
        a.sessionTimeout = 1_800_000
        harness.joinWithID(&a)
        harness.advance(6_000)
        harness.adopt(&a)
        harness.sync(a)
        harness.commit(a, offset: 1)
        for _ in 0..<100 {
            harness.advance(day / 50)
            #expect(harness.heartbeat(a) == .none)
        }
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) != nil)
        harness.leave(a)
        harness.advance(day - 1_000)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) != nil)
        harness.advance(700_000)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) == nil)
        #expect(harness.core.list(states: [], types: []).isEmpty)
    }

    @Test("Old clients may ask for a retention of their own, stored in version 1")
    func ownRetention() throws {
        let harness = GroupHarness()
        harness.commit(offset: 1, retention: 1_000_000, apiVersion: 4)
        let stored = try harness.log[0].encoded()
        #expect(stored.value?.getInteger(at: 0, as: Int16.self) == 1)
        harness.advance(600_000)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) != nil)
        harness.advance(600_000)
        #expect(harness.core.committedOffset(group: "group", topic: "t", partition: 0) == nil)
    }

    @Test("Deleting a group deletes its offsets, those of open transactions too, and refuses groups in use")
    func deleteGroups() {
        let harness = GroupHarness()
        harness.commit(topic: "t", offset: 1)
        harness.core.replay(record(topic: "u", offset: 2), offset: 100, producer: 7, now: harness.now)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        let busy = harness.take(harness.core.delete(groups: ["group", "none"], now: harness.now))
        #expect(busy.map(\.errorCode) == [.nonEmptyGroup, .groupIdNotFound])
        harness.leave(a)
        harness.advance(6_000)
        #expect(harness.take(harness.core.delete(groups: ["group"], now: harness.now)).map(\.errorCode) == [.none])
        #expect(harness.core.list(states: [], types: []).isEmpty)
        harness.core.replayEndOfTransaction(producer: 7, isCommitted: true)
        #expect(harness.core.committedOffset(group: "group", topic: "u", partition: 0) == nil)
        #expect(harness.core.describe(group: "group", apiVersion: 5).errorCode == .none)
        #expect(harness.core.describe(group: "group", apiVersion: 5).groupState == "Dead")
        #expect(harness.core.describe(group: "group", apiVersion: 6).errorCode == .groupIdNotFound)
    }

    @Test("Filters of ListGroups disregard case; unknown names let nothing pass")
    func listFilters() {
        let harness = GroupHarness()
        harness.commit(group: "simple", offset: 1)
        var a = GroupClient("a")
        harness.joinWithID(&a)
        func names(_ states: [String], _ types: [String]) -> [String] {
            harness.core.list(states: states, types: types).map(\.groupId).sorted()
        }
        #expect(names([], []) == ["group", "simple"])
        #expect(names([" empty "], []) == ["simple"])
        #expect(names(["PREPARINGREBALANCE"], ["Classic"]) == ["group"])
        #expect(names([], ["consumer"]).isEmpty)
        #expect(names([], ["nonsense"]).isEmpty)
        #expect(names(["nonsense"], []).isEmpty)
    }

    @Test("Records are what Kafka writes, byte for byte")
    func recordFormat() throws {
        var value = OffsetCommitValue()
        value.offset = 5
        value.leaderEpoch = 2
        value.metadata = "m"
        value.commitTimestamp = 7
        let (key, stored) = try CoordinatorRecord.offsetCommit(group: "g", topic: "t", partition: 3, value).encoded()
        #expect(Array(key.readableBytesView) == [0, 1, 0, 1, 0x67, 0, 1, 0x74, 0, 0, 0, 3])
        #expect(
            stored.map { Array($0.readableBytesView) }
                == [0, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 2, 2, 0x6d, 0, 0, 0, 0, 0, 0, 0, 7, 0])
        let (groupKey, tombstone) = try CoordinatorRecord.groupMetadata(group: "g", nil).encoded()
        #expect(Array(groupKey.readableBytesView) == [0, 2, 0, 1, 0x67])
        #expect(tombstone == nil)
        #expect(try CoordinatorRecord(key: key, value: stored) == .offsetCommit(group: "g", topic: "t", partition: 3, value))
        #expect(try CoordinatorRecord(key: ByteBuffer(bytes: [0, 99, 1]), value: nil) == nil)
        #expect(throws: WireError.self) { try CoordinatorRecord(key: ByteBuffer(bytes: [0, 1, 0, 9]), value: nil) }
    }

    @Test("Damaged records are refused or harmless, whatever the damage", arguments: 0..<8 as Range<UInt64>)
    func damagedRecords(seed: UInt64) throws {
        let harness = GroupHarness()
        var clients = [GroupClient("a"), GroupClient("b", instanceID: "two")]
        for index in clients.indices { harness.joinWithID(&clients[index]) }
        harness.advance(6_000)
        harness.adopt(&clients)
        harness.sync(clients[0])
        harness.commit(clients[0], offset: 7, metadata: "note")
        let originals = try harness.log.map { try $0.encoded() }
        var random = SeededRandom(seed: seed)
        for _ in 0..<500 {
            var core = GroupCoordinator(configuration: harness.core.configuration)
            for original in originals {
                let key = Int.random(in: 0..<4, using: &random) == 0 ? damaged(original.key, &random) : original.key
                let value = original.value.map { damaged($0, &random) }
                guard let record = try? CoordinatorRecord(key: key, value: value) else { continue }
                core.replay(record, offset: 0, producer: -1, now: harness.now)
            }
            var timers = core.loaded(now: harness.now).effects
            for _ in 0..<20 where !timers.isEmpty {
                guard case .setTimer(let timer, let deadline) = timers.removeFirst() else { continue }
                let now = CoordinatorInstant(timestamp: harness.now.timestamp, monotonicMilliseconds: deadline)
                timers += core.timerFired(timer, now: now).effects
            }
            #expect(core.list(states: [], types: []).count <= originals.count)
        }
    }

    private func damaged(_ original: ByteBuffer, _ random: inout SeededRandom) -> ByteBuffer {
        var bytes = Array(original.readableBytesView)
        for _ in 0..<Int.random(in: 0..<4, using: &random) where !bytes.isEmpty {
            let index = Int.random(in: bytes.indices, using: &random)
            switch Int.random(in: 0..<3, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.removeLast(bytes.count - index)
            default: bytes.insert(UInt8.random(in: 0...255, using: &random), at: index)
            }
        }
        return ByteBuffer(bytes: bytes)
    }
}
