// Appending: check everything, write once, then change what is in memory. A failed write leaves the log as it was.
import Glibc
import NIOCore
import Primitives
import RecordBatches

/// A batch about to be written: its header as it will stand, and where its bytes are.
private struct PendingBatch {
    var header: RecordBatchHeader
    var bytes: ByteBuffer
    var marker: TransactionMarker?
}

extension PartitionLog {
    /// Appends the readable bytes of `records`, one or more whole batches, which get the next offsets and `leaderEpoch`.
    ///
    /// The buffer is not changed and not copied: what the leader sets is written in front of the producer's own bytes.
    /// - Throws: what the caller did wrong, or `isDiskFailure`; nothing is appended then.
    public func append(
        _ records: ByteBuffer, origin: AppendOrigin, leaderEpoch: LeaderEpoch, now: Timestamp, transaction: TransactionTerms = .init()
    ) throws(StorageError) -> LogAppendResult {
        if origin == .replica { return try appendAsFollower(records, now: now) }
        try checkOpen()
        let batches = try validated(records, origin: origin, leaderEpoch: leaderEpoch, now: now)
        if origin == .client, let duplicate = duplicate(of: batches[0].header) { return duplicate }
        let time = configuration.timestampType == .logAppendTime ? now : -1
        return try append(batches, origin: origin, transaction: transaction, logAppendTime: time, now: now)
    }

    /// Appends batches that have their offsets and epochs, as a follower or the metadata log does.
    ///
    /// The first batch must not begin before `logEndOffset`; gaps are allowed, since compaction makes them.
    /// - Parameter leaderEpoch: the epoch to note on the batches where it is not their own, as in a mirror of another cluster's log.
    public func appendAsFollower(
        _ records: ByteBuffer, leaderEpoch: LeaderEpoch? = nil, now: Timestamp
    ) throws(StorageError) -> LogAppendResult {
        try checkOpen()
        var batches: [PendingBatch] = []
        var rest = records
        var next = logEndOffset
        repeat {
            var header: RecordBatchHeader
            do throws(RecordBatchError) {
                header = try RecordBatchHeader.verify(in: rest)
            } catch {
                throw .corruptBatch("\(error)")
            }
            if let leaderEpoch { header.partitionLeaderEpoch = leaderEpoch }
            guard header.baseOffset >= next else { throw .unexpectedOffset(header.baseOffset, expected: next) }
            next = header.nextOffset
            batches.append(try pending(header, rest.readSlice(length: header.sizeInBytes)))
        } while rest.readableBytes > 0
        return try append(batches, origin: .replica, transaction: TransactionTerms(), logAppendTime: -1, now: now)
    }

    /// Checks each batch by the topic's rules and gives it its offsets.
    private func validated(
        _ records: ByteBuffer, origin: AppendOrigin, leaderEpoch: LeaderEpoch, now: Timestamp
    ) throws(StorageError) -> [PendingBatch] {
        var rules = validation
        if origin == .coordinator {
            rules.origin = .broker
            rules.maximumBatchSize = .max
        }
        var batches: [PendingBatch] = []
        var rest = records
        var next = logEndOffset
        repeat {
            let sent = rest.getInteger(at: rest.readerIndex + RecordBatchHeader.Position.batchLength, as: Int32.self) ?? 0
            var batch: ValidatedBatch
            do throws(RecordValidationError) {
                batch = try rules.validate(rest, now: now)
            } catch {
                throw StorageError(error)
            }
            if origin == .client, batch.header.baseOffset != 0 {
                throw .invalidRecord("the base offset of a batch from a producer is 0, not \(batch.header.baseOffset)")
            }
            batch.header.baseOffset = next
            batch.header.partitionLeaderEpoch = leaderEpoch
            next = batch.header.nextOffset
            batches.append(try pending(batch.header, batch.bytes))
            rest.moveReaderIndex(forwardBy: min(rest.readableBytes, Int(sent) + RecordBatchHeader.logOverhead))
        } while rest.readableBytes > 0
        return batches
    }

    private func pending(_ header: RecordBatchHeader, _ bytes: ByteBuffer?) throws(StorageError) -> PendingBatch {
        guard let bytes else { throw .corruptBatch("cut short") }
        return PendingBatch(
            header: header, bytes: bytes, marker: header.isControl && header.hasProducerId ? TransactionMarker(bytes) : nil)
    }

    /// The answer to a batch that an idempotent producer sent before (KIP-98).
    private func duplicate(of header: RecordBatchHeader) -> LogAppendResult? {
        guard header.hasProducerId, let known = producers.entries[header.producerId]?.duplicate(of: header) else { return nil }
        return LogAppendResult(
            firstOffset: known.firstOffset, lastOffset: known.lastOffset,
            logAppendTime: configuration.timestampType == .logAppendTime ? known.timestamp : -1, logStartOffset: logStartOffset,
            isDuplicate: true, sizeInBytes: 0, recordCount: 0, maxTimestamp: known.timestamp)
    }

    private func append(
        _ batches: [PendingBatch], origin: AppendOrigin, transaction: TransactionTerms, logAppendTime: Timestamp, now: Timestamp
    ) throws(StorageError) -> LogAppendResult {
        do throws(StorageError) {
            return try appendChecked(batches, origin: origin, transaction: transaction, logAppendTime: logAppendTime, now: now)
        } catch {
            logDirectory.noteFailure(error)
            throw error
        }
    }

