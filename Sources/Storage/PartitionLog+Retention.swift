// Taking away: from the front by retention and DeleteRecords, from the end by truncation.
import Glibc
import Primitives

/// Files of a removed segment, renamed to `.deleted` and waiting for `file.delete.delay.ms`.
struct DeletedFiles {
    var paths: [String]
    var due: Timestamp
}

extension PartitionLog {
    // MARK: From the front

    /// Removes what `retention.ms`, `retention.bytes` and the log's start allow to remove; compacted topics keep theirs.
    public func enforceRetention(now: Timestamp) throws(StorageError) -> RetentionResult {
        try checkOpen()
        var result = RetentionResult(logStartOffset: logStartOffset)
        // The cleaner reads what would go. The next look comes soon.
        if cleaning != nil { return result }
        try remove(into: &result, now: now) { [logStartOffset] _, next throws(StorageError) in
            next.map { $0.baseOffset <= logStartOffset } ?? false
        }
        if configuration.cleanupPolicy.contains(.delete) {
            let limit = configuration.retentionBytes
            var excess = Int64(sizeInBytes) - limit
            if limit >= 0, excess > 0 {
                try remove(into: &result, now: now) { segment, _ throws(StorageError) in
                    guard excess - Int64(segment.size) >= 0 else { return false }
                    excess -= Int64(segment.size)
                    return true
                }
            }
            let age = configuration.retentionMilliseconds
            if age >= 0 {
                try remove(into: &result, now: now) { segment, _ throws(StorageError) in
                    now - (try segment.largestTimestamp()) > age
                }
            }
        }
        result.logStartOffset = logStartOffset
        return result
    }

    /// Moves the log's start (DeleteRecords, KIP-107) and removes segments that lie wholly below it.
    /// - Throws: `offsetOutOfRange` beyond the high watermark.
    @discardableResult
    public func deleteRecords(before offset: Offset, now: Timestamp) throws(StorageError) -> RetentionResult {
        try checkOpen()
        guard offset <= highWatermark else {
            throw .offsetOutOfRange(requested: offset, logStartOffset: logStartOffset, endOffset: highWatermark)
        }
        advanceLogStart(to: offset)
        var result = RetentionResult(logStartOffset: logStartOffset)
        // The cleaner reads what would go: retention takes it away afterwards.
        if cleaning != nil { return result }
        try remove(into: &result, now: now) { [logStartOffset] _, next throws(StorageError) in
            next.map { $0.baseOffset <= logStartOffset } ?? false
        }
        return result
    }

    private func advanceLogStart(to offset: Offset) {
        guard offset > logStartOffset else { return }
        logStartOffset = offset
        highWatermark = max(highWatermark, offset)
        recoveryPoint = max(recoveryPoint, offset)
        epochs.truncate(fromStart: offset)
        producers.endsCount(before: countedEnd)
    }

    /// Removes segments from the front as long as the condition holds and all of their records are replicated.
    private func remove(
        into result: inout RetentionResult, now: Timestamp,
        where condition: (LogSegment, LogSegment?) throws(StorageError) -> Bool
    ) throws(StorageError) {
        var count = 0
        while count < segmentList.count {
            let segment = segmentList[count]
            let next = count + 1 < segmentList.count ? segmentList[count + 1] : nil
            guard highWatermark >= next?.baseOffset ?? logEndOffset, next != nil || segment.size > 0, try condition(segment, next) else {
                break
            }
            count += 1
        }
        guard count > 0 else { return }
        if count == segmentList.count { try roll(at: logEndOffset, now: now) }
        let removed = Array(segmentList[..<count])
        segmentList.removeFirst(count)
        advanceLogStart(to: segmentList[0].baseOffset)
        limitCache = nil
        for segment in removed {
            result.removedSegments.append(segment.baseOffset)
            result.removedBytes += segment.size
            retire(segment, now: now)
            removeSnapshots { $0 == segment.baseOffset }
        }
    }

