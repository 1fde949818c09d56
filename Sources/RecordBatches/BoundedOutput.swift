// Where decompressed bytes go: memory that grows with what was really produced and stops at the caller's bound.
import NIOCore

/// A buffer that grows by doubling, up to a limit.
struct BoundedOutput {
    private(set) var buffer: ByteBuffer
    let limit: Int

    init(limit: Int, sourceSize: Int) {
        // One byte beyond the limit is how a stream that wants more is noticed; a ByteBuffer ends at 4 GiB anyway.
        self.limit = min(max(0, limit), Int(Int32.max))
        buffer = ByteBufferAllocator().buffer(capacity: min(self.limit + 1, max(1024, sourceSize * 3)))
    }

    /// Make room ahead for `count` bytes that are sure to come; refuse when they do not fit the limit.
    mutating func reserve(_ count: Int) throws(RecordBatchError) {
        guard count <= limit - buffer.readableBytes else { throw .decompressedSizeExceeded(limit: limit) }
        buffer.reserveCapacity(minimumWritableBytes: count)
    }

    /// Hand out free memory, at least one byte and `minimum` if the limit allows; `body` returns how much of it it filled.
    mutating func write(
        minimum: Int = 4096, _ body: (UnsafeMutableRawBufferPointer) throws(RecordBatchError) -> Int
    ) throws(RecordBatchError) {
        let room = limit + 1 - buffer.readableBytes
        // Doubling only when nothing is left keeps a first guess that fits from growing for the sake of the end mark.
        let wanted = buffer.writableBytes > 0 ? 0 : min(minimum, room)
        try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { bytes throws(RecordBatchError) in
            try body(UnsafeMutableRawBufferPointer(rebasing: bytes.prefix(room)))
        }
        guard buffer.readableBytes <= limit else { throw .decompressedSizeExceeded(limit: limit) }
    }
}
