// Drives one shard of transaction coordination: step, append, commit, answer, markers. One lock guards all of it; calls go out after it.
import Collections
import GroupCoordination
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization
import TransactionCoordination

/// Markers to be written for a shard's transaction, and the term for which they are: of a later one's nobody wants to know.
public struct TransactionMarkerTask: Sendable {
    /// Of __transaction_state.
    public var partition: Int32
    public var term: UInt64
    public var markers: TransactionMarkers

    public init(partition: Int32, term: UInt64, markers: TransactionMarkers) {
        self.partition = partition
        self.term = term
        self.markers = markers
    }
}

/// The coordinator of one partition of __transaction_state, whether this broker has it or not.
final class TransactionShard: Sendable {
    /// A write in the log that is not committed yet.
    struct InFlightWrite: Sendable {
        var write: TransactionWrite
        var endOffset: Offset
        var completion: (@Sendable (ErrorCode) -> Void)?
    }

    enum Phase: Sendable {
        /// Somebody else coordinates.
        case elsewhere
        /// The log is being read.
        case loading
        /// The log has been read, but not all of it is known to be committed: nothing may be built on what could still be lost.
        case confirming(any CoordinatorLog, upTo: Offset)
        case active(any CoordinatorLog)
    }

    struct State: Sendable {
        var phase = Phase.elsewhere
        var term: UInt64 = 0
        var core: TransactionCoordinator?
        var inFlight: Deque<InFlightWrite> = []
        /// Counts the writes that took effect.
        var steps: UInt64 = 0
        /// Requests that are tried again when the next one does.
        var waiting: [Waiter] = []
        /// Whether the last term began with a log that cannot be read.
        var hasFailed = false
    }

    /// A request about a transaction that is just ending.
    struct Waiter: Sendable {
        /// Answered then at the latest, whatever there is to say.
        var deadline: Timestamp
        var retry: @Sendable (_ isLast: Bool) -> Void
    }

    enum Waiting {
        case waits
        /// Something took effect meanwhile: try again at once.
        case changed
        case refused
    }

    /// Calls to make once the lock is released.
    typealias Outbox = [@Sendable () -> Void]

    /// Writes that may wait for their commit; beyond it clients are asked to try again.
    private static let maximumInFlightWrites = 10_000
    /// Requests that may wait; further ones are answered at once.
    private static let maximumWaiting = 10_000

    let partition: Int32
    let settings: TransactionRuntimeConfiguration
    let state = Mutex(State())
    /// Takes markers to be written.
    private let markers: @Sendable (TransactionMarkerTask) -> Void
    /// Counts transactions that have ended; called under the lock.
    private let ended: @Sendable (TransactionOutcome) -> Void

    init(
        partition: Int32, settings: TransactionRuntimeConfiguration, markers: @escaping @Sendable (TransactionMarkerTask) -> Void,
        ended: @escaping @Sendable (TransactionOutcome) -> Void
    ) {
        self.partition = partition
        self.settings = settings
        self.markers = markers
        self.ended = ended
    }

    var condition: CoordinatorCondition {
        state.withLock { state in
            switch state.phase {
            case .elsewhere: state.hasFailed ? .failed : .elsewhere
            case .loading, .confirming: .loading
            case .active: .active
            }
        }
    }

    /// Runs `body` on the active coordinator under the lock and makes the calls it left behind after that.
    ///
    /// - Returns: why there is no active coordinator, or nil when `body` ran.
    func withActive(_ body: (inout State, inout Outbox) -> Void) -> ErrorCode? {
        var outbox: Outbox = []
        let refusal = state.withLock { state -> ErrorCode? in
            switch state.phase {
            case .elsewhere: return .notCoordinator
            case .loading, .confirming: return .coordinatorLoadInProgress
            case .active: break
            }
            body(&state, &outbox)
            return nil
        }
        for call in outbox { call() }
        return refusal
    }

