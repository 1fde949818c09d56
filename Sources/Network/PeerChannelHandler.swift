// The socket below a connection to another node: bytes into frames, and the news that it closed.
import NIOCore

final class PeerChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Which attempt to connect this socket came from.
    let attempt: Int
    private let assembler: FrameAssembler
    private let traffic: PeerTraffic?
    private var connection: PeerConnection?
    private var context: ChannelHandlerContext?
    private var reason = "closed by the peer"

    init(connection: PeerConnection, attempt: Int, pool: BufferPool, maximumFrameBytes: Int, traffic: PeerTraffic?) {
        self.connection = connection
        self.attempt = attempt
        self.traffic = traffic
        assembler = FrameAssembler(pool: pool, maximumFrameBytes: maximumFrameBytes, firstStage: pool.largestPooled)
    }

    /// The channel has to read with this, for frames are handed out of its buffers.
    var receiveAllocator: any RecvByteBufferAllocator { assembler }

    func write(_ head: ByteBuffer, _ body: ByteBuffer?) {
        guard let context else { return }
        traffic?.sent(bytes: head.readableBytes + (body?.readableBytes ?? 0))
        context.write(wrapOutboundOut(head), promise: nil)
        if let body { context.write(wrapOutboundOut(body), promise: nil) }
    }

    func flush() {
        context?.flush()
    }

    /// Closes without further news.
    func close() {
        connection = nil
        context?.close(promise: nil)
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        connection?.connected(self)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        traffic?.received(bytes: bytes.readableBytes)
        _ = assembler.received(bytes)
        while let connection {
            switch assembler.nextFrame() {
            case .complete(let frame):
                traffic?.answered()
                connection.received(frame, on: self)
            case .incomplete: return
            case .invalidSize(let size): return fail(context, "a response of \(size) bytes; is this a Kafka listener?")
            }
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        if assembler.hasLostBytes { fail(context, "the connection ended within a response") }
        if !assembler.hasBytes { assembler.prepareForReading() }
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        assembler.release()
        self.context = nil
        let connection = connection
        self.connection = nil
        connection?.ended(attempt: attempt, reason)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, "\(error)")
    }

    private func fail(_ context: ChannelHandlerContext, _ reason: String) {
        self.reason = reason
        context.close(promise: nil)
    }
}
