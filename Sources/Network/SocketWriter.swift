// Writes straight to a socket: one `send` for however many small responses a read cycle brought, `sendfile` for file ranges without
// an object per range. Whatever the kernel does not take at once is NIO's to finish, which knows how to wait for a writable socket.
// File ranges go in steps, and only while they are in memory: an event loop must not wait for a disk.
import CLinux
import Glibc
import NIOCore

/// The answers of one connection that wait for the end of the read cycle, and how far they have been written.
struct OutboundQueue {
    /// What a write attempt came to.
    enum Outcome {
        /// Everything is with the kernel.
        case done
        /// The socket is full; the rest is still queued.
        case blocked
        /// This piece of a file, next in the order, has to be read from the disk first.
        case cold(FileSlice)
        /// The connection is gone or a file is shorter than announced.
        case failed(String)
    }

    // The wire order; the first `head` entries are done.
    private(set) var segments: [OutboundSegment] = []
    private var head = 0
    private(set) var byteCount = 0
    // How much of the file range at the head is known to be in memory.
    private var inMemory = 0

    /// Bytes of a file that are looked up, read and sent in one go.
    static let step = 1_048_576

    var isEmpty: Bool { head == segments.count }

    mutating func append(_ frame: OutboundFrame) {
        segments.append(.bytes(frame.head))
        if !frame.rest.isEmpty {
            segments.append(contentsOf: frame.rest)
        }
        byteCount += frame.totalLength
    }

    mutating func removeAll() {
        // A connection that once had a large response must not keep the room for it.
        segments.removeAll(keepingCapacity: segments.capacity <= 16)
        head = 0
        byteCount = 0
        inMemory = 0
    }

    /// Takes the segments from the front that can be written without waiting for a disk, or simply all of them; the rest stays.
    mutating func takeWritable(all: Bool) -> [OutboundSegment] {
        var taken: [OutboundSegment] = []
        while head < segments.count {
            switch segments[head] {
            case .bytes(let buffer):
                taken.append(.bytes(buffer))
                skip(buffer.readableBytes)
            case .file(let slice):
                let count = all ? slice.length : inMemory
                guard count > 0 else { return taken }
                taken.append(.file(slice.prefix(count)))
                skip(count)
            }
        }
        removeAll()
        return taken
    }

    /// Notes that the piece reported as `cold` has been read. It is sent now whatever becomes of it: a machine so short of memory that
    /// the piece is gone again must not keep the connection waiting for ever.
    mutating func noteRead(_ piece: FileSlice) {
        inMemory = piece.length
    }

    /// Writes as much as the socket takes.
    mutating func write(to socket: Int32, gathering loop: LoopState) -> Outcome {
        while head < segments.count {
            let outcome: Outcome
            switch segments[head] {
            case .bytes(let buffer):
                let next = head + 1
                if next < segments.count, case .bytes = segments[next], buffer.readableBytes < LoopState.gatherCapacity / 2 {
                    outcome = writeGathered(to: socket, loop)
                } else {
                    outcome = writeBytes(buffer, to: socket, moreFollows: next < segments.count)
                }
            case .file(let slice):
                outcome = writeFile(slice, to: socket)
            }
            guard case .done = outcome else { return outcome }
        }
        removeAll()
        return .done
    }

    /// A piece of what waits, as bytes in memory.
    enum Piece {
        case bytes(ByteBuffer)
        /// This piece of a file has to be read from the disk first.
        case cold(FileSlice)
        case failed(String)
    }

