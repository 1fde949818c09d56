// Whole requests and responses: header and body in one frame, with or without the size before it.
import NIOCore

extension RequestHeader {
    /// The API, nil for a key that is not known.
    public var api: ApiKey? { ApiKey(rawValue: requestApiKey) }

    /// Reads the header of a request frame (without its size), choosing the header's version by API key and version as Kafka does.
    ///
    /// An API key that is not known reads as header version 1, which has no tagged fields.
    public init(fromFrame reader: inout WireReader) throws(WireError) {
        var peek = reader
        let key = peek.int16("requestApiKey")
        let version = peek.int16("requestApiVersion")
        let headerVersion = ApiKey(rawValue: key)?.requestHeaderVersion(version) ?? 1
        try self.init(from: &reader, version: headerVersion)
    }
}

/// Puts frames together.
public enum Frame {
    /// A request's header and body.
    ///
    /// - Parameter withSize: prefixes the four bytes of the frame's size.
    public static func request<Request: KafkaRequest>(
        _ request: Request, version: Int16, correlationId: Int32, clientId: String?, withSize: Bool = false
    ) throws(WireError) -> ByteBuffer {
        var header = RequestHeader()
        header.requestApiKey = Request.apiKey.rawValue
        header.requestApiVersion = version
        header.correlationId = correlationId
        header.clientId = clientId
        return try join(header, Request.apiKey.requestHeaderVersion(version), request, version, withSize)
    }

    /// A response's header and body.
    ///
    /// - Parameter withSize: prefixes the four bytes of the frame's size.
    public static func response<Response: KafkaResponse>(
        _ response: Response, version: Int16, correlationId: Int32, withSize: Bool = false
    ) throws(WireError) -> ByteBuffer {
        var header = ResponseHeader()
        header.correlationId = correlationId
        return try join(header, Response.apiKey.responseHeaderVersion(version), response, version, withSize)
    }

    /// Reads a response frame (without its size) to a request of `version`.
    public static func decodeResponse<Response: KafkaResponse>(
        _ frame: ByteBuffer, as: Response.Type, version: Int16
    ) throws(WireError) -> (header: ResponseHeader, response: Response) {
        var reader = WireReader(frame)
        let header = try ResponseHeader(from: &reader, version: Response.apiKey.responseHeaderVersion(version))
        let response = try Response(from: &reader, version: version)
        try reader.finish()
        return (header, response)
    }

    private static func join<Header: KafkaMessage, Body: KafkaMessage>(
        _ header: Header, _ headerVersion: Int16, _ body: Body, _ version: Int16, _ withSize: Bool
    ) throws(WireError) -> ByteBuffer {
        var writer = WireWriter()
        if withSize { writer.int32(0) }
        try header.encode(to: &writer, version: headerVersion)
        try body.encode(to: &writer, version: version)
        if withSize { writer.buffer.setInteger(Int32(clamping: writer.buffer.readableBytes - 4), at: 0) }
        return writer.buffer
    }
}
