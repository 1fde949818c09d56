// Who is at the other end of a connection, and the way to knowing it: a certificate, or SASL's handshake and messages (KIP-43, KIP-152,
// KIP-368), on the connection's event loop and before any request is served.
import Authentication
import Authorization
import Configuration
import KafkaMessages
import KafkaWire
import NIOCore
import Network
import Primitives

/// The authentication of one connection.
final class ConnectionAuthentication {
    private enum Phase {
        /// Requests are served.
        case open
        /// TLS without SASL: the certificate is looked at when the first request comes.
        case expectsCertificate
        case expectsHandshake
        /// - hasHeaders: whether messages come as SaslAuthenticate requests, or bare (SaslHandshake version 0).
        case exchanging(SaslServerExchange, hasHeaders: Bool)
        /// A later login under another mechanism: refused when its first message comes, as in Kafka.
        case otherMechanism(String)
        case failed
    }

    private(set) var principal = KafkaPrincipal.anonymous
    private let security: ListenerSecurity?
    private var phase: Phase
    private var mechanism: SaslCredentials.Mechanism?
    /// Monotonic milliseconds at which the session ends.
    private var sessionDeadline = Int64.max
    /// A login that renews a session may not change who the client is.
    private var isRenewal = false

    /// - Parameter security: the listener's; nil for listeners that demand nothing.
    init(_ security: ListenerSecurity?, _ connection: Connection) {
        self.security = security
        let settings = security?.settings
        if settings?.sasl != nil {
            phase = .expectsHandshake
            connection.limitFrames(to: security?.maximumTokenBytes)
        } else {
            phase = settings?.tls != nil ? .expectsCertificate : .open
        }
    }

    /// Of a connection that this broker opened and gave to a link: who is at the other end is settled.
    init(principal: KafkaPrincipal) {
        self.principal = principal
        security = nil
        phase = .open
    }

    /// Whether the next frame is a bare SASL message, without a request's header.
    var expectsToken: Bool {
        if case .exchanging(_, hasHeaders: false) = phase { return true }
        return false
    }

    /// Takes a bare SASL message.
    func received(token: ByteBuffer, on connection: Connection) {
        guard case .exchanging(var exchange, hasHeaders: false) = phase, let security else { return }
        switch step(&exchange, Array(token.readableBytesView), security) {
        case .challenge(let answer):
            phase = .exchanging(exchange, hasHeaders: false)
            connection.send(Self.bare(answer))
        case .refused(let answer, let failure):
            record(failure, exchange.mechanismName, connection)
            phase = .exchanging(exchange, hasHeaders: false)
            connection.send(Self.bare(answer))
        case .complete(let answer, let user, let expiration):
            _ = loggedIn(user, exchange, expiration, security, connection)
            connection.send(Self.bare(answer))
        case .failed(let failure):
            // There is no way to say it before SaslAuthenticate came to be: the connection ends.
            fail(failure, exchange.mechanismName, connection)
            closeLater(connection, security)
        }
    }

    private static func bare(_ token: [UInt8]) -> OutboundFrame {
        var head = ByteBuffer(integer: Int32(0))
        head.writeBytes(token)
        return OutboundFrame(head)
    }

    /// Whether a request is to be served. Those that log in are answered here, those that may not come yet end the connection.
    func admits(_ header: RequestFrameHeader, on connection: Connection) -> Bool {
        if case .open = phase, sessionDeadline == .max, header.apiKey != .saslHandshake, header.apiKey != .saslAuthenticate { return true }
        switch phase {
        case .expectsCertificate:
            return identifies(connection) && admits(header, on: connection)
        case .open:
            if header.apiKey == .saslHandshake { return handshake(header, connection) }
            if header.apiKey == .saslAuthenticate { return authenticate(header, connection) }
            guard SystemClock.monotonicMilliseconds() < sessionDeadline else {
                connection.close(
                    reason: "the session of \(principal) has ended and was not renewed (connections.max.reauth.ms, or its token expired)")
                return false
            }
            return true
        case .expectsHandshake:
            if header.apiKey == .apiVersions { return true }
            if header.apiKey == .saslHandshake { return handshake(header, connection) }
            connection.close(
                reason:
                    "\(header.apiKey) came before the login: listener \(connection.listenerName) wants SASL, the client does not speak it")
            return false
        case .exchanging, .otherMechanism:
            if header.apiKey == .saslAuthenticate { return authenticate(header, connection) }
            connection.close(reason: "\(header.apiKey) came in the middle of a login")
            return false
        case .failed: return false
        }
    }

    /// Works out who a client is by its certificate; false when nobody is let in under that name.
    private func identifies(_ connection: Connection) -> Bool {
        guard let name = connection.peerDistinguishedName, let security else {
            phase = .open
            return true
        }
        guard let user = security.settings.principalMapping.user(of: name) else {
            security.audit.record(
                .loginFailed, identity(connection),
                [("mechanism", "TLS"), ("certificate", name), ("reason", "no rule of ssl.principal.mapping.rules matches")])
            phase = .failed
            connection.close(reason: "no rule of ssl.principal.mapping.rules matches the certificate of \(name)")
            return false
        }
        principal = KafkaPrincipal(user: user)
        phase = .open
        return true
    }

