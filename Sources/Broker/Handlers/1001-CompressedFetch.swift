// CompressedFetch: a Fetch whose answer is compressed on its way, for links over which a byte costs more than the work. Martlet's own API
// (docs/links.md). The Fetch within is served as any other, with the same rights, sessions and quotas; only its answer is wrapped.
import KafkaMessages
import KafkaWire
import NIOCore
import NIOPosix
import Network
import RecordBatches

extension BrokerServices {
    /// The versions whose answers begin with the same header: a correlation id and no tags.
    private static let fetchVersions: ClosedRange<Int16> = 12...17

    func compressedFetch(_ context: RequestContext, _ state: ConnectionState) throws(WireError) {
        let request = try context.decode(CompressedFetchRequest.self)
        guard Self.fetchVersions.contains(request.fetchVersion) else {
            return refuseCompressed(.unsupportedVersion, context)
        }
        guard let type = CompressionType(rawValue: UInt8(bitPattern: request.compressionType)), type == .zstd else {
            return refuseCompressed(.unsupportedCompressionType, context)
        }
        fetch(
            RequestContext(
                connection: context.connection, apiKey: .fetch, version: request.fetchVersion, correlationID: context.correlationID,
                clientID: context.clientID, body: request.fetch, receivedAt: context.receivedAt, quotas: context.quotas,
                answerCompression: type), state)
    }

    private func refuseCompressed(_ error: ErrorCode, _ context: RequestContext) {
        var response = CompressedFetchResponse()
        response.errorCode = error
        context.responder.write(response)
    }

    /// Sends the answer to a Fetch, as it is or compressed.
    func sendFetched(_ frame: OutboundFrame, _ context: RequestContext) {
        guard let type = context.answerCompression else { return context.connection.send(frame) }
        let responder = Responder(
            connection: context.connection.handle, apiKey: .compressedFetch, version: 0, correlationID: context.correlationID,
            clientID: context.clientID, receivedAt: context.receivedAt, quotas: context.quotas)
        // Reading and compressing take milliseconds, for which an event loop has no time. The pool's size bounds what is under way.
        NIOThreadPool.singleton.submit { _ in
            guard let response = CompressedFetchResponse(frame, type) else {
                return responder.connection.close(reason: "records of an answer cannot be read or compressed")
            }
            responder.write(response)
        }
    }
}

extension CompressedFetchResponse {
    /// A correlation id and the number of tags, which the wrapping has itself.
    private static let headerBytes = 5
    /// Smaller answers are not worth a frame of zstd's.
    private static let minimumBytes = 256

    /// Nil when what is to be sent cannot be read.
    fileprivate init?(_ frame: OutboundFrame, _ type: CompressionType) {
        guard let body = frame.gathered(from: Self.headerBytes) else { return nil }
        self.init()
        size = Int32(clamping: body.readableBytes)
        fetch = body
        if body.readableBytes >= Self.minimumBytes {
            var compressed = ByteBuffer()
            guard (try? Compression(type).compress(body, into: &compressed)) != nil else { return nil }
            if compressed.readableBytes < body.readableBytes {
                compressionType = Int8(bitPattern: type.rawValue)
                // The room that compressing asks for is that of the worst case.
                fetch = ByteBuffer(bytes: compressed.readableBytesView)
            }
        }
    }
}
