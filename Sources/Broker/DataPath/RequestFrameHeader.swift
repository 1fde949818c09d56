// A request's header, read without the generated struct: every small request would pay for it.
import KafkaWire
import NIOCore

/// API, version, correlation id and client id in front of every request.
struct RequestFrameHeader {
    let apiKey: ApiKey
    let version: Int16
    let correlationID: Int32
    let clientID: String?
    /// What follows the header.
    let body: ByteBuffer

    init(_ frame: ByteBuffer) throws(FrameCursorError) {
        var cursor = FrameCursor(frame.readableBytesSpan)
        let key = try cursor.int16("requestApiKey")
        version = try cursor.int16("requestApiVersion")
        correlationID = try cursor.int32("correlationId")
        guard let apiKey = ApiKey(rawValue: key) else { throw FrameCursorError(field: "requestApiKey", offset: 0) }
        self.apiKey = apiKey
        // The client id keeps its two-byte length in flexible headers too, so that every broker can read it.
        clientID = try cursor.string("clientId", flexible: false).map { frame.text(at: $0) }
        // ApiVersions in a version that does not exist yet: only its header matters, whatever follows.
        if apiKey.validVersions.contains(version), apiKey.isFlexible(version) { try cursor.skipTags() }
        var body = frame
        body.moveReaderIndex(forwardBy: cursor.position)
        self.body = body
    }
}
