// The C checksums in Swift's clothes.
import CChecksums
import NIOCore

/// CRC-32C (Castagnoli), the checksum of batches, producer snapshots and KRaft snapshots.
public enum CRC32C {
    /// The checksum of `bytes`, continuing from that of the bytes before them (0 to start).
    public static func checksum(_ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0) -> UInt32 {
        martlet_crc32c(crc, bytes.baseAddress, bytes.count)
    }

    /// The checksum of a buffer's readable bytes.
    public static func checksum(_ buffer: ByteBuffer) -> UInt32 {
        buffer.withUnsafeReadableBytes { checksum($0) }
    }

    /// The implementation in use, such as `sse4.2-clmul`.
    public static var implementation: String {
        martlet_crc32c_implementation_name(martlet_crc32c_selected_implementation()).map { String(cString: $0) } ?? "none"
    }
}
