// One small request by HTTP or HTTPS and the document that answers it: an identity provider's keys, a token. Bounded in time and size, no
// redirects, one connection each.
import Authentication
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import TransportSecurity

/// Why there was no answer, or none that can be used.
public struct WebFetchFailure: Error, Sendable, CustomStringConvertible {
    public let description: String
}

/// What is asked for.
public struct WebRequest: Sendable {
    public var address: WebAddress
    /// What is sent, and how it is to be read; nil for a request that only reads.
    public var content: (body: String, type: String)?
    /// The value of the header `Authorization`; nil for none.
    public var authorization: String?
    /// What the answer may be.
    public var accepted = "application/json"
    /// A larger answer is a failure.
    public var maximumBytes: Int
    /// Until the connection is made.
    public var connectTimeout: TimeAmount
    /// From then until the last byte.
    public var readTimeout: TimeAmount

    public init(_ address: WebAddress, maximumBytes: Int, connectTimeout: TimeAmount, readTimeout: TimeAmount) {
        self.address = address
        self.maximumBytes = maximumBytes
        self.connectTimeout = connectTimeout
        self.readTimeout = readTimeout
    }
}

/// An answer of any status.
public struct WebAnswer: Sendable {
    public var status: Int
    public var reason: String
    public var body: ByteBuffer
}

public enum WebFetch {
    /// Sends the request and waits for the whole answer, whatever its status.
    ///
    /// - Parameter tls: for https.
    public static func send(_ request: WebRequest, tls: TLSClientContext?, on eventLoop: any EventLoop) -> EventLoopFuture<WebAnswer> {
        let promise = eventLoop.makePromise(of: WebAnswer.self)
        let address = request.address
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(request.connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if address.isSecured {
                        guard let tls else { throw WebFetchFailure(description: "there are no settings for TLS") }
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler(host: address.host))
                    }
                    try channel.pipeline.syncOperations.addHTTPClientHandlers()
                    try channel.pipeline.syncOperations.addHandler(WebFetchHandler(request, promise))
                }
            }
        let connecting =
            if let numeric = try? SocketAddress(ipAddress: address.host, port: address.port) {
                bootstrap.connect(to: numeric)
            } else {
                bootstrap.connect(host: address.host, port: address.port)
            }
        connecting.whenFailure { promise.fail(WebFetchFailure(description: reason($0))) }
        return promise.futureResult
    }

    /// Reads the document at `address`; any status but 200 is a failure.
    ///
    /// - Parameters:
    ///   - tls: for https.
    ///   - maximumBytes: a larger document is a failure.
    ///   - timeout: for connecting, and from then until the last byte.
    public static func get(
        _ address: WebAddress, tls: TLSClientContext?, maximumBytes: Int, timeout: TimeAmount, on eventLoop: any EventLoop
    ) -> EventLoopFuture<ByteBuffer> {
        var request = WebRequest(address, maximumBytes: maximumBytes, connectTimeout: timeout, readTimeout: timeout)
        request.accepted = "application/jwk-set+json, application/json"
        return send(request, tls: tls, on: eventLoop).flatMapThrowing { answer in
            guard answer.status == 200 else { throw WebFetchFailure(description: "the answer is \(answer.status) \(answer.reason)") }
            return answer.body
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as WebFetchFailure: return error.description
        case let error as NIOConnectionError:
            if let unresolved = error.dnsAError ?? error.dnsAAAAError, error.connectionErrors.isEmpty {
                return "the name does not resolve (\(unresolved))"
            }
            return error.connectionErrors.last.map { reason($0.error) } ?? "the name has no address"
        case ChannelError.connectTimeout(let time): return "no connection within \(time.nanoseconds / 1_000_000) ms"
        // Its own words say more of the library than of the connection.
        case let error as IOError: return String(cString: strerror(error.errnoCode))
        default: return "\(error)"
        }
    }
}

/// Asks once and gathers the answer.
private final class WebFetchHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let request: WebRequest
    private let promise: EventLoopPromise<WebAnswer>
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()
    private var deadline: Scheduled<Void>?
    private var isDone = false

    init(_ request: WebRequest, _ promise: EventLoopPromise<WebAnswer>) {
        self.request = request
        self.promise = promise
    }

    func channelActive(context: ChannelHandlerContext) {
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        deadline = context.eventLoop.scheduleTask(in: request.readTimeout) {
            let (handler, context) = bound.value
            handler.fail("there was no answer in time", context)
        }
        var head = HTTPRequestHead(version: .http1_1, method: request.content == nil ? .GET : .POST, uri: request.address.target)
        head.headers.add(name: "Host", value: request.address.authority)
        head.headers.add(name: "Accept", value: request.accepted)
        head.headers.add(name: "User-Agent", value: "martlet")
        head.headers.add(name: "Connection", value: "close")
        if let authorization = request.authorization { head.headers.add(name: "Authorization", value: authorization) }
        if let content = request.content {
            head.headers.add(name: "Cache-Control", value: "no-cache")
            head.headers.add(name: "Content-Type", value: content.type)
            head.headers.add(name: "Content-Length", value: "\(content.body.utf8.count)")
        }
        context.write(wrapOutboundOut(.head(head)), promise: nil)
        if let content = request.content {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: content.body)))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body(var part):
            guard !isDone else { return }
            guard body.readableBytes + part.readableBytes <= request.maximumBytes else {
                return fail("the answer is larger than \(request.maximumBytes) bytes", context)
            }
            body.writeBuffer(&part)
        case .end:
            guard !isDone, let head else { return }
            finish(context)
            promise.succeed(WebAnswer(status: Int(head.status.code), reason: head.status.reasonPhrase, body: body))
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
