// Reading: from offsets to ranges of files, bounded by what the reader may see.
import NIOCore
import Primitives
import RecordBatches

extension PartitionLog {
    /// Finds the bytes from the batch that holds `offset` on.
    ///
    /// - Parameter minOneBatch: return the first batch even if it is larger than `maxBytes` (KIP-74).
    /// - Throws: `offsetOutOfRange` outside of log start and log end.
    public func read(
        from offset: Offset, maxBytes: Int, minOneBatch: Bool, isolation: ReadIsolation
    ) throws(StorageError) -> LogReadResult {
        if isClosed { throw .closed(path: path) }
        guard offset >= logStartOffset, offset <= logEndOffset else {
            throw .offsetOutOfRange(requested: offset, logStartOffset: logStartOffset, endOffset: logEndOffset)
        }
        var result = LogReadResult(
            slice: nil, logStartOffset: logStartOffset, highWatermark: highWatermark, lastStableOffset: lastStableOffset,
            logEndOffset: logEndOffset, abortedTransactions: [])
        let limit = isolation == .logEnd ? logEndOffset : isolation == .highWatermark ? highWatermark : result.lastStableOffset
        guard offset < limit, let found = try slice(from: offset, to: limit, maxBytes: maxBytes, minOneBatch: minOneBatch) else {
            return result
        }
        result.slice = found.slice
        if isolation == .lastStable {
            result.abortedTransactions = try abortedTransactions(from: offset, found.segment, found.slice)
        }
        return result
    }

    /// The answer to a reader that gets no records from here: just where the log stands.
    public var emptyRead: LogReadResult {
        LogReadResult(
            slice: nil, logStartOffset: logStartOffset, highWatermark: highWatermark, lastStableOffset: lastStableOffset,
            logEndOffset: logEndOffset, abortedTransactions: [])
    }

    private func slice(
        from offset: Offset, to limit: Offset, maxBytes: Int, minOneBatch: Bool
    ) throws(StorageError) -> (slice: LogSlice, segment: Int)? {
        let end = try place(of: limit)
        var index = segmentIndex(containing: offset)
        while index < segmentList.count {
            let segment = segmentList[index]
            guard segment.baseOffset <= end.segmentBase else { return nil }
            let last = segment.baseOffset == end.segmentBase ? end.position : segment.size
            if let start = try start(of: offset, in: segment), start.position < last {
                segment.lastUsed = SystemClock.monotonicMilliseconds()
                var length = last - start.position
                if let hole = segment.damage.first(where: { $0.lowerBound > start.position }) {
                    length = min(length, hole.lowerBound - start.position)
                }
                if length > maxBytes {
                    length = try cut(segment, from: start.position, firstSize: start.size, to: maxBytes, minOneBatch: minOneBatch)
                }
                guard length > 0 else { return nil }
                if length == start.size, let next = start.nextOffset {
                    readHints.note(next, LogPlace(segmentBase: segment.baseOffset, position: start.position + length))
                }
                return (LogSlice(file: try segment.file(), position: start.position, length: length), index)
            }
            index += 1
        }
        return nil
    }

    /// How much of a read to return when it is longer than the reader wants: up to a batch boundary that the index knows, else cut
    /// anywhere behind the first batch, as Kafka does.
    private func cut(
        _ segment: LogSegment, from start: Int, firstSize: Int, to maxBytes: Int, minOneBatch: Bool
    ) throws(StorageError) -> Int {
        if maxBytes <= firstSize { return minOneBatch || maxBytes == firstSize ? firstSize : 0 }
        if let boundary = try segment.batchBoundary(after: start, upTo: start + maxBytes), boundary - start >= firstSize {
            return boundary - start
        }
        return maxBytes
    }

    /// The batch that holds `offset`: where it is, and the offset behind it if that is known.
    private func start(
        of offset: Offset, in segment: LogSegment
    ) throws(StorageError) -> (position: Int, size: Int, nextOffset: Offset?)? {
        if segment.damage.isEmpty {
            if segment === active, let recent = recentBatches.find(offset) {
                return (recent.position, (recent.end ?? segment.size) - recent.position, nil)
            }
            if let position = readHints.find(offset, in: segment.baseOffset), position < segment.size {
                var reader = SegmentReader(file: try segment.file(), from: position, to: segment.size, readAhead: 0)
                if let batch = try reader.next(), batch.baseOffset <= offset, batch.lastOffset >= offset {
                    return (batch.position, batch.size, batch.lastOffset + 1)
                }
            }
        }
        guard let batch = try segment.batch(containing: offset) else { return nil }
        return (batch.position, batch.size, batch.lastOffset + 1)
    }

