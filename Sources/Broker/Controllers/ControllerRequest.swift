// A request that a controller answers, however it came: over a controller listener, inside an Envelope, or from the broker in the same
// process. Whoever handles it does not see the difference.
import Authorization
import Controlling
import KafkaWire
import NIOCore
import Network
import Primitives

/// What comes of a request to the controller.
enum ControllerReply: Sendable {
    /// The response as it follows its header, in the request's version.
    case body(ByteBuffer)
    /// The same, and it says that another node is the active controller: whoever forwards tries there.
    case notController(ByteBuffer)
    /// No response; the connection ends for that reason.
    case refused(String)
}

/// A request that the controller answers, once.
struct ControllerRequest: Sendable {
    let apiKey: ApiKey
    let version: Int16
    let clientID: String?
    /// The address of whoever asked first, also where a broker forwarded it.
    let clientHost: String
    /// Who asked first; nil for this node itself, which may do everything.
    let principal: KafkaPrincipal?
    /// What follows the request's header.
    let body: ByteBuffer
    /// The listener that it came by; nil from within this process.
    let listenerName: String?
    /// The connection that carried it; nil from within this process.
    let connection: ConnectionHandle?
    /// May be called from any thread.
    let reply: @Sendable (ControllerReply) -> Void

    /// Decodes the body; the error names message, field and offset.
    func decode<Request: KafkaRequest>(_ type: Request.Type = Request.self) throws(WireError) -> Request {
        try Request(decoding: body, version: version, allowingTrailingBytes: true)
    }

    /// Answers.
    func send(_ response: some KafkaResponse) {
        do throws(WireError) {
            reply(.body(try response.encoded(version: version)))
        } catch {
            reply(.refused("the response to \(apiKey) version \(version) cannot be encoded: \(error)"))
        }
    }
}

/// A request that the controller decides, and that says what it answers when the controller refuses it as a whole or cannot be reached.
protocol ControllerDecidedRequest: KafkaRequest {
    func refused(_ failure: RequestFailure, version: Int16) -> Response
}
