// Drives one shard of share coordination: step, append, replay, commit, answer. One lock guards all of it; answers go out after it.
import Collections
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import ShareCoordination
import Storage
import Synchronization

/// The coordinator of one partition of __share_group_state, whether this broker has it or not.
final class ShareCoordinatorShard: Sendable {
    /// A step of the coordinator, and the time for it.
    typealias Step<Value: Sendable> = (ShareCoordinator, Timestamp) throws(ShareStateRefusal) -> ShareCoordinatorResult<Value>
    typealias Completion<Value: Sendable> = @Sendable (Result<Value, ShareStateRefusal>) -> Void

    /// What is in the log and in force, but not committed.
    private struct Waiting: Sendable {
        var endOffset: Offset
        var answer: @Sendable (ErrorCode) -> Void
    }

    private enum Phase: Sendable {
        /// Somebody else coordinates.
        case elsewhere
        /// The log is being read.
        case loading
        case active(any CoordinatorLog)
    }

    private struct State: Sendable {
        var phase = Phase.elsewhere
        var term: UInt64 = 0
        var core = ShareCoordinator()
        var waiting: Deque<Waiting> = []
        /// End of what is replayed, and of what is committed of it.
        var endOffset: Offset = 0
        var committed: Offset = 0
        /// Whether the last term began with a log that cannot be read.
        var hasFailed = false
    }

    /// Writes that may wait for their commit; beyond it leaders are asked to try again.
    private static let maximumWaiting = 10_000

    let partition: Int32
    private let configuration: ShareCoordinatorConfiguration
    private let state = Mutex(State())

    init(partition: Int32, configuration: ShareCoordinatorConfiguration) {
        self.partition = partition
        self.configuration = configuration
    }

    /// Runs a step; `completion` is called exactly once, when what the answer rests on is committed.
    func submit<Value: Sendable>(now: Timestamp, _ step: Step<Value>, _ completion: @escaping Completion<Value>) {
        var outbox: [@Sendable () -> Void] = []
        state.withLock { state in
            guard case .active(let log) = state.phase else {
                let error: ErrorCode = if case .loading = state.phase { .coordinatorLoadInProgress } else { .notCoordinator }
                outbox.append { completion(.failure(ShareStateRefusal(error))) }
                return
            }
            do throws(ShareStateRefusal) {
                let result = try step(state.core, now)
                if !result.records.isEmpty { try append(result.records, to: log, now: now, &state) }
                let response = result.response
                // An answer without records may still tell of what is not committed.
                let waiting = Waiting(endOffset: state.endOffset) { error in
                    completion(error == .none ? .success(response) : .failure(ShareStateRefusal(error)))
                }
                state.waiting.append(waiting)
                answer(&state, &outbox)
            } catch {
                outbox.append { completion(.failure(error)) }
            }
        }
        for call in outbox { call() }
    }

    private func append(
        _ records: [ShareStateRecord], to log: any CoordinatorLog, now: Timestamp, _ state: inout State
    ) throws(ShareStateRefusal) {
        guard state.waiting.count < Self.maximumWaiting else { throw ShareStateRefusal(.coordinatorNotAvailable) }
        var builder = RecordBatchBuilder()
        do throws(WireError) {
            for record in records {
                let (key, value) = try record.encoded()
                builder.append(timestamp: now, key: key, value: value)
            }
        } catch {
            // A name too long for its length field: nothing that trying again would change.
            throw ShareStateRefusal(.unknownServerError)
        }
        do throws(CoordinatorLogError) {
            let appended = try log.append(builder.buildUncompressed(), transaction: TransactionTerms(), now: now)
            for (index, record) in records.enumerated() { state.core.replay(record, offset: appended.baseOffset + Offset(index)) }
            state.endOffset = appended.baseOffset + Offset(records.count)
            state.committed = max(state.committed, appended.highWatermark)
        } catch {
            throw ShareStateRefusal(Self.answer(for: error.code))
        }
    }

