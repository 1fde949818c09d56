// Zstandard (KIP-110). Written without content size, as Kafka's Java client does; read with or without.
import CZstd
import NIOCore

enum ZstdCodec {
    private static let compressors = ContextPool(.zstd, create: { ZSTD_createCCtx() }, destroy: { ZSTD_freeCCtx($0) })
    private static let decompressors = ContextPool(.zstd, create: { ZSTD_createDCtx() }, destroy: { ZSTD_freeDCtx($0) })

    static func compress(_ input: ByteBuffer, level: Int, into output: inout ByteBuffer) throws(RecordBatchError) {
        try compressors.withContext { context throws(RecordBatchError) in
            ZSTD_CCtx_reset(context, ZSTD_reset_session_and_parameters)
            ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, Int32(level))
            ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0)
            try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                let bound = ZSTD_compressBound(source.count)
                try output.writeWithUnsafeMutableBytes(minimumWritableBytes: bound) { target throws(RecordBatchError) in
                    let result = ZSTD_compress2(context, target.baseAddress, target.count, source.baseAddress, source.count)
                    guard ZSTD_isError(result) == 0 else { throw .compressionFailed(.zstd, name(result)) }
                    return result
                }
            }
        }
    }

    static func decompress(_ input: ByteBuffer, into output: inout BoundedOutput) throws(RecordBatchError) {
        try decompressors.withContext { context throws(RecordBatchError) in
            ZSTD_DCtx_reset(context, ZSTD_reset_session_and_parameters)
            // The library's own bound on the window, 128 MiB, stays: Java producers at the highest levels ask for it. It is address
            // space until it is written to, and no more is written than comes out.
            try input.withUnsafeReadableBytes { source throws(RecordBatchError) in
                var cursor = ZSTD_inBuffer(src: source.baseAddress, size: source.count, pos: 0)
                var result = 1
                repeat {
                    let before = cursor.pos
                    var produced = 0
                    try output.write(minimum: 64 * 1024) { target throws(RecordBatchError) in
                        var window = ZSTD_outBuffer(dst: target.baseAddress, size: target.count, pos: 0)
                        result = ZSTD_decompressStream(context, &window, &cursor)
                        guard ZSTD_isError(result) == 0 else { throw .decompressionFailed(.zstd, name(result)) }
                        produced = window.pos
                        return produced
                    }
                    guard produced > 0 || cursor.pos > before else { throw .decompressionFailed(.zstd, "ends too early") }
                } while result != 0 || cursor.pos < cursor.size
            }
        }
    }

    private static func name(_ result: Int) -> String {
        String(cString: ZSTD_getErrorName(result))
    }
}
