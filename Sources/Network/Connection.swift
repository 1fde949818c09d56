// One client's connection as the broker sees it: one request in progress at a time and answers in the order of the requests, as Kafka's
// protocol promises its clients.
import NIOCore

/// Identifies a connection for the life of the process.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
    public let value: UInt64

    public var description: String { String(value) }
}

/// A client's connection. Lives on its event loop: apart from `id`, the names and addresses, and ``handle``, nothing may be touched
/// from elsewhere.
public final class Connection {
    public let id: ConnectionID
    /// Name of the listener that accepted the connection.
    public let listenerName: String
    /// The client's address in text form without port, as group members and quota entities carry it.
    public let remoteHost: String
    public let remoteAddress: SocketAddress?
    public let localAddress: SocketAddress?
    public let eventLoop: any EventLoop
    /// For the broker's own state of this connection: client id, software name, fetch session.
    public var context: AnyObject?
    /// The distinguished name in the certificate that the client showed (RFC 2253); nil without TLS or without a certificate. Known when
    /// the first frame is delivered.
    public internal(set) var peerDistinguishedName: String?
    /// False once the connection is closing; answers are then dropped silently.
    public internal(set) var isOpen = true

    unowned let transport: ConnectionChannelHandler

    init(
        id: ConnectionID, listenerName: String, remoteAddress: SocketAddress?, localAddress: SocketAddress?, eventLoop: any EventLoop,
        transport: ConnectionChannelHandler
    ) {
        self.id = id
        self.listenerName = listenerName
        self.remoteAddress = remoteAddress
        self.localAddress = localAddress
        let host = remoteAddress?.ipAddress ?? ""
        // An IPv4 client of a socket that listens on both families.
        self.remoteHost = host.hasPrefix("::ffff:") && host.contains(".") ? String(host.dropFirst(7)) : host
        self.eventLoop = eventLoop
        self.transport = transport
    }

    /// Whether the client runs on this machine, as far as addresses tell: a loopback address, or the same at both ends.
    var isLocal: Bool {
        if remoteHost == "::1" || remoteHost.hasPrefix("127.") { return true }
        return remoteAddress?.ipAddress != nil && remoteAddress?.ipAddress == localAddress?.ipAddress
    }

    /// Answers the request in progress. Called on the loop, from within `received` or at any time later.
    /// - Parameter reason: if given, the connection is closed once the answer is with the kernel.
    public func send(_ frame: OutboundFrame, closingAfterwards reason: String? = nil) {
        eventLoop.assertInEventLoop()
        guard isOpen else { return }
        transport.send(frame, closingAfterwards: reason)
    }

    /// Ends the request in progress without an answer (Produce with acks=0).
    public func completeWithoutResponse() {
        eventLoop.assertInEventLoop()
        guard isOpen else { return }
        transport.completeWithoutResponse()
    }

    /// Lets the next request be taken although the one in progress, whose effects are in place, is answered later: with the result and
    /// `send(_:as:)`. Answers still leave in the order of the requests. May deliver the next request before it returns, unless called from
    /// within `received`.
    ///
    /// Without it a producer on a connection gets one request through per round trip to the followers, however many it has in flight.
    public func deferAnswer() -> DeferredAnswer {
        eventLoop.assertInEventLoop()
        return isOpen ? transport.deferAnswer() : DeferredAnswer()
    }

    /// Gives a deferred answer.
    public func send(_ frame: OutboundFrame, as answer: DeferredAnswer) {
        eventLoop.assertInEventLoop()
        guard isOpen else { return }
        transport.send(frame, as: answer)
    }

    /// Takes no further request for so long, beginning now; the answer to the one in progress leaves at once (KIP-219).
    public func throttle(milliseconds: Int64) {
        eventLoop.assertInEventLoop()
        guard isOpen, milliseconds > 0 else { return }
        transport.throttle(milliseconds: milliseconds)
    }

    /// Bounds frames to fewer bytes than `socket.request.max.bytes`, or to that again when nil.
    public func limitFrames(to bytes: Int?) {
        eventLoop.assertInEventLoop()
        guard isOpen else { return }
        transport.limitFrames(to: bytes)
    }

    /// Closes at once; what has not been sent is dropped. The reason goes to the log.
    public func close(reason: String) {
        eventLoop.assertInEventLoop()
        guard isOpen else { return }
        transport.close(reason: reason)
    }

    /// Something that can be kept and used on any thread.
    public var handle: ConnectionHandle { ConnectionHandle(connection: self) }
}

/// Reaches a connection from any thread.
public struct ConnectionHandle: @unchecked Sendable {
    // Sound because the connection is only touched on its own loop; the immutable properties below are Sendable.
    private let connection: Connection

    init(connection: Connection) {
        self.connection = connection
    }

    public var id: ConnectionID { connection.id }
    public var eventLoop: any EventLoop { connection.eventLoop }

    /// Runs `body` with the connection on its loop: at once if this is the loop, else as soon as the loop comes to it.
    public func withConnection(_ body: @escaping @Sendable (Connection) -> Void) {
        if connection.eventLoop.inEventLoop {
            body(connection)
        } else {
            connection.eventLoop.execute { [self] in body(connection) }
        }
    }

    /// Answers the request in progress, from any thread.
    public func send(_ frame: OutboundFrame) {
        withConnection { $0.send(frame) }
    }

    /// Ends the request in progress without an answer, from any thread.
    public func completeWithoutResponse() {
        withConnection { $0.completeWithoutResponse() }
    }

    /// Closes the connection, from any thread.
    public func close(reason: String) {
        withConnection { $0.close(reason: reason) }
    }
}
