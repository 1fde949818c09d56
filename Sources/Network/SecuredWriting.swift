// Answers over TLS: there is no descriptor to write to past the encryption, so file ranges are read in pieces and encrypted on the event
// loop. No more than `step` bytes are under way, so that a slow client costs no more memory than that.
import Glibc
import NIOCore

extension ConnectionChannelHandler {
    /// Bytes that are read and encrypted before the socket has taken those before them.
    private static let step = 524_288

    /// Writes the next bytes of what has gathered, and goes on when the socket has taken them.
    func writeSecured(_ context: ChannelHandlerContext) {
        var budget = Self.step
        var last: EventLoopFuture<Void>?
        while budget > 0, let piece = outbound.nextPiece(atMost: budget) {
            let bytes: ByteBuffer
            switch piece {
            case .bytes(let buffer): bytes = buffer
            case .cold(let slice):
                // What was written so far leaves before the disk is waited for.
                if last != nil { context.flush() }
                return readCold(slice, on: context.eventLoop)
            case .failed(let reason): return close(reason: reason)
            }
            budget -= bytes.readableBytes
            let written = context.eventLoop.makePromise(of: Void.self)
            last = written.futureResult
            context.write(wrapOutboundOut(.byteBuffer(bytes)), promise: written)
        }
        guard let last else { return }
        isOutputBlocked = true
        context.flush()
        last.assumeIsolated().whenComplete { [self] result in
            if case .success = result { continueOutput() }
        }
    }
}