    /// What leaders and group coordinators are told when the log cannot be written: they are to try again, here or elsewhere.
    private static func answer(for error: ErrorCode) -> ErrorCode {
        switch error {
        case .unknownTopicOrPartition, .notEnoughReplicas, .requestTimedOut: .coordinatorNotAvailable
        case .notLeaderOrFollower, .kafkaStorageError: .notCoordinator
        case .messageTooLarge, .recordListTooLarge, .invalidFetchSize: .unknownServerError
        default: error
        }
    }

    private func answer(_ state: inout State, _ outbox: inout [@Sendable () -> Void]) {
        while let first = state.waiting.first, first.endOffset <= state.committed {
            state.waiting.removeFirst()
            outbox.append { first.answer(.none) }
        }
    }

    func highWatermarkAdvanced(to highWatermark: Offset) {
        var outbox: [@Sendable () -> Void] = []
        state.withLock { state in
            guard case .active = state.phase else { return }
            state.committed = max(state.committed, highWatermark)
            answer(&state, &outbox)
        }
        for call in outbox { call() }
    }

    /// Nil when the partition is coordinated elsewhere.
    var redundantOffset: Offset? {
        state.withLock { state in
            guard case .active = state.phase else { return nil }
            return min(state.core.redundantOffset(end: state.endOffset), state.committed)
        }
    }

    var condition: CoordinatorCondition {
        state.withLock { state in
            switch state.phase {
            case .elsewhere: state.hasFailed ? .failed : .elsewhere
            case .loading: .loading
            case .active: .active
            }
        }
    }

    // MARK: Terms

    func beginTerm() -> UInt64 {
        endTerm()
        return state.withLock { state in
            state.term += 1
            state.phase = .loading
            return state.term
        }
    }

    /// Reads the log and becomes active, unless the term has ended meanwhile.
    func load(term: UInt64, from log: any CoordinatorLog) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        var core = ShareCoordinator(configuration: configuration)
        let report = try Self.read(log, partition: partition, into: &core)
        state.withLock { state in
            guard case .loading = state.phase, state.term == term else { return }
            state.core = core
            state.endOffset = report.nextOffset
            state.committed = log.highWatermark
            state.phase = .active(log)
        }
        return report
    }

    func abandonLoading(term: UInt64) {
        state.withLock { state in
            guard case .loading = state.phase, state.term == term else { return }
            state.phase = .elsewhere
            state.hasFailed = true
        }
    }

    /// Lets go of the state: everybody who waits is told to look for the coordinator again.
    func endTerm() {
        let waiting = state.withLock { state in
            state.phase = .elsewhere
            state.hasFailed = false
            state.core = ShareCoordinator(configuration: configuration)
            defer { state.waiting = [] }
            return state.waiting
        }
        for entry in waiting { entry.answer(.notCoordinator) }
    }

    /// Reads a whole log.
    private static func read(
        _ log: any CoordinatorLog, partition: Int32, into core: inout ShareCoordinator
    ) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        var report = CoordinatorLoadReport(partition: partition)
        report.nextOffset = log.logStartOffset
        while true {
            let chunk = try log.readCommitted(from: report.nextOffset, maximumBytes: 4 << 20)
            let before = report.nextOffset
            do throws(RecordBatchError) {
                var batches = RecordBatchIterator(chunk)
                while let batch = try batches.next() {
                    report.sizeInBytes += batch.header.sizeInBytes
                    if batch.header.nextOffset <= report.nextOffset { continue }
                    if !batch.header.isControl { try replay(batch, into: &core, &report) }
                    report.nextOffset = batch.header.nextOffset
                }
            } catch {
                throw CoordinatorLogError(.corruptMessage)
            }
            guard report.nextOffset > before else { return report }
        }
    }

    private static func replay(
        _ batch: RecordBatch, into core: inout ShareCoordinator, _ report: inout CoordinatorLoadReport
    ) throws(RecordBatchError) {
        var records = try batch.records()
        while let record = try records.next() {
            report.recordCount += 1
            guard let key = record.key, let decoded = try? ShareStateRecord(key: key, value: record.value) else {
                report.skippedRecordCount += 1
                continue
            }
            core.replay(decoded, offset: record.offset)
        }
    }
}
