// TxnOffsetCommit and the markers that decide over it, through the runtime: what is pending, what comes into force, and what a successor reads.
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

@Suite("Transactional offsets")
struct TransactionalOffsetTests {
    private let clock = ManualClock()
    private let runtime: CoordinatorRuntime
    private let log = MemoryCoordinatorLog()
    private let producer = TransactionalProducer(id: 7, epoch: 3)

    init() throws {
        var configuration = CoordinatorRuntimeConfiguration()
        configuration.partitionCount = 1
        let clock = clock
        runtime = CoordinatorRuntime(configuration: configuration, clock: { clock.now })
        try runtime.load(partition: 0, from: log)
    }

    private func commit(
        _ offset: Offset, version: Int16 = 5, topic name: String = "t", partition: Int32 = 0,
        change: (inout TxnOffsetCommitRequest) -> Void = { _ in }
    ) -> TxnOffsetCommitResponse? {
        var request = TxnOffsetCommitRequest()
        request.transactionalId = "x"
        request.groupId = "group"
        request.producerId = producer.id
        request.producerEpoch = producer.epoch
        var topic = TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic()
        if version >= 6 { topic.topicId = FixedTopics.ids[name] ?? .one } else { topic.name = name }
        var entry = TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition()
        entry.partitionIndex = partition
        entry.committedOffset = offset
        topic.partitions = [entry]
        request.topics = [topic]
        change(&request)
        let answer = Answer<TxnOffsetCommitResponse>()
        runtime.commitTransactionalOffsets(
            request, context: GroupRequestContext(apiVersion: version, clientID: "c", clientHost: "/127.0.0.1"), topics: FixedTopics(),
            verification: .notRequired, completion: answer.completion)
        return answer.value
    }

    private func error(_ response: TxnOffsetCommitResponse?) -> ErrorCode? { response?.topics.first?.partitions.first?.errorCode }

    private func end(committed: Bool, of runtime: CoordinatorRuntime? = nil) -> ErrorCode? {
        let answer = Answer<ErrorCode>()
        (runtime ?? self.runtime).endTransaction(
            TransactionEnd(producer: producer, coordinatorEpoch: 1, isCommitted: committed, version: 0), partition: 0,
            completion: answer.completion)
        return answer.value
    }

    private func fetch(requireStable: Bool = false, of runtime: CoordinatorRuntime? = nil) -> (Offset, ErrorCode)? {
        var request = OffsetFetchRequest()
        request.requireStable = requireStable
        var group = OffsetFetchRequest.OffsetFetchRequestGroup()
        group.groupId = "group"
        var topic = OffsetFetchRequest.OffsetFetchRequestTopics()
        topic.name = "t"
        topic.partitionIndexes = [0]
        group.topics = [topic]
        request.groups = [group]
        let answer = Answer<OffsetFetchResponse>()
        (runtime ?? self.runtime).fetchOffsets(
            request, context: GroupRequestContext(apiVersion: 9, clientID: "c", clientHost: "/127.0.0.1"), topics: FixedTopics(),
            completion: answer.completion)
        return (answer.value?.groups.first?.topics.first?.partitions.first).map { ($0.committedOffset, $0.errorCode) }
    }

    @Test("Offsets wait for the marker, and count or do not by what it says")
    func markers() throws {
        #expect(error(commit(5)) == ErrorCode.none)
        #expect(try #require(fetch()) == (-1, .none))
        #expect(try #require(fetch(requireStable: true)) == (-1, .unstableOffsetCommit))
        #expect(end(committed: true) == ErrorCode.none)
        #expect(try #require(fetch(requireStable: true)) == (5, .none))
        #expect(error(commit(6)) == ErrorCode.none)
        #expect(end(committed: false) == ErrorCode.none)
        #expect(try #require(fetch(requireStable: true)) == (5, .none))
    }

    @Test("The batches in the log are the producer's, as Kafka's are")
    func batches() throws {
        _ = commit(5)
        _ = end(committed: true)
        let headers = try log.state.withLock { $0.batches }.map { try RecordBatchHeader(from: $0) }
        #expect(headers.map(\.producerId) == [7, 7] && headers.map(\.producerEpoch) == [3, 3])
        #expect(headers.map(\.isTransactional) == [true, true] && headers.map(\.isControl) == [false, true])
        #expect(headers.map(\.baseSequence) == [-1, -1])
    }

    @Test("A marker takes effect when it is replicated, not before")
    func replication() throws {
        _ = commit(5)
        log.state.withLock { $0.isReplicated = false }
        #expect(end(committed: true) == nil)
        #expect(try #require(fetch()) == (-1, .none))
        runtime.highWatermarkAdvanced(partition: 0, to: log.endOffset)
        #expect(try #require(fetch()) == (5, .none))
    }

    @Test("A successor reads what is pending and what is decided")
    func successor() throws {
        _ = commit(5)
        let copy = MemoryCoordinatorLog(batches: log.state.withLock { $0.batches })
        copy.state.withLock { $0.endOffset = log.endOffset }
        var configuration = CoordinatorRuntimeConfiguration()
        configuration.partitionCount = 1
        let successor = CoordinatorRuntime(configuration: configuration, clock: { [clock] in clock.now })
        try successor.load(partition: 0, from: copy)
        #expect(try #require(fetch(requireStable: true, of: successor)) == (-1, .unstableOffsetCommit))
        #expect(end(committed: true, of: successor) == ErrorCode.none)
        #expect(try #require(fetch(requireStable: true, of: successor)) == (5, .none))
        runtime.endTerm(partition: 0)
        #expect(end(committed: true) == .notCoordinator)
    }

    @Test("Who is not in the group may not commit for it")
    func membership() {
        #expect(error(commit(5) { $0.generationIdOrMemberEpoch = 3 }) == .illegalGeneration)
        #expect(error(commit(5, version: 6) { $0.generationIdOrMemberEpoch = 3 }) == .groupIdNotFound)
        #expect(error(commit(5)) == ErrorCode.none)
        #expect(
            error(commit(5) { $0.memberId = "nobody" }) == ErrorCode.none, "an empty group takes offsets from anybody without a generation")
        let stranger = commit(5) { request in
            request.generationIdOrMemberEpoch = 1
            request.memberId = "nobody"
        }
        #expect(error(stranger) == .unknownMemberId)
        #expect(error(commit(5) { $0.groupId = "" }) == .invalidGroupId)
    }

    @Test("Topics that do not exist are refused, by name and by id")
    func topics() {
        #expect(error(commit(5, topic: "nowhere")) == .unknownTopicOrPartition)
        #expect(error(commit(5, version: 6, topic: "nowhere")) == .unknownTopicId)
        #expect(error(commit(5, partition: 9)) == .unknownTopicOrPartition)
        #expect(error(commit(5, version: 6)) == ErrorCode.none)
        #expect(end(committed: true) == ErrorCode.none)
    }
}