    /// Takes up to `count` bytes from the front; nil when nothing waits. For connections whose bytes are encrypted on their way.
    mutating func nextPiece(atMost count: Int) -> Piece? {
        guard head < segments.count else {
            removeAll()
            return nil
        }
        switch segments[head] {
        case .bytes(let buffer):
            let length = min(count, buffer.readableBytes)
            let piece = buffer.getSlice(at: buffer.readerIndex, length: length) ?? ByteBuffer()
            skip(length)
            return .bytes(piece)
        case .file(let slice):
            if inMemory == 0 {
                let piece = slice.prefix(Self.step)
                guard martlet_is_in_memory(piece.descriptor, Int64(piece.offset), Int64(piece.length)) != 0 else { return .cold(piece) }
                inMemory = piece.length
            }
            let length = min(count, inMemory)
            var bytes = ByteBuffer()
            let read = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { room in
                max(0, Self.retrying { pread(slice.descriptor, room.baseAddress, length, off_t(slice.offset)) })
            }
            guard read > 0 else { return .failed("a file ended before the range that was announced") }
            skip(read)
            return .bytes(bytes)
        }
    }

    private mutating func writeBytes(_ buffer: ByteBuffer, to socket: Int32, moreFollows: Bool) -> Outcome {
        let flags = Int32(MSG_NOSIGNAL) | (moreFollows ? Int32(MSG_MORE) : 0)
        let written = buffer.withUnsafeReadableBytes { bytes in
            Self.retrying { send(socket, bytes.baseAddress, bytes.count, flags) }
        }
        return advance(written)
    }

    /// Copies consecutive small buffers into one block: copying some kilobytes costs less than describing them to `writev`.
    private mutating func writeGathered(to socket: Int32, _ loop: LoopState) -> Outcome {
        let first = head
        let segments = segments
        let written = loop.withGatherBlock { block in
            var count = 0
            var index = first
            while index < segments.count, case .bytes(let buffer) = segments[index],
                count + buffer.readableBytes <= LoopState.gatherCapacity
            {
                buffer.withUnsafeReadableBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    (block + count).copyMemory(from: base, byteCount: bytes.count)
                }
                count += buffer.readableBytes
                index += 1
            }
            let flags = Int32(MSG_NOSIGNAL) | (index < segments.count ? Int32(MSG_MORE) : 0)
            return Self.retrying { send(socket, block, count, flags) }
        }
        return advance(written)
    }

    private mutating func writeFile(_ slice: FileSlice, to socket: Int32) -> Outcome {
        if inMemory == 0 {
            let piece = slice.prefix(Self.step)
            guard martlet_is_in_memory(piece.descriptor, Int64(piece.offset), Int64(piece.length)) != 0 else { return .cold(piece) }
            inMemory = piece.length
        }
        var offset = off_t(slice.offset)
        let count = inMemory
        let written = Self.retrying { sendfile(socket, slice.descriptor, &offset, count) }
        if written == 0 {
            return .failed("a file ended before the range that was announced")
        }
        return advance(written)
    }

    /// Accounts for `written` bytes, which may end within a segment; negative is an error of the last call.
    private mutating func advance(_ written: Int) -> Outcome {
        guard written >= 0 else {
            let code = errno
            return code == EAGAIN || code == EWOULDBLOCK ? .blocked : .failed(String(cString: strerror(code)))
        }
        skip(written)
        return .done
    }

    /// Lets `count` bytes from the front go.
    private mutating func skip(_ count: Int) {
        var left = count
        byteCount -= count
        while head < segments.count {
            let length = segments[head].length
            guard left >= length else { break }
            left -= length
            inMemory = 0
            // Releases the buffer or the file now, not at the end of the response.
            segments[head] = .bytes(ByteBuffer())
            head += 1
        }
        guard left > 0, head < segments.count else { return }
        switch segments[head] {
        case .bytes(var buffer):
            buffer.moveReaderIndex(forwardBy: left)
            segments[head] = .bytes(buffer)
        case .file(let slice):
            inMemory -= left
            segments[head] = .file(
                FileSlice(owner: slice.owner, descriptor: slice.descriptor, offset: slice.offset + left, length: slice.length - left))
        }
    }

    private static func retrying(_ body: () -> Int) -> Int {
        while true {
            let result = body()
            if result >= 0 || errno != EINTR { return result }
        }
    }
}
