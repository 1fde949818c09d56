// Connections whose roles are turned round, for links whose source opens the connections: what was accepted becomes one over which this node
// sends requests, and what this node has opened becomes one that it serves. The node that opened it marks the turn with four zero bytes, which
// is what a frame of no length looks like, so that nothing is sent to a side that is not ready for it.
import NIOCore
import Primitives

/// How a turn is marked, and how long it may take.
public enum ConnectionTurn {
    static let mark = ByteBuffer(repeating: 0, count: 4)
    static let timeout = TimeAmount.seconds(5)
}

extension Connection {
    /// Answers the request in progress and gives the channel away: for whoever gets it to send requests on. This connection is closed as far as
    /// its delegate is concerned. The channel has no handlers but those below TLS.
    ///
    /// - Parameter frame: the answer with its size.
    /// - Returns: the channel once the other node has turned too; fails when that does not happen within seconds.
    public func turnRound(answering frame: ByteBuffer) -> EventLoopFuture<any Channel> {
        eventLoop.assertInEventLoop()
        guard let context = transport.release() else { return eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
        let channel = context.channel
        let turned = eventLoop.makePromise(of: (any Channel).self)
        do {
            let options = channel.syncOptions
            try options?.setOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 262_144))
            try channel.pipeline.syncOperations.addHandler(TurnHandler(turned))
            channel.pipeline.syncOperations.removeHandler(context: context, promise: nil)
            try options?.setOption(.autoRead, value: true)
            channel.writeAndFlush(frame, promise: nil)
        } catch {
            turned.fail(error)
            channel.close(promise: nil)
        }
        return turned.futureResult
    }
}

/// Waits for the mark of the other side.
private final class TurnHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let turned: EventLoopPromise<any Channel>
    private var seen = ByteBuffer()
    private var isDone = false
    private var deadline: Scheduled<Void>?

    init(_ turned: EventLoopPromise<any Channel>) {
        self.turned = turned
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        deadline = context.eventLoop.scheduleTask(in: ConnectionTurn.timeout) { channel.close(promise: nil) }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        seen.writeBuffer(&bytes)
        guard seen.readableBytes >= ConnectionTurn.mark.readableBytes else { return }
        guard seen == ConnectionTurn.mark else { return context.close(promise: nil) }
        isDone = true
        deadline?.cancel()
        let channel = context.channel
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        turned.succeed(channel)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    func handlerRemoved(context: ChannelHandlerContext) { fail() }

    private func fail() {
        guard !isDone else { return }
        isDone = true
        deadline?.cancel()
        turned.fail(ChannelError.eof)
    }
}

extension NetworkServer {
    /// Serves a channel that this node opened as though a listener had accepted it, and marks the turn. Called on the channel's event loop,
    /// which has to be one of this server's.
    ///
    /// - Parameter identify: called once the connection is there, before any request: whoever is at its other end has not logged in here.
    /// - Returns: whether it is served; if not, it is closed.
    public func adopt(_ channel: any Channel, listener name: String, identify: (Connection) -> Void) -> Bool {
        channel.eventLoop.assertInEventLoop()
        guard let handler = makeHandler(for: channel.eventLoop, listener: name) else {
            channel.close(promise: nil)
            return false
        }
        do {
            guard channel.isActive else { throw ChannelError.ioOnClosedChannel }
            let operations = channel.pipeline.syncOperations
            try channel.syncOptions?.setOption(.autoRead, value: false)
            try operations.addHandler(handler)
            handler.channelActive(context: try operations.context(handler: handler))
            guard let connection = handler.connection else { return false }
            identify(connection)
            channel.writeAndFlush(ConnectionTurn.mark, promise: nil)
            return true
        } catch {
            channel.close(promise: nil)
            return false
        }
    }
}
