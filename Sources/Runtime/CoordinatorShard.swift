// Drives one shard of group coordination: step, append, commit, replay, reply. One lock guards all of it; answers go out after it.
import Collections
import GroupCoordination
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage
import Synchronization

/// What a shard needs to know apart from the groups' own settings.
struct CoordinatorShardSettings: Sendable {
    var groups: GroupCoordinatorConfiguration
    /// `offsets.topic.compression.codec`.
    var compression: Compression = .none
    /// Records of a write that may be split are put into batches of about this size.
    var batchSizeInBytes = 256 << 10
    /// Writes that may wait for their commit; beyond it clients are asked to try again.
    var maximumInFlightWrites = 10_000
}

/// The coordinator of one partition of __consumer_offsets, whether this broker has it or not.
final class CoordinatorShard: Sendable {
    /// What is in the log and not committed yet.
    struct InFlightWrite: Sendable {
        enum Content: Sendable {
            case records(CoordinatorWrite)
            /// The end of a transaction.
            case marker(producer: ProducerID, isCommitted: Bool)
        }

        var content: Content
        var baseOffset: Offset
        var completion: (@Sendable (ErrorCode) -> Void)?

        var endOffset: Offset {
            switch content {
            case .records(let write): baseOffset + Offset(write.records.count)
            case .marker: baseOffset + 1
            }
        }
    }

    enum Phase: Sendable {
        /// Somebody else coordinates.
        case elsewhere
        /// The log is being read. The number tells this term from later ones.
        case loading(term: UInt64)
        case active(any CoordinatorLog)
    }

    struct State: Sendable {
        var phase = Phase.elsewhere
        var term: UInt64 = 0
        var core: GroupCoordinator?
        var timers = TimerQueue<GroupTimer>()
        var replies: [ReplyToken: @Sendable (GroupReply) -> Void] = [:]
        var nextToken: UInt64 = 0
        var inFlight: Deque<InFlightWrite> = []
        var history = RebalanceHistory()
        /// Whether the last term began with a log that cannot be read.
        var hasFailed = false
    }

    /// Calls to make once the lock is released.
    typealias Outbox = [@Sendable () -> Void]

    let partition: Int32
    let settings: CoordinatorShardSettings
    let state = Mutex(State())
    /// When the earliest timer is due, so that a tick need not take the lock of every shard.
    let nextDeadline = Atomic<Int64>(.max)
    /// Counts what happens; called under the lock.
    private let count: @Sendable (GroupEvent, Int) -> Void

