// Watches real topics from outside: where their partitions end on both sides, again and again. From that follows who wrote when, without a record
// being written.
import Linking
import MartletClient
import Primitives
import Synchronization

/// The ends that one partition was seen to have on one side, and since when.
struct DrillTimeline: Sendable {
    struct Entry: Sendable {
        /// Monotonic nanoseconds.
        var at: Int64
        var end: Offset
    }

    private(set) var entries: [Entry] = []
    private let capacity: Int

    init(capacity: Int) { self.capacity = capacity }

    mutating func saw(_ end: Offset, at now: Int64) {
        if entries.last?.end == end { return }
        let entry = Entry(at: now, end: end)
        // Full: what was first and what is last are kept.
        if entries.count < capacity { entries.append(entry) } else { entries[entries.count - 1] = entry }
    }

    var end: Offset? { entries.last?.end }

    /// Where it ended at a time, as far as that was seen.
    func end(at time: Int64) -> Offset? { (entries.last { $0.at <= time } ?? entries.first)?.end }

    /// When it was seen to grow last within a time; nil where it did not.
    func lastGrowth(until time: Int64) -> Int64? { entries.dropFirst().last { $0.at <= time }?.at }

    /// When it was first seen to reach beyond an offset.
    func firstBeyond(_ offset: Offset) -> Int64? { entries.first { $0.end > offset }?.at }
}

final class DrillObserver: Sendable {
    /// Between two looks at a side.
    static let pauseMilliseconds: Int64 = 20
    /// Of all partitions together: 16 bytes each.
    private static let maximumEntries = 4_000_000

    private struct State {
        var timelines: [[TopicPartition: DrillTimeline]]
        var looks = [0, 0]
        var isStopped = false
        var tasks: [Task<Void, Never>] = []
    }

    let partitions: [TopicPartition]
    private let clusters: [ClusterClient]
    private let state: Mutex<State>

    /// - Parameter clients: of the source and of the cluster here.
    init(_ partitions: [TopicPartition], clients: [ClientConfiguration]) {
        self.partitions = partitions
        clusters = clients.map { ClusterClient($0) }
        let empty = DrillTimeline(capacity: max(100, Self.maximumEntries / 2 / max(1, partitions.count)))
        let timelines = Dictionary(uniqueKeysWithValues: partitions.map { ($0, empty) })
        state = Mutex(State(timelines: [timelines, timelines]))
    }

    func start() {
        let tasks = [DrillSide.source, .here].map { side in Task { [self] in await watch(side) } }
        state.withLock { $0.tasks = tasks }
    }

    func stop() async {
        let tasks = state.withLock { state in
            state.isStopped = true
            return state.tasks
        }
        for task in tasks { await task.value }
        for cluster in clusters { cluster.close() }
    }

    func cluster(_ side: DrillSide) -> ClusterClient { clusters[side.rawValue] }

    func timeline(_ partition: TopicPartition, _ side: DrillSide) -> DrillTimeline {
        state.withLock { $0.timelines[side.rawValue][partition] ?? DrillTimeline(capacity: 0) }
    }

    /// Whether both sides have been looked at.
    var hasBegun: Bool { state.withLock { $0.looks.allSatisfy { $0 > 0 } } }

    private func watch(_ side: DrillSide) async {
        let queries = partitions.map { (partition: $0, query: OffsetQuery.latest) }
        while !state.withLock({ $0.isStopped }) {
            do throws(KafkaError) {
                // The high watermark: what is not committed is acknowledged to nobody who asked for it.
                let found = try await clusters[side.rawValue].offsets(queries, timeout: .seconds(2))
                let now = SystemClock.monotonicNanoseconds()
                state.withLock { state in
                    for (partition, listed) in found { state.timelines[side.rawValue][partition]?.saw(listed.offset, at: now) }
                    state.looks[side.rawValue] += 1
                }
            } catch {
                // Leaders move around a change; what was not seen is seen by the next look.
            }
            try? await Task.sleep(for: .milliseconds(Self.pauseMilliseconds))
        }
    }
}