    /// A step that answers at the latest when its write is committed.
    ///
    /// - Parameters:
    ///   - failed: makes the answer when there is no coordinator here or the write is lost.
    ///   - completion: called exactly once, on this thread or on the one that commits.
    func submit<Response: Sendable>(
        moment: TransactionMoment, step: (inout TransactionCoordinator) -> TransactionResult<Response>,
        failed: @escaping @Sendable (ErrorCode) -> Response, completion: @escaping @Sendable (Response) -> Void
    ) {
        let refusal = withActive { state, outbox in
            guard var core = state.core.take() else { return }
            let result = step(&core)
            state.core = core
            let response = result.response
            announce(result.effects, state, &outbox)
            guard let write = result.write else {
                outbox.append { completion(response) }
                return
            }
            append(write, moment: moment, &state, &outbox) { error in completion(error == .none ? response : failed(error)) }
        }
        if let refusal { completion(failed(refusal)) }
    }

    /// Reads from the coordinator; the reason when it is not here.
    func read<Value>(_ body: (TransactionCoordinator) -> Value) -> Result<Value, CoordinatorLogError> {
        var value: Value?
        let refusal = withActive { state, _ in value = state.core.map(body) }
        guard let value else { return .failure(CoordinatorLogError(refusal ?? .notCoordinator)) }
        return .success(value)
    }

    func highWatermarkAdvanced(to highWatermark: Offset, moment: TransactionMoment) {
        var outbox: Outbox = []
        state.withLock { state in
            switch state.phase {
            case .elsewhere, .loading: break
            case .confirming(let log, let offset): if highWatermark >= offset { activate(log, moment: moment, &state, &outbox) }
            case .active: commit(upTo: highWatermark, moment: moment, &state, &outbox)
            }
        }
        for call in outbox { call() }
    }

    // MARK: Waiting for the end of a transaction

    /// How many writes have taken effect.
    var steps: UInt64 { state.withLock { $0.steps } }

    /// Keeps a request that came while its transaction was ending.
    ///
    /// - Parameter steps: as they were before the request was tried.
    func wait(_ waiter: Waiter, since steps: UInt64) -> Waiting {
        state.withLock { state in
            guard case .active = state.phase, state.waiting.count < Self.maximumWaiting else { return .refused }
            guard state.steps == steps else { return .changed }
            state.waiting.append(waiter)
            return .waits
        }
    }

    /// Answers the requests that have waited long enough; all with nil.
    func releaseWaiting(now: Timestamp?) {
        // A clock that was set back must not keep anybody waiting.
        func isDue(_ waiter: Waiter) -> Bool {
            now.map { waiter.deadline <= $0 || waiter.deadline - $0 > TransactionRuntime.endingMilliseconds } ?? true
        }
        let due = state.withLock { state -> [Waiter] in
            if state.waiting.isEmpty { return [] }
            defer { state.waiting.removeAll(where: isDue) }
            return state.waiting.filter(isDue)
        }
        for waiter in due { waiter.retry(true) }
    }

    // MARK: Terms

    /// From now on requests are told that loading is in progress.
    ///
    /// - Returns: the term to load for.
    func beginTerm() -> UInt64 {
        endTerm()
        return state.withLock { state in
            state.term += 1
            state.phase = .loading
            return state.term
        }
    }

    /// Reads the log and becomes active when all of it is committed, unless the term has ended meanwhile.
    func load(
        term: UInt64, epoch: LeaderEpoch, from log: any CoordinatorLog, moment: () -> TransactionMoment
    ) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        var core = TransactionCoordinator(configuration: settings.transactions, epoch: epoch)
        let report = try Self.read(log, partition: partition, into: &core)
        var outbox: Outbox = []
        state.withLock { state in
            guard case .loading = state.phase, state.term == term else { return }
            state.core = core
            if log.highWatermark >= report.nextOffset {
                activate(log, moment: moment(), &state, &outbox)
            } else {
                state.phase = .confirming(log, upTo: report.nextOffset)
            }
        }
        for call in outbox { call() }
        return report
    }

    /// Loading failed: until the next term the coordinator counts as being elsewhere.
    func abandonLoading(term: UInt64) {
        state.withLock { state in
            guard case .loading = state.phase, state.term == term else { return }
            state.phase = .elsewhere
            state.hasFailed = true
        }
    }

    /// Lets go of the transactions: everybody who waits is told to look for the coordinator again.
    func endTerm() {
        let waiting = state.withLock { state in
            state.phase = .elsewhere
            state.hasFailed = false
            state.core = nil
            defer { state.inFlight = [] }
            return state.inFlight.compactMap(\.completion)
        }
        for completion in waiting { completion(.notCoordinator) }
        releaseWaiting(now: nil)
    }

    /// Whether the markers are still wanted.
    func isCurrent(_ task: TransactionMarkerTask) -> Bool {
        state.withLock { state in
            guard case .active = state.phase else { return false }
            return state.term == task.term
        }
    }

    private func activate(_ log: any CoordinatorLog, moment: TransactionMoment, _ state: inout State, _ outbox: inout Outbox) {
        guard var core = state.core.take() else { return }
        let result = core.loaded(moment: moment)
        state.core = core
        state.phase = .active(log)
        perform(result, moment: moment, &state, &outbox)
    }
}

