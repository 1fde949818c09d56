// The listeners of one broker and every connection they accepted.
import Logging
import NIOCore
import NIOPosix
import Primitives
import Synchronization
import TransportSecurity

/// Listens on a broker's addresses and feeds the frames of all clients to one delegate.
public final class NetworkServer: Sendable {
    /// An address that is being listened on.
    public struct BoundListener: Sendable {
        public let name: String
        public let address: SocketAddress

        /// The port, which the kernel has chosen if 0 was asked for.
        public var port: Int { address.port ?? 0 }
    }

    /// Open connections of one listener on one event loop.
    public struct ConnectionCount: Sendable, Hashable {
        public var listener: String
        /// Index of the event loop, Kafka's network processor.
        public var eventLoop: Int
        public var count: Int
    }

    private struct State {
        var started = false
        var listeners: [any Channel] = []
    }

    private let shared: Shared
    private let group: any EventLoopGroup
    private let tls: [String: TLSServerContext]
    private let loops: [LoopState]
    private let loopsByIdentity: [ObjectIdentifier: LoopState]
    private let state = Mutex(State())

    /// - Parameters:
    ///   - eventLoopGroup: accepts and serves; belongs to the caller and is not shut down here.
    ///   - tls: by the listener's name; listeners without are plaintext.
    ///   - delegate: kept for as long as the server lives.
    public init(
        listeners: [ListenerEndpoint], limits: NetworkLimits = NetworkLimits(), tls: [String: TLSServerContext] = [:],
        eventLoopGroup: any EventLoopGroup, delegate: any ConnectionDelegate, logger: Logger
    ) {
        group = eventLoopGroup
        self.tls = tls
        shared = Shared(listeners: listeners, limits: limits, delegate: delegate, logger: logger)
        var loops: [LoopState] = []
        var byIdentity: [ObjectIdentifier: LoopState] = [:]
        for eventLoop in eventLoopGroup.makeIterator() {
            let loop = LoopState(
                eventLoop: eventLoop, listenerCount: listeners.count, idleMilliseconds: limits.maximumIdleMilliseconds)
            eventLoop.execute { loop.noteThread() }
            loops.append(loop)
            byIdentity[ObjectIdentifier(eventLoop)] = loop
        }
        self.loops = loops
        loopsByIdentity = byIdentity
    }

    // MARK: life

    /// Binds every listener and accepts connections. Blocks for the moment that takes; must not be called on an event loop.
    /// If one listener fails, those bound before are closed again.
    public func start() throws(NetworkError) -> [BoundListener] {
        let isFirst = state.withLock { state in
            defer { state.started = true }
            return !state.started
        }
        guard isFirst else { throw .alreadyStarted }
        var bound: [BoundListener] = []
        for index in shared.listeners.indices {
            do {
                bound.append(try bind(index))
            } catch {
                stopAccepting()
                throw error
            }
        }
        return bound
    }

    /// Closes the listening sockets; open connections go on.
    public func stopAccepting() {
        let channels = state.withLock { state in
            defer { state.listeners = [] }
            return state.listeners
        }
        for channel in channels {
            channel.close(promise: nil)
        }
    }

    /// Stops accepting, closes connections that are doing nothing, lets requests in progress be answered for at most `deadline`, then
    /// closes the rest. Blocks until all are gone; must not be called on an event loop.
    public func close(drainingFor deadline: TimeAmount) {
        stopAccepting()
        let drained = loops.map { loop in
            loop.eventLoop.flatSubmit { loop.drain() }
        }
        for loop in loops {
            loop.eventLoop.scheduleTask(in: deadline) { loop.closeAll(reason: "the broker is stopping and cannot wait any longer") }
        }
        for future in drained {
            try? future.wait()
        }
    }

    /// Bounds the number of connections otherwise from now on; connections that are open stay.
    public func update(_ limits: ConnectionLimits) {
        shared.admission.update(limits)
        let messages = Self.acceptsPerRead(isBounded: limits.isBounded)
        for channel in state.withLock({ $0.listeners }) {
            channel.setOption(.maxMessagesPerRead, value: messages).whenFailure { _ in
                // The listener has just been closed.
            }
        }
    }

