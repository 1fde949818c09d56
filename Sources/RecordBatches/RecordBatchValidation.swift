// What a leader checks before it appends a batch, and what it changes in it. The usual batch costs one look at its header and
// one pass of the checksum; records are decoded only where a topic's settings cannot be met otherwise.
import NIOCore
import Primitives

/// Why a batch is refused, in the classes that the protocol answers differently.
public enum RecordValidationError: Error, Equatable, Sendable {
    /// The bytes are not what the producer sent: `CORRUPT_MESSAGE`, which producers retry.
    case corrupt(RecordBatchError)
    /// The batch as a whole breaks a rule: `INVALID_RECORD`.
    case invalidBatch(String)
    /// These records break a rule: `INVALID_RECORD`, with the records named (KIP-467).
    case invalidRecords([InvalidRecord])
    /// These records' timestamps are out of range: `INVALID_TIMESTAMP`, with the records named.
    case invalidTimestamps([InvalidRecord])
    /// Larger than `max.message.bytes`: `MESSAGE_TOO_LARGE`.
    case tooLarge(size: Int, maximum: Int)

    /// How many refused records are named; a batch can hold millions.
    static let maximumNamed = 100

    /// One refused record.
    public struct InvalidRecord: Hashable, Sendable {
        /// Its position in the batch.
        public var index: Int
        public var message: String
    }
}

/// A batch that may be appended: its header as it is now, and its bytes.
public struct ValidatedBatch: Hashable, Sendable {
    /// Base offset and leader epoch are still the producer's; the log sets them.
    public var header: RecordBatchHeader
    public var bytes: ByteBuffer
    /// Whether the bytes differ from what was sent, because of a timestamp or another codec.
    public var isRewritten = false
}

/// The rules of one partition for batches that are about to be appended.
public struct RecordBatchValidation: Sendable {
    /// Who wrote the batch.
    public enum Origin: Sendable {
        /// A producer, which may neither write control batches nor leave gaps.
        case client
        /// This broker: coordinators and transaction markers.
        case broker
    }

    public var origin = Origin.client
    /// `max.message.bytes`: bytes of the whole batch.
    public var maximumBatchSize = Int.max
    /// `cleanup.policy` contains `compact`: every record needs a key.
    public var isCompacted = false
    /// `message.timestamp.type`.
    public var timestampType = TimestampType.createTime
    /// `message.timestamp.before.max.ms`: how far behind `now` a record's timestamp may lie.
    public var timestampBeforeMaximum = Int64.max
    /// `message.timestamp.after.max.ms`: how far ahead of `now`.
    public var timestampAfterMaximum = Int64.max
    /// `compression.type`; nil for `producer`, which leaves batches as they come.
    public var targetCompression: Compression?
    /// Decode the records of uncompressed batches even when no setting asks for it.
    public var walksUncompressedRecords = false
    /// Bound for decompression where a batch has to be opened.
    public var maximumDecompressedSize = RecordBatch.defaultMaximumDecompressedSize

    public init() {}

    /// Check the one batch that a produce request has for a partition, and bring it into the form to be appended.
    ///
    /// - Parameter now: wall clock in milliseconds.
    public func validate(_ records: ByteBuffer, now: Timestamp) throws(RecordValidationError) -> ValidatedBatch {
        let header = try checkedHeader(of: records)
        let bytes = records.getSlice(at: records.readerIndex, length: header.sizeInBytes) ?? records
        var batch = ValidatedBatch(header: header, bytes: bytes)
        if needsRecords(header) || hasUntimelyMaximum(header, now: now) { try openRecords(of: &batch, now: now) }
        try applyTimestampType(to: &batch, now: now)
        guard batch.bytes.readableBytes <= maximumBatchSize else {
            throw .tooLarge(size: batch.bytes.readableBytes, maximum: maximumBatchSize)
        }
        return batch
    }

    private func checkedHeader(of records: ByteBuffer) throws(RecordValidationError) -> RecordBatchHeader {
        guard records.readableBytes > 0 else { throw .invalidBatch("no record batch") }
        let header: RecordBatchHeader
        do throws(RecordBatchError) {
            header = try RecordBatchHeader.verify(in: records, maximumSize: maximumBatchSize)
            _ = try header.compression
        } catch .unsupportedMagic(let magic) {
            throw .invalidBatch("record batches must have magic 2, this one has \(magic)")
        } catch .unknownCompression(let identifier) {
            throw .invalidBatch("unknown compression type \(identifier)")
        } catch .invalidLength(let length) where length + RecordBatchHeader.logOverhead > maximumBatchSize {
            throw .tooLarge(size: length + RecordBatchHeader.logOverhead, maximum: maximumBatchSize)
        } catch {
            throw .corrupt(error)
        }
        if origin == .client {
            guard header.sizeInBytes == records.readableBytes else {
                throw .invalidBatch("a produce request has exactly one record batch for a partition")
            }
            try checkClientRules(header)
        }
        return header
    }

