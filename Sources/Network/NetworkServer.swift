// The listeners of one broker and every connection they accepted.
import Logging
import NIOCore
import NIOPosix
import Synchronization

/// Listens on a broker's addresses and feeds the frames of all clients to one delegate.
public final class NetworkServer: Sendable {
    /// An address that is being listened on.
    public struct BoundListener: Sendable {
        public let name: String
        public let address: SocketAddress

        /// The port, which the kernel has chosen if 0 was asked for.
        public var port: Int { address.port ?? 0 }
    }

    /// What every connection needs to know.
    final class Shared: Sendable {
        let limits: NetworkLimits
        let delegate: any ConnectionDelegate
        let logger: Logger
        private let lastConnectionID = Atomic<UInt64>(0)

        init(limits: NetworkLimits, delegate: any ConnectionDelegate, logger: Logger) {
            self.limits = limits
            self.delegate = delegate
            self.logger = logger
        }

        func nextConnectionID() -> ConnectionID {
            ConnectionID(value: lastConnectionID.wrappingAdd(1, ordering: .relaxed).newValue)
        }
    }

    private struct State {
        var started = false
        var listeners: [any Channel] = []
    }

    private let listeners: [ListenerEndpoint]
    private let shared: Shared
    private let group: any EventLoopGroup
    private let counters = LoopCounters()
    private let state = Mutex(State())

    public init(
        listeners: [ListenerEndpoint], limits: NetworkLimits = NetworkLimits(), eventLoopGroup: any EventLoopGroup,
        delegate: any ConnectionDelegate, logger: Logger
    ) {
        self.listeners = listeners
        group = eventLoopGroup
        shared = Shared(limits: limits, delegate: delegate, logger: logger)
    }

    /// Binds every listener and accepts connections. Blocks for the moment that takes; must not be called on an event loop.
    /// If one listener fails, those bound before are closed again.
    public func start() throws(NetworkError) -> [BoundListener] {
        let first = state.withLock { state in
            defer { state.started = true }
            return !state.started
        }
        guard first else { throw .alreadyStarted }
        var bound: [BoundListener] = []
        for listener in listeners {
            do {
                let channel = try bootstrap(listener).bind(host: listener.host.isEmpty ? "0.0.0.0" : listener.host, port: listener.port)
                    .wait()
                state.withLock { $0.listeners.append(channel) }
                if let address = channel.localAddress {
                    bound.append(BoundListener(name: listener.name, address: address))
                }
            } catch {
                stopAccepting()
                throw .bindFailed(listener: listener.name, host: listener.host, port: listener.port, reason: "\(error)")
            }
        }
        return bound
    }

    private func bootstrap(_ listener: ListenerEndpoint) -> ServerBootstrap {
        let shared = shared
        let counters = counters
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Int32(shared.limits.listenBacklog))
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let handler = ConnectionChannelHandler(server: shared, counters: counters, listenerName: listener.name)
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }
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

    /// Stops accepting, lets requests in progress be answered for at most `deadline`, then closes every connection.
    /// Must not be called on an event loop.
    public func close(drainingFor deadline: TimeAmount) {
        stopAccepting()
    }

    /// Totals over all connections since the start.
    public var totals: NetworkCounters {
        var totals = NetworkCounters()
        totals.add(counters)
        return totals
    }
}
