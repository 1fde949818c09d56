// Kafka's connection quotas: how many connections there may be in all, on one listener, from one address.
import NIOCore
import Synchronization

/// Counts connections against their bounds. Used when connections come and go, never for requests.
final class ConnectionAdmission: Sendable {
    private struct State {
        var limits: ConnectionLimits
        var listenerLimits: [Int]
        var total = 0
        var byListener: [Int]
        var byAddress: [String: Int] = [:]
        // Listeners that wait for a place, to be called when one becomes free.
        var waiting: [@Sendable () -> Void] = []
    }

    private let listenerNames: [String]
    private let state: Mutex<State>

    init(limits: ConnectionLimits, listeners: [ListenerEndpoint]) {
        listenerNames = listeners.map(\.name)
        state = Mutex(
            State(limits: limits, listenerLimits: Self.limits(of: listenerNames, limits), byListener: listeners.map { _ in 0 }))
    }

    private static func limits(of listeners: [String], _ limits: ConnectionLimits) -> [Int] {
        listeners.map { limits.maximumConnectionsPerListener[$0] ?? .max }
    }

    /// True if the number of connections is bounded at all.
    var isBounded: Bool { state.withLock { $0.limits.isBounded } }

    /// Counts against other bounds from now on. Connections beyond a lower bound stay, as with Kafka; listeners that wait look again.
    func update(_ limits: ConnectionLimits) {
        let waiting = state.withLock { state in
            state.limits = limits
            state.listenerLimits = Self.limits(of: listenerNames, limits)
            defer { state.waiting = [] }
            return state.waiting
        }
        for listener in waiting {
            listener()
        }
    }

    /// True if the listener may accept one more; otherwise `whenFree` is called once, on any thread, when it should ask again.
    func mayAccept(listener: Int, whenFree: @escaping @Sendable () -> Void) -> Bool {
        state.withLock { state in
            if state.total < state.limits.maximumConnections, state.byListener[listener] < state.listenerLimits[listener] { return true }
            state.waiting.append(whenFree)
            return false
        }
    }

    /// Counts an accepted connection.
    func opened(listener: Int) {
        state.withLock { state in
            state.total += 1
            state.byListener[listener] += 1
        }
    }

    /// Counts a connection that is gone, and wakes the listeners that wait.
    func closed(listener: Int) {
        let waiting = state.withLock { state in
            state.total -= 1
            state.byListener[listener] -= 1
            defer { state.waiting = [] }
            return state.waiting
        }
        for listener in waiting {
            listener()
        }
    }

    /// Counts a connection from an address, unless that address has its share.
    func admit(address: String) -> Bool {
        // Counted without a bound, too: one may be set at any time.
        state.withLock { state in
            let count = state.byAddress[address, default: 0]
            let limits = state.limits
            guard count < limits.connectionsPerAddressOverrides[address] ?? limits.maximumConnectionsPerAddress else { return false }
            state.byAddress[address] = count + 1
            return true
        }
    }

    func release(address: String) {
        state.withLock { state in
            let count = state.byAddress[address, default: 0]
            state.byAddress[address] = count > 1 ? count - 1 : nil
        }
    }
}

/// In a listening channel: accepts only while there is a place. Clients beyond that wait in the kernel's backlog, as with Kafka.
final class AcceptGate: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = Never

    private let admission: ConnectionAdmission
    private let listener: Int
    private let warn: @Sendable () -> Void
    private let failed: @Sendable (any Error) -> Void

    init(
        admission: ConnectionAdmission, listener: Int, warn: @escaping @Sendable () -> Void,
        failed: @escaping @Sendable (any Error) -> Void
    ) {
        self.admission = admission
        self.listener = listener
        self.warn = warn
        self.failed = failed
    }

    func read(context: ChannelHandlerContext) {
        let eventLoop = context.eventLoop
        let bound = NIOLoopBound(context, eventLoop: eventLoop)
        let mayAccept = admission.mayAccept(listener: listener) {
            eventLoop.execute {
                // The listener may have been closed while it waited.
                guard bound.value.channel.isActive else { return }
                bound.value.channel.pipeline.syncOperations.read()
            }
        }
        if mayAccept {
            context.read()
        } else {
            warn()
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let channel = unwrapInboundIn(data)
        admission.opened(listener: listener)
        channel.closeFuture.whenComplete { [admission, listener] _ in admission.closed(listener: listener) }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Out of descriptors, or a client that left while being accepted. NIO pauses accepting for a moment by itself.
        failed(error)
    }
}
