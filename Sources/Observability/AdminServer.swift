// The admin port: health and metrics over HTTP, for probes and scrapers. It is meant for a loop of its own, because the text of a
// large node's metrics takes milliseconds to write and the data loops have better to do.
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Primitives
import Synchronization

/// A request to the admin endpoint; bodies are not looked at.
public struct AdminRequest: Sendable {
    /// `GET` and its likes.
    public var method = "GET"
    /// Path without query.
    public var path: String
    /// What follows the question mark, if anything.
    public var query: String?

    /// A parameter of the query with its escapes resolved; nil when there is none of that name or its escapes are wrong.
    public func parameter(_ name: String) -> String? {
        for pair in (query ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts[0] == name, parts.count == 2 else { continue }
            var bytes: [UInt8] = []
            var rest = Array(parts[1].utf8)[...]
            while let byte = rest.popFirst() {
                guard byte == UInt8(ascii: "%") else {
                    bytes.append(byte)
                    continue
                }
                guard rest.count >= 2, let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16) else { return nil }
                bytes.append(value)
                rest.removeFirst(2)
            }
            return String(validating: bytes, as: UTF8.self)
        }
        return nil
    }
}

/// An answer of the admin endpoint.
public struct AdminResponse: Sendable {
    public var status: Int
    public var contentType: String
    public var body: ByteBuffer

    public init(status: Int, contentType: String, body: ByteBuffer) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    public static func text(_ text: String, status: Int = 200) -> AdminResponse {
        AdminResponse(status: status, contentType: "text/plain; charset=utf-8", body: ByteBuffer(string: text))
    }

    public static func json(_ text: String, status: Int = 200) -> AdminResponse {
        AdminResponse(status: status, contentType: "application/json", body: ByteBuffer(string: text))
    }
}

/// Why the admin endpoint could not be started.
public enum AdminServerError: Error, Hashable, CustomStringConvertible {
    case bindFailed(host: String, port: Int, reason: String)

    public var description: String {
        switch self {
        case .bindFailed(let host, let port, let reason):
            return "admin endpoint: cannot listen on \(host):\(port): \(reason)"
        }
    }
}

/// Serves `/health/live`, `/health/ready`, `/metrics` and whatever is added, for GET and HEAD.
public final class AdminServer: Sendable {
    /// Answers one path; runs on the endpoint's loop.
    public typealias Route = @Sendable (AdminRequest) -> AdminResponse
    /// Answers every method on one path and below it; may take its time.
    public typealias Operation = @Sendable (AdminRequest) async -> AdminResponse

    /// What becomes of a request.
    enum Answer {
        case now(AdminResponse)
        case later(AdminRequest, Operation)
    }

    private struct State {
        var channel: (any Channel)?
        var clients: [ObjectIdentifier: any Channel] = [:]
        var routes: [String: Route] = [:]
        var operations: [String: Operation] = [:]
        var pages: [String: Operation] = [:]
        var token: String?
    }

    /// Bound on clients at a time; more are turned away.
    public static let maximumClients = 64

    private let group: any EventLoopGroup
    private let logger: Logger
    private let state = Mutex(State())

    public init(eventLoopGroup: any EventLoopGroup, health: NodeHealth, registry: MetricsRegistry, logger: Logger) {
        group = eventLoopGroup
        self.logger = logger
        addRoute("/health/live") { _ in
            let health = health.json()
            return .json(health.text, status: health.isLive ? 200 : 503)
        }
        addRoute("/health/ready") { _ in
            let health = health.json()
            return .json(health.text, status: health.isReady ? 200 : 503)
        }
        addRoute("/metrics") { _ in
            AdminResponse(status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: registry.scrape())
        }
    }

    /// Adds or replaces the answer to a path.
    public func addRoute(_ path: String, _ route: @escaping Route) {
        state.withLock { $0.routes[path] = route }
    }

    /// Adds what may also change something; not for browsers, whose pages could ask for it in the name of whoever looks at them.
    public func addOperation(_ path: String, _ operation: @escaping Operation) {
        state.withLock { $0.operations[path] = operation }
    }

    /// Adds what is looked at by GET and HEAD on one path and below it, where the answer may take its time.
    public func addPage(_ path: String, _ page: @escaping Operation) {
        state.withLock { $0.pages[path] = page }
    }

    /// From now on operations are only for those who send the token (`Authorization: Bearer …`).
    public func requireToken(_ token: String) {
        state.withLock { $0.token = token }
    }

    /// Listens; returns the bound port. Must not be called on an event loop.
    public func start(host: String, port: Int) throws(AdminServerError) -> Int {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { [self] channel in
                channel.eventLoop.makeCompletedFuture {
                    guard admit(channel) else { throw ChannelError.operationUnsupported }
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.configureHTTPServerPipeline(withErrorHandling: true)
                    try pipeline.addHandler(IdleStateHandler(allTimeout: .seconds(30)))
                    try pipeline.addHandler(AdminChannelHandler(server: self))
                }
            }
        do {
            let channel = try bootstrap.bind(host: host, port: port).wait()
            state.withLock { $0.channel = channel }
            return channel.localAddress?.port ?? port
        } catch {
            throw .bindFailed(
                host: host, port: port, reason: (error as? IOError).map { SystemErrorText.bindFailure($0.errnoCode) } ?? "\(error)")
        }
    }

