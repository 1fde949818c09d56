// A codec with its level, and the two directions.
import NIOCore

/// How to compress: the type, and how hard to try.
public struct Compression: Hashable, Sendable {
    public var type: CompressionType
    /// The codec's own scale; nil for its default. Ignored by snappy, which has none.
    public var level: Int?

    public init(_ type: CompressionType, level: Int? = nil) {
        self.type = type
        self.level = level
    }

    public static let none = Compression(.none)
    public static let gzip = Compression(.gzip)
    public static let snappy = Compression(.snappy)
    public static let lz4 = Compression(.lz4)
    public static let zstd = Compression(.zstd)

    /// Compress a buffer's readable bytes and append the result to `output`.
    public func compress(_ input: ByteBuffer, into output: inout ByteBuffer) throws(RecordBatchError) {
        guard type == .none else { throw .compressionFailed(type, "codec is not linked") }
        output.writeImmutableBuffer(input)
    }

    /// Decompress a buffer's readable bytes, to at most `maximumSize` bytes.
    public static func decompress(
        _ input: ByteBuffer, type: CompressionType, maximumSize: Int
    ) throws(RecordBatchError) -> ByteBuffer {
        guard type == .none else { throw .decompressionFailed(type, "codec is not linked") }
        return input
    }
}
