// What a handler knows of the request that it serves, and how it answers.
import KafkaWire
import NIOCore
import Network
import Observability
import Primitives
import RecordBatches

/// A request that arrived on a connection. Lives on the connection's event loop.
struct RequestContext {
    let connection: Connection
    let apiKey: ApiKey
    let version: Int16
    let correlationID: Int32
    let clientID: String?
    /// The request's body; the frame is not referenced elsewhere, so that records can be changed in place.
    var body: ByteBuffer
    /// Monotonic nanoseconds at which the frame was complete.
    let receivedAt: Int64
    let quotas: ClientQuotas
    /// How the answer to a Fetch that came within a CompressedFetch goes back; nil for all others.
    var answerCompression: CompressionType?

    var listenerName: String { connection.listenerName }

    /// The means to answer later, from any thread.
    var responder: Responder {
        Responder(
            connection: connection.handle, apiKey: apiKey, version: version, correlationID: correlationID, clientID: clientID,
            receivedAt: receivedAt, quotas: quotas)
    }

    /// Decodes the body; the error names message, field and offset. Bytes behind the message are ignored as Kafka ignores them:
    /// librdkafka 2.16 asks for the metadata of all topics with three of them.
    func decode<Request: KafkaRequest>(_ type: Request.Type = Request.self) throws(WireError) -> Request {
        try Request(decoding: body, version: version, allowingTrailingBytes: true)
    }
}

/// Answers one request, once.
struct Responder: Sendable {
    let connection: ConnectionHandle
    let apiKey: ApiKey
    let version: Int16
    let correlationID: Int32
    let clientID: String?
    let receivedAt: Int64
    let quotas: ClientQuotas

    /// Encodes and sends the response as it is.
    func write(_ response: some KafkaResponse) {
        do throws(WireError) {
            let frame = try Frame.response(response, version: version, correlationId: correlationID, withSize: true)
            connection.send(OutboundFrame(frame))
        } catch {
            // A response that this version cannot express is a bug of ours; the client must not wait for it for ever.
            connection.close(reason: "the response to \(apiKey) version \(version) cannot be encoded: \(error)")
        }
    }
}