    /// Bounds how fast single addresses may connect.
    public func update(_ rates: AddressRates) {
        shared.admission.update(rates)
    }

    /// One at a time where the number matters, else as many as wait.
    private static func acceptsPerRead(isBounded: Bool) -> UInt { isBounded ? 1 : 16 }

    // MARK: numbers

    /// Totals over all connections since the start.
    public var totals: NetworkCounters {
        var totals = NetworkCounters()
        for loop in loops {
            totals.add(loop.counters)
        }
        return totals
    }

    /// Open connections by listener and event loop.
    public var connectionCounts: [ConnectionCount] {
        shared.listeners.indices.flatMap { listener in
            loops.indices.map { loop in
                ConnectionCount(
                    listener: shared.listeners[listener].name, eventLoop: loop,
                    count: loops[loop].connectionsByListener[listener].value.load(ordering: .relaxed))
            }
        }
    }

    /// How idle the event loops' threads were on average since the last call, from 0 (saturated) to 1; 1 when called first.
    public func averageIdleFraction() -> Double {
        let now = SystemClock.monotonicNanoseconds()
        let fractions = loops.compactMap { $0.idleFraction(now: now) }
        return fractions.isEmpty ? 1 : fractions.reduce(0, +) / Double(fractions.count)
    }

    /// Bytes of requests being received or in progress, if `queued.max.request.bytes` bounds them; else 0.
    public var queuedRequestBytes: Int { shared.memory.usedBytes }

    // MARK: listening

    /// For a channel that no listener accepted. Its bytes go through NIO as those of TLS do, for its reads have been NIO's so far.
    func makeHandler(for eventLoop: any EventLoop, listener name: String) -> ConnectionChannelHandler? {
        guard let loop = loopsByIdentity[ObjectIdentifier(eventLoop)], let index = shared.listeners.firstIndex(where: { $0.name == name })
        else { return nil }
        return ConnectionChannelHandler(server: shared, loop: loop, listenerIndex: index, isSecured: true)
    }

    private func bind(_ index: Int) throws(NetworkError) -> BoundListener {
        let listener = shared.listeners[index]
        // No host means every address of both families, where the machine has both.
        let hosts = listener.host.isEmpty ? ["::", "0.0.0.0"] : [listener.host]
        var failure = "no address to bind"
        for host in hosts {
            let address: SocketAddress
            do {
                address = try SocketAddress.makeAddressResolvingHost(host, port: listener.port)
            } catch {
                if listener.host.isEmpty { continue }
                throw .unresolvableHost(listener: listener.name, host: listener.host, reason: "\(error)")
            }
            do {
                let channel = try bootstrap(index).bind(to: address).wait()
                guard let local = channel.localAddress else { continue }
                state.withLock { $0.listeners.append(channel) }
                return BoundListener(name: listener.name, address: local)
            } catch let error as IOError where error.errnoCode == EAFNOSUPPORT || error.errnoCode == EADDRNOTAVAIL {
                failure = SystemErrorText.bindFailure(error.errnoCode)
            } catch {
                throw .bindFailed(
                    listener: listener.name, host: listener.host, port: listener.port,
                    reason: (error as? IOError).map { SystemErrorText.bindFailure($0.errnoCode) } ?? "\(error)")
            }
        }
        throw .bindFailed(listener: listener.name, host: listener.host, port: listener.port, reason: failure)
    }

