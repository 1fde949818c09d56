// Where SwiftNIO ends: turns a channel's bytes into frames, one at a time, and a handler's answers into writes.
import Logging
import NIOCore

final class ConnectionChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = IOData

    private let server: NetworkServer.Shared
    private let counters: LoopCounters
    private let listenerName: String
    private var connection: Connection!
    private var channelContext: ChannelHandlerContext!
    private var accumulated = ByteBuffer()
    private var requestInProgress = false
    private var delivering = false

    init(server: NetworkServer.Shared, counters: LoopCounters, listenerName: String) {
        self.server = server
        self.counters = counters
        self.listenerName = listenerName
    }

    func channelActive(context: ChannelHandlerContext) {
        channelContext = context
        connection = Connection(
            id: server.nextConnectionID(), listenerName: listenerName, remoteAddress: context.remoteAddress,
            localAddress: context.localAddress, eventLoop: context.eventLoop, transport: self)
        LoopCounters.add(1, to: counters.connectionsOpened)
        server.delegate.connectionOpened(connection)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        LoopCounters.add(buffer.readableBytes, to: counters.bytesReceived)
        accumulated.writeBuffer(&buffer)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        deliver()
    }

    func channelInactive(context: ChannelHandlerContext) {
        connection.isOpen = false
        LoopCounters.add(1, to: counters.connectionsClosed)
        server.delegate.connectionClosed(connection)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        close(reason: "\(error)")
    }

    private func deliver() {
        guard !delivering else { return }
        delivering = true
        while connection.isOpen, !requestInProgress, let frame = nextFrame() {
            requestInProgress = true
            LoopCounters.add(1, to: counters.requests)
            server.delegate.received(frame: frame, on: connection)
        }
        delivering = false
        guard connection.isOpen else { return }
        channelContext.flush()
        if !requestInProgress {
            channelContext.read()
        }
    }

    private func nextFrame() -> ByteBuffer? {
        guard let size: Int32 = accumulated.getInteger(at: accumulated.readerIndex) else { return nil }
        guard size >= 0, Int(size) <= server.limits.maximumRequestBytes else {
            close(reason: "request of \(size) bytes")
            return nil
        }
        guard accumulated.readableBytes >= 4 + Int(size) else { return nil }
        accumulated.moveReaderIndex(forwardBy: 4)
        let frame = accumulated.readSlice(length: Int(size))
        accumulated.discardReadBytes()
        return frame
    }

    func send(_ frame: OutboundFrame) {
        precondition(requestInProgress, "an answer without a request")
        var frame = frame
        frame.fillInSize()
        LoopCounters.add(frame.totalLength, to: counters.bytesSent)
        channelContext.write(wrapOutboundOut(.byteBuffer(frame.head)), promise: nil)
        for segment in frame.rest {
            switch segment {
            case .bytes(let buffer):
                channelContext.write(wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
            case .file(let slice):
                let handle = NIOFileHandle(_deprecatedTakingOwnershipOfDescriptor: slice.descriptor)
                let region = FileRegion(fileHandle: handle, readerIndex: slice.offset, endIndex: slice.offset + slice.length)
                let written = channelContext.eventLoop.makePromise(of: Void.self)
                written.futureResult.whenComplete { _ in
                    // Gives the descriptor back to its owner, who closes it.
                    _ = try? handle.takeDescriptorOwnership()
                    withExtendedLifetime(slice.owner) {}
                }
                channelContext.write(wrapOutboundOut(.fileRegion(region)), promise: written)
            }
        }
        completeWithoutResponse()
    }

    func completeWithoutResponse() {
        requestInProgress = false
        deliver()
    }

    func close(reason: String) {
        connection.isOpen = false
        server.logger.debug("closing connection", metadata: ["connection": "\(connection.id)", "reason": "\(reason)"])
        channelContext.close(promise: nil)
    }
}
