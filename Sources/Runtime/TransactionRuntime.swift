// Transaction coordination of this broker: which shard a transactional id belongs to, which shards are here, and what time it is.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import Synchronization
import TransactionCoordination

/// Settings of ``TransactionRuntime``.
public struct TransactionRuntimeConfiguration: Sendable {
    public var transactions = TransactionCoordinatorConfiguration()
    /// Partitions of __transaction_state: those the topic has, or `transaction.state.log.num.partitions` before it exists.
    public var partitionCount: Int32 = 50
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    public var timeoutCheckIntervalMilliseconds: Int64 = 10_000
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    public var expirationCheckIntervalMilliseconds: Int64 = 3_600_000
    /// How long a failed write of a transaction's end waits to be tried again.
    public var completionRetryMilliseconds: Int64 = 500

    public init() {}
}

/// What the runtime needs of the broker.
public struct TransactionRuntimeEnvironment: Sendable {
    /// Calls back with an id that no producer has, or nil when there is none at the moment.
    public var newProducerID: @Sendable (@escaping @Sendable (ProducerID?) -> Void) -> Void
    /// Takes markers to be written by the leaders of their partitions; must return at once.
    public var writeMarkers: @Sendable (TransactionMarkerTask) -> Void
    /// The finalized level of transaction.version.
    public var transactionVersion: @Sendable () -> Int16
    /// Milliseconds since 1970.
    public var now: @Sendable () -> Timestamp

    public init(
        newProducerID: @escaping @Sendable (@escaping @Sendable (ProducerID?) -> Void) -> Void,
        writeMarkers: @escaping @Sendable (TransactionMarkerTask) -> Void, transactionVersion: @escaping @Sendable () -> Int16,
        now: @escaping @Sendable () -> Timestamp = { SystemClock.now() }
    ) {
        self.newProducerID = newProducerID
        self.writeMarkers = writeMarkers
        self.transactionVersion = transactionVersion
        self.now = now
    }
}

/// Serves transactions for the partitions of __transaction_state that this broker leads.
///
/// Requests are submitted with a completion, which is called exactly once: on the calling thread when the answer is there at once,
/// else later on any thread. Nothing here waits, except ``load(partition:term:epoch:from:)``, which reads a whole log.
public final class TransactionRuntime: Sendable {
    private struct Due {
        var timeouts: Timestamp = 0
        var expiration: Timestamp = 0
        var completions: Timestamp = 0
    }

    public let configuration: TransactionRuntimeConfiguration
    let environment: TransactionRuntimeEnvironment
    let shards: [TransactionShard]
    private let due = Mutex(Due())
    let committed = EventMeter()
    let aborted = EventMeter()
    let loading = TimeMeter()

    public init(configuration: TransactionRuntimeConfiguration, environment: TransactionRuntimeEnvironment) {
        precondition(configuration.partitionCount > 0, "__transaction_state has at least one partition")
        self.configuration = configuration
        self.environment = environment
        shards = (0..<configuration.partitionCount).map { [committed, aborted] partition in
            TransactionShard(partition: partition, settings: configuration, markers: environment.writeMarkers) { outcome in
                (outcome == .commit ? committed : aborted).record()
            }
        }
        let now = environment.now()
        due.withLock {
            $0.timeouts = now &+ configuration.timeoutCheckIntervalMilliseconds
            $0.expiration = now &+ configuration.expirationCheckIntervalMilliseconds
        }
    }

    /// The partition of __transaction_state that a transactional id belongs to, by the rule for groups.
    public func partition(for transactionalID: String) -> Int32 {
        CoordinatorRuntime.partition(for: transactionalID, partitionCount: configuration.partitionCount)
    }

    func shard(for transactionalID: String) -> TransactionShard { shards[Int(partition(for: transactionalID))] }

    var moment: TransactionMoment {
        TransactionMoment(now: environment.now(), serverVersion: environment.transactionVersion())
    }
}

// MARK: - Leadership

extension TransactionRuntime {
    /// This broker became leader of a partition of __transaction_state: requests are told to wait until it is loaded.
    ///
    /// - Returns: the term, to be passed on to ``load(partition:term:epoch:from:)``.
    public func beginTerm(partition: Int32) -> UInt64 { shards[Int(partition)].beginTerm() }