    private func checkClientRules(_ header: RecordBatchHeader) throws(RecordValidationError) {
        guard header.lastOffsetDelta >= 0 else { throw .invalidBatch("last offset delta \(header.lastOffsetDelta)") }
        guard header.recordCount > 0 else { throw .invalidBatch("record count \(header.recordCount)") }
        guard Int(header.recordCount) == Int(header.lastOffsetDelta) + 1 else {
            throw .invalidBatch("record count \(header.recordCount) does not fit last offset delta \(header.lastOffsetDelta)")
        }
        guard !header.isControl else { throw .invalidBatch("clients are not allowed to write control records") }
        guard !header.hasProducerId || header.baseSequence >= 0 else {
            throw .invalidBatch("sequence number \(header.baseSequence) with producer id \(header.producerId)")
        }
        // In a topic of CreateTime the flag is merely cleared, as Kafka does.
        if timestampType == .logAppendTime, header.timestampType == .logAppendTime {
            let message = "producers must not set the timestamp type to LogAppendTime"
            throw .invalidTimestamps(
                (0..<min(Int(header.recordCount), RecordValidationError.maximumNamed)).map { .init(index: $0, message: message) })
        }
    }

    /// Whether the batch would be compressed anew. Control records stay as they are.
    private func changesCompression(_ header: RecordBatchHeader) -> Bool {
        guard let targetCompression, !header.isControl else { return false }
        return header.attributes.compressionIdentifier != Int(targetCompression.type.rawValue)
    }

    private func needsRecords(_ header: RecordBatchHeader) -> Bool {
        if changesCompression(header) || (walksUncompressedRecords && !header.isCompressed) { return true }
        guard !header.isControl else { return false }
        // The header has no minimum of the timestamps, only their maximum.
        return isCompacted || (timestampType == .createTime && timestampBeforeMaximum != .max)
    }

    /// What the maximum in the header tells without decoding a record; which records are late, only the records can tell.
    private func hasUntimelyMaximum(_ header: RecordBatchHeader, now: Timestamp) -> Bool {
        timestampType == .createTime && !header.isControl && header.maxTimestamp != -1 && isTooLate(header.maxTimestamp, now: now)
    }

    private func applyTimestampType(to batch: inout ValidatedBatch, now: Timestamp) throws(RecordValidationError) {
        let maximum = timestampType == .logAppendTime ? now : batch.header.maxTimestamp
        guard batch.header.timestampType != timestampType || batch.header.maxTimestamp != maximum else { return }
        try rewriteTimestamp(of: &batch, maximum: maximum)
    }

    private func rewriteTimestamp(of batch: inout ValidatedBatch, maximum: Timestamp) throws(RecordValidationError) {
        let index = batch.bytes.readerIndex
        do throws(RecordBatchError) {
            try RecordBatchHeader.setTimestamp(timestampType, maximum: maximum, in: &batch.bytes, at: index)
            batch.header = try RecordBatchHeader(from: batch.bytes)
        } catch {
            throw .corrupt(error)
        }
        batch.isRewritten = true
    }
}

extension RecordBatchValidation {
    /// Decode every record, check it, and compress the batch anew if the topic wants that.
    private func openRecords(of batch: inout ValidatedBatch, now: Timestamp) throws(RecordValidationError) {
        let section: ByteBuffer
        do throws(RecordBatchError) {
            section = try RecordBatch(batch.bytes).recordsSection(maximumSize: maximumDecompressedSize)
        } catch {
            throw .invalidBatch("\(error)")
        }
        var walk = RecordWalk(validation: self, header: batch.header, now: now)
        try walk.run(section)
        let isConsecutive = origin == .broker || walk.offsetsAreConsecutive
        do throws(RecordBatchError) {
            if let rewritten = try rewritten(batch.header, section: section, isConsecutive: isConsecutive) {
                batch = ValidatedBatch(header: try RecordBatchHeader(from: rewritten), bytes: rewritten, isRewritten: true)
            }
        } catch {
            throw .invalidBatch("\(error)")
        }
        try correctMaximum(of: &batch, to: walk.maxTimestamp)
    }

    /// The batch in another codec or with its records numbered anew; nil when it can stay as it is.
    private func rewritten(
        _ header: RecordBatchHeader, section: ByteBuffer, isConsecutive: Bool
    ) throws(RecordBatchError) -> ByteBuffer? {
        if !isConsecutive { return try renumbered(header, section: section) }
        guard changesCompression(header), let targetCompression else { return nil }
        return try RecordBatch.assemble(header, section: section, compression: targetCompression)
    }

