// The 61 bytes in front of a magic 2 batch. The broker's data path reads these and nothing behind them.
import NIOCore
import Primitives

/// The header of a magic 2 record batch (KIP-98), read without touching the records.
///
/// Reading it checks that the bytes are there, the magic is 2 and the length can hold the header. It does not check that the
/// whole batch is present or that the checksum fits: see `verify(in:at:)`.
public struct RecordBatchHeader: Hashable, Sendable {
    /// Bytes of the header, the smallest batch.
    public static let size = 61
    /// Base offset and length, which the length field does not count.
    public static let logOverhead = 12
    /// Where the checksummed bytes begin.
    static let checksummedFrom = 21

    /// Byte positions within a batch, for those who read or patch single fields.
    public enum Position {
        public static let baseOffset = 0
        public static let batchLength = 8
        public static let partitionLeaderEpoch = 12
        /// The same in message sets of magic 0 and 1.
        public static let magic = 16
        public static let crc = 17
        public static let attributes = 21
        public static let lastOffsetDelta = 23
        public static let baseTimestamp = 27
        public static let maxTimestamp = 35
        public static let producerId = 43
        public static let producerEpoch = 51
        public static let baseSequence = 53
        public static let recordCount = 57
    }

    public var baseOffset: Offset = 0
    /// Bytes that follow this field.
    public var batchLength: Int32 = Int32(size - logOverhead)
    /// Set by the leader on append; -1 from producers. Not checksummed.
    public var partitionLeaderEpoch: LeaderEpoch = -1
    /// CRC-32C of everything from the attributes to the batch's end.
    public var crc: UInt32 = 0
    public var attributes = RecordBatchAttributes(rawValue: 0)
    /// From the base offset to the last one, which compaction keeps even when that record is gone.
    public var lastOffsetDelta: Int32 = 0
    /// Milliseconds; records count theirs from here. The delete horizon when the attributes say so; -1 without timestamps.
    public var baseTimestamp: Timestamp = -1
    /// The newest record's, or the time of append for `TimestampType.logAppendTime`.
    public var maxTimestamp: Timestamp = -1
    /// -1 when the producer is not idempotent.
    public var producerId: ProducerID = -1
    public var producerEpoch: Int16 = -1
    /// The first record's sequence number; -1 when the producer is not idempotent.
    public var baseSequence: Int32 = -1
    public var recordCount: Int32 = 0

    public init() {}

    /// Read the header at the start of `bytes`, which may go on behind it.
    public init(_ bytes: UnsafeRawBufferPointer) throws(RecordBatchError) {
        guard bytes.count >= Self.size else { throw .truncated(needed: Self.size, available: bytes.count) }
        let magic = bytes.loadBigEndian(at: Position.magic, as: Int8.self)
        guard magic == 2 else { throw .unsupportedMagic(magic) }
        batchLength = bytes.loadBigEndian(at: Position.batchLength)
        guard Int(batchLength) >= Self.size - Self.logOverhead else { throw .invalidLength(Int(batchLength)) }
        baseOffset = bytes.loadBigEndian(at: Position.baseOffset)
        partitionLeaderEpoch = bytes.loadBigEndian(at: Position.partitionLeaderEpoch)
        crc = bytes.loadBigEndian(at: Position.crc)
        attributes = RecordBatchAttributes(rawValue: bytes.loadBigEndian(at: Position.attributes))
        lastOffsetDelta = bytes.loadBigEndian(at: Position.lastOffsetDelta)
        baseTimestamp = bytes.loadBigEndian(at: Position.baseTimestamp)
        maxTimestamp = bytes.loadBigEndian(at: Position.maxTimestamp)
        producerId = bytes.loadBigEndian(at: Position.producerId)
        producerEpoch = bytes.loadBigEndian(at: Position.producerEpoch)
        baseSequence = bytes.loadBigEndian(at: Position.baseSequence)
        recordCount = bytes.loadBigEndian(at: Position.recordCount)
    }

    /// Read the header at the start of a span.
    public init(_ span: RawSpan) throws(RecordBatchError) {
        self = try span.withUnsafeBytes { bytes throws(RecordBatchError) in try RecordBatchHeader(bytes) }
    }

