// After a crash: everything behind the recovery point is checked, the log is cut at the first byte that is no valid batch, and
// indexes, epochs, producers and aborted transactions are built again from what remains.
import Glibc
import NIOCore
import Primitives
import RecordBatches

struct LogRecovery {
    let request: LoadRequest
    var state: LoadedState
    private var replay: ProducerReplay
    private var nextOffset: Offset

    init(request: LoadRequest, state: LoadedState) {
        self.request = request
        self.state = state
        let first = state.segments[0].baseOffset
        nextOffset = first
        replay = ProducerReplay(
            directory: request.path, segments: state.segments, snapshotOffsets: state.snapshotOffsets,
            logStartOffset: max(request.logStartOffset, first), expiration: request.configuration.producerIDExpirationMilliseconds,
            now: request.now)
    }

    /// Returns the log's end.
    mutating func run() throws(StorageError) -> Offset {
        state.report.recovered = true
        let segments = state.segments
        let first = segments.lastIndex { $0.baseOffset <= request.recoveryPoint } ?? 0
        let start = try trustedStart(of: segments[first])
        nextOffset = start.offset
        // Snapshots above come again from the log.
        for offset in replay.snapshotOffsets where offset > start.offset {
            try FileSystem.remove(SegmentName.path(request.path, offset, ".snapshot"))
        }
        replay.snapshotOffsets.removeAll { $0 > start.offset }
        try replay.start(at: start.offset)
        state.hasTransactions = state.hasTransactions || replay.sawTransactions
        try replay.advance(to: start.offset)
        var index = first
        while index < segments.count {
            let segment = segments[index]
            if index > first { takeSnapshot(at: segment.baseOffset) }
            var scan = try SegmentScan(
                segment: segment, start: index == first ? start : nil, nextOffset: max(nextOffset, segment.baseOffset),
                interval: request.configuration.indexIntervalBytes)
            try scan.run(&replay, &state.epochs)
            try finish(scan, of: segment)
            request.onScanned(scan.scannedBytes)
            if scan.problem != nil {
                try removeSegments(from: index + 1)
                break
            }
            index += 1
        }
        state.producers = replay.states
        state.snapshotOffsets = replay.snapshotOffsets
        state.hasTransactions = state.hasTransactions || replay.sawTransactions || replay.states.showsTransactions
        for segment in state.segments { segment.releaseResources() }
        return nextOffset
    }

    // MARK: Where to begin

    /// Where scanning begins in the segment of the recovery point: there, if the indexes fit the log up to it, else at the beginning.
    private func trustedStart(of segment: LogSegment) throws(StorageError) -> SegmentScan.Start {
        let beginning = SegmentScan.Start(position: 0, offset: segment.baseOffset, offsetEntries: 0, timeEntries: 0, maximum: nil)
        let recoveryPoint = request.recoveryPoint
        guard recoveryPoint > segment.baseOffset, segment.size > 0 else { return beginning }
        if state.hasTransactions, !FileSystem.exists(segment.path(".txnindex")) { return beginning }
        let offsets = OffsetIndex(path: segment.path(".index"), baseOffset: segment.baseOffset)
        let times = TimeIndex(path: segment.path(".timeindex"), baseOffset: segment.baseOffset)
        let plausible = offsets.plausibleCount(logSize: segment.size)
        guard let last = (0..<plausible).last(where: { offsets.entry($0).offset < recoveryPoint }) else { return beginning }
        let entry = offsets.entry(last)
        let timeEntries = (0..<times.plausibleCount()).last { times.entry($0).offset < recoveryPoint }.map { $0 + 1 } ?? 0
        var maximum = TimestampOffset(timestamp: -1, offset: segment.baseOffset)
        if timeEntries > 0 { maximum = times.entry(timeEntries - 1) }
        var reader = SegmentReader(file: try segment.file(), from: entry.position, to: segment.size)
        var isFirst = true
        var position = entry.position
        var offset = entry.offset
        while let batch = try reader.next() {
            if isFirst, batch.lastOffset != entry.offset { return beginning }
            isFirst = false
            if batch.baseOffset >= recoveryPoint { break }
            if batch.maxTimestamp > maximum.timestamp {
                maximum = TimestampOffset(timestamp: batch.maxTimestamp, offset: batch.lastOffset)
            }
            position = batch.end
            offset = batch.lastOffset + 1
        }
        if isFirst || (reader.problem != nil && offset < recoveryPoint) { return beginning }
        return SegmentScan.Start(
            position: position, offset: offset, offsetEntries: last + 1, timeEntries: timeEntries, maximum: maximum)
    }

