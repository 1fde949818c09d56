// The consumer of a drill: reads all partitions, goes over to the other cluster at the offsets it has come to, and counts what it gets twice.
import Linking
import MartletClient
import Primitives
import Synchronization

final class DrillConsumer: Sendable {
    struct Counts: Sendable {
        var records = 0
        /// Records that it had been given before.
        var duplicates = 0
        /// Nanoseconds between two records, at the longest.
        var longestGap: Int64 = 0
        /// Partitions of which the other cluster did not have the offset that this one had come to.
        var setBack = 0
        /// Records that it had come past and the other cluster does not have.
        var setBackRecords: Int64 = 0
    }

    private struct State {
        var side: DrillSide
        var positions: [TopicPartition: Offset]
        var seen: [[UInt8]]
        var counts = Counts()
        var lastAt: Int64?
        var isStopped = false
        var task: Task<Void, Never>?
        var problem: String?
    }

    private let run: UInt64
    private let clients: [ClientConfiguration]
    private let state: Mutex<State>

    /// - Parameter positions: where it begins in each lane's partition.
    init(run: UInt64, clients: [ClientConfiguration], positions: [TopicPartition: Offset], side: DrillSide) {
        self.run = run
        self.clients = clients
        state = Mutex(State(side: side, positions: positions, seen: [[UInt8]](repeating: [], count: positions.count)))
    }

    func start() {
        let task = Task { [self] in await work() }
        state.withLock { $0.task = task }
    }

    func goOver(to side: DrillSide) { state.withLock { $0.side = side } }

    /// Reads to the ends that the partitions have now, then stops.
    func stop() async -> Counts {
        let task = state.withLock { state in
            state.isStopped = true
            return state.task
        }
        await task?.value
        return state.withLock { $0.counts }
    }

    var problem: String? { state.withLock { $0.problem } }

    private func work() async {
        while true {
            let side = state.withLock { $0.side }
            do {
                if try await read(side) { return }
            } catch {
                state.withLock { $0.problem = "\(error)" }
                if state.withLock({ $0.isStopped }) { return }
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Reads from one side until that is left (false), or everything is read after the stop (true).
    private func read(_ side: DrillSide) async throws -> Bool {
        var configuration = ConsumerConfiguration(clients[side.rawValue])
        configuration.fetchMaximumWait = .milliseconds(50)
        configuration.offsetReset = .earliest
        let consumer = try KafkaConsumer(configuration)
        defer { Task { try? await consumer.close() } }
        let partitions = state.withLock { $0.positions.keys.sorted() }
        let ends = try await consumer.endOffsets(partitions)
        try await consumer.assign(partitions)
        for partition in partitions { try consumer.seek(partition, to: begin(partition, ends[partition] ?? 0)) }
        while true {
            let (isStopped, current) = state.withLock { ($0.isStopped, $0.side) }
            if current != side { return false }
            let records = try await consumer.poll(maximumRecords: 2000, timeout: .milliseconds(50))
            take(records)
            guard isStopped else { continue }
            let ends = try await consumer.endOffsets(partitions)
            let positions = state.withLock { $0.positions }
            if partitions.allSatisfy({ positions[$0, default: 0] >= ends[$0, default: 0] }) { return true }
        }
    }

    /// Where to go on: where it is, or at the end where that lies before it.
    private func begin(_ partition: TopicPartition, _ end: Offset) -> Offset {
        state.withLock { state in
            let position = state.positions[partition, default: 0]
            guard position > end else { return position }
            state.counts.setBack += 1
            state.counts.setBackRecords += position - end
            state.positions[partition] = end
            return end
        }
    }

    private func take(_ records: [ConsumerRecord]) {
        guard !records.isEmpty else { return }
        let now = SystemClock.monotonicNanoseconds()
        state.withLock { state in
            if let last = state.lastAt { state.counts.longestGap = max(state.counts.longestGap, now - last) }
            state.lastAt = now
            for record in records {
                state.positions[record.topicPartition] = record.offset + 1
                guard let (lane, number) = DrillValue.read(record.value, run: run), state.seen.indices.contains(lane), number >= 0 else {
                    continue
                }
                state.counts.records += 1
                state.seen[lane].count(number) { state.counts.duplicates += 1 }
            }
        }
    }
}

extension [UInt8] {
    /// Counts one more at an index, growing up to it; `again` is called when it was there already.
    mutating func count(_ index: Int, again: () -> Void) {
        while self.count <= index { append(0) }
        if self[index] > 0 { again() }
        if self[index] < .max { self[index] += 1 }
    }
}

/// What is in a topic in the end.
enum DrillReading {
    /// How often each number of each lane is there.
    ///
    /// - Parameter starts: where reading begins; at the beginning of a partition without one.
    static func everything(
        of lanes: [TopicPartition], run: UInt64, starts: [TopicPartition: Offset] = [:], _ client: ClientConfiguration
    ) async throws -> [[UInt8]] {
        var found = [[UInt8]](repeating: [], count: lanes.count)
        let cluster = ClusterClient(client)
        defer { cluster.close() }
        try await cluster.refreshMetadata(topics: Set(lanes.map(\.topic)))
        for partition in lanes {
            let end = try await cluster.offsets([(partition, .latest)])[partition]?.offset ?? 0
            let stored = StoredPartition(cluster, partition, isolation: .readCommitted, maximumBytes: 1 << 20)
            let start = try await cluster.offsets([(partition, .earliest)])[partition]?.offset ?? 0
            var cursor = StoredCursor(stored, at: max(start, starts[partition] ?? 0))
            while true {
                if try cursor.needsAnswer(before: end) {
                    try cursor.take(try await stored.read(from: cursor.position))
                    continue
                }
                guard let record = cursor.nextRecord(before: end) else { break }
                if let (lane, number) = DrillValue.read(record.value, run: run), found.indices.contains(lane), number >= 0 {
                    found[lane].count(number) {}
                }
            }
        }
        return found
    }
}
