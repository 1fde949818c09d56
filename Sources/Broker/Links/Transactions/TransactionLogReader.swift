// Reads the source's `__transaction_state` for a link: what was decided about which transactions, and when all that was decided by a time
// has been read.
import Collections
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import NIOCore
import Primitives
import TransactionCoordination

/// The reader of one watch.
struct TransactionLogReader: Sendable {
    private static let topic = "__transaction_state"
    private static let pauseMilliseconds: Int64 = 250
    /// Until it is tried again whether the source lets the link read, and after which it is taken to.
    private static let refusedMilliseconds: Int64 = 10_000
    private static let admittedMilliseconds: Int64 = 3_000
    /// Decisions mostly come before the markers.
    private static let patienceMilliseconds: Int64 = 50
    /// How far back a new link reads: what was decided before it was made may have markers to come yet.
    private static let backMilliseconds: Int64 = 60_000

    let watch: TransactionWatch

    func run() async {
        /// A log that came to be while it was waited for is read from its beginning.
        var wasMissing = false
        while !watch.isOver {
            do {
                guard let source = watch.links.source(of: watch.link.name) else {
                    try await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
                    continue
                }
                let count = try await partitionCount(source)
                if count == 0 {
                    watch.setProblem(nil)
                    wasMissing = true
                    try await waitForTransactions()
                } else {
                    try await read(source, partitions: count, fromBeginning: wasMissing)
                }
            } catch is CancellationError {
                return
            } catch {
                let pause = isRefused(error) ? Self.refusedMilliseconds : Self.pauseMilliseconds
                try? await Task.sleep(for: .milliseconds(pause))
            }
        }
    }

    /// A source that refuses will not be waited for; one that cannot be reached decides nothing either.
    private func isRefused(_ error: any Error) -> Bool {
        guard let error = error as? KafkaError, error.errorCode == .topicAuthorizationFailed else { return false }
        watch.setProblem("the source does not let the link read \(Self.topic): \(error.explanation)")
        return true
    }

    private func partitionCount(_ source: LinkSource) async throws(KafkaError) -> Int {
        let response = try await source.cluster.requestMetadata(topics: [Self.topic], allowAutoCreation: false)
        guard let topic = response.topics.first(where: { $0.name == Self.topic }) else { return 0 }
        if topic.errorCode == .unknownTopicOrPartition { return 0 }
        try topic.errorCode.check(about: "topic '\(Self.topic)'")
        return topic.partitions.count
    }

    /// The source has had no transactions yet.
    private func waitForTransactions() async throws {
        let now = SystemClock.monotonicMilliseconds()
        update()
        watch.take { $0.readThrough(now) }
        try await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
    }