    /// Reads a partition's log and begins to serve its transactions once all of it is committed. Takes as long as reading takes: not for
    /// event loops.
    ///
    /// - Parameter epoch: the partition's leader epoch.
    /// - Throws: when the log cannot be read; the partition then counts as being coordinated elsewhere.
    @discardableResult
    public func load(
        partition: Int32, term: UInt64, epoch: LeaderEpoch, from log: any CoordinatorLog
    ) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        let shard = shards[Int(partition)]
        let start = SystemClock.monotonicNanoseconds()
        do {
            let report = try shard.load(term: term, epoch: epoch, from: log, moment: { self.moment })
            loading.record(since: start)
            return report
        } catch {
            shard.abandonLoading(term: term)
            throw error
        }
    }

    /// This broker no longer leads the partition, or stops: all who wait are told to look for the coordinator again.
    public func endTerm(partition: Int32) { shards[Int(partition)].endTerm() }

    public func endAllTerms() {
        for shard in shards { shard.endTerm() }
    }

    /// More of a partition's log is committed than its append reported.
    public func highWatermarkAdvanced(partition: Int32, to highWatermark: Offset) {
        shards[Int(partition)].highWatermarkAdvanced(to: highWatermark, moment: moment)
    }
}

// MARK: - Markers

extension TransactionRuntime {
    /// Whether the markers are still wanted: false once the term is over for which they were.
    public func isCurrent(_ task: TransactionMarkerTask) -> Bool { shards[Int(task.partition)].isCurrent(task) }

    /// Partitions have their marker, or do not exist any more.
    public func markersWritten(_ task: TransactionMarkerTask, partitions: [TopicPartition]) {
        let shard = shards[Int(task.partition)]
        guard shard.isCurrent(task) else { return }
        let moment = moment
        shard.submit(
            moment: moment, step: { $0.markersWritten(task.markers, partitions: partitions, moment: moment) }, failed: { _ in },
            completion: { _ in })
    }
}

// MARK: - Time

extension TransactionRuntime {
    /// Aborts transactions whose time is over, forgets ids that nobody uses, and tries again what failed. To be called every few hundred
    /// milliseconds: with nothing due it costs three comparisons.
    public func advance() {
        let now = environment.now()
        for shard in shards { shard.releaseWaiting(now: now) }
        let (timeouts, expiration, completions) = due.withLock { due in
            func isDue(_ time: inout Timestamp, every interval: Int64) -> Bool {
                // A clock that was set back must not keep everything waiting.
                guard now >= time || time - now > interval else { return false }
                time = now &+ interval
                return true
            }
            return (
                isDue(&due.timeouts, every: configuration.timeoutCheckIntervalMilliseconds),
                isDue(&due.expiration, every: configuration.expirationCheckIntervalMilliseconds),
                isDue(&due.completions, every: configuration.completionRetryMilliseconds)
            )
        }
        if timeouts { abortTimedOut() }
        if expiration { for shard in shards { removeExpired(in: shard) } }
        if completions { retryCompletions() }
    }

    private func abortTimedOut() {
        let now = environment.now()
        for shard in shards {
            guard case .success(let ids) = shard.read({ $0.timedOut(now: now) }) else { continue }
            for id in ids { abortTimedOut(id, in: shard, newProducerID: nil) }
        }
    }

    private func abortTimedOut(_ id: String, in shard: TransactionShard, newProducerID: ProducerID?) {
        let moment = moment
        shard.submit(
            moment: moment, step: { $0.abortTimedOut(id, newProducerID: newProducerID, moment: moment) }, failed: { _ in true }
        ) { [self] isSettled in
            guard !isSettled else { return }
            environment.newProducerID { [self] fresh in
                if let fresh { abortTimedOut(id, in: shard, newProducerID: fresh) }
            }
        }
    }

    private func removeExpired(in shard: TransactionShard) {
        let moment = moment
        shard.submit(
            moment: moment, step: { $0.removeExpired(maximum: 250, moment: moment) }, failed: { _ in false }
        ) { [self] mayHaveMore in if mayHaveMore { removeExpired(in: shard) } }
    }

    private func retryCompletions() {
        let moment = moment
        for shard in shards {
            guard case .success(true) = shard.read({ $0.hasFailedCompletions }) else { continue }
            shard.submit(
                moment: moment, step: { $0.retryCompletions(moment: moment) }, failed: { _ in }, completion: { _ in })
        }
    }
}
