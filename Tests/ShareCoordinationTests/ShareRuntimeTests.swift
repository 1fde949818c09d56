// The share coordinator over a log: loading, answers that wait for their commit, and terms.
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Runtime
import ShareCoordination
import Storage
import Synchronization
import TestKit
import Testing

private final class Answers<Value: Sendable>: Sendable {
    private let state = Mutex<[Result<Value, ShareStateRefusal>]>([])
    var all: [Result<Value, ShareStateRefusal>] { state.withLock { $0 } }
    var code: ErrorCode? {
        switch all.last {
        case nil: nil
        case .success?: ErrorCode.none
        case .failure(let refusal)?: refusal.code
        }
    }
    func add(_ result: Result<Value, ShareStateRefusal>) { state.withLock { $0.append(result) } }
}

@Suite("Share coordinator over its log")
struct ShareRuntimeTests {
    private let key = SharePartitionKey(group: "g", topicID: TopicID(mostSignificantBits: 1, leastSignificantBits: 2), partition: 0)

    private func runtime() -> ShareCoordinatorRuntime {
        var configuration = ShareCoordinatorRuntimeConfiguration()
        configuration.partitionCount = 1
        return ShareCoordinatorRuntime(configuration: configuration, clock: { 1_000 })
    }

    private func start(_ runtime: ShareCoordinatorRuntime, _ log: MemoryCoordinatorLog) throws {
        try runtime.load(partition: 0, term: runtime.beginTerm(partition: 0), from: log)
    }

    private func update(_ batches: [ShareStateBatch]) -> SharePartitionUpdate {
        SharePartitionUpdate(stateEpoch: 1, leaderEpoch: 1, startOffset: 0, deliveryCompleteCount: 0, batches: batches)
    }

    @Test("Nobody is answered by a coordinator that is elsewhere, or not ready")
    func phases() throws {
        let runtime = runtime()
        let answers = Answers<Void>()
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == .notCoordinator)
        let term = runtime.beginTerm(partition: 0)
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == .coordinatorLoadInProgress)
        try runtime.load(partition: 0, term: term, from: MemoryCoordinatorLog())
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == ErrorCode.none)
    }

    @Test("An answer waits until what it rests on is committed; a lost term says where to look")
    func commits() throws {
        let runtime = runtime()
        let log = MemoryCoordinatorLog()
        try start(runtime, log)
        log.state.withLock { $0.isReplicated = false }
        let answers = Answers<Void>()
        let reads = Answers<SharePartitionState>()
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        runtime.summary(key) { reads.add($0) }
        #expect(answers.all.isEmpty && reads.all.isEmpty, "what could still be lost is not told")
        runtime.highWatermarkAdvanced(partition: 0, to: log.endOffset)
        #expect(answers.code == ErrorCode.none && reads.code == ErrorCode.none)
        runtime.write(key, update([])) { answers.add($0) }
        runtime.endTerm(partition: 0)
        #expect(answers.code == .notCoordinator)
    }

    @Test("A write that the log does not take is answered so that it is tried again")
    func failures() throws {
        let runtime = runtime()
        let log = MemoryCoordinatorLog()
        try start(runtime, log)
        let answers = Answers<Void>()
        log.state.withLock { $0.error = .notEnoughReplicas }
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == .coordinatorNotAvailable)
        log.state.withLock { $0.error = .notLeaderOrFollower }
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == .notCoordinator)
        log.state.withLock { $0.error = nil }
        runtime.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        #expect(answers.code == ErrorCode.none)
    }

    @Test("The next coordinator knows what the last one wrote")
    func loading() throws {
        let log = MemoryCoordinatorLog()
        let first = runtime()
        try start(first, log)
        let answers = Answers<Void>()
        first.initialize(key, stateEpoch: 1, startOffset: 0) { answers.add($0) }
        let batch = ShareStateBatch(firstOffset: 4, lastOffset: 6, deliveryState: 2, deliveryCount: 1)
        first.write(key, update([batch])) { answers.add($0) }
        let second = runtime()
        try start(second, log)
        let reads = Answers<SharePartitionState>()
        second.read(key, leaderEpoch: 2) { reads.add($0) }
        guard case .success(let state)? = reads.all.last else {
            Issue.record("no state: \(reads.all)")
            return
        }
        #expect(state.batches == [batch] && state.startOffset == 0)
        second.write(key, update([])) { answers.add($0) }
        #expect(answers.code == .fencedLeaderEpoch, "the old leader is not heard any more")
        #expect(second.redundantOffsets.map(\.offset) == [0])
    }
}