    private func appendChecked(
        _ batches: [PendingBatch], origin: AppendOrigin, transaction: TransactionTerms, logAppendTime: Timestamp, now: Timestamp
    ) throws(StorageError) -> LogAppendResult {
        let first = batches[0].header
        let last = batches[batches.count - 1].header
        var size = 0
        var count = 0
        var maxTimestamp: Timestamp = -1
        var update = ProducerUpdate()
        for batch in batches {
            size += batch.header.sizeInBytes
            count += Int(batch.header.recordCount)
            maxTimestamp = max(maxTimestamp, batch.header.maxTimestamp)
            if batch.header.hasProducerId {
                try checkVerification(of: batch.header, transaction.verification, origin: origin)
                try update.append(batch.header, marker: batch.marker, origin: origin, version: transaction.version, to: producers)
            }
        }
        if origin != .replica, size > configuration.segmentBytes {
            throw .appendLargerThanSegment(size: size, limit: configuration.segmentBytes)
        }
        if try needsRoll(size: size, maxTimestamp: maxTimestamp, lastOffset: last.lastOffset, now: now) {
            try roll(at: max(first.baseOffset, logEndOffset), now: now)
        }
        // Before the marker is in the log, or an index that has to be built from the log would have it twice.
        if !update.completed.isEmpty { try completeTransactionIndex(of: segmentList.count - 1) }
        try write(batches, size: size)
        try didWrite(batches, update: update)
        if logEndOffset - recoveryPoint >= configuration.flushMessages { try flush(now: now) }
        return LogAppendResult(
            firstOffset: first.baseOffset, lastOffset: last.lastOffset, logAppendTime: logAppendTime, logStartOffset: logStartOffset,
            isDuplicate: false, sizeInBytes: size, recordCount: count, maxTimestamp: maxTimestamp)
    }

    /// One gathered write: for each batch 16 bytes of ours, then the producer's bytes from 16 on.
    private func write(_ batches: [PendingBatch], size: Int) throws(StorageError) {
        var prefixes: [UInt8] = []
        prefixes.reserveCapacity(batches.count * 16)
        for batch in batches {
            let prefix = batch.header.leaderPrefix
            for index in 0..<16 { prefixes.append(prefix[index]) }
        }
        var parts: [iovec] = []
        parts.reserveCapacity(batches.count * 2)
        let active = active
        let configuration = configuration
        // The pointers stay valid: the buffers' storage lives in `batches` and is not touched.
        try prefixes.withBytes { prefixes throws(StorageError) in
            for (index, batch) in batches.enumerated() {
                batch.bytes.withUnsafeReadableBytes { bytes in
                    let prefix = prefixes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0 + index * 16) }
                    let body = bytes.baseAddress.map { UnsafeMutableRawPointer(mutating: $0 + 16) }
                    parts.append(iovec(iov_base: prefix, iov_len: 16))
                    parts.append(iovec(iov_base: body, iov_len: bytes.count - 16))
                }
            }
            try active.write(parts, count: size, configuration: configuration)
        }
        withExtendedLifetime(batches) {}
    }

    private func didWrite(_ batches: [PendingBatch], update: ProducerUpdate) throws(StorageError) {
        let active = active
        for batch in batches {
            let header = batch.header
            if header.partitionLeaderEpoch >= 0 { epochs.assign(header.partitionLeaderEpoch, startOffset: header.baseOffset) }
            recentBatches.append(header.baseOffset, lastOffset: header.lastOffset, position: active.size)
            try active.didAppend(header, configuration: configuration)
            logEndOffset = header.nextOffset
            if header.isTransactional {
                hasTransactions = true
                if !verifications.isEmpty { verifications.end(header) }
            }
        }
        producers.apply(update) { active.append($0) }
        producersEndOffset = logEndOffset
    }

    /// Whether the active segment must be closed before an append (KIP-33 for the time).
    private func needsRoll(size: Int, maxTimestamp: Timestamp, lastOffset: Offset, now: Timestamp) throws(StorageError) -> Bool {
        let active = active
        if active.size > configuration.segmentBytes - size { return true }
        if lastOffset - active.baseOffset > Offset(Int32.max) { return true }
        let waited = try active.timeWaited(now: now, timestamp: maxTimestamp)
        if active.size > 0, waited > configuration.rollMilliseconds - active.rollJitter { return true }
        if try active.offsetIndex().isFull(limit: configuration.segmentIndexBytes) { return true }
        return try active.timeIndex().isFull(limit: configuration.segmentIndexBytes)
    }
}

extension StorageError {
    fileprivate init(_ error: RecordValidationError) {
        switch error {
        case .corrupt(let reason): self = .corruptBatch("\(reason)")
        case .invalidBatch(let reason): self = .invalidRecord(reason)
        case .invalidRecords(let records): self = .invalidRecords(records)
        case .invalidTimestamps(let records): self = .invalidTimestamps(records)
        case .tooLarge(let size, let maximum): self = .batchTooLarge(size: size, limit: maximum)
        }
    }
}
