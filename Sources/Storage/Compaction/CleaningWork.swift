// Cleaning one log outside of its lock: first the map of its dirty keys, then group after group of segments is copied without what the
// map makes superfluous. The log takes the copies in place of the originals under its lock (PartitionLog+Compaction).
import Glibc
import NIOCore
import Primitives
import RecordBatches

/// What cleaning may use, of the settings `log.cleaner.*`.
public struct CleaningResources: Sendable {
    /// For the map of keys.
    public var mapBytes = 128 << 20
    /// How full the map may get.
    public var mapLoadFactor = 0.9
    /// For reading, and as much again for writing.
    public var bufferBytes = 256 << 10

    public init() {}
}

/// A segment to be cleaned, as it was when cleaning began. Nobody changes it meanwhile without aborting.
struct CleaningSegment {
    var outline: SegmentOutline
    /// Where its offsets end at the latest.
    var nextBaseOffset: Offset
    var lastModified: Timestamp
}

/// Segments that were cleaned into new ones, which wait for the log to take them.
struct CleanedGroup {
    var sources: [Offset]
    var segments: [CleanedSegment]
}

/// One log being cleaned. Made by `PartitionLog.beginCleaning`; belongs to one thread, and is sendable only so that it can leave the
/// log's lock.
public final class CleaningWork: @unchecked Sendable {
    public let topicPartition: TopicPartition
    public let candidate: CleaningCandidate
    let control: CleaningControl
    let directory: String
    let segments: [CleaningSegment]
    /// Where the map begins in the first dirty segment.
    let firstDirtyPosition: Int
    let configuration: LogConfiguration
    let aborted: [AbortedTransactionEntry]
    let hasTransactions: Bool
    let highWatermark: Offset
    let lastRecords: [ProducerID: ProducerLastRecord]
    let now: Timestamp
    private let resources: CleaningResources
    private var cleaner: BatchCleaner?
    private var mapStatistics = CleaningStatistics()
    private var groups: ArraySlice<Range<Int>> = []

    init(
        log: PartitionLog, candidate: CleaningCandidate, segments: [CleaningSegment], firstDirtyPosition: Int,
        aborted: [AbortedTransactionEntry], resources: CleaningResources, control: CleaningControl, now: Timestamp
    ) {
        topicPartition = log.topicPartition
        directory = log.path
        configuration = log.configuration
        hasTransactions = log.hasTransactions
        highWatermark = log.highWatermark
        lastRecords = log.lastProducerRecords
        self.candidate = candidate
        self.segments = segments
        self.firstDirtyPosition = firstDirtyPosition
        self.aborted = aborted
        self.resources = resources
        self.control = control
        self.now = now
    }

    public var statistics: CleaningStatistics {
        var all = cleaner?.statistics ?? CleaningStatistics()
        all.mapBytesRead = mapStatistics.mapBytesRead
        all.mapRecordsRead = mapStatistics.mapRecordsRead
        all.mapUtilization = mapStatistics.mapUtilization
        all.mapMemoryBytes = mapStatistics.mapMemoryBytes
        all.endOffset = mapStatistics.endOffset
        return all
    }

    // MARK: The map

    /// Reads the dirty part and notes the newest offset of each key, until the map is full.
    public func buildMap() throws(CleaningFailure) {
        let dirty = segments.filter { $0.nextBaseOffset > candidate.firstDirtyOffset }
        let keyLimit = Int(clamping: candidate.firstUncleanableOffset - candidate.firstDirtyOffset)
        var generator = SystemRandomNumberGenerator()
        let map = try CompactionOffsetMap(
            memoryBytes: resources.mapBytes, keyLimit: keyLimit, loadFactor: resources.mapLoadFactor,
            secret: (generator.next(), generator.next()))
        var transactions = CleanedTransactions(aborted: aborted)
        for (index, segment) in dirty.enumerated() {
            try control.check()
            let isFull = try note(segment, from: index == 0 ? firstDirtyPosition : 0, in: map, &transactions)
            if isFull { break }
            // Gaps behind the last batch are known to be empty.
            map.noteLatest(segment.nextBaseOffset - 1)
        }
        mapStatistics.mapUtilization = map.utilization
        mapStatistics.mapMemoryBytes = map.memoryInBytes
        mapStatistics.endOffset = map.latestOffset + 1
        cleaner = BatchCleaner(
            map: map, now: now, deleteRetentionMilliseconds: configuration.deleteRetentionMilliseconds, highWatermark: highWatermark,
            lastRecords: lastRecords, transactions: CleanedTransactions(aborted: aborted))
        let count = segments.prefix { $0.outline.baseOffset <= map.latestOffset }.count
        groups =
            CompactionPlan.groups(
                segments.prefix(count).map(\.outline), configuration: configuration,
                firstUncleanableOffset: candidate.firstUncleanableOffset)[...]
    }

