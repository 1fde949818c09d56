// Snappy in the framing that Kafka's Java clients took from the xerial library and every other client copied: a header, then
// blocks of compressed data, each behind its length. Some producers write one bare block; it is read too.
import CSnappy
import NIOCore

enum SnappyCodec {
    /// 0x82, "SNAPPY", 0.
    private static let magic: UInt64 = 0x8253_4e41_5050_5900
    /// Magic, version, lowest compatible version.
    private static let headerSize = 16
    /// What xerial compresses at a time.
    private static let blockSize = 32 * 1024
    /// A copy of 64 bytes takes two to three: no honest block grows more than this, so none is believed to.
    private static let maximumExpansion = 64

    static func compress(_ input: ByteBuffer, into output: inout ByteBuffer) throws(RecordBatchError) {
        output.writeInteger(magic)
        output.writeInteger(Int32(1))
        output.writeInteger(Int32(1))
        try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
            var position = 0
            while position < source.count {
                let count = min(blockSize, source.count - position)
                let block = source.baseAddress?.advanced(by: position).assumingMemoryBound(to: CChar.self)
                let lengthIndex = output.writerIndex
                output.writeInteger(Int32(0))
                let bound = snappy_max_compressed_length(count)
                let written = try output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { target throws(RecordBatchError) in
                    var length = target.count
                    guard snappy_compress(block, count, target.bindMemory(to: CChar.self).baseAddress, &length) == SNAPPY_OK else {
                        throw .compressionFailed(.snappy, "block at \(position)")
                    }
                    return length
                }
                output.setInteger(Int32(written), at: lengthIndex)
                position += count
            }
        }
    }

    static func decompress(_ input: ByteBuffer, into output: inout BoundedOutput) throws(RecordBatchError) {
        try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
            guard source.count >= headerSize, source.loadBigEndian(at: 0, as: UInt64.self) == magic else {
                return try decompressBlock(source, into: &output)
            }
            guard source.loadBigEndian(at: 12, as: Int32.self) <= 1 else {
                throw .decompressionFailed(.snappy, "framing needs a newer reader")
            }
            var position = headerSize
            while position < source.count {
                guard source.count - position >= 4 else { throw .decompressionFailed(.snappy, "ends too early") }
                let length = source.loadBigEndian(at: position, as: UInt32.self)
                if length == UInt32(magic >> 32) {
                    // Streams written one behind the other: each begins with the header.
                    position += headerSize
                    continue
                }
                position += 4
                guard Int(length) <= source.count - position else { throw .decompressionFailed(.snappy, "block ends too early") }
                let block = UnsafeRawBufferPointer(rebasing: source[position..<position + Int(length)])
                try decompressBlock(block, into: &output)
                position += Int(length)
            }
        }
    }

    private static func decompressBlock(_ block: UnsafeRawBufferPointer, into output: inout BoundedOutput) throws(RecordBatchError) {
        let bytes = block.assumingMemoryBound(to: CChar.self)
        var size = 0
        guard snappy_uncompressed_length(bytes.baseAddress, bytes.count, &size) == SNAPPY_OK else {
            throw .decompressionFailed(.snappy, "block without a length")
        }
        guard size <= block.count * maximumExpansion else { throw .decompressionFailed(.snappy, "block with an impossible length") }
        guard size > 0 else { return }
        try output.reserve(size)
        try output.write { target throws(RecordBatchError) in
            var length = target.count
            guard snappy_uncompress(bytes.baseAddress, bytes.count, target.bindMemory(to: CChar.self).baseAddress, &length) == SNAPPY_OK
            else { throw .decompressionFailed(.snappy, "damaged block") }
            return length
        }
    }
}