    private func read(_ source: LinkSource, partitions count: Int, fromBeginning: Bool) async throws {
        let partitions = (0..<Int32(count)).map { TopicPartition(Self.topic, $0) }
        var configuration = ConsumerConfiguration(source.cluster.configuration)
        configuration.offsetReset = .earliest
        configuration.commitsAutomatically = false
        configuration.fetchMaximumWait = .milliseconds(Int64(watch.settings.fetchWaitMaxMilliseconds))
        configuration.bufferMemory = 8 << 20
        let consumer = try KafkaConsumer(configuration)
        do {
            try await begin(consumer, partitions, source, fromBeginning: fromBeginning)
            try await follow(consumer, partitions, source)
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }

    /// Goes on where the record says that everything before is done with; without one, with what has been decided of late.
    private func begin(
        _ consumer: KafkaConsumer, _ partitions: [TopicPartition], _ source: LinkSource, fromBeginning: Bool
    ) async throws {
        let unknown = watch.state.withLock { state in partitions.filter { state.gate.position(of: $0.partition) == nil } }
        var begins: [Int32: Offset] = [:]
        if fromBeginning {
            for partition in unknown { begins[partition.partition] = 0 }
        } else {
            begins = try await ends(of: unknown, source)
            begins.merge(try await places(of: unknown, source)) { min($0, $1) }
        }
        let found = begins
        watch.take { gate in
            for (partition, offset) in found { gate.begin(partition, at: offset) }
        }
        try await consumer.assign(partitions)
        for partition in partitions {
            let position = watch.state.withLock { $0.gate.position(of: partition.partition) }
            if let position { try consumer.seek(partition, to: position) }
        }
    }

    /// Where the source's decisions end now.
    func currentEnds(_ source: LinkSource) async throws -> [Int32: Offset] {
        let count = try await partitionCount(source)
        return try await ends(of: (0..<Int32(count)).map { TopicPartition(Self.topic, $0) }, source)
    }

    private func ends(of partitions: [TopicPartition], _ source: LinkSource) async throws -> [Int32: Offset] {
        var ends: [Int32: Offset] = [:]
        guard !partitions.isEmpty else { return ends }
        for outcome in try await source.cluster.listOffsets(partitions.map { ($0, .latest) }) {
            ends[outcome.item.partition] = try outcome.result.get().offset
        }
        return ends
    }

    /// Where the decisions of late begin, in partitions that have any.
    private func places(of partitions: [TopicPartition], _ source: LinkSource) async throws -> [Int32: Offset] {
        var places: [Int32: Offset] = [:]
        guard !partitions.isEmpty else { return places }
        let time = SystemClock.now() - Self.backMilliseconds
        for outcome in try await source.cluster.listOffsets(partitions.map { ($0, .timestamp(time)) }) {
            let offset = try outcome.result.get().offset
            if offset >= 0 { places[outcome.item.partition] = offset }
        }
        return places
    }

    private func follow(_ consumer: KafkaConsumer, _ partitions: [TopicPartition], _ source: LinkSource) async throws {
        let begunAt = SystemClock.monotonicMilliseconds()
        while !watch.isOver, watch.links.source(of: watch.link.name) === source {
            let records = try await consumer.poll(maximumRecords: 2_000, timeout: .milliseconds(20))
            update()
            let now = SystemClock.monotonicMilliseconds()
            if now - begunAt > Self.admittedMilliseconds { watch.setProblem(nil) }
            watch.take { gate in
                for record in records { Self.observe(record, &gate, now: now) }
            }
            readOn(partitions, source, now: now)
        }
    }

    /// For markers that wait though their decisions should have come: finds out how far the source's decisions go, beside the reading,
    /// for a broker that is away would hold it up.
    private func readOn(_ partitions: [TopicPartition], _ source: LinkSource, now: Int64) {
        let goal = watch.goal.withLock { goal -> TransactionWatch.Goal? in
            if goal == nil, watch.state.withLock({ $0.gate.awaitsDecisions(since: now - Self.patienceMilliseconds) }) {
                goal = TransactionWatch.Goal(time: now)
                return goal
            }
            if let ends = goal?.ends, hasRead(ends), let time = goal?.time {
                goal = nil
                watch.take { $0.readThrough(time) }
            }
            return nil
        }
        guard let goal else { return }
        watch.links.tasks.begin {
            let ends = try? await ends(of: partitions, source)
            // Without an answer it is asked again.
            watch.goal.withLock { $0 = ends.map { TransactionWatch.Goal(time: goal.time, ends: $0) } }
        }
    }

    private func hasRead(_ ends: [Int32: Offset]) -> Bool {
        watch.state.withLock { state in ends.allSatisfy { (state.gate.position(of: $0.key) ?? 0) >= $0.value } }
    }

    /// The mirrors that fetch now.
    private func update() {
        guard let image = watch.links.runtime.image else { return }
        var mirrors: [String: String] = [:]
        for mirror in image.mirrors(of: watch.link.name) where mirror.state.fetches { mirrors[mirror.sourceName] = mirror.name }
        let now = mirrors
        let topics = watch.links.services?.image.topics
        let partitions = mirrors.values.reduce(0) { $0 + (topics?.topic(named: $1)?.partitions.count ?? 1) }
        let time = SystemClock.monotonicMilliseconds()
        watch.state.withLock { state in
            let withOffsets = watch.settings.syncsOffsets && state.offsetsProblem == nil
            state.gate.setMirrors(now, partitions: partitions, withOffsets: withOffsets, now: time)
        }
    }

    private static func observe(_ record: ConsumerRecord, _ gate: inout TransactionGate, now: Int64) {
        let id = DecisionID(partition: record.partition, offset: record.offset)
        guard let key = record.key, let change = try? TransactionRecord(key: key, value: record.value), let metadata = change.metadata
        else {
            return gate.pass(id)
        }
        gate.observeCompletion(change.transactionalID, at: id, timestamp: metadata.lastUpdateTimestamp, now: now)
        guard metadata.state == .prepareCommit || metadata.state == .prepareAbort else { return }
        gate.observe(
            TransactionDecision(
                id: id, transactionalID: change.transactionalID,
                producer: TransactionProducer(id: metadata.producerID, epoch: metadata.producerEpoch),
                isCommit: metadata.state == .prepareCommit, partitions: Array(metadata.partitions),
                startedAt: metadata.startTimestamp, decidedAt: metadata.lastUpdateTimestamp))
    }
}
