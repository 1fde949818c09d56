// A controller listener: frames of other nodes and of administrators, given to the controller, and its answers. What the listener learns
// from connections that end goes to whoever watches over the brokers.
import Controlling
import KafkaWire
import Logging
import NIOCore
import Network
import Observability
import Primitives

/// What a controller listener remembers of a connection; on the connection's event loop.
final class ControllerConnectionState {
    /// Who the other side is, once that is settled.
    let authentication: ConnectionAuthentication
    /// The broker whose heartbeats the connection carries.
    var broker: (id: NodeID, epoch: Int64)?

    init(_ authentication: ConnectionAuthentication) {
        self.authentication = authentication
    }
}

/// Serves the controller's APIs on its listeners.
final class ControllerListener: ConnectionDelegate {
    private let services: ControllerServices
    private let metrics: KafkaMetrics

    init(services: ControllerServices, metrics: KafkaMetrics) {
        self.services = services
        self.metrics = metrics
    }

    func connectionOpened(_ connection: Connection) {
        connection.context = ControllerConnectionState(
            ConnectionAuthentication(services.security.listener(connection.listenerName), connection))
    }

    func connectionClosed(_ connection: Connection) {
        guard let state = connection.context as? ControllerConnectionState, let broker = state.broker else { return }
        services.liveness.connectionLost(broker.id, epoch: broker.epoch)
    }

    func received(frame: ByteBuffer, on connection: Connection) {
        guard let state = connection.context as? ControllerConnectionState else { return }
        if state.authentication.expectsToken { return state.authentication.received(token: frame, on: connection) }
        let header: RequestFrameHeader
        do throws(FrameCursorError) {
            header = try RequestFrameHeader(frame)
        } catch {
            return connection.close(reason: "the request's header cannot be read: \(error.field) at offset \(error.offset)")
        }
        metrics.request(header.apiKey.rawValue).count(version: header.version, bytes: frame.readableBytes)
        let handle = connection.handle
        let isServed = ControllerServices.serves(header.apiKey, header.version)
        if !isServed && header.apiKey != .apiVersions {
            return connection.close(reason: "\(header.apiKey) version \(header.version) is not served on a controller's listener")
        }
        guard state.authentication.admits(header, on: connection) else { return }
        // A version of ApiVersions that does not exist yet is answered in version 0, with the versions that do.
        let responseVersion = isServed ? header.version : 0
        let request = ControllerRequest(
            apiKey: header.apiKey, version: header.version, clientID: header.clientID, clientHost: connection.remoteHost,
            principal: state.authentication.principal,
            body: header.body, listenerName: connection.listenerName, connection: handle
        ) { reply in
            switch reply {
            case .body(let body), .notController(let body):
                handle.send(Self.frame(header.apiKey, responseVersion, header.correlationID, body))
            case .refused(let reason): handle.close(reason: reason)
            }
        }
        if isServed { services.handle(request) } else { services.apiVersionsForUnsupportedVersion(request) }
    }

    private static func frame(_ api: ApiKey, _ version: Int16, _ correlationID: Int32, _ body: ByteBuffer) -> OutboundFrame {
        var head = ByteBuffer()
        head.reserveCapacity(16)
        head.writeInteger(Int32(0))
        head.writeInteger(correlationID)
        if api.responseHeaderVersion(version) >= 1 { head.writeInteger(UInt8(0)) }
        var frame = OutboundFrame(head)
        frame.append(body)
        return frame
    }
}