    /// Returns whether the map is full.
    private func note(
        _ segment: CleaningSegment, from position: Int, in map: CompactionOffsetMap, _ transactions: inout CleanedTransactions
    ) throws(CleaningFailure) -> Bool {
        var source = try open(segment, from: position)
        var isFull = false
        while !isFull {
            let step: Void? = try source.next { batch, bytes throws(CleaningFailure) in
                mapStatistics.mapBytesRead += batch.size
                do throws(RecordBatchError) {
                    isFull = try note(batch, bytes, in: map, &transactions)
                } catch {
                    throw .storage(.corruptFile(path: path(of: segment), reason: "batch at position \(batch.position): \(error)"))
                }
            }
            if step == nil { break }
        }
        return isFull
    }

    private func note(
        _ batch: StoredBatch, _ bytes: UnsafeRawBufferPointer, in map: CompactionOffsetMap, _ transactions: inout CleanedTransactions
    ) throws(RecordBatchError) -> Bool {
        let start = candidate.firstDirtyOffset
        var isFull = false
        if batch.magic != 2 {
            for record in try LegacyMessage(ByteBuffer(bytes: bytes)).records() where record.offset >= start && !isFull {
                mapStatistics.mapRecordsRead += 1
                guard let key = record.key else { continue }
                isFull = !key.withUnsafeReadableBytes { map.put($0, offset: record.offset) }
            }
        } else if batch.header.isControl {
            let marker = batch.header.recordCount > 0 ? TransactionMarker(ByteBuffer(bytes: bytes)) : nil
            _ = transactions.noteControl(batch.header, marker: marker)
            mapStatistics.mapRecordsRead += 1
        } else if transactions.noteBatch(batch.header) {
            mapStatistics.mapRecordsRead += Int(batch.header.recordCount)
        } else {
            try batch.header.withRecords(of: bytes) { section throws(RecordBatchError) in
                try batch.header.forEachRecord(in: section) { record throws(RecordBatchError) in
                    mapStatistics.mapRecordsRead += 1
                    if let key = record.key, record.offset >= start { isFull = !map.put(key, offset: record.offset) }
                    return !isFull
                }
            }
        }
        if !isFull, batch.lastOffset >= start { map.noteLatest(batch.lastOffset) }
        return isFull
    }

    // MARK: The copies

    /// Cleans the next group of segments; nil when all are done.
    func cleanGroup() throws(CleaningFailure) -> CleanedGroup? {
        guard let range = groups.popFirst() else { return nil }
        let sources = segments[range]
        var group = CleanedGroup(sources: sources.map(\.outline.baseOffset), segments: [])
        do throws(CleaningFailure) {
            group.segments.append(try newSegment(sources[range.lowerBound].outline.baseOffset))
            for segment in sources { try clean(segment, into: &group) }
            try finish(group.segments[group.segments.count - 1], sources[range.upperBound - 1])
            try control.attempt { () throws(StorageError) in try FileSystem.syncDirectory(directory) }
            return group
        } catch {
            discard(group)
            throw error
        }
    }

    func discard(_ group: CleanedGroup) {
        for segment in group.segments { segment.remove() }
    }

