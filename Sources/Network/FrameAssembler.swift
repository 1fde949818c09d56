// Turns what arrives on a socket into frames without moving bytes: the kernel writes into the buffer that the frame is handed out of.
//
// It is NIO's receive allocator for its channel. A connection without a partial frame owns no buffer: reads use one from the loop's
// pool. Where a large frame is in the making, the read is limited to that frame and the four bytes of the next one's size, so that the
// next frame starts in a buffer of its own and nothing has to be copied out of the way; small frames are read as many as come, and
// the piece of one left at the end is copied.
import Glibc
import NIOCore

final class FrameAssembler: RecvByteBufferAllocator, @unchecked Sendable {
    // Confined to its channel's event loop; NIO asks for Sendable because allocators may be shared, this one is not.

    /// What the bytes so far amount to.
    enum Frame {
        case complete(ByteBuffer)
        case incomplete
        case invalidSize(Int)
    }

    static let prefixLength = 4
    /// From this size on a frame is read into place instead of being carried over.
    static let largeFrame = 16_384
    /// How much memory an announced frame gets before it has arrived, unless told otherwise.
    static let firstStage = 1_048_576

    private let pool: BufferPool
    private let maximumFrameBytes: Int
    private let firstStage: Int
    // Bytes received and not handed out yet; no storage at all between frames.
    private var buffer = ByteBuffer()
    // `buffer` is a small copy of a frame's beginning, to be put in front of the next read.
    private var isCarry = false
    // Size of the frame whose prefix has been consumed, or -1.
    private(set) var expected = -1
    private var lastFrameBytes = 0
    private var isWithNIO = false
    private var bytesWithNIO = 0
    private var hasGivenFirstBuffer = false

    /// - Parameter firstStage: bytes that an announced frame gets before it has arrived. Between nodes, which trust each other with more,
    ///   large answers then need not be moved from stage to stage.
    init(pool: BufferPool, maximumFrameBytes: Int, firstStage: Int = FrameAssembler.firstStage) {
        self.pool = pool
        self.maximumFrameBytes = maximumFrameBytes
        self.firstStage = firstStage
    }

    // MARK: NIO's side

