// One partition of a flow while it is copied: where it is, who copies it, how offsets translate, and what is measured.
import MartletClient
import Mirroring
import Primitives

/// The state of a partition, behind the flow's lock.
struct CopiedPartition: Sendable {
    let source: TopicPartition
    let target: TopicPartition
    /// The next offset to fetch; nil until it was found.
    var position: Int64?
    /// The next offset that is not on the target for certain.
    var written: Int64 = 0
    /// What the position store has; nil for nothing.
    var stored: Int64?
    /// The lane that fetches or writes it now.
    var lane: Int?
    var translation = OffsetTranslation()
    var pace: OffsetSyncPace
    /// The last pair of offsets that was copied.
    var lastCopied: (upstream: Int64, downstream: Int64)?
    /// Monotonic milliseconds before which it is left alone, after something failed.
    var notBefore: Int64 = 0
    /// Why it is not copied at the moment.
    var problem: String?
    /// The end of the partition on the source, as the last fetch had it.
    var sourceEnd: Int64?
    /// Whether it has to be looked up what the target has of each origin.
    var needsScan = false
    /// Where that begins; nil when it is not known.
    var scanFrom: ScanStart?
    /// What is written down of the target's origins beside the stored position: up to where, and after how many losses.
    var storedOrigins: (end: Int64, losses: Int)?
    var figures = CopyFigures()

    init(source: TopicPartition, target: TopicPartition, maximumOffsetLag: Int64) {
        self.source = source
        self.target = target
        pace = OffsetSyncPace(maximumLag: maximumOffsetLag)
    }

    /// Takes note of a batch that is on the target.
    ///
    /// - Returns: the pairs of offsets to write down.
    mutating func copied(_ batch: CopiedBatch, baseOffset: Int64) -> [(sync: OffsetSync, isRun: Bool)] {
        var syncs: [(sync: OffsetSync, isRun: Bool)] = []
        var downstream = baseOffset
        for segment in batch.segments {
            if translation.copied(upstream: segment.upstream, downstream: downstream, count: segment.count) {
                syncs.append(
                    (OffsetSync(partition: source, upstreamOffset: segment.upstream, downstreamOffset: downstream), isRun: true))
                pace.wrote(downstream: downstream)
            }
            downstream += segment.count
            lastCopied = (segment.upstream + segment.count - 1, downstream - 1)
        }
        if let last = lastCopied, pace.isDue(downstream: last.downstream), syncs.last?.sync.upstreamOffset != last.upstream {
            syncs.append((OffsetSync(partition: source, upstreamOffset: last.upstream, downstreamOffset: last.downstream), isRun: true))
        }
        figures.records += batch.count
        figures.latency.add(max(0, SystemClock.now() - batch.maximumTimestamp))
        return syncs
    }

    /// Records that are not copied yet; nil when the end is not known.
    var lag: Int64? { sourceEnd.map { max(0, $0 - written) } }
}

/// What is measured of a partition, under MirrorMaker 2's names.
struct CopyFigures: Sendable {
    var records = 0
    var bytes = 0
    /// Records that retention, or a loss on the source, took before they were copied.
    var lostRecords = 0
    var rewrites = RewriteCounts()
    /// Records that a transform refused, and the offset of the last one, which is tried again and again.
    var refused = 0
    var lastRefused: Int64?
    /// Milliseconds from a record's timestamp to when it was fetched, and to when it was on the target.
    var age = Spread()
    var latency = Spread()
    /// Bytes at the last time that load was measured, and what that came to.
    var measuredBytes = 0
    var measuredAt: Int64 = 0
    var bytesPerSecond: Double?
    var recordsPerSecond: Double?
    var measuredRecords = 0

    /// Looks at the load since the last time.
    ///
    /// - Parameter now: monotonic milliseconds.
    mutating func measure(now: Int64) {
        let seconds = Double(now - measuredAt) / 1000
        if measuredAt > 0, seconds > 0 {
            bytesPerSecond = Double(bytes - measuredBytes) / seconds
            recordsPerSecond = Double(records - measuredRecords) / seconds
        }
        (measuredBytes, measuredRecords, measuredAt) = (bytes, records, now)
    }
}

/// Last, least, largest and average of values.
struct Spread: Sendable {
    var last: Int64 = 0
    var least: Int64?
    var largest: Int64?
    private var sum: Int64 = 0
    private var count: Int64 = 0

    var average: Double? { count > 0 ? Double(sum) / Double(count) : nil }

    mutating func add(_ value: Int64) {
        last = value
        least = min(least ?? value, value)
        largest = max(largest ?? value, value)
        sum += value
        count += 1
    }
}