    private func newSegment(_ baseOffset: Offset) throws(CleaningFailure) -> CleanedSegment {
        try control.check()
        return try control.attempt { () throws(StorageError) in
            try CleanedSegment(
                directory: directory, baseOffset: baseOffset, indexIntervalBytes: configuration.indexIntervalBytes,
                bufferBytes: resources.bufferBytes, control: control)
        }
    }

    private func finish(_ segment: CleanedSegment, _ source: CleaningSegment) throws(CleaningFailure) {
        try segment.finish(lastModified: source.lastModified, writesTransactionIndex: hasTransactions)
    }

    private func clean(_ segment: CleaningSegment, into group: inout CleanedGroup) throws(CleaningFailure) {
        guard var cleaner else { preconditionFailure("the map comes first") }
        // One owner, so that nothing is copied.
        self.cleaner = nil
        defer { self.cleaner = cleaner }
        let retainsLegacyTombstones = segment.lastModified > legacyDeleteHorizon
        var source = try open(segment, from: 0)
        while true {
            let step: Void? = try source.next { batch, bytes throws(CleaningFailure) in
                let decided: (outcome: BatchCleaner.Outcome, aborted: AbortedTransactionEntry?)
                do throws(RecordBatchError) {
                    decided = try cleaner.clean(batch, bytes, retainsLegacyTombstones: retainsLegacyTombstones)
                } catch {
                    throw .storage(.corruptFile(path: path(of: segment), reason: "batch at position \(batch.position): \(error)"))
                }
                switch decided.outcome {
                case .dropped: break
                case .unchanged: try append(bytes, batch.header, segment, to: &group)
                case .rewritten:
                    let result = cleaner.rewritten.withUnsafeReadableBytes { bytes in
                        Result { () throws(CleaningFailure) in try appendRewritten(bytes, segment, to: &group) }
                    }
                    try result.get()
                }
                if let entry = decided.aborted { group.segments[group.segments.count - 1].append(entry) }
            }
            if step == nil { return }
        }
    }

    private func appendRewritten(
        _ bytes: UnsafeRawBufferPointer, _ source: CleaningSegment, to group: inout CleanedGroup
    ) throws(CleaningFailure) {
        guard let header = try? RecordBatchHeader(bytes) else { preconditionFailure("a batch was written without a header") }
        try append(bytes, header, source, to: &group)
    }

    /// Appends a batch to the newest copy, or to one more where it would not fit: recompressed batches may be larger than they were.
    private func append(
        _ bytes: UnsafeRawBufferPointer, _ header: RecordBatchHeader, _ source: CleaningSegment, to group: inout CleanedGroup
    ) throws(CleaningFailure) {
        var target = group.segments[group.segments.count - 1]
        if !target.hasRoom(bytes.count, lastOffset: header.lastOffset) {
            try finish(target, source)
            target = try newSegment(header.baseOffset)
            group.segments.append(target)
        }
        try target.append(bytes, lastOffset: header.lastOffset, maxTimestamp: header.maxTimestamp)
    }

    /// Until when the last segment that was cleaned before was written, less `delete.retention.ms`: what tombstones of old formats go by.
    private var legacyDeleteHorizon: Timestamp {
        let clean = segments.last { $0.outline.baseOffset < candidate.firstDirtyOffset }
        return clean.map { $0.lastModified - min(configuration.deleteRetentionMilliseconds, $0.lastModified) } ?? 0
    }

    private func path(of segment: CleaningSegment) -> String { SegmentName.path(directory, segment.outline.baseOffset, ".log") }

    private func open(_ segment: CleaningSegment, from position: Int) throws(CleaningFailure) -> BatchSource {
        let path = path(of: segment)
        let file = try control.attempt { () throws(StorageError) in
            SegmentFile(descriptor: try FileSystem.open(path, O_RDONLY), path: path, baseOffset: segment.outline.baseOffset)
        }
        return BatchSource(file, from: position, to: segment.outline.size, bufferBytes: resources.bufferBytes, control: control)
    }
}
