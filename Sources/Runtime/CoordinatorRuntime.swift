// Group coordination of this broker: which shard a group belongs to, which shards are here, and what time it is.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import RecordBatches
import Synchronization

/// Settings of ``CoordinatorRuntime``.
public struct CoordinatorRuntimeConfiguration: Sendable {
    public var groups = GroupCoordinatorConfiguration()
    /// Partitions of __consumer_offsets: those the topic has, or `offsets.topic.num.partitions` before it exists.
    public var partitionCount: Int32 = 50
    /// `offsets.topic.compression.codec`.
    public var compression: Compression = .none

    public init() {}
}

/// Serves the group protocol for the partitions of __consumer_offsets that this broker leads.
///
/// Requests are submitted with a completion, which is called exactly once: on the calling thread when the answer is there at once,
/// else later on any thread. Nothing here waits, except ``load(partition:from:)``, which reads a whole log.
///
/// Whoever owns it calls ``advance()`` again at ``nextDeadline`` or, simpler, every few tens of milliseconds: with nothing due that
/// costs one comparison per partition.
public final class CoordinatorRuntime: Sendable {
    public let configuration: CoordinatorRuntimeConfiguration
    let shards: [CoordinatorShard]
    private let clock: @Sendable () -> CoordinatorInstant
    private let makeUUID: @Sendable () -> KafkaUUID
    /// The cluster's topics as of the last call of ``metadataChanged(_:changedTopics:hasNewTopics:)``.
    let topics = Mutex<any GroupTopics>(NoGroupTopics())
    /// By ``GroupEvent/rawValue``.
    let events: [EventMeter]
    let loading = TimeMeter()

    /// - Parameters:
    ///   - clock: the time by both clocks; the system's unless a test brings its own.
    ///   - makeUUID: randomness for member ids.
    public init(
        configuration: CoordinatorRuntimeConfiguration,
        clock: @escaping @Sendable () -> CoordinatorInstant = {
            CoordinatorInstant(timestamp: SystemClock.now(), monotonicMilliseconds: SystemClock.monotonicMilliseconds())
        },
        makeUUID: @escaping @Sendable () -> KafkaUUID = { KafkaUUID.random() }
    ) {
        precondition(configuration.partitionCount > 0, "__consumer_offsets has at least one partition")
        self.configuration = configuration
        self.clock = clock
        self.makeUUID = makeUUID
        let settings = CoordinatorShardSettings(groups: configuration.groups, compression: configuration.compression)
        let events = GroupEvent.allCases.map { _ in EventMeter() }
        self.events = events
        shards = (0..<configuration.partitionCount).map { partition in
            CoordinatorShard(partition: partition, settings: settings) { event, times in events[event.rawValue].record(times) }
        }
    }

    /// The partition of __consumer_offsets that a group belongs to, for FindCoordinator.
    public func partition(for group: String) -> Int32 {
        Self.partition(for: group, partitionCount: configuration.partitionCount)
    }

    /// Kafka's rule: the absolute value of Java's hash code of the group id, modulo the number of partitions.
    public static func partition(for group: String, partitionCount: Int32) -> Int32 {
        var hash: Int32 = 0
        for unit in group.utf16 { hash = hash &* 31 &+ Int32(unit) }
        // Clearing the sign would give another result: Kafka takes the absolute value, and 0 for the number that has none.
        return (hash == .min ? 0 : abs(hash)) % partitionCount
    }

    func shard(for group: String) -> CoordinatorShard { shards[Int(partition(for: group))] }

    var now: CoordinatorInstant { clock() }
    func uuid() -> KafkaUUID { makeUUID() }
}

// MARK: - Leadership

extension CoordinatorRuntime {
    /// This broker became leader of a partition of __consumer_offsets: requests are told to wait until ``load(partition:from:)``.
    ///
    /// - Returns: the term, to be passed on to ``load(partition:term:from:)``.
    public func beginTerm(partition: Int32) -> UInt64 {
        shards[Int(partition)].beginTerm(now: now)
    }

    /// Reads a partition's log and begins to serve its groups. Takes as long as reading takes: not for event loops.
    ///
    /// - Throws: when the log cannot be read; the partition then counts as being coordinated elsewhere.
    @discardableResult
    public func load(partition: Int32, term: UInt64, from log: any CoordinatorLog) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        let shard = shards[Int(partition)]
        let start = SystemClock.monotonicNanoseconds()
        do {
            let report = try shard.load(term: term, from: log, topics: { topics.withLock { $0 } }, clock: clock)
            loading.record(since: start)
            return report
        } catch {
            shard.abandonLoading(term: term)
            throw error
        }
    }

    /// ``beginTerm(partition:)`` and ``load(partition:term:from:)`` in one.
    @discardableResult
    public func load(partition: Int32, from log: any CoordinatorLog) throws(CoordinatorLogError) -> CoordinatorLoadReport {
        try load(partition: partition, term: beginTerm(partition: partition), from: log)
    }

    /// This broker no longer leads the partition, or stops: all who wait are told to look for the coordinator again.
    public func endTerm(partition: Int32) {
        shards[Int(partition)].endTerm(now: now)
    }

    /// Ends the term of every partition.
    public func endAllTerms() {
        for shard in shards { shard.endTerm(now: now) }
    }

    /// More of a partition's log is committed than its append reported.
    public func highWatermarkAdvanced(partition: Int32, to highWatermark: Offset) {
        shards[Int(partition)].highWatermarkAdvanced(to: highWatermark, now: now)
    }
}

// MARK: - Time

extension CoordinatorRuntime {
    /// Fires every timer that is due. May be called from any thread; one that comes often enough is enough.
    public func advance() {
        let now = now
        for shard in shards { shard.advance(now: now) }
    }

    /// When ``advance()`` has something to do, on the monotonic clock in milliseconds; nil when no timer is set.
    public var nextDeadline: Int64? {
        let earliest = shards.reduce(Int64.max) { min($0, $1.nextDeadline.load(ordering: .relaxed)) }
        return earliest == .max ? nil : earliest
    }
}
