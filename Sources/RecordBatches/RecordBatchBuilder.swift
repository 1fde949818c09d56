// Makes magic 2 batches: producers' ones, and the brokers' own for control records, coordinators and conversions.
import NIOCore
import Primitives

/// Collects records and makes one magic 2 batch of them.
///
/// Records are encoded as they are appended; options that stand only in the header may be set until `build()`.
public struct RecordBatchBuilder: Sendable {
    public let baseOffset: Offset
    public var compression: Compression
    public var timestampType = TimestampType.createTime
    public var producerId: ProducerID = -1
    public var producerEpoch: Int16 = -1
    public var baseSequence: Int32 = -1
    public var partitionLeaderEpoch: LeaderEpoch = -1
    public var isTransactional = false
    public var isControl = false
    /// Set the attribute that makes the base timestamp the delete horizon (KIP-534); give it as `baseTimestamp`.
    public var hasDeleteHorizon = false

    /// Records appended so far.
    public private(set) var count = 0
    /// The offset after the last appended record.
    public private(set) var nextOffset: Offset
    /// The largest timestamp appended so far; -1 before the first.
    public private(set) var maxTimestamp: Timestamp = -1

    private var baseTimestamp: Timestamp?
    private var buffer: ByteBuffer

    /// - Parameters:
    ///   - baseOffset: the first record's offset; 0 from producers, since the leader assigns offsets.
    ///   - baseTimestamp: what timestamps are counted from; the first record's timestamp when nil.
    ///   - capacity: bytes to reserve for header and records.
    public init(
        baseOffset: Offset = 0, compression: Compression = .none, baseTimestamp: Timestamp? = nil, capacity: Int = 512
    ) {
        self.baseOffset = baseOffset
        self.compression = compression
        self.baseTimestamp = baseTimestamp
        nextOffset = baseOffset
        buffer = ByteBufferAllocator().buffer(capacity: max(capacity, RecordBatchHeader.size))
        buffer.writeRepeatingByte(0, count: RecordBatchHeader.size)
    }

    public var isEmpty: Bool { count == 0 }

    /// Bytes of the batch if it were built now without compression.
    public var uncompressedSize: Int { buffer.readableBytes }

    /// Append a record at the next offset.
    public mutating func append(
        timestamp: Timestamp, key: ByteBuffer?, value: ByteBuffer?, headers: RecordHeaders = RecordHeaders()
    ) {
        append(offset: nextOffset, timestamp: timestamp, key: key, value: value, headers: headers)
    }

    /// Append a record as it is, at its own offset, which must not lie before the next offset.
    public mutating func append(_ record: Record) {
        append(offset: record.offset, timestamp: record.timestamp, key: record.key, value: record.value, headers: record.headers)
    }

    /// Append a record at `offset`, which leaves a gap when it lies behind the next offset, as compaction does.
    public mutating func append(
        offset: Offset, timestamp: Timestamp, key: ByteBuffer?, value: ByteBuffer?, headers: RecordHeaders = RecordHeaders()
    ) {
        precondition(offset >= nextOffset && offset - baseOffset <= Offset(Int32.max), "offsets grow within a batch's range")
        let base = baseTimestamp ?? timestamp
        baseTimestamp = base
        let encoding = RecordEncoding(
            timestampDelta: timestamp &- base, offsetDelta: offset - baseOffset, key: key, value: value, headers: headers)
        encoding.write(to: &buffer)
        maxTimestamp = max(maxTimestamp, timestamp)
        nextOffset = offset + 1
        count += 1
    }

    /// The bytes a record adds to an uncompressed batch, at most.
    public static func sizeUpperBound(key: ByteBuffer?, value: ByteBuffer?, headers: RecordHeaders = RecordHeaders()) -> Int {
        RecordEncoding(timestampDelta: .max, offsetDelta: Int64(Int32.max), key: key, value: value, headers: headers).totalSize
    }

    /// Finish the batch: compress the records if asked to, write the header, compute the checksum.
    ///
    /// - Parameters:
    ///   - lastOffset: where the batch's offsets end when later records were removed; the last record's when nil.
    ///   - maxTimestamp: what the header says, such as the time of append; the records' maximum when nil.
    /// - Throws: `compressionFailed`.
    public consuming func build(lastOffset: Offset? = nil, maxTimestamp: Timestamp? = nil) throws(RecordBatchError) -> ByteBuffer {
        try finish(lastOffset: lastOffset, maxTimestamp: maxTimestamp)
    }

    /// Finish the batch without compressing it, whatever `compression` says. Cannot fail.
    public consuming func buildUncompressed(lastOffset: Offset? = nil, maxTimestamp: Timestamp? = nil) -> ByteBuffer {
        finishUncompressed(lastOffset: lastOffset, maxTimestamp: maxTimestamp)
    }

