// The bounds that keep one client, or very many, from taking the broker down. Names and defaults are Kafka's configuration keys'.
import NIOCore

/// One address to listen on.
public struct ListenerEndpoint: Sendable, Hashable {
    /// Kafka's listener name, e.g. `EXTERNAL`.
    public var name: String
    /// Address or host name to bind; empty for all addresses.
    public var host: String
    /// TCP port; 0 lets the kernel choose.
    public var port: Int

    public init(name: String, host: String, port: Int) {
        self.name = name
        self.host = host
        self.port = port
    }
}

/// Bounds on the number of connections, which may change while the server runs (``NetworkServer/update(_:)``).
public struct ConnectionLimits: Sendable, Hashable {
    /// `max.connections`: when reached, further connections wait in the kernel's backlog.
    public var maximumConnections = Int.max
    /// `listener.name.<name>.max.connections`, by the listener's name.
    public var maximumConnectionsPerListener: [String: Int] = [:]
    /// `max.connections.per.ip`: when reached, further connections from that address are closed.
    public var maximumConnectionsPerAddress = Int.max
    /// `max.connections.per.ip.overrides`: bounds for single addresses, by their text form.
    public var connectionsPerAddressOverrides: [String: Int] = [:]

    /// `max.connection.creation.rate`: new connections per second, over all listeners.
    public var connectionsPerSecond = Int.max
    /// `listener.name.<name>.max.connection.creation.rate`, by the listener's name.
    public var connectionsPerSecondPerListener: [String: Int] = [:]
    /// `quota.window.num` and `quota.window.size.seconds`: over what rates are measured. Fixed once the server runs.
    public var rateSamples = 11
    public var rateSampleMilliseconds: Int64 = 1000
    /// The listener between brokers: where there are others, bounds over all listeners do not hold for it.
    public var protectedListener: String?

    public init() {}

    /// Whether new connections have to be counted by time.
    var isRateBounded: Bool { connectionsPerSecond != .max || connectionsPerSecondPerListener.values.contains { $0 != .max } }

    /// Whether connections have to be accepted one by one because their number or rate is bounded.
    var isBounded: Bool {
        maximumConnections != .max || isRateBounded || maximumConnectionsPerListener.values.contains { $0 != .max }
    }
}

/// New connections per second from single addresses: `connection_creation_rate` of the quotas of `ip` entities (KIP-612).
public struct AddressRates: Sendable, Hashable {
    /// For addresses without a rate of their own; nil for none.
    public var byDefault: Int?
    /// By the address as text, as `Connection.remoteHost` has it.
    public var byAddress: [String: Int] = [:]

    public init() {}

    func bound(of address: String) -> Int? { byAddress[address] ?? byDefault }

    /// The one text of an address of which there may be several, such as `::1`; nil for what is none.
    public static func canonical(_ address: String) -> String? {
        guard let text = try? SocketAddress(ipAddress: address, port: 0).ipAddress else { return nil }
        return text.hasPrefix("::ffff:") && text.contains(".") ? String(text.dropFirst(7)) : text
    }
}

/// Bounds over requests and connections.
public struct NetworkLimits: Sendable {
    /// `socket.request.max.bytes`: a larger frame closes the connection.
    public var maximumRequestBytes = 104_857_600
    /// `queued.max.request.bytes`: bytes of requests being received or worked on, over all connections; 0 or less for no bound.
    /// As in Kafka the bound may be passed by one request per connection that was admitted while bytes were left.
    public var maximumQueuedRequestBytes = -1
    /// `connections.max.idle.ms`: a connection without traffic for so long, and without a request in progress, is closed.
    public var maximumIdleMilliseconds: Int64 = 600_000
    /// How many connections there may be, to begin with.
    public var connections = ConnectionLimits()
    /// `socket.send.buffer.bytes`; -1 leaves it to the kernel, which sizes the buffer by the connection's speed. Kafka's own default of
    /// 100 KiB switches that off; set it only if the operator did.
    public var sendBufferBytes = -1
    /// `socket.receive.buffer.bytes`; as for `sendBufferBytes`.
    public var receiveBufferBytes = -1
    /// `socket.listen.backlog.size`.
    public var listenBacklog = 50

    public init() {}
}
