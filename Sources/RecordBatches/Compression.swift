// A codec with its level, and the two directions.
import NIOCore

/// How to compress: the type, and how hard to try.
public struct Compression: Hashable, Sendable {
    public var type: CompressionType
    /// Kafka's scale for the type (`compression.gzip.level` and its like, KIP-390); nil for the default. Snappy has none.
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

    /// The levels that Kafka's settings allow for a type; nil where there are none. Gzip also knows -1, its default.
    public static func levels(of type: CompressionType) -> ClosedRange<Int>? {
        switch type {
        case .none, .snappy: nil
        case .gzip: 1...9
        case .lz4: 1...17
        case .zstd: -131_072...22
        }
    }

    /// The level that Kafka takes when none is set; nil where there are none.
    public static func defaultLevel(of type: CompressionType) -> Int? {
        switch type {
        case .none, .snappy: nil
        case .gzip: -1
        case .lz4: 9
        case .zstd: 3
        }
    }

    /// Compress a buffer's readable bytes and append the result to `output`.
    ///
    /// - Throws: `compressionFailed` for a level the codec does not have, or for want of memory.
    public func compress(_ input: ByteBuffer, into output: inout ByteBuffer) throws(RecordBatchError) {
        let level = level ?? Self.defaultLevel(of: type) ?? 0
        if let levels = Self.levels(of: type), !levels.contains(level), level != Self.defaultLevel(of: type) {
            throw .compressionFailed(type, "level \(level) is not within \(levels)")
        }
        switch type {
        case .none: output.writeImmutableBuffer(input)
        case .gzip: try GzipCodec.compress(input, level: level, into: &output)
        case .snappy: try SnappyCodec.compress(input, into: &output)
        case .lz4: try LZ4Codec.compress(input, level: level, into: &output)
        case .zstd: try ZstdCodec.compress(input, level: level, into: &output)
        }
    }

    /// Decompress a buffer's readable bytes.
    ///
    /// Memory grows with what really comes out, not with what the data promises, and never beyond the bound.
    /// - Parameters:
    ///   - maximumSize: bytes that may come out at most.
    ///   - ignoringHeaderChecksum: accept any checksum of an LZ4 frame's header, which Kafka's clients before 0.10 computed wrongly
    ///     (KAFKA-3160); for message sets of magic 0 and 1.
    /// - Throws: `decompressedSizeExceeded` when the bound is reached, `decompressionFailed` for damaged data.
    public static func decompress(
        _ input: ByteBuffer, type: CompressionType, maximumSize: Int, ignoringHeaderChecksum: Bool = false
    ) throws(RecordBatchError) -> ByteBuffer {
        if type == .none {
            guard input.readableBytes <= maximumSize else { throw .decompressedSizeExceeded(limit: maximumSize) }
            return input
        }
        var output = BoundedOutput(limit: maximumSize, sourceSize: input.readableBytes)
        switch type {
        case .none: break
        case .gzip: try GzipCodec.decompress(input, into: &output)
        case .snappy: try SnappyCodec.decompress(input, into: &output)
        case .lz4: try LZ4Codec.decompress(input, into: &output, ignoringHeaderChecksum: ignoringHeaderChecksum)
        case .zstd: try ZstdCodec.decompress(input, into: &output)
        }
        return output.buffer
    }
}
