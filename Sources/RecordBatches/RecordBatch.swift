// A whole batch in memory, and many of them in a row, as in a fetch response or a piece of a segment.
import NIOCore
import Primitives

/// One magic 2 record batch: its header and all of its bytes, records unread.
public struct RecordBatch: Hashable, Sendable {
    /// How far decompression goes when the caller names no bound: 128 MiB.
    public static let defaultMaximumDecompressedSize = 128 << 20

    public let header: RecordBatchHeader
    /// Exactly the batch's bytes, a slice of what it was read from.
    public let bytes: ByteBuffer

    /// The batch at the reader index of `buffer`, which may go on behind it. The checksum is not looked at.
    public init(_ buffer: ByteBuffer) throws(RecordBatchError) {
        header = try RecordBatchHeader(from: buffer)
        guard let slice = buffer.getSlice(at: buffer.readerIndex, length: header.sizeInBytes) else {
            throw .truncated(needed: header.sizeInBytes, available: buffer.readableBytes)
        }
        bytes = slice
    }

    /// Check the stored checksum against the bytes.
    public func verifyChecksum() throws(RecordBatchError) {
        _ = try RecordBatchHeader.verify(in: bytes)
    }

    /// The encoded records as they are stored, compressed or not.
    public var storedRecords: ByteBuffer {
        bytes.getSlice(at: bytes.readerIndex + RecordBatchHeader.size, length: bytes.readableBytes - RecordBatchHeader.size)
            ?? ByteBuffer()
    }

    /// The encoded records, decompressed if need be; never more than `maximumSize` bytes.
    public func recordsSection(
        maximumSize: Int = defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> ByteBuffer {
        let type = try header.compression
        if type == .none || header.recordCount == 0 { return storedRecords }
        return try Compression.decompress(storedRecords, type: type, maximumSize: maximumSize)
    }

    /// An iterator over the records; a compressed section is decompressed first, whole and bounded.
    public func records(
        maximumDecompressedSize: Int = defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> RecordIterator {
        guard header.recordCount >= 0 else { throw .invalidHeader("record count \(header.recordCount)") }
        return RecordIterator(header: header, section: try recordsSection(maximumSize: maximumDecompressedSize))
    }

    /// All records at once, for tests and tools.
    public func allRecords(
        maximumDecompressedSize: Int = defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> [Record] {
        var iterator = try records(maximumDecompressedSize: maximumDecompressedSize)
        var result: [Record] = []
        while let record = try iterator.next() { result.append(record) }
        return result
    }
}

/// Reads batches one after another from a buffer, such as the records of a fetch response.
public struct RecordBatchIterator: Sendable {
    /// What has not been read yet. After `next()` returned nil: the beginning of a batch that was cut off, or nothing.
    public private(set) var rest: ByteBuffer

    public init(_ buffer: ByteBuffer) {
        rest = buffer
    }

    /// The next whole batch; nil at the end or when only a part of a batch is left, as fetch responses may end.
    public mutating func next() throws(RecordBatchError) -> RecordBatch? {
        guard rest.readableBytes >= RecordBatchHeader.size else { return nil }
        let header = try RecordBatchHeader(from: rest)
        guard header.sizeInBytes <= rest.readableBytes else { return nil }
        let batch = try RecordBatch(rest)
        rest.moveReaderIndex(forwardBy: header.sizeInBytes)
        return batch
    }
}