    /// Renames a segment's files, to be deleted later: reads under way go on.
    func retire(_ segment: LogSegment, now: Timestamp) {
        var paths: [String] = []
        for suffix in [".log", ".index", ".timeindex", ".txnindex"] {
            let path = segment.path(suffix)
            if rename(path, path + ".deleted") == 0 {
                paths.append(path + ".deleted")
            } else if errno != ENOENT {
                // No room even for a name: what is gone needs none.
                unlink(path)
            }
        }
        segment.releaseResources()
        deletedFiles.append(DeletedFiles(paths: paths, due: now + max(0, configuration.fileDeleteDelayMilliseconds)))
    }

    /// Deletes files of removed segments once `file.delete.delay.ms` is over. Returns how many segments' files are left.
    @discardableResult
    public func removeDeletedFiles(now: Timestamp) -> Int {
        if deletedFiles.isEmpty { return 0 }
        for files in deletedFiles where files.due <= now {
            for path in files.paths { unlink(path) }
        }
        deletedFiles.removeAll { $0.due <= now }
        return deletedFiles.count
    }

    // MARK: From the end

    /// Cuts off everything from `offset` on.
    public func truncate(to offset: Offset, now: Timestamp) throws(StorageError) {
        try checkOpen()
        guard offset < logEndOffset else {
            // Nothing to cut, but an epoch may begin here that this node assigned as leader and then wrote nothing in.
            epochs.truncate(fromEnd: offset)
            return
        }
        if offset < segmentList[0].baseOffset { return try truncateFullyAndStart(at: offset, now: now) }
        abortCleaning()
        let kept = segmentIndex(containing: offset)
        let segment = segmentList[kept]
        if hasTransactions { try completeTransactionIndex(of: kept) }
        let first = try segment.batch(containing: offset)
        let position = first?.position ?? segment.size
        // Batches are not cut: the log ends with the last one that lies wholly below `offset`.
        let end = min(offset, first?.baseOffset ?? offset)
        // The recovery point first: a crash in between must not believe what is about to change.
        if end < recoveryPoint { logDirectory.recoveryPointsWentBack() }
        recoveryPoint = min(recoveryPoint, end)
        if end < highWatermark { try logDirectory.lowerHighWatermarks([(topicPartition, end)]) }
        while segmentList.count > kept + 1 { retire(segmentList.removeLast(), now: now) }
        try segment.truncate(to: position, offset: end, now: now)
        logEndOffset = end
        logStartOffset = min(logStartOffset, end)
        highWatermark = min(highWatermark, end)
        epochs.truncate(fromEnd: end)
        recentBatches.removeAll()
        readHints.removeAll()
        limitCache = nil
        removeSnapshots { $0 > end }
        truncateCleanedOffset(to: end)
        try reloadProducers(now: now)
    }

    /// Empties the log; it goes on at `offset`.
    public func truncateFullyAndStart(at offset: Offset, now: Timestamp) throws(StorageError) {
        try checkOpen()
        abortCleaning()
        truncateCleanedOffset(to: offset)
        if offset < recoveryPoint { logDirectory.recoveryPointsWentBack() }
        recoveryPoint = min(recoveryPoint, offset)
        if offset < highWatermark { try logDirectory.lowerHighWatermarks([(topicPartition, offset)]) }
        let removed = segmentList
        for segment in removed { retire(segment, now: now) }
        let segment = try LogSegment.create(directory: path, baseOffset: offset, now: now)
        configure(segment)
        segmentList = [segment]
        removeSnapshots { _ in true }
        epochs.removeAll()
        producers.removeAll()
        producersEndOffset = offset
        logStartOffset = offset
        logEndOffset = offset
        highWatermark = offset
        recoveryPoint = offset
        recentBatches.removeAll()
        readHints.removeAll()
        limitCache = nil
        directoryNeedsSync = true
    }

    /// Builds the producers' state from the newest snapshot and what follows it.
    func reloadProducers(now: Timestamp) throws(StorageError) {
        var replay = ProducerReplay(
            directory: path, segments: segmentList, snapshotOffsets: snapshotOffsets, logStartOffset: logStartOffset,
            expiration: configuration.producerIDExpirationMilliseconds, now: now)
        try replay.start(at: logEndOffset)
        try replay.advance(to: logEndOffset)
        producers = replay.states
        snapshotOffsets = replay.snapshotOffsets
        producersEndOffset = logEndOffset
        try holdEnds()
    }
}
