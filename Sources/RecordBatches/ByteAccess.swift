// Unaligned big-endian access, bounded, and absolute positions within a ByteBuffer.
import NIOCore

extension UnsafeRawBufferPointer {
    /// The integer at `position`, which the caller has checked to be inside.
    @inline(__always)
    func loadBigEndian<Value: FixedWidthInteger>(at position: Int, as type: Value.Type = Value.self) -> Value {
        Value(bigEndian: loadUnaligned(fromByteOffset: position, as: Value.self))
    }
}

extension ByteBuffer {
    /// The readable bytes from the absolute `index` on (the reader index when nil); none when it lies outside.
    @inline(__always)
    func withBytes<Result>(
        at index: Int?, _ body: (UnsafeRawBufferPointer) throws(RecordBatchError) -> Result
    ) throws(RecordBatchError) -> Result {
        try withUnsafeReadableBytes { bytes throws(RecordBatchError) in
            let start = (index ?? readerIndex) - readerIndex
            guard start >= 0, start <= bytes.count else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
            return try body(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        }
    }
}
