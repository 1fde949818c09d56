// Reading one small document by HTTP or HTTPS: an identity provider's keys. Bounded in time and size, no redirects, one connection each.
import Authentication
import NIOCore
import NIOHTTP1
import NIOPosix
import TransportSecurity

/// Why a document could not be read.
public struct WebFetchFailure: Error, Sendable, CustomStringConvertible {
    public let description: String
}

public enum WebFetch {
    /// Reads the document at `address`.
    ///
    /// - Parameters:
    ///   - tls: for https.
    ///   - maximumBytes: a larger document is a failure.
    ///   - timeout: from now until the last byte.
    public static func get(
        _ address: WebAddress, tls: TLSClientContext?, maximumBytes: Int, timeout: TimeAmount, on eventLoop: any EventLoop
    ) -> EventLoopFuture<ByteBuffer> {
        let promise = eventLoop.makePromise(of: ByteBuffer.self)
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if address.isSecured {
                        guard let tls else { throw WebFetchFailure(description: "there are no settings for TLS") }
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: address.host))
                    }
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(
                        WebFetchHandler(address, maximumBytes: maximumBytes, timeout: timeout, promise))
                }
            }
        let connecting =
            if let numeric = try? SocketAddress(ipAddress: address.host, port: address.port) {
                bootstrap.connect(to: numeric)
            } else {
                bootstrap.connect(host: address.host, port: address.port)
            }
        connecting.whenFailure { promise.fail($0) }
        return promise.futureResult
    }
}

/// Asks once and gathers the answer.
private final class WebFetchHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let address: WebAddress
    private let maximumBytes: Int
    private let timeout: TimeAmount
    private let promise: EventLoopPromise<ByteBuffer>
    private var body = ByteBuffer()
    private var deadline: Scheduled<Void>?
    private var isDone = false

    init(_ address: WebAddress, maximumBytes: Int, timeout: TimeAmount, _ promise: EventLoopPromise<ByteBuffer>) {
        self.address = address
        self.maximumBytes = maximumBytes
        self.timeout = timeout
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: timeout) {
            let (handler, context) = bound.value
            handler.fail("there was no answer in time", context)
        }
        var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: address.target)
        head.headers.add(name: "Host", value: address.authority)
        head.headers.add(name: "Accept", value: "application/jwk-set+json, application/json")
        head.headers.add(name: "User-Agent", value: "martlet")
        head.headers.add(name: "Connection", value: "close")
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            if head.status != .ok { fail("the answer is \(head.status.code) \(head.status.reasonPhrase)", context) }
        case .body(var part):
            guard !isDone else { return }
            guard body.readableBytes + part.readableBytes <= maximumBytes else {
                return fail("the answer is larger than \(maximumBytes) bytes", context)
            }
            body.writeBuffer(&part)
        case .end:
            guard !isDone else { return }
            finish(context)
            promise.succeed(body)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(TLSPeer.codes(in: error) ?? "\(error)", context)
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail("the connection was closed before the answer", context)
        context.fireChannelInactive()
    }

    private func fail(_ reason: String, _ context: ChannelHandlerContext) {
        guard !isDone else { return }
        finish(context)
        promise.fail(WebFetchFailure(description: reason))
    }

    private func finish(_ context: ChannelHandlerContext) {
        isDone = true
        deadline?.cancel()
        context.close(promise: nil)
    }
}
