// Reads what the source's transactions commit for groups: of its `__consumer_offsets` those partitions that transactions name, from where the
// first of them began.
import GroupCoordination
import KafkaWire
import Linking
import MartletClient
import Primitives
import RecordBatches

/// The reader of one watch.
struct OffsetsLogReader: Sendable {
    private static let idleMilliseconds = 100
    private static let pauseMilliseconds = 250
    /// Until it is tried again whether the source lets the link read.
    private static let refusedMilliseconds = 10_000
    private static let coverageMilliseconds: Int64 = 500
    /// A transaction that began before the first one that is waited for may end after it: as long as Kafka lets one be open
    /// (`transaction.max.timeout.ms`), and as far as the clocks of the source's brokers may differ.
    private static let backMilliseconds: Int64 = 960_000

    let watch: TransactionWatch

    private var wanted: (known: [Int32: SettledMirror], toBegin: [Int32: Timestamp]) {
        watch.state.withLock { ($0.gate.offsetsLogs, $0.gate.offsetsToBegin) }
    }

    private var source: LinkSource? { watch.links.source(of: watch.link.name) }

    func run() async {
        while !watch.isOver {
            do {
                let wanted = wanted
                guard let source, !wanted.known.isEmpty || !wanted.toBegin.isEmpty else {
                    if watch.state.withLock({ $0.offsetsProblem != nil }) {
                        try await Task.sleep(for: .milliseconds(Self.refusedMilliseconds))
                        watch.setOffsetsProblem(nil)
                    }
                    try await Task.sleep(for: .milliseconds(Self.idleMilliseconds))
                    continue
                }
                try await read(source)
            } catch is CancellationError {
                return
            } catch {
                if let error = error as? KafkaError, error.errorCode == .topicAuthorizationFailed {
                    watch.setOffsetsProblem("the source does not let the link read \(OffsetsLog.topic): \(error.explanation)")
                }
                try? await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
            }
        }
    }

    private func read(_ source: LinkSource) async throws {
        var configuration = ConsumerConfiguration(source.cluster.configuration)
        configuration.offsetReset = .earliest
        configuration.commitsAutomatically = false
        configuration.fetchMaximumWait = .milliseconds(Int64(watch.settings.fetchWaitMaxMilliseconds))
        configuration.bufferMemory = 8 << 20
        configuration.handsOutControlBatches = true
        let consumer = try KafkaConsumer(configuration)
        do {
            try await follow(consumer, source)
        } catch {
            try? await consumer.close()
            throw error
        }
        try? await consumer.close()
    }

    private func follow(_ consumer: KafkaConsumer, _ source: LinkSource) async throws {
        var logs: [Int32: OffsetsLog] = [:]
        let coverage = OffsetsCoverage()
        while !watch.isOver, self.source === source {
            try await begin(&logs, consumer, source)
            // Nothing is waited for any longer: reading begins anew when that changes.
            guard !logs.isEmpty else { return }
            var timeout = Duration.milliseconds(20)
            for _ in 0..<100 {
                guard let batch = try await consumer.nextBatch(timeout: timeout) else { break }
                try take(batch, &logs[batch.partition.partition], source.settings.groupFilter)
                timeout = .zero
            }
            if try !report(&logs, coverage) { return }
            await coverage.ask(Self.coverageMilliseconds, watch) { try await ends(of: Array($0), source) }
        }
    }

    /// Takes up what transactions have named since.
    private func begin(_ logs: inout [Int32: OffsetsLog], _ consumer: KafkaConsumer, _ source: LinkSource) async throws {
        let toBegin = wanted.toBegin
        if !toBegin.isEmpty {
            let places = try await places(toBegin, source)
            watch.take { gate in
                for (partition, offset) in places { gate.beginOffsets(partition, at: offset) }
            }
        }
        let known = wanted.known
        let new = known.filter { logs[$0.key] == nil }
        guard !new.isEmpty || known.count != logs.count else { return }
        logs = logs.filter { known[$0.key] != nil }
        for (partition, settled) in new { logs[partition] = OffsetsLog(settled) }
        try await consumer.assign(logs.keys.sorted().map { TopicPartition(OffsetsLog.topic, $0) })
        for partition in new.keys {
            try consumer.seek(TopicPartition(OffsetsLog.topic, partition), to: logs[partition]?.next ?? 0)
        }
    }