    // MARK: requests

    private func handshake(_ header: RequestFrameHeader, _ connection: Connection) -> Bool {
        guard let request = try? SaslHandshakeRequest(decoding: header.body, version: header.version, allowingTrailingBytes: true) else {
            connection.close(reason: "a SaslHandshake request of version \(header.version) that cannot be read")
            return false
        }
        var response = SaslHandshakeResponse()
        guard let security, let sasl = security.settings.sasl else {
            response.errorCode = .illegalSaslState
            send(response, header, connection)
            return false
        }
        response.mechanisms = sasl.mechanisms.map(\.name)
        guard let wanted = sasl.mechanisms.first(where: { $0.name == request.mechanism }) else {
            response.errorCode = .unsupportedSaslMechanism
            security.audit.record(
                .loginFailed, identity(connection), [("mechanism", request.mechanism), ("reason", "the mechanism is not enabled")])
            phase = .failed
            failLater(response, header, connection, security)
            return false
        }
        if case .open = phase { isRenewal = true }
        if isRenewal, let mechanism, mechanism != wanted {
            phase = .otherMechanism(
                "SASL mechanism '\(wanted.name)' requested by client is not supported for re-authentication of mechanism '\(mechanism.name)'"
            )
        } else {
            mechanism = wanted
            phase = .exchanging(Self.exchange(wanted), hasHeaders: header.version >= 1)
        }
        send(response, header, connection)
        return false
    }

    private static func exchange(_ mechanism: SaslCredentials.Mechanism) -> SaslServerExchange {
        switch mechanism {
        case .plain: .plain()
        case .scram(let scram): .scram(scram, nonce: SaslNonce.random())
        case .oauthBearer: .oauthBearer()
        }
    }

    private func authenticate(_ header: RequestFrameHeader, _ connection: Connection) -> Bool {
        guard let request = try? SaslAuthenticateRequest(decoding: header.body, version: header.version, allowingTrailingBytes: true) else {
            connection.close(reason: "a SaslAuthenticate request of version \(header.version) that cannot be read")
            return false
        }
        var response = SaslAuthenticateResponse()
        response.errorMessage = nil
        guard let security else {
            return illegal("SaslAuthenticate request received without SASL being enabled at this listener.", header, connection)
        }
        switch phase {
        case .exchanging(var exchange, hasHeaders: true):
            switch step(&exchange, Array(request.authBytes.readableBytesView), security) {
            case .challenge(let answer):
                phase = .exchanging(exchange, hasHeaders: true)
                response.authBytes = ByteBuffer(bytes: answer)
                send(response, header, connection)
            case .refused(let answer, let failure):
                record(failure, exchange.mechanismName, connection)
                phase = .exchanging(exchange, hasHeaders: true)
                response.authBytes = ByteBuffer(bytes: answer)
                send(response, header, connection)
            case .complete(let answer, let user, let expiration):
                if isRenewal, user != principal.name {
                    return refuse(
                        "Cannot change principals during re-authentication from \(principal.type).\(principal.name): User.\(user)", header,
                        connection, security)
                }
                response.authBytes = ByteBuffer(bytes: answer)
                response.sessionLifetimeMs = loggedIn(user, exchange, expiration, security, connection)
                send(response, header, connection)
            case .failed(let failure):
                fail(failure, exchange.mechanismName, connection)
                response.errorCode = .saslAuthenticationFailed
                response.errorMessage = Self.message(failure, mechanism: exchange.mechanismName, isRenewal: isRenewal)
                failLater(response, header, connection, security)
            }
        case .otherMechanism(let message): return refuse(message, header, connection, security)
        default:
            return illegal("SaslAuthenticate request received after successful authentication", header, connection)
        }
        return false
    }

    private func illegal(_ message: String, _ header: RequestFrameHeader, _ connection: Connection) -> Bool {
        var response = SaslAuthenticateResponse()
        response.errorCode = .illegalSaslState
        response.errorMessage = message
        send(response, header, connection)
        return false
    }

    private func refuse(_ message: String, _ header: RequestFrameHeader, _ connection: Connection, _ security: ListenerSecurity) -> Bool {
        security.audit.record(.loginFailed, identity(connection), [("mechanism", mechanism?.name ?? ""), ("reason", message)])
        phase = .failed
        var response = SaslAuthenticateResponse()
        response.errorCode = .saslAuthenticationFailed
        response.errorMessage = message
        failLater(response, header, connection, security)
        return false
    }

    // MARK: outcomes

