// What becomes of one batch: it goes, stays as it is, or is packed anew with the records that are still worth something. Kafka's rules
// (KIP-58, KIP-98, KIP-534), decided from the batch, the map of keys and the transactions alone.
import NIOCore
import Primitives
import RecordBatches

/// The last that the log knows of a producer, which must stay in it so that retries are recognized after a restart.
struct ProducerLastRecord: Equatable {
    /// Nil when the last thing was a marker.
    var lastDataOffset: Offset?
    var epoch: Int16
}

struct BatchCleaner {
    /// What becomes of a batch.
    enum Outcome: Equatable {
        case dropped
        case unchanged
        /// The new batch is in `rewritten`.
        case rewritten
    }

    let map: CompactionOffsetMap
    let now: Timestamp
    let deleteRetentionMilliseconds: Int64
    let highWatermark: Offset
    let lastRecords: [ProducerID: ProducerLastRecord]
    var transactions: CleanedTransactions
    private(set) var statistics = CleaningStatistics()
    private(set) var rewritten = ByteBuffer()
    private var selection = RecordSelection()

    init(
        map: CompactionOffsetMap, now: Timestamp, deleteRetentionMilliseconds: Int64, highWatermark: Offset,
        lastRecords: [ProducerID: ProducerLastRecord], transactions: CleanedTransactions
    ) {
        self.map = map
        self.now = now
        self.deleteRetentionMilliseconds = deleteRetentionMilliseconds
        self.highWatermark = highWatermark
        self.lastRecords = lastRecords
        self.transactions = transactions
    }

    /// Decides about one batch.
    /// - Parameter retainsLegacyTombstones: for message sets of magic 0 and 1, whose tombstones have no horizon of their own.
    /// - Returns: for an abort marker that stays, its entry in the index of aborted transactions.
    mutating func clean(
        _ batch: StoredBatch, _ bytes: UnsafeRawBufferPointer, retainsLegacyTombstones: Bool
    ) throws(RecordBatchError) -> (outcome: Outcome, aborted: AbortedTransactionEntry?) {
        statistics.bytesRead += batch.size
        rewritten.clear()
        guard batch.magic == 2 else {
            return (try cleanLegacy(batch, bytes, retainsTombstones: retainsLegacyTombstones), nil)
        }
        let header = batch.header
        var isObsoleteMarker = false
        var isVoid = false
        var aborted: AbortedTransactionEntry?
        if header.isControl {
            let marker = header.recordCount > 0 ? TransactionMarker(ByteBuffer(bytes: bytes)) : nil
            (isObsoleteMarker, aborted) = transactions.noteControl(header, marker: marker)
            // The horizon gives readers the time that tombstones give them.
            isVoid = isObsoleteMarker && header.deleteHorizon.map { $0 <= now } ?? false
        } else {
            isVoid = transactions.noteBatch(header)
        }
        let staysEmpty = isLastOfProducer(header) || header.nextOffset == highWatermark
        if isVoid, !staysEmpty {
            statistics.recordsRead += Int(header.recordCount)
            return (.dropped, aborted)
        }
        let outcome = try header.withRecords(of: bytes) { section throws(RecordBatchError) in
            try pack(header, section, isVoid: isVoid, isObsoleteMarker: isObsoleteMarker, staysEmpty: staysEmpty)
        }
        switch outcome {
        case .dropped: break
        case .unchanged: statistics.bytesWritten += batch.size
        case .rewritten: statistics.bytesWritten += rewritten.readableBytes
        }
        return (outcome, aborted)
    }

    private mutating func pack(
        _ header: RecordBatchHeader, _ section: UnsafeRawBufferPointer, isVoid: Bool, isObsoleteMarker: Bool, staysEmpty: Bool
    ) throws(RecordBatchError) -> Outcome {
        let retainsTombstones = header.deleteHorizon.map { now < $0 } ?? true
        var invalid = 0
        try selection.select(header, section) { [map] record in
            if isVoid { return false }
            if header.isControl { return true }
            return Self.isRetained(
                offset: record.offset, key: record.key, hasValue: record.hasValue || retainsTombstones, map: map, invalid: &invalid)
        }
        statistics.recordsRead += selection.recordCount
        statistics.recordsWritten += selection.retainedCount
        statistics.invalidRecords += invalid
        if selection.isEmpty {
            guard staysEmpty else { return .dropped }
            header.writeEmptied(into: &rewritten)
            return .rewritten
        }
        let setsHorizon = (selection.hasTombstone || isObsoleteMarker) && header.deleteHorizon == nil
        if selection.isWhole, !setsHorizon { return .unchanged }
        try selection.encode(header, section, deleteHorizon: setsHorizon ? newHorizon : header.deleteHorizon, into: &rewritten)
        return .rewritten
    }

    private var newHorizon: Timestamp {
        let (sum, overflow) = now.addingReportingOverflow(deleteRetentionMilliseconds)
        return overflow ? .max : sum
    }

    /// Whether the producer's last sequence number, or for one that only wrote a marker its epoch, stands in this batch.
    private func isLastOfProducer(_ header: RecordBatchHeader) -> Bool {
        guard header.hasProducerId, let last = lastRecords[header.producerId] else { return false }
        if let offset = last.lastDataOffset { return header.lastOffset == offset }
        return header.isControl && header.producerEpoch == last.epoch
    }

    private static func isRetained(
        offset: Offset, key: UnsafeRawBufferPointer?, hasValue: Bool, map: CompactionOffsetMap, invalid: inout Int
    ) -> Bool {
        // Behind what the map knows anything may be the newest.
        if offset > map.latestOffset { return true }
        guard let key else {
            invalid += 1
            return false
        }
        if let newest = map.offset(of: key), offset < newest { return false }
        return hasValue
    }

    // MARK: Message sets of magic 0 and 1

    /// What is left of an old message or wrapper becomes a batch of magic 2, as in Kafka.
    private mutating func cleanLegacy(
        _ batch: StoredBatch, _ bytes: UnsafeRawBufferPointer, retainsTombstones: Bool
    ) throws(RecordBatchError) -> Outcome {
        let message = try LegacyMessage(ByteBuffer(bytes: bytes))
        var retained: [Record] = []
        var hasTombstone = false
        for record in try message.records() {
            statistics.recordsRead += 1
            let key = record.key ?? ByteBuffer()
            let isKept = key.withUnsafeReadableBytes { bytes in
                Self.isRetained(
                    offset: record.offset, key: record.key == nil ? nil : bytes, hasValue: record.value != nil || retainsTombstones,
                    map: map, invalid: &statistics.invalidRecords)
            }
            guard isKept else { continue }
            if record.value == nil { hasTombstone = true }
            retained.append(record)
        }
        guard let first = retained.first else { return .dropped }
        let compression = CompressionType(rawValue: UInt8(message.compressionIdentifier)) ?? .none
        let horizon = hasTombstone ? newHorizon : nil
        var builder = RecordBatchBuilder(
            baseOffset: first.offset, compression: Compression(compression), baseTimestamp: horizon, capacity: bytes.count + 128)
        builder.timestampType = message.timestampType
        builder.hasDeleteHorizon = horizon != nil
        for record in retained { builder.append(record) }
        statistics.recordsWritten += retained.count
        rewritten = try builder.build(maxTimestamp: message.timestampType == .logAppendTime ? message.timestamp : nil)
        statistics.bytesWritten += rewritten.readableBytes
        return .rewritten
    }
}
