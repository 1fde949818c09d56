// Share coordination of this broker: which shard a share partition's state belongs to, which shards are here, and what time it is.
import KafkaWire
import Primitives
import ShareCoordination
import Synchronization

/// Settings of ``ShareCoordinatorRuntime``.
public struct ShareCoordinatorRuntimeConfiguration: Sendable {
    public var coordinator = ShareCoordinatorConfiguration()
    /// Partitions of __share_group_state: those the topic has, or `share.coordinator.state.topic.num.partitions` before it exists.
    public var partitionCount: Int32 = 50

    public init() {}
}

/// Keeps the state of share partitions for the partitions of __share_group_state that this broker leads.
///
/// Requests are submitted with a completion, which is called exactly once: on the calling thread when the answer is there at once,
/// else later on any thread. Nothing here waits, except ``load(partition:term:from:)``, which reads a whole log.
public final class ShareCoordinatorRuntime: Sendable {
    public let configuration: ShareCoordinatorRuntimeConfiguration
    private let shards: [ShareCoordinatorShard]
    private let clock: @Sendable () -> Timestamp
    private let nextColdSnapshots = Atomic<Timestamp>(0)
    private let writes = EventMeter()
    private let writing = TimeMeter()
    private let loading = TimeMeter()

    public init(configuration: ShareCoordinatorRuntimeConfiguration, clock: @escaping @Sendable () -> Timestamp = { SystemClock.now() }) {
        precondition(configuration.partitionCount > 0, "__share_group_state has at least one partition")
        self.configuration = configuration
        self.clock = clock
        shards = (0..<configuration.partitionCount).map { ShareCoordinatorShard(partition: $0, configuration: configuration.coordinator) }
        nextColdSnapshots.store(clock() &+ configuration.coordinator.coldSnapshotIntervalMilliseconds, ordering: .relaxed)
    }

    /// The partition of __share_group_state that a share partition's state belongs to, by the rule for groups.
    public func partition(for key: SharePartitionKey) -> Int32 { partition(for: key.coordinatorKey) }

    /// The same for the key of FindCoordinator.
    public func partition(for coordinatorKey: String) -> Int32 {
        CoordinatorRuntime.partition(for: coordinatorKey, partitionCount: configuration.partitionCount)
    }

    private func shard(for key: SharePartitionKey) -> ShareCoordinatorShard { shards[Int(partition(for: key))] }
}

// MARK: - Requests

extension ShareCoordinatorRuntime {
    /// What a step came to.
    public typealias Completion<Value: Sendable> = @Sendable (Result<Value, ShareStateRefusal>) -> Void

    /// InitializeShareGroupState for one partition.
    public func initialize(_ key: SharePartitionKey, stateEpoch: Int32, startOffset: Offset, completion: @escaping Completion<Void>) {
        submit(
            key,
            { core, now throws(ShareStateRefusal) in
                try core.initialize(key, stateEpoch: stateEpoch, startOffset: startOffset, now: now)
            }, completion)
    }

    /// ReadShareGroupState for one partition.
    public func read(_ key: SharePartitionKey, leaderEpoch: LeaderEpoch, completion: @escaping Completion<SharePartitionState>) {
        submit(key, { core, now throws(ShareStateRefusal) in try core.read(key, leaderEpoch: leaderEpoch, now: now) }, completion)
    }

    /// WriteShareGroupState for one partition.
    public func write(_ key: SharePartitionKey, _ update: SharePartitionUpdate, completion: @escaping Completion<Void>) {
        let start = SystemClock.monotonicNanoseconds()
        submit(key, { core, now throws(ShareStateRefusal) in try core.write(key, update, now: now) }) { [writes, writing] result in
            if case .success = result {
                writes.record()
                writing.record(since: start)
            }
            completion(result)
        }
    }

    /// DeleteShareGroupState for one partition.
    public func delete(_ key: SharePartitionKey, completion: @escaping Completion<Void>) {
        submit(key, { core, _ throws(ShareStateRefusal) in try core.delete(key) }, completion)
    }

    /// ReadShareGroupStateSummary for one partition.
    public func summary(_ key: SharePartitionKey, completion: @escaping Completion<SharePartitionState>) {
        submit(
            key,
            { core, _ throws(ShareStateRefusal) in
                ShareCoordinatorResult(response: try core.summary(key), records: [])
            }, completion)
    }

    /// Topics are gone, and with them what groups did in them.
    public func topicsDeleted(_ ids: [TopicID]) {
        let now = clock()
        for shard in shards {
            shard.submit(now: now, { core, _ in core.topicsDeleted(ids) }, { _ in })
        }
    }

    private func submit<Value: Sendable>(
        _ key: SharePartitionKey, _ step: ShareCoordinatorShard.Step<Value>, _ completion: @escaping Completion<Value>
    ) {
        shard(for: key).submit(now: clock(), step, completion)
    }
}

// MARK: - Leadership and time

extension ShareCoordinatorRuntime {
    /// This broker became leader of a partition of __share_group_state: requests are told to wait until it is loaded.
    ///
    /// - Returns: the term, to be passed on to ``load(partition:term:from:)``.
    public func beginTerm(partition: Int32) -> UInt64 { shards[Int(partition)].beginTerm() }

    /// Reads a partition's log and begins to serve it. Takes as long as reading takes: not for event loops.
    ///
    /// - Throws: when the log cannot be read; the partition then counts as being coordinated elsewhere.
    @discardableResult
    public func load(partition: Int32, term: UInt64, from log: any CoordinatorLog) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        let shard = shards[Int(partition)]
        let start = SystemClock.monotonicNanoseconds()
        do {
            let report = try shard.load(term: term, from: log)
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
        shards[Int(partition)].highWatermarkAdvanced(to: highWatermark)
    }

    /// Writes snapshots that are due. To be called every now and then: with nothing due it costs one comparison.
    public func advance() {
        let now = clock()
        guard now >= nextColdSnapshots.load(ordering: .relaxed) else { return }
        nextColdSnapshots.store(now &+ configuration.coordinator.coldSnapshotIntervalMilliseconds, ordering: .relaxed)
        for shard in shards {
            shard.submit(now: now, { core, now in core.coldSnapshots(now: now) }, { _ in })
        }
    }

    /// Up to where each partition's log is not needed any longer, for partitions that are coordinated here.
    public var redundantOffsets: [(partition: Int32, offset: Offset)] {
        shards.compactMap { shard in shard.redundantOffset.map { (shard.partition, $0) } }
    }
}

// MARK: - Metrics

extension ShareCoordinatorRuntime {
    /// Writes of share partitions' state since the start.
    public var writeReading: EventReading { writes.reading }

    /// How long such writes took lately, until they were committed.
    public var writeTimes: RecentTimes { writing.reading }

    public var partitionCounts: CoordinatorPartitionCounts { CoordinatorPartitionCounts(shards.map(\.condition)) }

    /// How long loading partitions took lately.
    public var loadTimes: RecentTimes { loading.reading }
}