    private func step(_ exchange: inout SaslServerExchange, _ token: [UInt8], _ security: ListenerSecurity) -> SaslServerStep {
        // Who logs in again is not held to it by the bound of frames.
        guard token.count <= security.maximumTokenBytes else { return .failed(.malformed) }
        return exchange.step(
            token, password: { security.password(of: $0) }, keys: { security.keys(of: $0, $1) },
            delegationToken: { security.delegationToken($0, $1) }, accessToken: { security.accessToken($0) })
    }

    /// Returns the session's length in milliseconds, 0 for one without end.
    ///
    /// - Parameter expiration: milliseconds since 1970 at which what the client showed comes to its end; nil for never.
    private func loggedIn(
        _ user: String, _ exchange: SaslServerExchange, _ expiration: Int64?, _ security: ListenerSecurity, _ connection: Connection
    ) -> Int64 {
        principal = KafkaPrincipal(user: user, isTokenAuthenticated: exchange.isTokenAuthenticated)
        phase = .open
        connection.limitFrames(to: nil)
        if !isRenewal {
            let kind = exchange.isTokenAuthenticated ? [("with", "delegation token")] : []
            security.audit.record(.login, identity(connection), [("mechanism", exchange.mechanismName)] + kind)
        }
        isRenewal = false
        let maximum = mechanism.flatMap { security.settings.sasl?.maximumReauthenticationMilliseconds[$0] }
        // A token that is taken although it has expired by this clock has no time left at all.
        let remaining = expiration.map { max(0, $0 - SystemClock.now()) }
        guard let lifetime = [maximum, remaining].compactMap(\.self).min() else {
            sessionDeadline = .max
            return 0
        }
        sessionDeadline = SystemClock.monotonicMilliseconds() + lifetime
        return lifetime
    }

    private func fail(_ failure: SaslFailure, _ mechanismName: String, _ connection: Connection) {
        phase = .failed
        // What was wrong with a token was written down when the client was told that it is refused.
        if case .token = failure { return }
        record(failure, mechanismName, connection)
    }

    private func record(_ failure: SaslFailure, _ mechanismName: String, _ connection: Connection) {
        var fields = [("mechanism", mechanismName), ("reason", Self.reason(failure))]
        if let user = failure.user { fields.append(("user", user)) }
        security?.audit.record(.loginFailed, identity(connection), fields)
    }

    private static func reason(_ failure: SaslFailure) -> String {
        switch failure {
        case .invalidCredentials: "no such user, or another password"
        case .otherAuthorizationID, .otherTokenOwner: "the client wants to act as another user"
        case .malformed: "a message that cannot be read"
        case .noUser: "no user was named"
        case .noPassword: "no password was given"
        case .token(let failure): failure.description
        }
    }

    /// What the client is told: Kafka's words, which say nothing about what exactly was wrong.
    private static func message(_ failure: SaslFailure, mechanism: String, isRenewal: Bool) -> String {
        switch failure {
        case .noUser: return "Authentication failed: username not specified"
        case .noPassword: return "Authentication failed: password not specified"
        case .otherAuthorizationID: return "Authentication failed: Client requested an authorization id that is different from username"
        case .otherTokenOwner(let user, let requested):
            return
                "Authentication failed: Client requested an authorization id (\(requested)) that is different from the token's principal name "
                + "(\(user))"
        case .token: return SaslFailure.invalidToken
        case .invalidCredentials where mechanism == "PLAIN": return "Authentication failed: Invalid username or password"
        case .malformed where mechanism == "PLAIN": return "Invalid SASL/PLAIN response"
        case .invalidCredentials, .malformed:
            return
                "Authentication failed during \(isRenewal ? "re-authentication" : "authentication") due to invalid credentials with SASL "
                + "mechanism \(mechanism)"
        }
    }

    private func identity(_ connection: Connection) -> ClientIdentity {
        ClientIdentity(principal: principal, host: connection.remoteHost, listenerName: connection.listenerName)
    }

    private func send(_ response: some KafkaResponse, _ header: RequestFrameHeader, _ connection: Connection, closing reason: String? = nil)
    {
        do throws(WireError) {
            let frame = try Frame.response(
                response, version: header.version, correlationId: header.correlationID, withSize: true)
            connection.send(OutboundFrame(frame), closingAfterwards: reason)
        } catch {
            connection.close(reason: "\(error)")
        }
    }

    /// Answers after a while and closes, so that passwords cannot be tried quickly.
    private func failLater(
        _ response: some KafkaResponse, _ header: RequestFrameHeader, _ connection: Connection, _ security: ListenerSecurity
    ) {
        let bound = NIOLoopBound((self, connection), eventLoop: connection.eventLoop)
        connection.eventLoop.scheduleTask(in: .milliseconds(security.failureDelayMilliseconds)) {
            let (authentication, connection) = bound.value
            authentication.send(response, header, connection, closing: "the login failed")
        }
    }

    private func closeLater(_ connection: Connection, _ security: ListenerSecurity) {
        let handle = connection.handle
        connection.eventLoop.scheduleTask(in: .milliseconds(security.failureDelayMilliseconds)) { handle.close(reason: "the login failed") }
    }
}