    /// Where to begin so that nothing is missing of transactions that began at some times, nor of those that were open with them.
    private func places(_ times: [Int32: Timestamp], _ source: LinkSource) async throws -> [Int32: Offset] {
        let queries = times.sorted { $0.key < $1.key }.map { partition, time in
            (TopicPartition(OffsetsLog.topic, partition), OffsetQuery.timestamp(max(0, time - Self.backMilliseconds)))
        }
        var places: [Int32: Offset] = [:]
        for outcome in try await source.cluster.listOffsets(queries) {
            places[outcome.item.partition] = try outcome.result.get().offset
        }
        // What is open for longer begins at the last stable offset, at the earliest; where there is nothing of that time, all does.
        return places.merging(try await ends(of: Array(times.keys), source, isolation: .readCommitted)) { $0 < 0 ? $1 : min($0, $1) }
    }

    private func ends(
        of partitions: [Int32], _ source: LinkSource, isolation: IsolationLevel = .readUncommitted
    ) async throws -> [Int32: Offset] {
        guard !partitions.isEmpty else { return [:] }
        var ends: [Int32: Offset] = [:]
        let queries = partitions.map { (TopicPartition(OffsetsLog.topic, $0), OffsetQuery.latest) }
        for outcome in try await source.cluster.listOffsets(queries, isolation: isolation) {
            ends[outcome.item.partition] = try outcome.result.get().offset
        }
        return ends
    }

    private func take(_ batch: ConsumerBatch, _ log: inout OffsetsLog?, _ filter: NameFilter) throws {
        defer { log?.pass(before: batch.nextOffset) }
        guard let header = batch.batch?.header, let bytes = batch.batch?.bytes, header.baseOffset >= log?.next ?? .max else { return }
        if header.isControl {
            guard let marker = MirroredMarker(header, in: bytes, at: bytes.readerIndex) else { return }
            log?.end(marker)
        } else if header.isTransactional {
            let offsets = try batch.records().compactMap { record in Self.offset(record, filter) }
            log?.commit(offsets, by: header.producerId, at: header.baseOffset)
        }
    }

    private static func offset(_ record: ConsumerRecord, _ filter: NameFilter) -> SourceGroupOffset? {
        guard let key = record.key,
            case .offsetCommit(let group, let topic, let partition, let value?) = try? CoordinatorRecord(
                key: key, value: record.value), filter.admits(group)
        else { return nil }
        return SourceGroupOffset(
            group: group, partition: TopicPartition(topic, partition), offset: GroupOffset(value.offset, metadata: value.metadata))
    }

    /// - Returns: whether it fits what the gate knows; if not, reading begins anew.
    private func report(_ logs: inout [Int32: OffsetsLog], _ coverage: OffsetsCoverage) throws -> Bool {
        let settled = watch.state.withLock { $0.news.settled }
        var reports: [(TopicPartition, MirrorReport)] = []
        for partition in Array(logs.keys) {
            let name = TopicPartition(OffsetsLog.topic, partition)
            guard let next = logs[partition]?.next,
                let report = logs[partition]?.takeReport(
                    settledEnd: settled[name]?.end ?? 0, coveredAt: coverage.coveredAt(partition, upTo: next))
            else { continue }
            reports.append((name, report))
        }
        let all = reports
        let now = SystemClock.monotonicMilliseconds()
        var fits = true
        watch.take { gate in
            for (partition, report) in all where !gate.report(report, of: partition, now: now) { fits = false }
        }
        return fits
    }
}
