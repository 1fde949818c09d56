// Requests of clients that only the controller can decide: the broker passes them on as the client sent them (KIP-590), wrapped in an
// Envelope that says who the client is, and hands the answer back.
import Authorization
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives

extension BrokerServices {
    /// Lets the active controller decide and answers the client.
    ///
    /// - Parameter finish: adds to the controller's answer what only this broker knows.
    func forward<Request: ControllerDecidedRequest>(
        _ context: RequestContext, _ request: Request,
        finish: @escaping @Sendable (Request.Response) -> Request.Response = { $0 }
    ) throws(WireError) {
        let responder = context.responder
        try forward(
            request, version: context.version,
            client: ForwardedClient(id: context.clientID, host: context.connection.remoteHost, principal: context.principal)
        ) { outcome in
            switch outcome {
            case .success(let response):
                responder.send(finish(response), throttledFor: (response as? any ThrottledResponse)?.throttleTimeMs ?? 0)
            case .failure(let failure): responder.send(finish(request.refused(failure, version: responder.version)))
            }
        }
    }

    /// Lets the active controller decide a request of this broker's own.
    func forward<Request: ControllerDecidedRequest>(
        own request: Request, completion: @escaping @Sendable (Result<Request.Response, RequestFailure>) -> Void
    ) {
        // Without an envelope: it is this node that asks, under its own name.
        controllerChannel.send(
            request, versions: Request.apiKey.stableVersions, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds
        ) { outcome in completion(outcome.mapError(\.requestFailure)) }
    }

    private func forward<Request: ControllerDecidedRequest>(
        _ request: Request, version: Int16, client: ForwardedClient,
        completion: @escaping @Sendable (Result<Request.Response, RequestFailure>) -> Void
    ) throws(WireError) {
        let body = try request.encoded(version: version)
        let decode: @Sendable (Result<ByteBuffer, ControllerChannelFailure>) -> Void = { outcome in
            completion(
                outcome.mapError(\.requestFailure).flatMap { body in
                    do throws(WireError) {
                        return .success(try Request.Response(decoding: body, version: version))
                    } catch {
                        return .failure(RequestFailure(.unknownServerError, "\(error)"))
                    }
                })
        }
        guard let controller = controllerServices, controllerChannel.location == .here else {
            return try forwardInEnvelope(Request.apiKey, version, body, client, completion: decode)
        }
        controller.handle(
            ControllerRequest(
                apiKey: Request.apiKey, version: version, clientID: client.id, clientHost: client.host, principal: client.principal,
                body: body, listenerName: nil, connection: nil
            ) { [self] reply in
                switch reply {
                case .body(let body): decode(.success(body))
                case .refused(let reason): decode(.failure(.refused(reason)))
                case .notController:
                    // Another node has just taken over: the channel finds it.
                    do throws(WireError) {
                        try forwardInEnvelope(Request.apiKey, version, body, client, completion: decode)
                    } catch {
                        decode(.failure(.refused("\(error)")))
                    }
                }
            })
    }

    private func forwardInEnvelope(
        _ api: ApiKey, _ version: Int16, _ body: ByteBuffer, _ client: ForwardedClient,
        completion: @escaping @Sendable (Result<ByteBuffer, ControllerChannelFailure>) -> Void
    ) throws(WireError) {
        var envelope = EnvelopeRequest()
        envelope.requestData = try client.frame(api, version, body)
        envelope.requestPrincipal = try client.principalData()
        envelope.clientHostAddress = client.address
        controllerChannel.send(envelope, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds) { outcome in
            completion(
                outcome.flatMap { response in
                    guard response.errorCode == .none, let data = response.responseData else {
                        return .failure(.refused("The controller did not take the request: \(response.errorCode.defaultMessage)"))
                    }
                    return ForwardedClient.body(of: data, api, version)
                })
        }
    }
}

/// Whose request is forwarded.
struct ForwardedClient: Sendable {
    var id: String?
    /// The client's address as text.
    var host: String
    var principal: KafkaPrincipal

    /// The client's request as it would stand on a connection, without its size.
    func frame(_ api: ApiKey, _ version: Int16, _ body: ByteBuffer) throws(WireError) -> ByteBuffer {
        var header = RequestHeader()
        header.requestApiKey = api.rawValue
        header.requestApiVersion = version
        header.clientId = id
        var writer = WireWriter()
        try header.encode(to: &writer, version: api.requestHeaderVersion(version))
        var frame = writer.buffer
        frame.writeImmutableBuffer(body)
        return frame
    }

    /// The client's principal, as Kafka's default builder writes it.
    func principalData() throws(WireError) -> ByteBuffer {
        var data = DefaultPrincipalData()
        data.type = principal.type
        data.name = principal.name
        data.tokenAuthenticated = principal.isTokenAuthenticated
        var buffer = ByteBuffer(integer: Int16(0))
        buffer.writeImmutableBuffer(try data.encoded(version: 0))
        return buffer
    }

    /// The address as four or sixteen bytes.
    var address: ByteBuffer {
        guard let address = try? SocketAddress(ipAddress: host, port: 0) else { return ByteBuffer(bytes: [127, 0, 0, 1]) }
        switch address {
        case .v4(let address): return withUnsafeBytes(of: address.address.sin_addr) { ByteBuffer(bytes: $0) }
        case .v6(let address): return withUnsafeBytes(of: address.address.sin6_addr) { ByteBuffer(bytes: $0) }
        case .unixDomainSocket: return ByteBuffer(bytes: [127, 0, 0, 1])
        }
    }

    /// What follows the header of an enveloped response.
    static func body(of response: ByteBuffer, _ api: ApiKey, _ version: Int16) -> Result<ByteBuffer, ControllerChannelFailure> {
        var reader = WireReader(response)
        do throws(WireError) {
            _ = try ResponseHeader(from: &reader, version: api.responseHeaderVersion(version))
        } catch {
            return .failure(.refused("the enveloped answer cannot be read: \(error)"))
        }
        var body = response
        body.moveReaderIndex(forwardBy: reader.position)
        return .success(body)
    }
}
