// How far the mirrors that this broker leads are, for operators, metrics, and for whoever promotes them.
import Linking
import Primitives
import Synchronization

/// Where a source's partition ended at a time, or later.
private struct SourceEnd: Sendable, Equatable {
    /// Monotonic milliseconds.
    var askedAt: Int64
    var end: Offset
}

/// One mirror partition's progress, as its leader knows it.
struct MirrorProgress: Sendable, Equatable {
    var partition: TopicPartition
    var link: String

    /// The source's high watermark at the last answer; -1 before.
    var sourceEndOffset: Offset = -1
    var logEndOffset: Offset = 0
    /// Monotonic milliseconds at which the source had nothing more, as far as answers about this partition say; nil if it never was so.
    var caughtUpAt: Int64?
    /// The fetcher's last answered question: it would have said if there had been anything new.
    var clock: FetcherClock?
    /// The same of the last answer from the source.
    var answeredAt: Int64?
    /// Where the source ended at times, with what the mirror was known to have last before the others.
    private var sourceEnds: [SourceEnd] = []
    var bytes: Int64 = 0
    var records: Int64 = 0
    /// From the timestamp of the newest record mirrored to its append here; nil before the first.
    var latencyMilliseconds: Int64?
    /// Records cut off because the source does not have them, in all.
    var cutRecords: Int64 = 0
    /// Why nothing is fetched at the moment, for people; empty when all is well.
    var problem = ""
    /// Why the mirror cannot go on by itself; nil when it can.
    var failure: String?
    /// Whether the source waits for the mirror, as it said last: synchronous, degraded or asynchronous; empty where that was not asked for.
    var synchronous = ""

    var throughput = Throughput()
    /// Of `latencyMilliseconds` since this broker leads the mirror.
    var latencies = FigureSpread()
    /// What was in the way last, and when, in monotonic milliseconds; empty for nothing so far.
    var lastError = ""
    var lastErrorAt: Int64 = 0

    init(partition: TopicPartition, link: String) {
        self.partition = partition
        self.link = link
    }

    /// Records that the mirror lacks; nil while that is not known.
    var lag: Offset? { sourceEndOffset < 0 ? nil : max(0, sourceEndOffset - logEndOffset) }
}

extension MirrorProgress {
    /// What is compared before and after a change.
    fileprivate struct Figures {
        var records: Int64
        var bytes: Int64
        var error: String
    }

    fileprivate var figures: Figures { Figures(records: records, bytes: bytes, error: failure ?? problem) }

    /// Notes what follows from a change.
    fileprivate mutating func follow(_ former: Figures, now: Int64) {
        if records != former.records {
            throughput.note(records: former.records, bytes: former.bytes, at: now)
            if let latencyMilliseconds { latencies.note(latencyMilliseconds) }
        }
        let error = failure ?? problem
        guard !error.isEmpty, error != former.error else { return }
        (lastError, lastErrorAt) = (error, now)
    }

    private static let maximumSourceEnds = 64

    /// The source ended there at a time, or later.
    mutating func noteSourceEnd(_ end: Offset, askedAt: Int64, committed: Offset) {
        while sourceEnds.count > 1, sourceEnds[1].end <= committed { sourceEnds.removeFirst() }
        if sourceEnds.count >= Self.maximumSourceEnds { sourceEnds.remove(at: 1) }
        sourceEnds.append(SourceEnd(askedAt: askedAt, end: end))
    }

    /// Monotonic milliseconds: what the source had then lies before an offset; nil if that is not known of any time.
    func coveredAt(_ committed: Offset) -> Int64? {
        let known = sourceEnds.last { $0.end <= committed }?.askedAt
        guard logEndOffset <= committed, let upToDateAt else { return known }
        return max(known ?? .min, upToDateAt)
    }

    /// Monotonic milliseconds since which, at least, the mirror has had everything; nil if that never was so.
    var upToDateAt: Int64? {
        guard lag == 0, problem.isEmpty, let clock = clock?.askedAt.load(ordering: .relaxed), clock > .min else { return caughtUpAt }
        return max(caughtUpAt ?? .min, clock)
    }
}

extension MirrorProgress {
    /// The log is not what it was: what was known of how far it covers the source does not hold.
    fileprivate mutating func noteBreak() {
        sourceEnds = []
        caughtUpAt = nil
        sourceEndOffset = -1
    }
}

/// That a mirror was cut, begun anew, or has gone on behind a gap.
struct MirrorBreak: Sendable {
    /// How often.
    var count = 0
    /// The last time, in monotonic milliseconds.
    var at: Int64 = .min
}

/// When a fetcher sent the question that was answered last, in monotonic milliseconds.
final class FetcherClock: Sendable, Equatable {
    let askedAt = Atomic<Int64>(.min)

    static func == (left: FetcherClock, right: FetcherClock) -> Bool { left === right }
}

/// The progress of all mirrors of one link on this broker.
final class MirrorBoard: Sendable {
    let traffic = LinkTraffic()
    private let entries = Mutex<[TopicPartition: MirrorProgress]>([:])
    private let breaks = Mutex<[TopicPartition: MirrorBreak]>([:])

    func update(_ partition: TopicPartition, link: String, _ change: (inout MirrorProgress) -> Void) {
        let now = SystemClock.monotonicMilliseconds()
        entries.withLock { entries in
            let former = entries[partition]?.figures ?? MirrorProgress.Figures(records: 0, bytes: 0, error: "")
            change(&entries[partition, default: MirrorProgress(partition: partition, link: link)])
            entries[partition]?.follow(former, now: now)
        }
    }

    /// The mirror is about to be cut, begun anew, or to go on behind a gap.
    func noteBreak(_ partition: TopicPartition) {
        let now = SystemClock.monotonicMilliseconds()
        breaks.withLock { breaks in
            breaks[partition, default: MirrorBreak()].count += 1
            breaks[partition]?.at = now
        }
        forgetSource(of: partition)
    }

    /// Where the source ends is not known any longer: the mirror is followed anew.
    func forgetSource(of partition: TopicPartition) { entries.withLock { $0[partition]?.noteBreak() } }

    /// Also of a mirror that is not followed any more.
    func breaks(of partition: TopicPartition) -> MirrorBreak { breaks.withLock { $0[partition] ?? MirrorBreak() } }

    func remove(_ partition: TopicPartition) { entries.withLock { $0[partition] = nil } }

    func entry(_ partition: TopicPartition) -> MirrorProgress? { entries.withLock { $0[partition] } }

    var all: [MirrorProgress] { entries.withLock { $0.values.sorted { $0.partition < $1.partition } } }
}
