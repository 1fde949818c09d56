// Another codec for a batch's records, everything else as it was: a topic's `compression.type`.
import NIOCore
import Primitives

extension RecordBatch {
    /// The batch with its records compressed by `target`; the same bytes when it already has that type.
    ///
    /// Records are not decoded: offsets, timestamps, producer fields and flags are those of the original.
    /// - Throws: what makes the stored section unreadable, or `compressionFailed`.
    public func recompressed(
        to target: Compression, maximumDecompressedSize: Int = defaultMaximumDecompressedSize
    ) throws(RecordBatchError) -> ByteBuffer {
        if try header.compression == target.type { return bytes }
        return try Self.assemble(header, section: try recordsSection(maximumSize: maximumDecompressedSize), compression: target)
    }

    /// A batch of `header`'s fields around an uncompressed section, compressed by `compression`; length, type and checksum are set.
    static func assemble(
        _ header: RecordBatchHeader, section: ByteBuffer, compression: Compression
    ) throws(RecordBatchError) -> ByteBuffer {
        // An empty batch is never marked as compressed: there is nothing that a codec could be given.
        let compression = header.recordCount == 0 ? .none : compression
        var result = ByteBufferAllocator().buffer(capacity: RecordBatchHeader.size + section.readableBytes)
        result.writeRepeatingByte(0, count: RecordBatchHeader.size)
        try compression.compress(section, into: &result)
        var header = header
        header.batchLength = Int32(clamping: result.readableBytes - RecordBatchHeader.logOverhead)
        header.attributes = RecordBatchAttributes(rawValue: header.attributes.rawValue & ~0x07 | Int16(compression.type.rawValue))
        header.write(into: &result, at: 0)
        RecordBatchHeader.updateChecksum(of: result.readableBytes, in: &result, at: 0)
        return result
    }
}