    private func bootstrap(_ index: Int) -> ServerBootstrap {
        let shared = shared
        let loops = loopsByIdentity
        let limits = shared.limits
        let listener = shared.listeners[index].name
        let tls = tls[listener]
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(clamping: limits.listenBacklog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.maxMessagesPerRead, value: Self.acceptsPerRead(isBounded: shared.admission.isBounded))
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let gate = AcceptGate(
                        admission: shared.admission, listener: index,
                        warn: { shared.warn(.connectionsExhausted, "listener \(listener): no more connections for now (max.connections)") },
                        failed: { shared.warn(.acceptFailed, "listener \(listener): cannot accept a connection: \($0)") })
                    try channel.pipeline.syncOperations.addHandler(gate)
                    try channel.pipeline.syncOperations.withUnsafeTransportIfAvailable(of: NIOBSDSocket.Handle.self) {
                        shared.congestionControl.prepare(listener: $0)
                    }
                }
            }
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.autoRead, value: false)
            // One read per turn: the frame is worked on while it is in the cache, and other connections get theirs.
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let loop = loops[ObjectIdentifier(channel.eventLoop)] else { throw ChannelError.operationUnsupported }
                    let handler = ConnectionChannelHandler(server: shared, loop: loop, listenerIndex: index, isSecured: tls != nil)
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(tls.makeHandler())
                    } else {
                        try channel.syncOptions?.setOption(.recvAllocator, value: handler.receiveAllocator)
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
        if limits.sendBufferBytes > 0 {
            bootstrap = bootstrap.childChannelOption(.socketOption(.so_sndbuf), value: SocketOptionValue(limits.sendBufferBytes))
        }
        if limits.receiveBufferBytes > 0 {
            // On the listening socket too, because the window of a connection is settled before it is accepted.
            let size = SocketOptionValue(limits.receiveBufferBytes)
            bootstrap = bootstrap.serverChannelOption(.socketOption(.so_rcvbuf), value: size)
            bootstrap = bootstrap.childChannelOption(.socketOption(.so_rcvbuf), value: size)
        }
        return bootstrap
    }
}

extension NetworkServer {
    /// What every connection needs to know.
    final class Shared: Sendable {
        /// Messages that clients can provoke, each limited by itself.
        enum Warning: Int, CaseIterable, Sendable {
            case tlsClient, httpClient, oversizedRequest, tooManyConnectionsFromAddress, tooFastFromAddress, connectionsExhausted
            case acceptFailed
        }

        private static let warningIntervalMilliseconds: Int64 = 10_000

        let listeners: [ListenerEndpoint]
        let limits: NetworkLimits
        let delegate: any ConnectionDelegate
        let logger: Logger
        let admission: ConnectionAdmission
        let memory: RequestMemory
        let congestionControl = LocalCongestionControl()
        private let lastConnectionID = Atomic<UInt64>(0)
        private let limiters: [MessageRateLimiter]
        private let handshakes = Mutex<[String: MessageRateLimiter]>([:])
        private static let maximumHandshakeKinds = 64

        init(listeners: [ListenerEndpoint], limits: NetworkLimits, delegate: any ConnectionDelegate, logger: Logger) {
            self.listeners = listeners
            self.limits = limits
            self.delegate = delegate
            self.logger = logger
            admission = ConnectionAdmission(limits: limits.connections, listeners: listeners)
            memory = RequestMemory(bound: limits.maximumQueuedRequestBytes)
            limiters = Warning.allCases.map { _ in MessageRateLimiter(intervalMilliseconds: Self.warningIntervalMilliseconds) }
        }

        func nextConnectionID() -> ConnectionID {
            ConnectionID(value: lastConnectionID.wrappingAdd(1, ordering: .relaxed).newValue)
        }

        /// Logs why a handshake failed, at most once per interval for each reason.
        func warn(handshake explanation: String, _ message: String, _ metadata: Logger.Metadata) {
            // What stands behind the colon is about one certificate.
            let kind = String(explanation.prefix { $0 != ":" })
            let limiter = handshakes.withLock { limiters -> MessageRateLimiter in
                if let known = limiters[kind] { return known }
                if limiters.count >= Self.maximumHandshakeKinds { limiters = [:] }
                let limiter = MessageRateLimiter(intervalMilliseconds: Self.warningIntervalMilliseconds)
                limiters[kind] = limiter
                return limiter
            }
            guard let suppressed = limiter.admit(now: SystemClock.monotonicMilliseconds()) else { return }
            var metadata = metadata
            if suppressed > 0 { metadata["repeated"] = "\(suppressed)" }
            logger.warning("\(message)", metadata: metadata)
        }

        /// Logs a warning at most once per interval and kind, with the number of those held back.
        func warn(_ warning: Warning, _ message: @autoclosure () -> String, _ metadata: Logger.Metadata = [:]) {
            guard let suppressed = limiters[warning.rawValue].admit(now: SystemClock.monotonicMilliseconds()) else { return }
            var metadata = metadata
            if suppressed > 0 { metadata["repeated"] = "\(suppressed)" }
            logger.warning("\(message())", metadata: metadata)
        }
    }
}
