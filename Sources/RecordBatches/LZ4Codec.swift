// LZ4 in its frame format, as Kafka writes it: independent blocks of 64 KiB, no checksum of the content.
import CLZ4
import NIOCore

enum LZ4Codec {
    private static let compressors = ContextPool(
        .lz4,
        create: {
            var context: OpaquePointer?
            return LZ4F_isError(LZ4F_createCompressionContext(&context, UInt32(LZ4F_VERSION))) == 0 ? context : nil
        },
        destroy: { LZ4F_freeCompressionContext($0) })

    private static let decompressors = ContextPool(
        .lz4,
        create: {
            var context: OpaquePointer?
            return LZ4F_isError(LZ4F_createDecompressionContext(&context, UInt32(LZ4F_VERSION))) == 0 ? context : nil
        },
        destroy: { LZ4F_freeDecompressionContext($0) })

    /// Kafka's level 9, the default, means the fast compressor; every other one means the high compressor, which the library has
    /// from 3 to 12.
    private static func libraryLevel(_ level: Int) -> Int32 {
        level == 9 ? 0 : Int32(min(max(level, 3), 12))
    }

    static func compress(_ input: ByteBuffer, level: Int, into output: inout ByteBuffer) throws(RecordBatchError) {
        var preferences = LZ4F_preferences_t()
        preferences.frameInfo.blockSizeID = LZ4F_max64KB
        preferences.frameInfo.blockMode = LZ4F_blockIndependent
        preferences.compressionLevel = libraryLevel(level)
        preferences.autoFlush = 1
        try compressors.withContext { context throws(RecordBatchError) in
            let bound = Int(LZ4F_HEADER_SIZE_MAX) + LZ4F_compressBound(input.readableBytes, &preferences)
            _ = try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                try output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { target throws(RecordBatchError) in
                    var used = try check(LZ4F_compressBegin(context, target.baseAddress, target.count, &preferences))
                    used += try check(
                        LZ4F_compressUpdate(
                            context, target.baseAddress?.advanced(by: used), target.count - used, source.baseAddress, source.count, nil))
                    used += try check(
                        LZ4F_compressEnd(context, target.baseAddress?.advanced(by: used), target.count - used, nil))
                    return used
                }
            }
        }
    }

    private static func check(_ result: Int) throws(RecordBatchError) -> Int {
        guard LZ4F_isError(result) == 0 else { throw .compressionFailed(.lz4, String(cString: LZ4F_getErrorName(result))) }
        return result
    }

    static func decompress(
        _ input: ByteBuffer, into output: inout BoundedOutput, ignoringHeaderChecksum: Bool
    ) throws(RecordBatchError) {
        try decompressors.withContext { context throws(RecordBatchError) in
            LZ4F_resetDecompressionContext(context)
            try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                var position = 0
                if ignoringHeaderChecksum, let header = LZ4FrameHeader(repairing: source) {
                    try ByteBuffer(bytes: header.bytes).withUnsafeReadableBytes { bytes throws(RecordBatchError) in
                        while position < bytes.count {
                            let rest = UnsafeRawBufferPointer(rebasing: bytes[position...])
                            let (consumed, _, isEnd) = try step(context, rest, into: &output)
                            position += consumed
                            guard consumed > 0, !isEnd else { throw .decompressionFailed(.lz4, "damaged header") }
                        }
                    }
                }
                while true {
                    let rest = UnsafeRawBufferPointer(rebasing: source[position...])
                    let (consumed, produced, isEnd) = try step(context, rest, into: &output)
                    position += consumed
                    // Bytes behind the end mark are ignored, as Kafka's own reader does.
                    if isEnd { return }
                    guard consumed > 0 || produced > 0 else { throw .decompressionFailed(.lz4, "ends too early") }
                }
            }
        }
    }

    private static func step(
        _ context: OpaquePointer, _ source: UnsafeRawBufferPointer, into output: inout BoundedOutput
    ) throws(RecordBatchError) -> (consumed: Int, produced: Int, isEnd: Bool) {
        var consumed = source.count
        var produced = 0
        var result = 0
        try output.write(minimum: 64 * 1024) { target throws(RecordBatchError) in
            produced = target.count
            result = LZ4F_decompress(context, target.baseAddress, &produced, source.baseAddress, &consumed, nil)
            guard LZ4F_isError(result) == 0 else { throw .decompressionFailed(.lz4, String(cString: LZ4F_getErrorName(result))) }
            return produced
        }
        return (consumed, produced, result == 0)
    }
}

/// A frame's header with a checksum that fits: Kafka's clients before 0.10 took in the frame's magic number too (KAFKA-3160).
struct LZ4FrameHeader {
    var bytes: [UInt8]

    /// Nil when `source` does not begin with a whole header.
    init?(repairing source: UnsafeRawBufferPointer) {
        guard source.count >= 7, source.loadUnaligned(as: UInt32.self).littleEndian == 0x184d_2204 else { return nil }
        let hasContentSize = source[4] & 0x08 != 0
        let hasDictionary = source[4] & 0x01 != 0
        let size = 7 + (hasContentSize ? 8 : 0) + (hasDictionary ? 4 : 0)
        guard source.count >= size else { return nil }
        bytes = Array(source[..<size])
        bytes[size - 1] = UInt8(truncatingIfNeeded: Self.hash(bytes[4..<size - 1]) >> 8)
    }

    /// XXH32 with seed 0 of fewer than 16 bytes, which is all a header needs.
    static func hash(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        precondition(bytes.count < 16)
        let primes: (UInt32, UInt32, UInt32, UInt32, UInt32) = (2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393)
        var hash = primes.4 &+ UInt32(bytes.count)
        var rest = bytes
        while rest.count >= 4 {
            let word = rest.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            hash = rotate(hash &+ word &* primes.2, by: 17) &* primes.3
            rest = rest.dropFirst(4)
        }
        for byte in rest { hash = rotate(hash &+ UInt32(byte) &* primes.4, by: 11) &* primes.0 }
        hash = (hash ^ (hash >> 15)) &* primes.1
        hash = (hash ^ (hash >> 13)) &* primes.2
        return hash ^ (hash >> 16)
    }

    private static func rotate(_ value: UInt32, by count: UInt32) -> UInt32 {
        (value << count) | (value >> (32 - count))
    }
}
