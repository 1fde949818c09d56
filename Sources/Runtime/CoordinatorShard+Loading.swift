// Beginning and ending a shard's term: the log is read into a new coordinator, off the event loops, and let go of in the end.
import GroupCoordination
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// What loading a coordinator's partition took, for the log.
public struct CoordinatorLoadReport: Sendable, Equatable {
    public var partition: Int32
    public var recordCount = 0
    public var sizeInBytes = 0
    /// Records of unknown types or that cannot be read; they stay in the log and have no effect.
    public var skippedRecordCount = 0
    /// The offset after the last record that was read.
    public var nextOffset: Offset = 0
}

extension CoordinatorShard {
    /// From now on requests are told that loading is in progress.
    ///
    /// - Returns: the term to load for.
    func beginTerm(now: CoordinatorInstant) -> UInt64 {
        endTerm(now: now)
        return state.withLock { state in
            state.term += 1
            state.phase = .loading(term: state.term)
            return state.term
        }
    }

    /// Reads the log and becomes active, unless the term has ended meanwhile.
    ///
    /// - Parameter topics: the cluster's topics at the moment.
    func load(
        term: UInt64, from log: any CoordinatorLog, topics: () -> any GroupTopics, clock: () -> CoordinatorInstant
    ) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        var core = GroupCoordinator(configuration: settings.groups)
        var report = CoordinatorLoadReport(partition: partition)
        report.nextOffset = log.logStartOffset
        let now = clock()
        while true {
            let chunk = try log.readCommitted(from: report.nextOffset, maximumBytes: 4 << 20)
            guard chunk.readableBytes > 0, try Self.replay(chunk, into: &core, report: &report, now: now) else { break }
        }
        var outbox: Outbox = []
        state.withLock { state in
            guard case .loading(let current) = state.phase, current == term else { return }
            state.phase = .active(log)
            core.metadataChanged(topics(), changedTopics: [], hasNewTopics: false)
            let moment = clock()
            let result = core.loaded(now: moment)
            state.core = core
            perform(result, now: moment, &state, &outbox)
            publishDeadline(&state)
        }
        for call in outbox { call() }
        return report
    }

    /// Loading failed: until the next term the coordinator counts as being elsewhere.
    func abandonLoading(term: UInt64) {
        state.withLock { state in
            guard case .loading(let current) = state.phase, current == term else { return }
            state.phase = .elsewhere
            state.hasFailed = true
        }
    }

    /// Lets go of the groups: everybody who waits is told to look for the coordinator again.
    func endTerm(now: CoordinatorInstant) {
        var outbox: Outbox = []
        state.withLock { state in
            state.phase = .elsewhere
            state.hasFailed = false
            state.timers = TimerQueue()
            state.history = RebalanceHistory()
            if let core = state.core {
                state.core = nil
                perform(core.unload(now: now), &state, &outbox)
            }
            for entry in state.inFlight {
                if let completion = entry.completion { outbox.append { completion(.notCoordinator) } }
            }
            state.inFlight = []
            publishDeadline(&state)
        }
        for call in outbox { call() }
    }

    /// Replays whole batches; false when the chunk did not get us any further.
    private static func replay(
        _ chunk: ByteBuffer, into core: inout GroupCoordinator, report: inout CoordinatorLoadReport, now: CoordinatorInstant
    ) throws(CoordinatorLogError) -> Bool {
        let before = report.nextOffset
        var batches = RecordBatchIterator(chunk)
        do throws(RecordBatchError) {
            while let batch = try batches.next() {
                let header = batch.header
                report.sizeInBytes += header.sizeInBytes
                if header.nextOffset <= report.nextOffset { continue }
                if header.isControl {
                    try replayMarkers(of: batch, into: &core)
                } else {
                    try replayRecords(of: batch, into: &core, report: &report, now: now)
                }
                report.nextOffset = header.nextOffset
            }
        } catch {
            throw CoordinatorLogError(.corruptMessage)
        }
        return report.nextOffset > before
    }

    private static func replayRecords(
        of batch: RecordBatch, into core: inout GroupCoordinator, report: inout CoordinatorLoadReport, now: CoordinatorInstant
    ) throws(RecordBatchError) {
        let producer = batch.header.isTransactional ? batch.header.producerId : -1
        var records = try batch.records()
        while let record = try records.next() {
            report.recordCount += 1
            guard let key = record.key, let decoded = try? CoordinatorRecord(key: key, value: record.value) else {
                report.skippedRecordCount += 1
                continue
            }
            core.replay(decoded, offset: record.offset, producer: producer, now: now)
        }
    }

    /// A control record's key is a version and a type; 0 is abort and 1 commit (KIP-98).
    private static func replayMarkers(of batch: RecordBatch, into core: inout GroupCoordinator) throws(RecordBatchError) {
        var records = try batch.records()
        while let record = try records.next() {
            guard let key = record.key, let type: Int16 = key.getInteger(at: key.readerIndex + 2), type == 0 || type == 1 else { continue }
            core.replayEndOfTransaction(producer: batch.header.producerId, isCommitted: type == 1)
        }
    }
}
