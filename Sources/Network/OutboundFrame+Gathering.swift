// A response whose file ranges are read into memory, for those who have to see its bytes before they leave.
import Glibc
import NIOCore

extension OutboundFrame {
    /// The bytes behind the size prefix, from `position` on. Reads files, and so may wait for the disk: not for event loops.
    ///
    /// - Returns: nil when a file is shorter than announced, or cannot be read.
    public func gathered(from position: Int) -> ByteBuffer? {
        let start = Self.sizePrefixLength + position
        precondition(head.readableBytes >= start, "what is left out has to lie in the first buffer")
        var bytes = ByteBuffer()
        bytes.reserveCapacity(totalLength - start)
        bytes.writeImmutableBuffer(head.getSlice(at: head.readerIndex + start, length: head.readableBytes - start) ?? ByteBuffer())
        for segment in rest {
            switch segment {
            case .bytes(let buffer): bytes.writeImmutableBuffer(buffer)
            case .file(let slice): guard slice.read(into: &bytes) else { return nil }
            }
        }
        return bytes
    }
}

extension FileSlice {
    fileprivate func read(into bytes: inout ByteBuffer) -> Bool {
        var done = 0
        while done < length {
            var outcome = 0
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: length - done) { target in
                outcome = pread(descriptor, target.baseAddress, length - done, off_t(offset + done))
                return max(0, outcome)
            }
            if outcome < 0, errno == EINTR { continue }
            guard outcome > 0 else { return false }
            done += outcome
        }
        return true
    }
}
