// The shell around the core: terms, commits, producer ids that come later, markers, and time.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Runtime
import Storage
import Synchronization
import TestKit
import Testing

@testable import TransactionCoordination

/// A runtime with one partition, and what it asked of its broker.
final class RuntimeHarness: Sendable {
    struct State {
        var now: Timestamp = 1_000
        var version: Int16 = 2
        var nextProducerID: ProducerID = 100
        /// Producer ids are given out later.
        var holdsProducerIDs = false
        var waiting: [@Sendable (ProducerID?) -> Void] = []
        var markers: [TransactionMarkerTask] = []
    }

    let state = StateBox()
    let runtime: TransactionRuntime
    let log = MemoryCoordinatorLog()

    init() {
        let box = state
        var configuration = TransactionRuntimeConfiguration()
        configuration.partitionCount = 1
        configuration.timeoutCheckIntervalMilliseconds = 100
        configuration.expirationCheckIntervalMilliseconds = 100
        configuration.transactions.expirationMilliseconds = 1_000_000
        runtime = TransactionRuntime(
            configuration: configuration,
            environment: TransactionRuntimeEnvironment(
                newProducerID: { reply in
                    let id = box.withLock { state -> ProducerID?? in
                        if state.holdsProducerIDs {
                            state.waiting.append(reply)
                            return .none
                        }
                        defer { state.nextProducerID += 1 }
                        return .some(state.nextProducerID)
                    }
                    if let id { reply(id) }
                },
                writeMarkers: { task in box.withLock { $0.markers.append(task) } },
                transactionVersion: { box.withLock { $0.version } }, now: { box.withLock { $0.now } }))
    }

    func load(epoch: LeaderEpoch = 1) throws {
        try runtime.load(partition: 0, term: runtime.beginTerm(partition: 0), epoch: epoch, from: log)
    }

    func pass(_ milliseconds: Int64) {
        state.withLock { $0.now += milliseconds }
        runtime.advance()
    }

    func initialize(_ id: String = "t", timeout: Int32 = 60_000) -> Answers<Result<ProducerIdentity, CoordinatorLogError>> {
        var request = InitProducerIdRequest()
        request.transactionalId = id
        request.transactionTimeoutMs = timeout
        request.producerId = -1
        request.producerEpoch = -1
        let answers = Answers<Result<ProducerIdentity, CoordinatorLogError>>()
        runtime.initProducerID(request) { answers.append($0) }
        return answers
    }

    func add(_ partitions: [TopicPartition], _ producer: ProducerIdentity, to id: String = "t") -> Answers<ErrorCode> {
        let answers = Answers<ErrorCode>()
        runtime.addPartitions(partitions, to: id, producer: producer, clientVersion: 2) { answers.append($0) }
        return answers
    }

    func commit(_ producer: ProducerIdentity, of id: String = "t") -> Answers<Result<ProducerIdentity, CoordinatorLogError>> {
        let answers = Answers<Result<ProducerIdentity, CoordinatorLogError>>()
        runtime.endTransaction(id, producer: producer, outcome: .commit, clientVersion: 2) { answers.append($0) }
        return answers
    }

    /// Everything asked for so far.
    func takeMarkers() -> [TransactionMarkerTask] {
        state.withLock { state in
            defer { state.markers = [] }
            return state.markers
        }
    }

    func replicate() {
        let end = log.state.withLock { state in
            state.highWatermark = state.endOffset
            return state.endOffset
        }
        runtime.highWatermarkAdvanced(partition: 0, to: end)
    }
}

/// Shared with what the runtime calls.
final class StateBox: Sendable {
    private let state = Mutex(RuntimeHarness.State())

    func withLock<Value>(_ body: (inout sending RuntimeHarness.State) -> sending Value) -> sending Value { state.withLock(body) }
}

/// Holds what a completion brought.
final class Answers<Value: Sendable>: Sendable {
    private let state = Mutex<[Value]>([])

    var values: [Value] { state.withLock { $0 } }
    var only: Value? { values.count == 1 ? values[0] : nil }

    func append(_ value: Value) { state.withLock { $0.append(value) } }
}

@Suite("Transaction runtime")
struct RuntimeTests {
    private let harness = RuntimeHarness()

    private func producer(_ id: String = "t", timeout: Int32 = 60_000) throws -> ProducerIdentity {
        try #require(harness.initialize(id, timeout: timeout).only).get()
    }