    /// The same as `build()`, but in place: the batch's bytes are never copied, which `build()` cannot promise when the caller still
    /// holds the builder. The builder is of no use afterwards.
    public mutating func finish(lastOffset: Offset? = nil, maxTimestamp: Timestamp? = nil) throws(RecordBatchError) -> ByteBuffer {
        guard compression.type != .none, count > 0 else { return finishUncompressed(lastOffset: lastOffset, maxTimestamp: maxTimestamp) }
        var section = ByteBuffer()
        swap(&section, &buffer)
        section.moveReaderIndex(to: RecordBatchHeader.size)
        var result = ByteBufferAllocator().buffer(capacity: RecordBatchHeader.size + section.readableBytes / 2)
        result.writeRepeatingByte(0, count: RecordBatchHeader.size)
        try compression.compress(section, into: &result)
        writeHeader(into: &result, compression: compression.type, lastOffset: lastOffset, maxTimestamp: maxTimestamp)
        return result
    }

    private mutating func finishUncompressed(lastOffset: Offset?, maxTimestamp: Timestamp?) -> ByteBuffer {
        // Taken out of the builder, so that writing the header finds one owner and copies nothing.
        var result = ByteBuffer()
        swap(&result, &buffer)
        writeHeader(into: &result, compression: .none, lastOffset: lastOffset, maxTimestamp: maxTimestamp)
        return result
    }

    private func writeHeader(
        into result: inout ByteBuffer, compression: CompressionType, lastOffset: Offset?, maxTimestamp: Timestamp?
    ) {
        var header = RecordBatchHeader()
        header.baseOffset = baseOffset
        header.batchLength = Int32(result.readableBytes - RecordBatchHeader.logOverhead)
        header.partitionLeaderEpoch = partitionLeaderEpoch
        header.attributes = RecordBatchAttributes(
            compression: compression, timestampType: timestampType, isTransactional: isTransactional, isControl: isControl,
            hasDeleteHorizon: hasDeleteHorizon)
        header.lastOffsetDelta = Int32((lastOffset ?? max(baseOffset, nextOffset - 1)) - baseOffset)
        header.baseTimestamp = baseTimestamp ?? -1
        header.maxTimestamp = maxTimestamp ?? self.maxTimestamp
        header.producerId = producerId
        header.producerEpoch = producerEpoch
        header.baseSequence = baseSequence
        header.recordCount = Int32(count)
        header.write(into: &result, at: 0)
        RecordBatchHeader.updateChecksum(of: result.readableBytes, in: &result, at: 0)
    }
}

/// One record about to be written: sizes first, because the length stands in front.
struct RecordEncoding {
    let timestampDelta: Int64
    let offsetDelta: Int64
    let key: ByteBuffer?
    let value: ByteBuffer?
    let headers: RecordHeaders

    private var bodySize: Int {
        let keyLength = key?.readableBytes ?? -1
        let valueLength = value?.readableBytes ?? -1
        return 1 + Varint.size(timestampDelta) + Varint.size(offsetDelta) + Varint.size(keyLength) + max(0, keyLength)
            + Varint.size(valueLength) + max(0, valueLength) + Varint.size(headers.count) + headers.encoded.readableBytes
    }

    var totalSize: Int {
        let body = bodySize
        return Varint.size(body) + body
    }

    func write(to buffer: inout ByteBuffer) {
        let body = bodySize
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: Varint.size(body) + body) { bytes in
            guard let start = bytes.baseAddress else { return 0 }
            var pointer = start
            Varint.write(body, to: &pointer)
            pointer.storeBytes(of: 0, as: UInt8.self)
            pointer += 1
            Varint.write(timestampDelta, to: &pointer)
            Varint.write(offsetDelta, to: &pointer)
            Self.write(key, to: &pointer)
            Self.write(value, to: &pointer)
            Varint.write(headers.count, to: &pointer)
            Self.copy(headers.encoded, to: &pointer)
            return pointer - start
        }
    }

    private static func write(_ field: ByteBuffer?, to pointer: inout UnsafeMutableRawPointer) {
        Varint.write(field?.readableBytes ?? -1, to: &pointer)
        if let field { copy(field, to: &pointer) }
    }

    private static func copy(_ field: ByteBuffer, to pointer: inout UnsafeMutableRawPointer) {
        let destination = pointer
        field.withUnsafeReadableBytes { bytes in
            if let source = bytes.baseAddress { destination.copyMemory(from: source, byteCount: bytes.count) }
        }
        pointer += field.readableBytes
    }
}
