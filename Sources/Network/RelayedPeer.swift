// A connection to another node over a channel that this node did not open: the other one did, and roles were turned round. Such a channel
// stays on the event loop that accepted it, so frames pass from there to the connection's loop, and back.
import NIOCore

/// The way over a channel that was handed over.
final class RelayedPeer: PeerTransport, @unchecked Sendable {
    // Sound because all mutable state is confined to `home`.
    let attempt: Int
    private let channel: any Channel
    private let home: any EventLoop
    private var connection: PeerConnection?
    private var pending: [ByteBuffer] = []

    /// - Parameter home: the connection's event loop, on which this is made and used.
    init(channel: any Channel, connection: PeerConnection, attempt: Int, home: any EventLoop) {
        self.channel = channel
        self.connection = connection
        self.attempt = attempt
        self.home = home
    }

    /// Begins to pass frames on, and says that the connection is there.
    func start(maximumFrameBytes: Int, traffic: PeerTraffic?) {
        let channel = channel
        channel.eventLoop.execute { [self] in
            let handler = FrameRelay(self, maximumFrameBytes: maximumFrameBytes, traffic: traffic)
            do {
                guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
                try channel.pipeline.syncOperations.addHandler(handler)
                deliver { $0.connected(self) }
            } catch {
                ended("the other node has closed the connection")
                channel.close(promise: nil)
            }
        }
    }

    fileprivate func received(_ frame: ByteBuffer) { deliver { $0.received(frame, on: self) } }

    fileprivate func ended(_ reason: String) {
        deliver { [attempt] connection in
            self.connection = nil
            connection.ended(attempt: attempt, reason)
        }
    }

    private func deliver(_ news: @escaping @Sendable (PeerConnection) -> Void) {
        home.execute { [self] in
            if let connection { news(connection) }
        }
    }

    // MARK: On the connection's loop

    func write(_ head: ByteBuffer, _ body: ByteBuffer?) {
        pending.append(head)
        if let body { pending.append(body) }
    }

    func flush() {
        let (channel, pieces) = (channel, pending)
        pending = []
        channel.eventLoop.execute {
            for piece in pieces { channel.write(piece, promise: nil) }
            channel.flush()
        }
    }

    func close() {
        connection = nil
        channel.close(promise: nil)
    }
}

/// Cuts frames out of the stream and passes them on.
private final class FrameRelay: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let peer: RelayedPeer
    private let processor: NIOSingleStepByteToMessageProcessor<SizedFrameDecoder>
    private let traffic: PeerTraffic?
    private var reason = "closed by the peer"

    init(_ peer: RelayedPeer, maximumFrameBytes: Int, traffic: PeerTraffic?) {
        self.peer = peer
        self.traffic = traffic
        processor = NIOSingleStepByteToMessageProcessor(SizedFrameDecoder(maximumBytes: maximumFrameBytes))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        traffic?.received(bytes: bytes.readableBytes)
        do {
            try processor.process(buffer: bytes) { frame in
                traffic?.answered()
                peer.received(frame)
            }
        } catch {
            reason = "\(error)"
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        peer.ended(reason)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        reason = "\(error)"
        context.close(promise: nil)
    }
}

/// Frames with a size of four bytes in front.
private struct SizedFrameDecoder: NIOSingleStepByteToMessageDecoder {
    typealias InboundOut = ByteBuffer
    let maximumBytes: Int

    mutating func decode(buffer: inout ByteBuffer) throws -> ByteBuffer? {
        guard let size = buffer.getInteger(at: buffer.readerIndex, as: Int32.self) else { return nil }
        guard size >= 4, Int(size) <= maximumBytes else { throw PeerFailure.malformed("a response of \(size) bytes") }
        guard buffer.readableBytes >= 4 + Int(size) else { return nil }
        buffer.moveReaderIndex(forwardBy: 4)
        return buffer.readSlice(length: Int(size))
    }

    mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> ByteBuffer? { try decode(buffer: &buffer) }
}