// MARK: - Effects and writes, under the lock

extension TransactionShard {
    func perform(_ result: TransactionResult<Void>, moment: TransactionMoment, _ state: inout State, _ outbox: inout Outbox) {
        announce(result.effects, state, &outbox)
        if let write = result.write { append(write, moment: moment, &state, &outbox, completion: nil) }
    }

    private func announce(_ effects: [TransactionEffect], _ state: State, _ outbox: inout Outbox) {
        for effect in effects {
            switch effect {
            case .writeMarkers(let markers):
                let task = TransactionMarkerTask(partition: partition, term: state.term, markers: markers)
                outbox.append { [sink = self.markers] in sink(task) }
            }
        }
    }

    /// Appends a write and, when it is committed at once, lets it take effect.
    private func append(
        _ write: TransactionWrite, moment: TransactionMoment, _ state: inout State, _ outbox: inout Outbox,
        completion: (@Sendable (ErrorCode) -> Void)?
    ) {
        guard case .active(let log) = state.phase else { return }
        do throws(CoordinatorLogError) {
            guard state.inFlight.count < Self.maximumInFlightWrites else { throw CoordinatorLogError(.requestTimedOut) }
            let appended = try log.append(try write.batch(moment), transaction: TransactionTerms(), now: moment.now)
            state.inFlight.append(
                InFlightWrite(
                    write: write, endOffset: appended.baseOffset + Offset(write.records.count), completion: completion))
            commit(upTo: appended.highWatermark, moment: moment, &state, &outbox)
        } catch {
            let code = ErrorCode.coordinatorError(for: error.code)
            state.core?.failed(write)
            if let completion { outbox.append { completion(code) } }
        }
    }

    /// Lets the writes take effect that have been committed, in their order, and answers who waits for them.
    private func commit(upTo highWatermark: Offset, moment: TransactionMoment, _ state: inout State, _ outbox: inout Outbox) {
        while let entry = state.inFlight.first, entry.endOffset <= highWatermark {
            state.inFlight.removeFirst()
            // Before the answer: who is told that a transaction has ended must find it so.
            if let completion = entry.completion { outbox.append { completion(.none) } }
            guard var core = state.core.take() else { continue }
            for record in entry.write.records {
                if let outcome = record.metadata?.state.outcome { ended(outcome) }
            }
            let result = core.committed(entry.write, moment: moment)
            state.core = core
            perform(result, moment: moment, &state, &outbox)
            state.steps += 1
            for waiter in state.waiting { outbox.append { waiter.retry(false) } }
            state.waiting = []
        }
    }

    /// Reads a whole log.
    private static func read(
        _ log: any CoordinatorLog, partition: Int32, into core: inout TransactionCoordinator
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
        _ batch: RecordBatch, into core: inout TransactionCoordinator, _ report: inout CoordinatorLoadReport
    ) throws(RecordBatchError) {
        var records = try batch.records()
        while let record = try records.next() {
            report.recordCount += 1
            guard let key = record.key, let decoded = try? TransactionRecord(key: key, value: record.value) else {
                report.skippedRecordCount += 1
                continue
            }
            core.replay(decoded)
        }
    }
}

extension TransactionWrite {
    /// The records as one batch, for the leader to give offsets to.
    func batch(_ moment: TransactionMoment) throws(CoordinatorLogError) -> ByteBuffer {
        var builder = RecordBatchBuilder()
        do throws(WireError) {
            for record in records {
                // KIP-890: flexible values from transaction.version 1 on.
                let (key, value) = try record.encoded(version: moment.serverVersion >= 1 ? 1 : 0)
                builder.append(timestamp: moment.now, key: key, value: value)
            }
            return builder.buildUncompressed()
        } catch {
            // A name too long for its length field: nothing that trying again would change.
            throw CoordinatorLogError(.unknownServerError)
        }
    }
}
