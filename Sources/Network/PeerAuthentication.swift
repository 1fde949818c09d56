// Logging in at another node, on a connection that has just been made or whose session runs out (KIP-368).
import Authentication
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

/// The exchange of one login, as requests and the answers to them.
struct PeerAuthentication {
    enum Step {
        case send(ApiKey, version: Int16, body: ByteBuffer)
        /// Logged in. The session ends after that many milliseconds; 0 for never.
        case complete(sessionLifetimeMilliseconds: Int64)
    }

    private static let handshakeVersion: Int16 = 1
    private static let authenticateVersions: ClosedRange<Int16> = 0...2

    private let credentials: SaslCredentials
    private let version: Int16
    private var exchange: SaslClientExchange
    private var hasShakenHands = false
    private var isComplete = false

    /// - Parameter offered: the versions that both sides know.
    init(_ credentials: SaslCredentials, offered: [Int16: ClosedRange<Int16>]) throws(PeerFailure) {
        guard let handshake = offered[ApiKey.saslHandshake.rawValue], handshake.contains(Self.handshakeVersion),
            let authenticate = offered[ApiKey.saslAuthenticate.rawValue], authenticate.overlaps(Self.authenticateVersions)
        else { throw .malformed("the other node offers no SASL at this listener; is it mapped to SASL_PLAINTEXT or SASL_SSL there?") }
        self.credentials = credentials
        version = authenticate.clamped(to: Self.authenticateVersions).upperBound
        exchange = SaslClientExchange(credentials, nonce: SaslNonce.random())
    }

    /// The first request.
    func begin() throws(PeerFailure) -> Step {
        var request = SaslHandshakeRequest()
        request.mechanism = credentials.mechanism.name
        return .send(.saslHandshake, version: Self.handshakeVersion, body: try Self.encode(request, Self.handshakeVersion))
    }

    /// Takes the answer to the last request, from behind the correlation id.
    mutating func answered(_ frame: ByteBuffer) throws(PeerFailure) -> Step {
        if !hasShakenHands {
            let response: SaslHandshakeResponse = try Self.decode(frame, .saslHandshake, Self.handshakeVersion)
            guard response.errorCode == .none else {
                throw .malformed(
                    "the other node does not take \(credentials.mechanism.name); it takes \(response.mechanisms.joined(separator: ", "))")
            }
            hasShakenHands = true
            return try authenticate(exchange.firstMessage)
        }
        let response: SaslAuthenticateResponse = try Self.decode(frame, .saslAuthenticate, version)
        guard response.errorCode == .none else {
            throw .malformed(
                "the login of \(credentials) was refused: \(response.errorMessage ?? response.errorCode.defaultMessage)")
        }
        switch exchange.step(Array(response.authBytes.readableBytesView)) {
        case .respond(let token): return try authenticate(token)
        case .complete: return .complete(sessionLifetimeMilliseconds: response.sessionLifetimeMs)
        case .failed(let reason): throw .malformed("the login of \(credentials) failed: \(reason)")
        }
    }

    private func authenticate(_ token: [UInt8]) throws(PeerFailure) -> Step {
        var request = SaslAuthenticateRequest()
        request.authBytes = ByteBuffer(bytes: token)
        return .send(.saslAuthenticate, version: version, body: try Self.encode(request, version))
    }

    private static func encode(_ request: some KafkaRequest, _ version: Int16) throws(PeerFailure) -> ByteBuffer {
        do throws(WireError) {
            return try request.encoded(version: version)
        } catch {
            throw .malformed("\(error)")
        }
    }

    private static func decode<Response: KafkaResponse>(
        _ frame: ByteBuffer, _ api: ApiKey, _ version: Int16
    ) throws(PeerFailure) -> Response {
        var reader = WireReader(frame, message: "\(api) response")
        do throws(WireError) {
            _ = try ResponseHeader(from: &reader, version: api.responseHeaderVersion(version))
            return try Response(from: &reader, version: version)
        } catch {
            throw .malformed("\(error)")
        }
    }
}