    /// Closes the endpoint and its clients. Must not be called on an event loop.
    public func close() {
        let (channel, clients) = state.withLock { state in
            defer { state.channel = nil }
            return (state.channel, Array(state.clients.values))
        }
        for client in clients {
            client.close(promise: nil)
        }
        try? channel?.close().wait()
    }

    func answer(_ head: HTTPRequestHead) -> Answer {
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = String(parts[0])
        let (found, token) = state.withLock { state in
            (state.operations.first { path == $0.key || path.hasPrefix($0.key + "/") }?.value, state.token)
        }
        guard let found else {
            guard let page = page(path), head.method == .GET || head.method == .HEAD else { return .now(respond(to: head)) }
            return .later(AdminRequest(method: head.method.rawValue, path: path, query: parts.count > 1 ? String(parts[1]) : nil), page)
        }
        if head.headers.contains(name: "origin") { return .now(.text("not for pages in browsers\n", status: 403)) }
        if let token, !Self.isSame(head.headers.first(name: "authorization") ?? "", "Bearer \(token)") {
            return .now(.text("Authorization: Bearer TOKEN is missing or wrong\n", status: 401))
        }
        let request = AdminRequest(method: head.method.rawValue, path: path, query: parts.count > 1 ? String(parts[1]) : nil)
        return .later(request, found)
    }

    private func page(_ path: String) -> Operation? {
        state.withLock { state in state.pages.first { path == $0.key || path.hasPrefix($0.key + "/") }?.value }
    }

    /// Takes as long for any text of that length.
    private static func isSame(_ left: String, _ right: String) -> Bool {
        left.utf8.count == right.utf8.count && zip(left.utf8, right.utf8).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private func respond(to head: HTTPRequestHead) -> AdminResponse {
        guard head.method == .GET || head.method == .HEAD else {
            return .text("only GET and HEAD are served here\n", status: 405)
        }
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = String(parts[0])
        let (route, paths) = state.withLock {
            ($0.routes[path], (Array($0.routes.keys) + Array($0.operations.keys) + Array($0.pages.keys)).sorted())
        }
        guard let route else {
            let list = paths.joined(separator: "\n")
            return .text(path == "/" ? "\(list)\n" : "no \(path) here; there is:\n\(list)\n", status: path == "/" ? 200 : 404)
        }
        return route(AdminRequest(path: path, query: parts.count > 1 ? String(parts[1]) : nil))
    }

    private func admit(_ channel: any Channel) -> Bool {
        let admitted = state.withLock { state in
            guard state.clients.count < Self.maximumClients else { return false }
            state.clients[ObjectIdentifier(channel)] = channel
            return true
        }
        if admitted {
            channel.closeFuture.whenComplete { [self] _ in
                state.withLock { _ = $0.clients.removeValue(forKey: ObjectIdentifier(channel)) }
            }
        } else {
            logger.debug("admin endpoint: too many clients")
        }
        return admitted
    }
}

/// One HTTP client. Requests on a connection are answered in order (NIO's pipelining assistance sees to that).
private final class AdminChannelHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    // A body is of no use here; a client that sends much of it is cut off.
    private static let maximumBodyBytes = 65_536

    private let server: AdminServer
    private var head: HTTPRequestHead?
    private var bodyBytes = 0

    init(server: AdminServer) {
        self.server = server
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            self.head = head
            bodyBytes = 0
        case .body(let buffer):
            bodyBytes += buffer.readableBytes
            if bodyBytes > Self.maximumBodyBytes { context.close(promise: nil) }
        case .end:
            guard let head else { return }
            self.head = nil
            respond(to: head, context: context)
        }
    }

    private func respond(to head: HTTPRequestHead, context: ChannelHandlerContext) {
        switch server.answer(head) {
        case .now(let response): write(response, to: head, context: context)
        case .later(let request, let operation):
            let promise = context.eventLoop.makePromise(of: AdminResponse.self)
            promise.completeWithTask { await operation(request) }
            let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
            promise.futureResult.whenSuccess { response in
                let (handler, context) = bound.value
                handler.write(response, to: head, context: context)
            }
        }
    }

    private func write(_ response: AdminResponse, to head: HTTPRequestHead, context: ChannelHandlerContext) {
        var headers = HTTPHeaders()
        headers.add(name: "content-type", value: response.contentType)
        headers.add(name: "content-length", value: String(response.body.readableBytes))
        headers.add(name: "cache-control", value: "no-store")
        if response.status == 405 { headers.add(name: "allow", value: "GET, HEAD") }
        if !head.isKeepAlive { headers.add(name: "connection", value: "close") }
        let status = HTTPResponseStatus(statusCode: response.status)
        context.write(wrapOutboundOut(.head(HTTPResponseHead(version: head.version, status: status, headers: headers))), promise: nil)
        if head.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(response.body))), promise: nil)
        }
        if head.isKeepAlive {
            context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
        } else {
            let channel = context.channel
            context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in channel.close(promise: nil) }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if event is IdleStateHandler.IdleStateEvent {
            context.close(promise: nil)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}