    init(
        partition: Int32, settings: CoordinatorShardSettings, count: @escaping @Sendable (GroupEvent, Int) -> Void = { _, _ in }
    ) {
        self.partition = partition
        self.settings = settings
        self.count = count
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

    /// Runs `body` on the active coordinator under the lock and makes the calls it left behind after that.
    ///
    /// - Returns: why there is no active coordinator, or nil when `body` ran.
    func withActive(_ body: (inout State, inout Outbox) -> Void) -> ErrorCode? {
        var outbox: Outbox = []
        let refusal = state.withLock { state -> ErrorCode? in
            switch state.phase {
            case .elsewhere: return .notCoordinator
            case .loading: return .coordinatorLoadInProgress
            case .active: break
            }
            body(&state, &outbox)
            publishDeadline(&state)
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
        now: CoordinatorInstant, transaction: TransactionTerms = TransactionTerms(),
        step: (inout GroupCoordinator) -> CoordinatorResult<Response>, failed: @escaping @Sendable (ErrorCode) -> Response,
        completion: @escaping @Sendable (Response) -> Void
    ) {
        // Whoever asks sees what is over by now, as in Kafka, whose timers fire by the millisecond: a session that has run out, a rebalance.
        advance(now: now)
        let refusal = withActive { state, outbox in
            guard let result = state.core.mutate(step) else { return }
            let response = result.response
            perform(result.effects, &state, &outbox)
            guard let write = result.write else {
                outbox.append { completion(response) }
                return
            }
            append(write, transaction: transaction, now: now, &state, &outbox) { error in
                completion(error == .none ? response : failed(error))
            }
        }
        if let refusal { completion(failed(refusal)) }
    }

    /// A step that answers by effects, perhaps much later.
    func submitParked(
        now: CoordinatorInstant, step: (inout GroupCoordinator, ReplyToken) -> CoordinatorResult<Void>,
        failed: @escaping @Sendable (ErrorCode) -> Void, completion: @escaping @Sendable (GroupReply) -> Void
    ) {
        advance(now: now)
        let refusal = withActive { state, outbox in
            let token = ReplyToken(rawValue: state.nextToken)
            state.nextToken += 1
            state.replies[token] = completion
            guard let result = state.core.mutate({ step(&$0, token) }) else { return }
            perform(result, now: now, &state, &outbox)
        }
        if let refusal { failed(refusal) }
    }

    /// Reads from the coordinator; nil and the reason when it is not here.
    func read<Value>(_ body: (GroupCoordinator) -> Value) -> Result<Value, CoordinatorLogError> {
        var value: Value?
        let refusal = withActive { state, _ in value = state.core.map(body) }
        guard let value else { return .failure(CoordinatorLogError(refusal ?? .notCoordinator)) }
        return .success(value)
    }

    /// Fires all timers that are due.
    func advance(now: CoordinatorInstant) {
        guard nextDeadline.load(ordering: .relaxed) <= now.monotonicMilliseconds else { return }
        _ = withActive { state, outbox in
            while let timer = state.timers.popDue(now: now.monotonicMilliseconds) {
                guard let result = state.core.mutate({ $0.timerFired(timer, now: now) }) else { return }
                perform(result, now: now, &state, &outbox)
            }
        }
    }

    func highWatermarkAdvanced(to highWatermark: Offset, now: CoordinatorInstant) {
        _ = withActive { state, outbox in commit(upTo: highWatermark, now: now, &state, &outbox) }
    }

    func publishDeadline(_ state: inout State) {
        nextDeadline.store(state.timers.nextDeadline ?? .max, ordering: .relaxed)
    }
}

// MARK: - Effects and writes, under the lock

extension CoordinatorShard {
    func perform(_ result: CoordinatorResult<Void>, now: CoordinatorInstant, _ state: inout State, _ outbox: inout Outbox) {
        perform(result.effects, &state, &outbox)
        if let write = result.write { append(write, now: now, &state, &outbox, completion: nil) }
    }

    func perform(_ effects: [CoordinatorEffect], _ state: inout State, _ outbox: inout Outbox) {
        for effect in effects {
            switch effect {
            case .reply(let token, let reply):
                guard let completion = state.replies.removeValue(forKey: token) else { continue }
                outbox.append { completion(reply) }
            case .setTimer(let timer, let deadline):
                state.timers.set(timer, deadline: deadline)
            case .cancelTimer(let timer):
                state.timers.cancel(timer)
            case .note(let reason):
                state.history.note(reason)
            case .count(let event, let times):
                count(event, times)
            }
        }
    }

    /// Appends a write and, when it is committed at once, lets it take effect.
    private func append(
        _ write: CoordinatorWrite, transaction: TransactionTerms = TransactionTerms(), now: CoordinatorInstant, _ state: inout State,
        _ outbox: inout Outbox,
        completion: (@Sendable (ErrorCode) -> Void)?
    ) {
        guard case .active(let log) = state.phase else { return }
        let parts = write.parts(maximumSizeInBytes: settings.batchSizeInBytes)
        for (index, part) in parts.enumerated() {
            let isLast = index == parts.count - 1
            do throws(CoordinatorLogError) {
                guard state.inFlight.count < settings.maximumInFlightWrites else { throw CoordinatorLogError(.requestTimedOut) }
                let batch = try part.batch(timestamp: now.timestamp, compression: settings.compression)
                let appended = try log.append(batch, transaction: transaction, now: now.timestamp)
                state.inFlight.append(
                    InFlightWrite(content: .records(part), baseOffset: appended.baseOffset, completion: isLast ? completion : nil))
                if let result = state.core.mutate({ $0.appended(part, baseOffset: appended.baseOffset, now: now) }) {
                    perform(result, now: now, &state, &outbox)
                }
                commit(upTo: appended.highWatermark, now: now, &state, &outbox)
            } catch {
                let code = ErrorCode.coordinatorError(for: error.code)
                if let result = state.core.mutate({ $0.failed(part, error: code, now: now) }) {
                    perform(result, now: now, &state, &outbox)
                }
                if let completion { outbox.append { completion(code) } }
                return
            }
        }
    }

    /// Replays the writes that have been committed, in their order, and answers who waits for them.
    func commit(upTo highWatermark: Offset, now: CoordinatorInstant, _ state: inout State, _ outbox: inout Outbox) {
        while let entry = state.inFlight.first, entry.endOffset <= highWatermark {
            state.inFlight.removeFirst()
            switch entry.content {
            case .records(let write):
                if let result = state.core.mutate({ $0.committed(write, baseOffset: entry.baseOffset, now: now) }) {
                    perform(result, now: now, &state, &outbox)
                }
            case .marker(let producer, let isCommitted):
                state.core.mutate { $0.replayEndOfTransaction(producer: producer, isCommitted: isCommitted) }
            }
            if let completion = entry.completion { outbox.append { completion(.none) } }
        }
    }
}

extension Optional where Wrapped == GroupCoordinator {
    /// Runs a step in place.
    @discardableResult
    mutating func mutate<Value>(_ step: (inout GroupCoordinator) -> Value) -> Value? {
        guard self != nil else { return nil }
        return step(&self!)
    }
}

extension CoordinatorWrite {
    /// The write in pieces of about the given size, if it may be split.
    func parts(maximumSizeInBytes: Int) -> [CoordinatorWrite] {
        guard !isAtomic, records.count > 1 else { return [self] }
        // Such writes are tombstones: a key of two names and some framing.
        let recordsPerPart = max(1, maximumSizeInBytes / 512)
        return stride(from: 0, to: records.count, by: recordsPerPart).map { start in
            var part = self
            part.records = Array(records[start..<min(start + recordsPerPart, records.count)])
            return part
        }
    }

    /// The records as one batch, for the leader to give offsets to.
    func batch(timestamp: Timestamp, compression: Compression) throws(CoordinatorLogError) -> ByteBuffer {
        var builder = RecordBatchBuilder(compression: compression)
        if let producer {
            builder.producerId = producer.id
            builder.producerEpoch = producer.epoch
            builder.isTransactional = true
        }
        do {
            for record in records {
                let (key, value) = try record.encoded()
                builder.append(timestamp: timestamp, key: key, value: value)
            }
            return try builder.build()
        } catch {
            // A name too long for its length field, or a codec that failed: nothing that trying again would change.
            throw CoordinatorLogError(.unknownServerError)
        }
    }
}
