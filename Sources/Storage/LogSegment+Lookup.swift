// Finding things in a segment: batches by offset, records by timestamp.
import NIOCore
import Primitives
import RecordBatches

extension LogSegment {
    /// The batch that holds `offset`, or the next one if there is none; nil beyond the segment's end. Damaged parts are stepped over.
    func batch(containing offset: Offset) throws(StorageError) -> StoredBatch? {
        var entry = try offsetIndex().lookup(offset)
        if entry.position < 0 || (entry.position >= size && size > 0) {
            try rebuildIndexes()
            entry = OffsetPosition(offset: baseOffset, position: 0)
        }
        if let batch = try indexedBatch(containing: offset, behind: entry) { return batch }
        return try walk(to: offset, from: entry)
    }

    /// The batch that the next index entry points to, if it is the one: where batches are large each has an entry, and its header is
    /// all that has to be read. Nil where a walk from `entry` is as cheap.
    private func indexedBatch(containing offset: Offset, behind entry: OffsetPosition) throws(StorageError) -> StoredBatch? {
        guard damage.isEmpty, let next = try offsetIndex().firstEntry(above: entry.position),
            next.position - entry.position >= 2 * SegmentReader.lookupReadAhead
        else { return nil }
        var reader = SegmentReader(file: try file(), from: next.position, to: size, readAhead: 0)
        guard let batch = try reader.next(), batch.baseOffset <= offset, batch.lastOffset >= offset, batch.lastOffset == next.offset
        else { return nil }
        return batch
    }

    private func walk(to offset: Offset, from entry: OffsetPosition) throws(StorageError) -> StoredBatch? {
        var reader = SegmentReader(file: try file(), from: entry.position, to: size)
        var isFirst = true
        while true {
            guard let batch = try reader.next() else {
                guard reader.problem != nil else { return nil }
                if let jump = damage.first(where: { $0.contains(reader.position) }) {
                    reader = SegmentReader(file: try file(), from: jump.upperBound, to: size)
                    isFirst = false
                    continue
                }
                // The index pointed into the middle of something: it is wrong, or the log is damaged.
                guard isFirst, entry.position > 0 else {
                    throw .corruptFile(path: path(".log"), reason: "\(reader.problem ?? "") at position \(reader.position)")
                }
                try rebuildIndexes()
                return try walk(to: offset, from: OffsetPosition(offset: baseOffset, position: 0))
            }
            if isFirst, entry.position > 0, batch.lastOffset != entry.offset {
                try rebuildIndexes()
                return try walk(to: offset, from: OffsetPosition(offset: baseOffset, position: 0))
            }
            isFirst = false
            if batch.lastOffset < offset { continue }
            if let jump = damage.first(where: { $0.overlaps(batch.position..<batch.end) }) {
                reader = SegmentReader(file: try file(), from: max(jump.upperBound, batch.end), to: size)
                continue
            }
            return batch
        }
    }

    /// The last batch, or nil in an empty segment. Reports bytes behind it that are no batch.
    func lastBatch() throws(StorageError) -> (batch: StoredBatch?, problem: String?) {
        guard size > 0 else { return (nil, nil) }
        let start = try offsetIndex().lastEntry?.position ?? 0
        var reader = SegmentReader(file: try file(), from: start, to: size)
        var last: StoredBatch?
        while let batch = try reader.next() { last = batch }
        return (last, reader.problem)
    }

    /// Where a read of at most `limit` bytes from `start` should stop so that it ends at a batch, going by the index alone; nil when
    /// the index does not know such a place.
    func batchBoundary(after start: Int, upTo limit: Int) throws(StorageError) -> Int? {
        guard let entry = try offsetIndex().lookup(position: limit), entry.position > start, entry.position <= size else { return nil }
        return entry.position
    }

    /// The first record at or above `offset` whose timestamp is at least `timestamp`.
    func record(atOrAfter timestamp: Timestamp, from offset: Offset) throws(StorageError) -> LogOffset? {
        let start = try timeIndex().lookup(timestamp).offset
        guard let position = try batch(containing: max(start, offset))?.position else { return nil }
        var reader = SegmentReader(file: try file(), from: position, to: size)
        while let batch = try reader.next() {
            guard batch.maxTimestamp >= timestamp, batch.lastOffset >= offset else { continue }
            if let found = try records(of: batch, { $0.timestamp >= timestamp && $0.offset >= offset }) { return found }
        }
        return nil
    }

    /// The first record with the segment's largest timestamp.
    func recordOfMaximumTimestamp() throws(StorageError) -> LogOffset? {
        let maximum = try maximumTimestamp()
        guard maximum.timestamp >= 0 else { return nil }
        guard let position = try batch(containing: maximum.offset)?.position else { return nil }
        var reader = SegmentReader(file: try file(), from: position, to: size)
        while let batch = try reader.next() {
            guard batch.maxTimestamp == maximum.timestamp else { continue }
            // Nothing in a batch whose records compaction took away.
            if let found = try records(of: batch, { $0.timestamp == maximum.timestamp }) { return found }
        }
        return nil
    }

    /// The first record of a batch that satisfies a condition.
    private func records(of batch: StoredBatch, _ condition: (Record) -> Bool) throws(StorageError) -> LogOffset? {
        let bytes = try self.bytes(at: batch.position, length: batch.size)
        let epoch = batch.magic == 2 ? batch.header.partitionLeaderEpoch : -1
        do throws(RecordBatchError) {
            if batch.magic == 2 {
                var records = try RecordBatch(bytes).records()
                while let record = try records.next() {
                    if condition(record) { return LogOffset(offset: record.offset, timestamp: record.timestamp, leaderEpoch: epoch) }
                }
                return nil
            }
            for record in try LegacyMessage(bytes).records() where condition(record) {
                return LogOffset(offset: record.offset, timestamp: record.timestamp)
            }
            return nil
        } catch {
            throw .corruptFile(path: path(".log"), reason: "batch at position \(batch.position): \(error)")
        }
    }

    /// Bytes of the log in memory.
    func bytes(at position: Int, length: Int) throws(StorageError) -> ByteBuffer {
        let file = try file()
        return try Self.bytes(of: file, at: position, length: length)
    }

    static func bytes(of file: SegmentFile, at position: Int, length: Int) throws(StorageError) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: length)
        var failure: StorageError?
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { target in
            do throws(StorageError) {
                return try FileSystem.read(
                    file.descriptor, into: UnsafeMutableRawBufferPointer(rebasing: target[..<length]), at: position, path: file.path)
            } catch {
                failure = error
                return 0
            }
        }
        if let failure { throw failure }
        return buffer
    }

    /// The end transaction marker in a control batch; nil for control batches of other kinds.
    func marker(of batch: StoredBatch) throws(StorageError) -> TransactionMarker? {
        guard batch.magic == 2, batch.header.isControl, batch.header.hasProducerId else { return nil }
        return TransactionMarker(try bytes(at: batch.position, length: batch.size))
    }
}

extension TransactionMarker {
    /// The marker in a control batch's bytes; nil when there is none.
    init?(_ bytes: ByteBuffer) {
        guard let record = try? RecordBatch(bytes).records(), let marker = Self.first(record) else { return nil }
        self.init(isAborted: marker.outcome == .abort, coordinatorEpoch: marker.coordinatorEpoch)
    }

    private static func first(_ records: RecordIterator) -> EndTransactionMarker? {
        var records = records
        guard let record = try? records.next() else { return nil }
        return try? EndTransactionMarker(record)
    }
}