    /// Producers are trusted with the header's maximum only until somebody has looked.
    private func correctMaximum(of batch: inout ValidatedBatch, to maximum: Timestamp) throws(RecordValidationError) {
        guard timestampType == .createTime, batch.header.recordCount > 0, batch.header.maxTimestamp != maximum else { return }
        try rewriteTimestamp(of: &batch, maximum: maximum)
    }

    /// Some clients number the records inside a batch wrongly; Kafka numbers them anew rather than refuse them.
    private func renumbered(_ header: RecordBatchHeader, section: ByteBuffer) throws(RecordBatchError) -> ByteBuffer {
        var records = RecordIterator(header: header, section: section)
        let sent = Compression(try header.compression)
        var builder = RecordBatchBuilder(
            baseOffset: header.baseOffset, compression: targetCompression ?? sent, baseTimestamp: header.baseTimestamp,
            capacity: RecordBatchHeader.size + section.readableBytes)
        builder.timestampType = header.timestampType
        builder.producerId = header.producerId
        builder.producerEpoch = header.producerEpoch
        builder.baseSequence = header.baseSequence
        builder.partitionLeaderEpoch = header.partitionLeaderEpoch
        builder.isTransactional = header.isTransactional
        while let record = try records.next() {
            builder.append(timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
        }
        return try builder.build(maxTimestamp: header.maxTimestamp)
    }

    fileprivate func isTooLate(_ timestamp: Timestamp, now: Timestamp) -> Bool {
        let (ahead, isOverflowing) = timestamp.subtractingReportingOverflow(now)
        return isOverflowing ? timestamp > now : ahead > timestampAfterMaximum
    }

    fileprivate func isTooEarly(_ timestamp: Timestamp, now: Timestamp) -> Bool {
        let (behind, isOverflowing) = now.subtractingReportingOverflow(timestamp)
        return isOverflowing ? timestamp < now : behind > timestampBeforeMaximum
    }

    fileprivate func outOfRange(_ timestamp: Timestamp, index: Int, now: Timestamp) -> RecordValidationError.InvalidRecord {
        let (earliest, isTooSmall) = now.subtractingReportingOverflow(timestampBeforeMaximum)
        let (latest, isTooLarge) = now.addingReportingOverflow(timestampAfterMaximum)
        let range = "[\(isTooSmall ? .min : earliest), \(isTooLarge ? .max : latest)]"
        return RecordValidationError.InvalidRecord(
            index: index, message: "timestamp \(timestamp) is out of range; it should be within \(range)")
    }
}

/// One pass over the records of a batch, without making a slice of any.
private struct RecordWalk {
    let validation: RecordBatchValidation
    let header: RecordBatchHeader
    let now: Timestamp
    var maxTimestamp: Timestamp = -1
    var offsetsAreConsecutive = true
    private var keyless: [RecordValidationError.InvalidRecord] = []
    private var untimely: [RecordValidationError.InvalidRecord] = []

    init(validation: RecordBatchValidation, header: RecordBatchHeader, now: Timestamp) {
        self.validation = validation
        self.header = header
        self.now = now
    }

    mutating func run(_ section: ByteBuffer) throws(RecordValidationError) {
        var records = RecordIterator(header: header, section: section)
        var index = 0
        do throws(RecordBatchError) {
            while let layout = try records.nextLayout() {
                check(layout, index: index)
                index += 1
            }
        } catch {
            throw .invalidBatch("\(error)")
        }
        // Kafka lets a wrong timestamp decide the code when both kinds occur.
        guard untimely.isEmpty else { throw .invalidTimestamps((untimely + keyless).sorted { $0.index < $1.index }) }
        guard keyless.isEmpty else { throw .invalidRecords(keyless) }
    }

    private mutating func check(_ layout: RecordLayout, index: Int) {
        let isAppendTime = header.timestampType == .logAppendTime
        let timestamp = isAppendTime ? header.maxTimestamp : header.baseTimestamp &+ layout.timestampDelta
        maxTimestamp = max(maxTimestamp, timestamp)
        if Int(layout.offsetDelta) != index { offsetsAreConsecutive = false }
        guard !header.isControl, keyless.count + untimely.count < RecordValidationError.maximumNamed else { return }
        if validation.isCompacted, layout.keyLength < 0 {
            keyless.append(.init(index: index, message: "a compacted topic cannot accept a record without a key"))
        } else if validation.timestampType == .createTime, timestamp != -1,
            validation.isTooLate(timestamp, now: now) || validation.isTooEarly(timestamp, now: now)
        {
            untimely.append(validation.outOfRange(timestamp, index: index, now: now))
        }
    }
}