    // MARK: What remains

    private mutating func finish(_ scan: SegmentScan, of segment: LogSegment) throws(StorageError) {
        nextOffset = max(nextOffset, scan.nextOffset)
        state.report.scannedBytes += scan.scannedBytes
        state.report.rebuiltIndexes += 2
        if let problem = scan.problem {
            let lost = segment.size - scan.position
            state.report.truncatedBytes += lost
            state.report.remarks.append(
                "cut \(SegmentName.digits(segment.baseOffset)).log at byte \(scan.position), offset \(nextOffset), "
                    + "dropping \(lost) bytes: \(problem)")
        }
        try segment.finishRecovery(
            size: scan.position, offsets: scan.offsets, times: scan.times, maximum: scan.maximum, aborted: scan.aborted)
    }

    private mutating func removeSegments(from index: Int) throws(StorageError) {
        guard index < state.segments.count else { return }
        for segment in state.segments[index...] {
            state.report.truncatedBytes += segment.size
            state.report.remarks.append("removed \(SegmentName.digits(segment.baseOffset)).log behind the cut")
            for suffix in [".log", ".index", ".timeindex", ".txnindex"] { try FileSystem.remove(segment.path(suffix)) }
        }
        state.segments.removeSubrange(index...)
    }

    /// So that the next recovery, or a truncation, need not go back further. Not worth failing for.
    private mutating func takeSnapshot(at offset: Offset) {
        guard replay.snapshotOffsets.last ?? -1 < offset else { return }
        let path = SegmentName.path(request.path, offset, ".snapshot")
        if (try? ProducerSnapshotFile.write(replay.states.snapshot, to: path)) != nil { replay.snapshotOffsets.append(offset) }
    }
}

/// One segment's scan: checksums, offsets, and everything that is derived from them.
struct SegmentScan {
    /// A place up to which the segment is known to be good.
    struct Start {
        var position: Int
        var offset: Offset
        /// Index entries that are good up to there.
        var offsetEntries: Int
        var timeEntries: Int
        var maximum: TimestampOffset?
    }

    let segment: LogSegment
    let offsets: OffsetIndex
    let times: TimeIndex
    private(set) var maximum: TimestampOffset
    private(set) var aborted: [AbortedTransactionEntry]
    private(set) var position: Int
    private(set) var nextOffset: Offset
    private(set) var scannedBytes = 0
    /// Why the scan ended before the file did.
    private(set) var problem: String?
    private let interval: Int
    private var indexed: Int
    private var buffer: UnsafeMutableRawBufferPointer
    private var bufferStart = 0
    private var bufferCount = 0

