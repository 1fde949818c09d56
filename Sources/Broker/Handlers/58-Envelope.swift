// Envelope: a client's request that a broker passed on. The controller answers it as if the client stood before it (KIP-590).
import Authorization
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

extension ControllerServices {
    func envelope(_ call: ControllerRequest) throws(WireError) {
        let envelope = try call.decode(EnvelopeRequest.self)
        guard let clientHost = Self.address(envelope.clientHostAddress) else { return call.send(EnvelopeResponse.failed(.invalidRequest)) }
        guard let principal = envelope.requestPrincipal.flatMap(Self.principal) else {
            return call.send(EnvelopeResponse.failed(.principalDeserializationFailure))
        }
        let header: RequestFrameHeader
        do throws(FrameCursorError) {
            header = try RequestFrameHeader(envelope.requestData)
        } catch {
            return call.send(EnvelopeResponse.failed(.unsupportedVersion))
        }
        guard header.apiKey.isForwardable else { return call.send(EnvelopeResponse.failed(.invalidRequest)) }
        guard Self.serves(header.apiKey, header.version) else { return call.send(EnvelopeResponse.failed(.unsupportedVersion)) }
        handle(
            ControllerRequest(
                apiKey: header.apiKey, version: header.version, clientID: header.clientID, clientHost: clientHost,
                principal: principal, body: header.body, listenerName: call.listenerName, connection: nil
            ) { reply in
                switch reply {
                case .body(let body):
                    var data = ByteBuffer(integer: header.correlationID)
                    if header.apiKey.responseHeaderVersion(header.version) >= 1 { data.writeInteger(UInt8(0)) }
                    data.writeImmutableBuffer(body)
                    var response = EnvelopeResponse()
                    response.responseData = data
                    call.send(response)
                case .notController: call.send(EnvelopeResponse.failed(.notController))
                case .refused: call.send(EnvelopeResponse.failed(.unsupportedVersion))
                }
            })
    }

    /// The text of an address of four or sixteen bytes.
    private static func address(_ bytes: ByteBuffer) -> String? {
        guard bytes.readableBytes == 4 || bytes.readableBytes == 16 else { return nil }
        return (try? SocketAddress(packedIPAddress: bytes, port: 0))?.ipAddress
    }

    /// Kafka's default form: the version of `DefaultPrincipalData`, then the data.
    private static func principal(_ bytes: ByteBuffer) -> KafkaPrincipal? {
        var rest = bytes
        guard let version = rest.readInteger(as: Int16.self), let data = try? DefaultPrincipalData(decoding: rest, version: version) else {
            return nil
        }
        return KafkaPrincipal(type: data.type, name: data.name, isTokenAuthenticated: data.tokenAuthenticated)
    }
}

extension EnvelopeResponse {
    fileprivate static func failed(_ error: ErrorCode) -> Self {
        var response = Self()
        response.errorCode = error
        return response
    }
}
