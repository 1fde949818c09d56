// What can be wrong with record bytes: one small vocabulary for disk, network and clients.

/// Why bytes are not a usable record batch.
public enum RecordBatchError: Error, Equatable, Sendable {
    /// Fewer bytes than a header, or than the header's length says. On disk a torn tail, in a fetch response a batch cut short.
    case truncated(needed: Int, available: Int)
    /// The magic byte is not one this operation reads.
    case unsupportedMagic(Int8)
    /// The length field cannot hold a header, or exceeds what the caller allows.
    case invalidLength(Int)
    /// The stored checksum does not fit the bytes (CRC-32C for magic 2, CRC-32 before).
    case checksumMismatch(stored: UInt32, computed: UInt32)
    /// The attributes name a compression type that does not exist.
    case unknownCompression(Int)
    /// The compressed section is damaged, or not in its codec's format.
    case decompressionFailed(CompressionType, String)
    /// Decompressed data would be larger than the caller's bound; what a decompression bomb meets.
    case decompressedSizeExceeded(limit: Int)
    /// The codec could not compress, for want of memory or because of a level it does not have.
    case compressionFailed(CompressionType, String)
    /// The record at this position within its batch is malformed.
    case invalidRecord(index: Int, String)
    /// The header's fields contradict each other or the records.
    case invalidHeader(String)
    /// A control record's key or value is malformed.
    case invalidControlRecord(String)
}

extension RecordBatchError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .truncated(let needed, let available): "record batch is cut short: needs \(needed) bytes, has \(available)"
        case .unsupportedMagic(let magic): "unsupported record format: magic \(magic)"
        case .invalidLength(let length): "invalid record batch length \(length)"
        case .checksumMismatch(let stored, let computed): "record batch is corrupt: stored checksum \(stored), computed \(computed)"
        case .unknownCompression(let identifier): "unknown compression type \(identifier)"
        case .decompressionFailed(let type, let reason): "\(type) data is corrupt: \(reason)"
        case .decompressedSizeExceeded(let limit): "decompressed records exceed the limit of \(limit) bytes"
        case .compressionFailed(let type, let reason): "cannot compress with \(type): \(reason)"
        case .invalidRecord(let index, let reason): "record \(index) of the batch is invalid: \(reason)"
        case .invalidHeader(let reason): "record batch header is invalid: \(reason)"
        case .invalidControlRecord(let reason): "control record is invalid: \(reason)"
        }
    }
}