    init(segment: LogSegment, start: Start?, nextOffset: Offset, interval: Int) throws(StorageError) {
        self.segment = segment
        self.interval = interval
        self.nextOffset = nextOffset
        position = start?.position ?? 0
        offsets = OffsetIndex(path: segment.path(".index"), baseOffset: segment.baseOffset)
        times = TimeIndex(path: segment.path(".timeindex"), baseOffset: segment.baseOffset)
        try offsets.truncate(toCount: start?.offsetEntries ?? 0)
        try times.truncate(toCount: start?.timeEntries ?? 0)
        maximum = start?.maximum ?? TimestampOffset(timestamp: -1, offset: segment.baseOffset)
        indexed = offsets.lastEntry?.position ?? 0
        aborted = []
        if let start, start.position > 0 {
            let known = (try? TransactionIndex(path: segment.path(".txnindex"), baseOffset: segment.baseOffset)) ?? TransactionIndex()
            aborted = known.entries.filter { $0.lastOffset < start.offset }
        }
        buffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    mutating func run(_ replay: inout ProducerReplay, _ epochs: inout LeaderEpochs) throws(StorageError) {
        let remaining = segment.size - position
        guard remaining > 0 else { return }
        buffer = .allocate(byteCount: min(1 << 20, remaining), alignment: 16)
        defer { buffer.deallocate() }
        let file = try segment.file()
        while position < segment.size {
            guard let batch = try next(file) else { return }
            try note(batch, &replay, &epochs)
        }
    }

    /// The next batch, checked; nil with `problem` set when there is none.
    private mutating func next(_ file: SegmentFile) throws(StorageError) -> StoredBatch? {
        let left = segment.size - position
        try fill(min(RecordBatchHeader.size, left), file)
        guard let batch = StoredBatch(bytes(left), position: position) else { return stop("no batch header") }
        guard batch.size <= left else { return stop("a batch of \(batch.size) bytes where only \(left) are left") }
        guard batch.baseOffset >= nextOffset, batch.lastOffset - segment.baseOffset <= Offset(Int32.max) else {
            return stop("offset \(batch.baseOffset) where \(nextOffset) comes next")
        }
        try fill(batch.size, file)
        let whole = UnsafeRawBufferPointer(rebasing: bytes(left)[..<batch.size])
        scannedBytes += batch.size
        do throws(RecordBatchError) {
            if batch.magic == 2 {
                _ = try RecordBatchHeader.verify(whole)
            } else {
                try LegacyMessage(ByteBuffer(bytes: whole)).verifyChecksum()
            }
        } catch {
            return stop("\(error)")
        }
        return batch
    }

    private mutating func stop(_ reason: String) -> StoredBatch? {
        problem = reason
        return nil
    }

    private mutating func note(_ batch: StoredBatch, _ replay: inout ProducerReplay, _ epochs: inout LeaderEpochs) throws(StorageError) {
        if batch.maxTimestamp > maximum.timestamp {
            maximum = TimestampOffset(timestamp: batch.maxTimestamp, offset: batch.lastOffset)
        }
        if position - indexed > interval {
            offsets.append(batch.lastOffset, position: position)
            times.appendIfLarger(maximum)
            indexed = position
        }
        if batch.magic == 2 {
            let epoch = batch.header.partitionLeaderEpoch
            if epoch >= 0, epoch > epochs.latest?.epoch ?? -1 { epochs.assign(epoch, startOffset: batch.baseOffset) }
            if batch.header.hasProducerId {
                let marker = batch.header.isControl ? TransactionMarker(ByteBuffer(bytes: bytes(batch.size)[..<batch.size])) : nil
                var found: [AbortedTransactionEntry] = []
                replay.note(batch, marker: marker) { found.append($0) }
                aborted += found
            }
        }
        position = batch.end
        nextOffset = batch.lastOffset + 1
        replay.position = nextOffset
    }

    // MARK: Buffer

    /// What is in the buffer from `position` on.
    private func bytes(_ limit: Int) -> UnsafeRawBufferPointer {
        let offset = position - bufferStart
        return UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[offset..<min(bufferCount, offset + limit)])
    }

    /// Makes sure that `count` bytes from `position` on are in the buffer.
    private mutating func fill(_ count: Int, _ file: SegmentFile) throws(StorageError) {
        if position >= bufferStart, position + count <= bufferStart + bufferCount { return }
        if count > buffer.count {
            buffer.deallocate()
            buffer = .allocate(byteCount: count, alignment: 16)
        }
        bufferStart = position
        let wanted = min(buffer.count, segment.size - position)
        bufferCount = try FileSystem.read(
            file.descriptor, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]), at: position, path: file.path)
        guard bufferCount >= count else { throw .corruptFile(path: file.path, reason: "file became shorter while it was read") }
    }
}