    /// Read the header at `index` of a buffer's readable bytes (the reader index when nil).
    public init(from buffer: ByteBuffer, at index: Int? = nil) throws(RecordBatchError) {
        self = try buffer.withBytes(at: index) { bytes throws(RecordBatchError) in try RecordBatchHeader(bytes) }
    }

    /// The magic byte of the batch or message at `index`: 0, 1 and 2 keep it in the same place. Nil when there are too few bytes.
    public static func magic(in buffer: ByteBuffer, at index: Int? = nil) -> Int8? {
        buffer.getInteger(at: (index ?? buffer.readerIndex) + Position.magic)
    }
}

extension RecordBatchHeader {
    /// Bytes of the whole batch.
    public var sizeInBytes: Int { Int(batchLength) + Self.logOverhead }
    public var lastOffset: Offset { baseOffset &+ Offset(lastOffsetDelta) }
    public var nextOffset: Offset { lastOffset &+ 1 }

    /// Fails for a number that is no compression type.
    public var compression: CompressionType {
        get throws(RecordBatchError) {
            guard let type = CompressionType(rawValue: UInt8(attributes.compressionIdentifier)) else {
                throw .unknownCompression(attributes.compressionIdentifier)
            }
            return type
        }
    }

    /// Whether the records must be decompressed to be read.
    public var isCompressed: Bool { attributes.compressionIdentifier != 0 }
    public var timestampType: TimestampType { attributes.timestampType }
    public var isTransactional: Bool { attributes.isTransactional }
    public var isControl: Bool { attributes.isControl }
    public var hasProducerId: Bool { producerId >= 0 }

    /// When tombstones and markers of this batch may be removed by compaction (KIP-534); nil when not decided yet.
    public var deleteHorizon: Timestamp? { attributes.hasDeleteHorizon ? baseTimestamp : nil }

    /// The last record's sequence number; -1 without one.
    public var lastSequence: Int32 { sequence(atOffsetDelta: lastOffsetDelta) }

    /// The sequence number of the record at an offset delta, which wraps from the largest Int32 to 0; -1 without one.
    public func sequence(atOffsetDelta delta: Int32) -> Int32 {
        baseSequence < 0 ? -1 : Self.sequence(baseSequence, plus: delta)
    }

    /// Sequence arithmetic: after the largest Int32 comes 0 (KIP-98).
    public static func sequence(_ sequence: Int32, plus increment: Int32) -> Int32 {
        Int32(truncatingIfNeeded: (Int64(sequence) + Int64(increment)) & 0x7fff_ffff)
    }
}

extension RecordBatchHeader {
    /// Check that the whole batch is in the buffer at `index`, is no longer than `maximumSize` and that its checksum fits.
    public static func verify(
        in buffer: ByteBuffer, at index: Int? = nil, maximumSize: Int = .max
    ) throws(RecordBatchError) -> RecordBatchHeader {
        try buffer.withBytes(at: index) { bytes throws(RecordBatchError) in try verify(bytes, maximumSize: maximumSize) }
    }

    /// The same over plain memory, such as a mapped or freshly read part of a segment.
    public static func verify(
        _ bytes: UnsafeRawBufferPointer, maximumSize: Int = .max
    ) throws(RecordBatchError) -> RecordBatchHeader {
        let header = try RecordBatchHeader(bytes)
        guard header.sizeInBytes <= maximumSize else { throw .invalidLength(Int(header.batchLength)) }
        guard header.sizeInBytes <= bytes.count else { throw .truncated(needed: header.sizeInBytes, available: bytes.count) }
        let computed = checksum(of: bytes, size: header.sizeInBytes)
        guard computed == header.crc else { throw .checksumMismatch(stored: header.crc, computed: computed) }
        return header
    }

    /// CRC-32C of the checksummed part of the batch of `size` bytes at the start of `bytes`.
    static func checksum(of bytes: UnsafeRawBufferPointer, size: Int) -> UInt32 {
        CRC32C.checksum(UnsafeRawBufferPointer(rebasing: bytes[checksummedFrom..<size]))
    }
}