    @Test("Who is not the coordinator says so, and who reads its log asks for patience")
    func phases() throws {
        #expect(harness.initialize().only == .failure(CoordinatorLogError(.notCoordinator)))
        let term = harness.runtime.beginTerm(partition: 0)
        #expect(harness.initialize().only == .failure(CoordinatorLogError(.coordinatorLoadInProgress)))
        #expect(harness.runtime.list(ListTransactionsRequest()) { _ in true }.errorCode == .coordinatorLoadInProgress)
        try harness.runtime.load(partition: 0, term: term, epoch: 1, from: harness.log)
        _ = try producer()
        harness.runtime.endTerm(partition: 0)
        #expect(harness.initialize().only == .failure(CoordinatorLogError(.notCoordinator)))
        // A load for a term that is over changes nothing.
        try harness.runtime.load(partition: 0, term: term, epoch: 1, from: harness.log)
        #expect(harness.initialize().only == .failure(CoordinatorLogError(.notCoordinator)))
    }

    @Test("What comes while the last transaction ends waits for its markers, for a while")
    func requestsWaitForTheEnd() throws {
        try harness.load()
        let first = try producer()
        let partition = TopicPartition("a", 0)
        /// The producer of the next transaction, while this one's markers are not written.
        func ending(_ producer: ProducerIdentity) throws -> (next: ProducerIdentity, task: TransactionMarkerTask) {
            #expect(harness.add([partition], producer).only == ErrorCode.none)
            let next = try #require(harness.commit(producer).only).get()
            let tasks = harness.takeMarkers()
            return (next, try #require(tasks.first))
        }
        let (second, task) = try ending(first)
        let waiting = harness.add([partition], second)
        harness.pass(99)
        #expect(waiting.values.isEmpty)
        harness.runtime.markersWritten(task, partitions: [partition])
        #expect(waiting.only == ErrorCode.none)

        let third = try #require(harness.commit(second).only).get()
        let impatient = harness.add([partition], third)
        let end = harness.commit(third)
        #expect(impatient.values.isEmpty && end.values.isEmpty)
        harness.pass(100)
        #expect(impatient.only == .concurrentTransactions && end.only == .failure(CoordinatorLogError(.concurrentTransactions)))

        let lost = harness.add([partition], third)
        harness.runtime.endTerm(partition: 0)
        #expect(lost.only == .notCoordinator)
    }

    @Test("Answers wait for the replicas, and a lost term answers them all")
    func replication() throws {
        try harness.load()
        harness.log.state.withLock { $0.isReplicated = false }
        let waiting = harness.initialize()
        #expect(waiting.values.isEmpty)
        #expect(harness.initialize().only == .failure(CoordinatorLogError(.concurrentTransactions)))
        harness.replicate()
        #expect(waiting.only == .success(ProducerIdentity(id: 100, epoch: 0)))
        let lost = harness.initialize()
        harness.runtime.endTerm(partition: 0)
        #expect(lost.only == .failure(CoordinatorLogError(.notCoordinator)))
    }

    @Test("A producer id that comes later, and one that does not come")
    func producerIDs() throws {
        try harness.load()
        harness.state.withLock { $0.holdsProducerIDs = true }
        let (first, second) = (harness.initialize("a"), harness.initialize("b"))
        #expect(first.values.isEmpty && second.values.isEmpty)
        let waiting = harness.state.withLock { $0.waiting }
        waiting[0](7)
        waiting[1](nil)
        #expect(first.only == .success(ProducerIdentity(id: 7, epoch: 0)))
        #expect(second.only == .failure(CoordinatorLogError(.coordinatorLoadInProgress)))
    }

    @Test("Markers are asked for once the decision is committed, and only their term's answers count")
    func markers() throws {
        try harness.load()
        let producer = try producer()
        #expect(harness.add(["a-0", "b-0"], producer).only == ErrorCode.none)
        harness.log.state.withLock { $0.isReplicated = false }
        let ended = harness.commit(producer)
        #expect(harness.takeMarkers().isEmpty && ended.values.isEmpty)
        harness.replicate()
        #expect(ended.only == .success(ProducerIdentity(id: producer.id, epoch: 1)))
        let task = try #require(harness.takeMarkers().first)
        #expect(harness.runtime.isCurrent(task))
        // The coordinator moves away and comes back, under another epoch.
        harness.runtime.endTerm(partition: 0)
        #expect(!harness.runtime.isCurrent(task))
        harness.log.state.withLock { $0.isReplicated = true }
        try harness.load(epoch: 4)
        harness.runtime.markersWritten(task, partitions: ["a-0", "b-0"])
        #expect(harness.runtime.describe("t").transactionState == "PrepareCommit")
        let again = try #require(harness.takeMarkers().first)
        #expect(again.markers.coordinatorEpoch == 4 && again.markers.partitions == ["a-0", "b-0"])
        harness.runtime.markersWritten(again, partitions: ["b-0"])
        harness.runtime.markersWritten(again, partitions: ["a-0"])
        #expect(harness.runtime.describe("t").transactionState == "CompleteCommit")
    }

    @Test("Nothing is built on records that could still be lost")
    func confirming() throws {
        try harness.load()
        let producer = try producer()
        #expect(harness.add(["a-0"], producer).only == ErrorCode.none)
        harness.log.state.withLock { $0.isReplicated = false }
        _ = harness.commit(producer)
        // The successor has the decision in its log, but does not know whether others have it.
        try harness.load(epoch: 2)
        #expect(harness.takeMarkers().isEmpty)
        #expect(harness.initialize("other").only == .failure(CoordinatorLogError(.coordinatorLoadInProgress)))
        harness.replicate()
        #expect(harness.takeMarkers().map(\.markers.outcome) == [.commit])
        #expect(harness.runtime.describe("t").transactionState == "PrepareCommit")
    }

    @Test("Errors of the log reach the client as a coordinator's, and the end of a transaction is written again")
    func errors() throws {
        try harness.load()
        let producer = try producer()
        harness.log.state.withLock { $0.error = .notEnoughReplicas }
        #expect(harness.add(["a-0"], producer).only == .coordinatorNotAvailable)
        harness.log.state.withLock { $0.error = nil }
        #expect(harness.add(["a-0"], producer).only == ErrorCode.none)
        _ = harness.commit(producer)
        harness.log.state.withLock { $0.error = .notEnoughReplicas }
        harness.runtime.markersWritten(try #require(harness.takeMarkers().first), partitions: ["a-0"])
        #expect(harness.runtime.describe("t").transactionState == "PrepareCommit")
        harness.pass(1_000)
        #expect(harness.runtime.describe("t").transactionState == "PrepareCommit")
        harness.log.state.withLock { $0.error = nil }
        harness.pass(1_000)
        #expect(harness.runtime.describe("t").transactionState == "CompleteCommit")
    }

    @Test("Time ends transactions and forgets ids")
    func time() throws {
        try harness.load()
        let producer = try producer(timeout: 500)
        #expect(harness.add(["a-0"], producer).only == ErrorCode.none)
        harness.pass(400)
        #expect(harness.runtime.describe("t").transactionState == "Ongoing")
        harness.pass(200)
        #expect(harness.runtime.describe("t").transactionState == "PrepareAbort")
        harness.runtime.markersWritten(try #require(harness.takeMarkers().first), partitions: ["a-0"])
        for index in 0..<600 { _ = harness.initialize("idle-\(index)") }
        #expect(harness.runtime.counts().map(\.count) == [600, 1])
        harness.pass(2_000_000)
        #expect(harness.runtime.counts().isEmpty)
    }

    @Test("Records have the version of the feature's level")
    func versions() throws {
        harness.state.withLock { $0.version = 0 }
        try harness.load()
        _ = try producer("old")
        harness.state.withLock { $0.version = 1 }
        _ = try producer("new")
        let versions = try harness.log.state.withLock { $0.batches }.map { batch -> Int16? in
            let records = try RecordBatch(batch).allRecords()
            return records[0].value?.getInteger(at: records[0].value!.readerIndex)
        }
        #expect(versions == [0, 1])
    }

    @Test("ListTransactions names the filters it does not know")
    func listing() throws {
        try harness.load()
        _ = try producer("a-1")
        _ = try producer("b-1")
        var request = ListTransactionsRequest()
        request.stateFilters = ["Empty", "Sleeping"]
        let response = harness.runtime.list(request) { $0.hasPrefix("a") }
        #expect(response.transactionStates.map(\.transactionalId) == ["a-1"] && response.unknownStateFilters == ["Sleeping"])
        request.stateFilters = ["Sleeping"]
        #expect(harness.runtime.list(request) { _ in true }.transactionStates.isEmpty)
    }
}
