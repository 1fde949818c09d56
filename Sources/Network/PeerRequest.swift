// What goes to other nodes, what comes back, and why nothing came back.
import Authentication
import NIOCore
import TransportSecurity

/// Where another node listens. Connections are kept apart by all three.
public struct PeerAddress: Hashable, Sendable, CustomStringConvertible {
    /// The node's id, or a negative number for a server of which only the address is known.
    public var id: Int32
    public var host: String
    public var port: Int

    public init(id: Int32, host: String, port: Int) {
        self.id = id
        self.host = host
        self.port = port
    }

    public var description: String { id < 0 ? "\(host):\(port)" : "node \(id) (\(host):\(port))" }
}

/// A request in the version chosen for the peer.
public struct PeerRequest: Sendable {
    public var version: Int16
    /// What follows the request header.
    public var body: ByteBuffer

    public init(version: Int16, body: ByteBuffer) {
        self.version = version
        self.body = body
    }
}

/// The answer to a request.
public struct PeerResponse: Sendable {
    /// The version of the request, which is that of the response.
    public var version: Int16
    /// What follows the response header; shares the memory that it was received in.
    public var body: ByteBuffer

    public init(version: Int16, body: ByteBuffer) {
        self.version = version
        self.body = body
    }
}

/// Why a request has no answer.
public enum PeerFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// No connection could be made; the request was not sent.
    case unreachable(String)
    /// The connection ended; the request may have arrived.
    case disconnected(String)
    /// No answer in time; the request may have arrived.
    case timedOut
    /// The peer offers no version of the API that can carry the request; nothing was sent.
    case unsupportedVersion
    /// Too many requests wait for this peer; the request was not sent.
    case overloaded
    /// `PeerConnections.close` was called.
    case closed
    /// The peer does not keep to the protocol, or answered what cannot be read.
    case malformed(String)

    /// Whether the peer may have acted on the request.
    public var mayHaveArrived: Bool {
        switch self {
        case .disconnected, .timedOut, .malformed: true
        case .unreachable, .unsupportedVersion, .overloaded, .closed: false
        }
    }

    public var description: String {
        switch self {
        case .unreachable(let reason): "no connection: \(reason)"
        case .disconnected(let reason): "disconnected: \(reason)"
        case .timedOut: "no answer in time"
        case .unsupportedVersion: "no common version"
        case .overloaded: "too many requests wait"
        case .closed: "closed"
        case .malformed(let reason): "protocol violated: \(reason)"
        }
    }
}

/// Bounds of the connections to other nodes.
public struct PeerOptions: Sendable {
    /// Names the sender in request headers.
    public var clientID: String
    /// Requests that may be on their way on one connection.
    public var maximumInFlight = 5
    /// Requests that may wait for one connection besides.
    public var maximumWaiting = 1000
    /// Larger responses end the connection.
    public var maximumResponseBytes = 256 << 20
    /// `reconnect.backoff.ms`: the pause after a first failure to connect, doubled with each further one.
    public var reconnectBackoffMilliseconds: Int64 = 20
    /// `reconnect.backoff.max.ms`.
    public var reconnectBackoffMaximumMilliseconds: Int64 = 1000
    /// How long making a connection may take, the exchange of versions included.
    public var connectTimeoutMilliseconds: Int64 = 5000
    /// `socket.receive.buffer.bytes`; -1 leaves it to the system.
    public var receiveBufferBytes = -1
    /// Counts what is sent and received; nil for nothing.
    public var traffic: PeerTraffic?
    /// Nil for plaintext.
    public var tls: TLSClientContext?
    /// What to log in with once connected, asked for at every login; nil where there is no SASL. It gives nil as long as there is nothing to
    /// log in with, and no connection is made then.
    public var credentials: (@Sendable () -> SaslCredentials?)?

    /// Hands over open channels, on any event loop, instead of connecting to a host and a port; nil for ordinary connections.
    public var dialler: (@Sendable (_ host: String, _ port: Int) -> EventLoopFuture<any Channel>)?

    public init(clientID: String) {
        self.clientID = clientID
    }
}
