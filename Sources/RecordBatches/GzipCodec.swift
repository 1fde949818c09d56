// Gzip by zlib.
import CZlib
import NIOCore

enum GzipCodec {
    /// 15 bits of window, and 16 for the gzip wrapper instead of zlib's.
    private static let windowBits: Int32 = 15 + 16

    private static let inflaters = ContextPool(
        .gzip,
        create: {
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            if inflateInit2_(stream, windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK { return OpaquePointer(stream) }
            stream.deallocate()
            return nil
        },
        destroy: { context in
            let stream = UnsafeMutablePointer<z_stream>(context)
            inflateEnd(stream)
            stream.deallocate()
        })

    private static let deflaters = ContextPool(
        .gzip,
        create: {
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let result = deflateInit2_(
                stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size))
            if result == Z_OK { return OpaquePointer(stream) }
            stream.deallocate()
            return nil
        },
        destroy: { context in
            let stream = UnsafeMutablePointer<z_stream>(context)
            deflateEnd(stream)
            stream.deallocate()
        })

    static func compress(_ input: ByteBuffer, level: Int, into output: inout ByteBuffer) throws(RecordBatchError) {
        try deflaters.withContext { context throws(RecordBatchError) in
            let stream = UnsafeMutablePointer<z_stream>(context)
            guard deflateReset(stream) == Z_OK, deflateParams(stream, Int32(level), Z_DEFAULT_STRATEGY) == Z_OK else {
                throw .compressionFailed(.gzip, "level \(level)")
            }
            let bound = Int(deflateBound(stream, UInt(input.readableBytes)))
            try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                stream.pointee.setInput(source)
                try output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { target throws(RecordBatchError) in
                    stream.pointee.setOutput(target)
                    guard deflate(stream, Z_FINISH) == Z_STREAM_END else { throw .compressionFailed(.gzip, "no end") }
                    return target.count - Int(stream.pointee.avail_out)
                }
            }
        }
    }

    static func decompress(_ input: ByteBuffer, into output: inout BoundedOutput) throws(RecordBatchError) {
        try inflaters.withContext { context throws(RecordBatchError) in
            let stream = UnsafeMutablePointer<z_stream>(context)
            guard inflateReset(stream) == Z_OK else { throw .decompressionFailed(.gzip, "cannot start") }
            try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                stream.pointee.setInput(source)
                while true {
                    var result = Z_OK
                    try output.write { target throws(RecordBatchError) in
                        stream.pointee.setOutput(target)
                        result = inflate(stream, Z_NO_FLUSH)
                        return target.count - Int(stream.pointee.avail_out)
                    }
                    if result == Z_STREAM_END {
                        // Another member may follow; anything else behind the end is ignored, as Java's reader does.
                        guard stream.pointee.beginsMember else { return }
                        inflateReset(stream)
                    } else if result != Z_OK {
                        let reason = result == Z_BUF_ERROR ? "ends too early" : stream.pointee.msg.map { String(cString: $0) } ?? "damaged"
                        throw .decompressionFailed(.gzip, reason)
                    }
                }
            }
        }
    }
}

extension z_stream {
    // zlib never writes through the pointer to its input, whatever the type says.
    fileprivate mutating func setInput(_ source: UnsafeRawBufferPointer) {
        next_in = UnsafeMutablePointer(mutating: source.bindMemory(to: UInt8.self).baseAddress)
        avail_in = UInt32(source.count)
    }

    fileprivate mutating func setOutput(_ target: UnsafeMutableRawBufferPointer) {
        next_out = target.bindMemory(to: UInt8.self).baseAddress
        avail_out = UInt32(clamping: target.count)
    }

    fileprivate var beginsMember: Bool {
        guard avail_in >= 2, let next_in else { return false }
        return next_in[0] == 0x1f && next_in[1] == 0x8b
    }
}