    /// Where the batch that begins at or behind `offset` stands: the end of what a reader may see.
    private func place(of offset: Offset) throws(StorageError) -> LogPlace {
        if offset >= logEndOffset { return LogPlace(segmentBase: active.baseOffset, position: active.size) }
        if let limitCache, limitCache.offset == offset { return limitCache.place }
        var index = segmentIndex(containing: offset)
        while index < segmentList.count {
            let segment = segmentList[index]
            if let start = try start(of: offset, in: segment) {
                let place = LogPlace(segmentBase: segment.baseOffset, position: start.position)
                limitCache = (offset, place)
                return place
            }
            index += 1
        }
        return LogPlace(segmentBase: active.baseOffset, position: active.size)
    }

    /// The last segment that begins at or below `offset`.
    func segmentIndex(containing offset: Offset) -> Int {
        var low = 0
        var high = segmentList.count
        while low < high {
            let middle = (low + high) / 2
            if segmentList[middle].baseOffset <= offset { low = middle + 1 } else { high = middle }
        }
        return max(0, low - 1)
    }

    /// As `read`, but brings the bytes into memory and only whole batches of them: for replay and tools.
    public func readBytes(
        from offset: Offset, maxBytes: Int, minOneBatch: Bool, isolation: ReadIsolation
    ) throws(StorageError) -> ByteBuffer {
        let result = try read(from: offset, maxBytes: maxBytes, minOneBatch: minOneBatch, isolation: isolation)
        guard let slice = result.slice else { return ByteBuffer() }
        return try slice.wholeBatches()
    }

    // MARK: Transactions

    /// Aborted transactions that touch what is read.
    private func abortedTransactions(
        from offset: Offset, _ first: Int, _ slice: LogSlice
    ) throws(StorageError) -> [AbortedTransaction] {
        guard hasTransactions else { return [] }
        let segment = segmentList[first]
        let next = first + 1 < segmentList.count ? segmentList[first + 1].baseOffset : logEndOffset
        let upper = try segment.offsetIndex().firstEntry(atOrAbove: slice.position + slice.length)?.offset ?? next
        var found: [AbortedTransaction] = []
        for index in first..<segmentList.count {
            try completeTransactionIndex(of: index)
            if try segmentList[index].transactionIndex().collect(from: offset, to: upper, into: &found) { break }
        }
        return found
    }

    /// All aborted transactions of the log, for tools.
    public func allAbortedTransactions() throws(StorageError) -> [AbortedTransactionEntry] {
        var entries: [AbortedTransactionEntry] = []
        guard hasTransactions else { return entries }
        for index in segmentList.indices {
            try completeTransactionIndex(of: index)
            entries += try segmentList[index].transactionIndex().entries
        }
        return entries
    }

    // MARK: Timestamps

    /// The first record at or after `timestamp` (in log order); nil when there is none.
    public func offset(forTimestamp timestamp: Timestamp) throws(StorageError) -> LogOffset? {
        if isClosed { throw .closed(path: path) }
        for segment in segmentList {
            guard segment.size > 0, try segment.largestTimestamp() >= timestamp else { continue }
            // A segment's largest timestamp may be that of a batch whose records compaction took away.
            if let found = try segment.record(atOrAfter: timestamp, from: logStartOffset) { return found }
        }
        return nil
    }

    /// The record with the largest timestamp, the first one if there are several (KIP-734); nil in an empty log.
    public func offsetOfMaxTimestamp() throws(StorageError) -> LogOffset? {
        if isClosed { throw .closed(path: path) }
        var newest: LogSegment?
        for segment in segmentList {
            guard let best = newest else {
                newest = segment
                continue
            }
            if try segment.maximumTimestamp().timestamp > best.maximumTimestamp().timestamp { newest = segment }
        }
        return try newest?.recordOfMaximumTimestamp()
    }
}

extension LogSlice {
    /// The bytes of the slice's whole batches, in memory.
    public func wholeBatches() throws(StorageError) -> ByteBuffer {
        var bytes = try LogSegment.bytes(of: file, at: position, length: length)
        var end = bytes.readerIndex
        while let size = bytes.getInteger(at: end + RecordBatchHeader.Position.batchLength, as: Int32.self), size > 0,
            end + Int(size) + RecordBatchHeader.logOverhead <= bytes.writerIndex
        {
            end += Int(size) + RecordBatchHeader.logOverhead
        }
        bytes.moveWriterIndex(to: end)
        return bytes
    }
}
