// What coordinators count for metrics: events as Kafka counts them, groups by state, offsets.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Runtime
import Storage
import TestKit
import Testing

@Suite("Metrics of groups")
struct GroupEventTests {
    @Test("Offsets are counted as they are committed, deleted and forgotten")
    func offsets() {
        let harness = GroupHarness { $0.offsetsRetentionMilliseconds = 60_000 }
        harness.commit(offset: 1)
        harness.commit(partition: 1, offset: 1)
        harness.commit(offset: 2)
        #expect(harness.events == [.offsetCommit: 3])
        #expect(harness.core.counts.offsetCount == 2)
        harness.commit(offset: 3, metadata: String(repeating: "m", count: 5_000))
        #expect(harness.events[.offsetCommit] == 3, "what is refused is no commit")
        var request = OffsetDeleteRequest()
        request.groupId = GroupHarness.group
        var topic = OffsetDeleteRequest.OffsetDeleteRequestTopic()
        topic.name = "t"
        var partition = OffsetDeleteRequest.OffsetDeleteRequestPartition()
        partition.partitionIndex = 1
        topic.partitions = [partition]
        request.topics = [topic]
        harness.take(harness.core.deleteOffsets(request, now: harness.now))
        #expect(harness.events[.offsetDeletion] == 1)
        #expect(harness.core.counts.offsetCount == 1)
        harness.advance(3_600_000)
        #expect(harness.events[.offsetExpiration] == 1)
        #expect(harness.core.counts == GroupCounts())
    }

    @Test("A classic group's rebalance counts when it is over, and the group by its state")
    func classicGroups() {
        let harness = GroupHarness()
        func count(_ state: String) -> Int { harness.core.counts.count(of: .classic, in: state) }
        var client = GroupClient("a")
        harness.joinWithID(&client)
        #expect(count("PreparingRebalance") == 1)
        harness.advance(6_000)
        harness.adopt(&client)
        #expect(count("CompletingRebalance") == 1)
        #expect(harness.events[.completedRebalance] == nil)
        harness.sync(client)
        #expect(harness.events[.completedRebalance] == 1)
        #expect(count("Stable") == 1)
        harness.leave(client)
        #expect(count("Empty") == 1)
        #expect(harness.core.counts.count(of: .classic) == 1)
        #expect(harness.core.counts.count(of: .consumer) == 0)
    }

    @Test("Every epoch of a consumer group is a rebalance")
    func consumerGroups() {
        let harness = GroupHarness.consumers()
        var members = ["a", "b", "c"].map { ConsumerMember($0) }
        harness.settle(&members)
        #expect(harness.core.counts.count(of: .consumer, in: "Stable") == 1)
        _ = harness.consumerHeartbeat("c", epoch: -1)
        #expect(harness.core.counts.count(of: .consumer, in: "Assigning") == 1)
        let epoch = harness.core.describeConsumerGroup(GroupHarness.group).groupEpoch
        #expect(epoch >= 4)
        #expect(harness.events[.consumerGroupRebalance] == Int(epoch))
    }

    @Test("Partitions count as loading, as active, or as failed when their log cannot be read")
    func partitions() throws {
        var configuration = CoordinatorRuntimeConfiguration()
        configuration.partitionCount = 4
        let runtime = CoordinatorRuntime(configuration: configuration)
        func counts() -> [Int] { [runtime.partitionCounts.loading, runtime.partitionCounts.active, runtime.partitionCounts.failed] }
        #expect(counts() == [0, 0, 0])
        #expect(runtime.loadTimes.average.isNaN, "nothing was loaded")
        _ = runtime.beginTerm(partition: 0)
        try runtime.load(partition: 1, from: MemoryCoordinatorLog())
        #expect(throws: CoordinatorLogError.self) { try runtime.load(partition: 2, from: UnreadableLog()) }
        #expect(counts() == [1, 1, 1])
        #expect(runtime.loadTimes.average >= 0)
        runtime.endAllTerms()
        #expect(counts() == [0, 0, 0])
    }
}

/// A log on a disk that is gone.
private final class UnreadableLog: CoordinatorLog {
    let logStartOffset: Offset = 0
    let highWatermark: Offset = 0

    func append(_ batch: ByteBuffer, transaction: TransactionTerms, now: Timestamp) throws(CoordinatorLogError) -> CoordinatorAppend {
        throw CoordinatorLogError(.kafkaStorageError)
    }

    func readCommitted(from offset: Offset, maximumBytes: Int) throws(CoordinatorLogError) -> ByteBuffer {
        throw CoordinatorLogError(.kafkaStorageError)
    }
}
