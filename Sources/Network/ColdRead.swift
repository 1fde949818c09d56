// Brings a piece of a file into the page cache on a thread that may wait for the disk, so that the event loop can send it without
// waiting. A connection has one such read under way at most, which bounds their number.
import Glibc
import NIOCore
import NIOPosix

enum ColdRead {
    private static let blockBytes = 131_072

    /// Reads `piece` on a storage thread, then calls `completion` on the event loop. An error or an early end of the file shows when the
    /// piece is sent.
    static func start(_ piece: FileSlice, on eventLoop: any EventLoop, completion: @escaping @Sendable () -> Void) {
        NIOThreadPool.singleton.submit { _ in
            read(piece)
            eventLoop.execute(completion)
        }
    }

    private static func read(_ piece: FileSlice) {
        withUnsafeTemporaryAllocation(byteCount: blockBytes, alignment: 4096) { block in
            var position = piece.offset
            let end = piece.offset + piece.length
            while position < end {
                let count = pread(piece.descriptor, block.baseAddress, min(block.count, end - position), off_t(position))
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                position += count
            }
        }
    }
}