    /// The buffer for the next read. Ownership goes to NIO and comes back with `received`: a second reference would make NIO copy.
    func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        if !hasGivenFirstBuffer {
            // NIO keeps the first buffer of a channel for itself; it gets a tiny one.
            hasGivenFirstBuffer = true
            return allocator.buffer(capacity: 64)
        }
        prepareForReading()
        if isCarry || buffer.readableBytes == 0 && buffer.writableBytes == 0 {
            takeScratch()
        }
        isWithNIO = true
        bytesWithNIO = buffer.readableBytes
        let given = buffer
        buffer = ByteBuffer()
        return given
    }

    /// Always true, which makes NIO come back here for every read instead of reusing a buffer that has been handed out.
    func record(actualReadBytes: Int) -> Bool { true }

    func nextBufferSize() -> Int? { nil }

    // MARK: the connection's side

    /// Takes back the buffer with what was read; returns the number of new bytes.
    func received(_ received: ByteBuffer) -> Int {
        if isWithNIO {
            isWithNIO = false
            buffer = received
            isCarry = false
            return received.readableBytes - bytesWithNIO
        }
        // The first buffer, which NIO still holds.
        var copy = ByteBuffer()
        copy.reserveCapacity(received.readableBytes)
        copy.writeImmutableBuffer(received)
        buffer = copy
        isCarry = true
        return received.readableBytes
    }

    /// True when a read came to nothing and took the beginning of a frame with it. NIO asks only after the kernel reported bytes, so
    /// this should not happen; if it does the stream is broken and must not be continued.
    var hasLostBytes: Bool { isWithNIO && bytesWithNIO > 0 }

    /// True while there are bytes that belong to a frame not handed out yet.
    var hasBytes: Bool { buffer.readableBytes > 0 || expected >= 0 }

    /// Takes what the socket holds of the large frame in the making, without the way through NIO's read cycle. Returns the number of new
    /// bytes; 0 when there are none at once, and also at the stream's end or after an error, which NIO's next read will notice.
    func receive(from socket: Int32) -> Int {
        guard expected >= Self.largeFrame else { return 0 }
        prepareForReading()
        guard !isCarry, buffer.writableBytes > 0 else { return 0 }
        return buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { room in
            max(0, recv(socket, room.baseAddress, room.count, Int32(MSG_DONTWAIT)))
        }
    }

    /// The first bytes of the connection, to tell a client of another protocol by.
    var firstBytes: UInt32? { buffer.getInteger(at: buffer.readerIndex) }

    /// Consumes the size prefix if it has arrived; `expected` is the frame's size then. Returns a size that is out of bounds.
    func readPrefix() -> Int? {
        guard expected < 0, let size: Int32 = buffer.readInteger() else { return nil }
        guard size >= 0, Int(size) <= maximumFrameBytes else { return Int(size) }
        expected = Int(size)
        return nil
    }

    /// The next frame, if all of it has arrived.
    func nextFrame() -> Frame {
        if let size = readPrefix() { return .invalidSize(size) }
        guard expected >= 0, let frame = buffer.readSlice(length: expected) else { return .incomplete }
        lastFrameBytes = expected
        expected = -1
        return .complete(frame)
    }

    /// Gives back or arranges the memory once nothing more can be handed out for now.
    func prepareForReading() {
        let readable = buffer.readableBytes
        if expected >= Self.largeFrame {
            prepareForLargeFrame(readable)
        } else if readable == 0 {
            release()
        } else if !isCarry {
            var carry = ByteBuffer()
            carry.reserveCapacity(readable)
            carry.writeImmutableBuffer(buffer)
            pool.recycle(&buffer)
            buffer = carry
            isCarry = true
        }
    }

    /// Like `prepareForReading` while nothing is to be read: large remainders stay where they are.
    func prepareForWaiting() {
        if buffer.readableBytes <= Self.largeFrame, expected < Self.largeFrame {
            prepareForReading()
        }
    }

    /// Lets go of everything, when the connection is gone.
    func release() {
        if !isCarry {
            pool.recycle(&buffer)
        } else {
            buffer = ByteBuffer()
            isCarry = false
        }
    }

    private func prepareForLargeFrame(_ readable: Int) {
        let needed = expected + Self.prefixLength
        // Ready already, or still on its way through a stage.
        if !isCarry, buffer.writableBytes > 0, buffer.writableBytes <= needed - readable, isUnique { return }
        let end = buffer.readerIndex + needed
        if !isCarry, isUnique, wholeCapacity >= end {
            limit(to: end)
            return
        }
        let stage = min(needed, max(2 * readable, firstStage))
        var smaller = ByteBuffer()
        swap(&smaller, &buffer)
        buffer = pool.take(minimumCapacity: stage)
        buffer.writeImmutableBuffer(smaller)
        if !isCarry { pool.recycle(&smaller) }
        isCarry = false
        if wholeCapacity >= needed {
            limit(to: needed)
        }
    }

    /// A pooled buffer with the carried bytes in front, limited if the next frame is likely to be large.
    private func takeScratch() {
        let carried = buffer
        let likely = lastFrameBytes >= Self.largeFrame ? lastFrameBytes + 2 * Self.prefixLength : 0
        buffer = pool.take(minimumCapacity: max(BufferPool.scratchCapacity, 2 * carried.readableBytes, min(likely, firstStage)))
        isCarry = false
        buffer.writeImmutableBuffer(carried)
        if likely > 0, likely < buffer.capacity {
            limit(to: likely)
        }
    }

    private var isUnique: Bool { buffer.modifyIfUniquelyOwned { _ in true } ?? false }

    /// Capacity without the limit; the buffer is unique, so that lifting the limit keeps the bytes.
    private var wholeCapacity: Int {
        liftLimit()
        return buffer.capacity
    }

    private func liftLimit() {
        let reader = buffer.readerIndex
        let writer = buffer.writerIndex
        // Limits are slices that start where the memory starts, so every index stays what it is. With a second reference `clear` would
        // take other memory.
        guard buffer.modifyIfUniquelyOwned({ $0.clear() }) != nil else { preconditionFailure("a shared buffer cannot be limited") }
        buffer.moveWriterIndex(to: writer)
        buffer.moveReaderIndex(to: reader)
    }

    /// Makes `end` the end of the buffer's writable bytes.
    private func limit(to end: Int) {
        liftLimit()
        let reader = buffer.readerIndex
        let writer = buffer.writerIndex
        guard end < buffer.capacity, end >= writer else { return }
        buffer.moveReaderIndex(to: 0)
        buffer.moveWriterIndex(to: end)
        guard let limited = buffer.getSlice(at: 0, length: end) else { preconditionFailure("a limit outside of the buffer") }
        buffer = limited
        buffer.moveWriterIndex(to: writer)
        buffer.moveReaderIndex(to: reader)
    }
}
