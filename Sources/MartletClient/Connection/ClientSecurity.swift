// How a client shows who it is and makes sure of the broker: TLS and SASL, under the names of Kafka's client properties.
import Authentication
import KafkaMessages
import KafkaWire
import NIOCore
import TransportSecurity

/// Security of a client's connections.
///
/// ```swift
/// configuration.security = try ClientSecurity { properties[$0] }
/// ```
public struct ClientSecurity: Sendable {
    /// Nil for plaintext.
    var tls: TLSClientContext?
    /// Nil without SASL.
    var credentials: SaslCredentials?
    /// Where the tokens of OAUTHBEARER come from.
    var tokens: ClientTokens?

    /// Plaintext, and nobody in particular.
    public static let none = ClientSecurity(tls: nil, credentials: nil)

    init(tls: TLSClientContext?, credentials: SaslCredentials?) {
        self.tls = tls
        self.credentials = credentials
    }

    /// What to log in with now; nil without SASL.
    ///
    /// - Parameter limit: how long to wait for an endpoint to give out a token.
    func currentCredentials(on group: any EventLoopGroup, within limit: Duration) async throws(KafkaError) -> SaslCredentials? {
        guard let tokens, var credentials else { return credentials }
        credentials.password = try await tokens.current(on: group, within: limit)
        return credentials
    }

    /// Reads Kafka's client properties: `security.protocol`, `sasl.mechanism`, `sasl.jaas.config`, `ssl.*`, for OAUTHBEARER
    /// `sasl.oauthbearer.*` and `sasl.login.*`; also `sasl.username` and `sasl.password` as librdkafka has them.
    ///
    /// - Parameter property: a property's value, nil when it is not set.
    /// - Throws: `invalidArgument` with the property that cannot be used.
    public init(_ property: (String) -> String?) throws(KafkaError) {
        let name = property("security.protocol")?.uppercased() ?? "PLAINTEXT"
        guard ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"].contains(name) else {
            throw KafkaError(.invalidArgument, "security.protocol is '\(name)'; it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
        }
        if name.hasSuffix("SSL") {
            do throws(SecuritySettingError) {
                let settings = try TLSSettings(property)
                do throws(TLSFailure) {
                    tls = try TLSClientContext(settings)
                } catch {
                    throw SecuritySettingError(key: "security.protocol=\(name):", reason: "\(error)")
                }
            } catch {
                throw KafkaError(.invalidArgument, "\(error)")
            }
        }
        if name.hasPrefix("SASL") {
            credentials = try Self.credentials(property)
            if credentials?.mechanism == .oauthBearer { tokens = try Self.tokens(property) }
        }
    }

    private static func tokens(_ property: (String) -> String?) throws(KafkaError) -> ClientTokens {
        var entry: JAASEntry?
        if let text = property("sasl.jaas.config"), !text.isEmpty {
            do throws(JAASError) {
                entry = try JAASConfiguration.parse(text)
            } catch {
                throw KafkaError(.invalidArgument, "sasl.jaas.config \(error)")
            }
        }
        do throws(SecuritySettingError) {
            let origin = try TokenOrigin(entry, property)
            do throws(TLSFailure) {
                return try ClientTokens(origin)
            } catch {
                throw SecuritySettingError(key: "sasl.jaas.config:", reason: "\(error)")
            }
        } catch {
            throw KafkaError(.invalidArgument, "\(error)")
        }
    }

    private static func credentials(_ property: (String) -> String?) throws(KafkaError) -> SaslCredentials {
        let name = property("sasl.mechanism") ?? property("sasl.mechanisms") ?? "GSSAPI"
        guard let mechanism = SaslCredentials.Mechanism(name: name) else {
            let known = SaslCredentials.Mechanism.names.joined(separator: ", ")
            throw KafkaError(.invalidArgument, "sasl.mechanism is \(name), which is not spoken here; set it to one of \(known)")
        }
        if mechanism == .oauthBearer { return SaslCredentials(mechanism: mechanism, user: "", password: "") }
        if let text = property("sasl.jaas.config"), !text.isEmpty {
            do throws(JAASError) {
                let entry = try JAASConfiguration.parse(text)
                guard let user = entry.option("username"), let password = entry.option("password") else {
                    throw JAASError(description: "has no username or no password")
                }
                let isToken = entry.option("tokenauth")?.lowercased() == "true"
                guard !isToken || mechanism.isScram else { throw JAASError(description: "has tokenauth, which only SCRAM knows") }
                return SaslCredentials(mechanism: mechanism, user: user, password: password, isDelegationToken: isToken)
            } catch {
                throw KafkaError(.invalidArgument, "sasl.jaas.config \(error)")
            }
        }
        guard let user = property("sasl.username"), let password = property("sasl.password") else {
            throw KafkaError(.invalidArgument, "sasl.jaas.config must be set, or sasl.username and sasl.password")
        }
        return SaslCredentials(mechanism: mechanism, user: user, password: password)
    }
}

extension BrokerConnection {
    /// Logs in on a connection whose versions are known, for the first time or again. Returns how many milliseconds the session lasts, 0 for
    /// without end.
    func logIn(_ credentials: SaslCredentials, timeout: Duration) async throws(KafkaError) -> Int64 {
        guard versions.supports(.saslHandshake), versions.supports(.saslAuthenticate) else {
            throw KafkaError(
                .authenticationFailed, "\(address) offers no SASL: is security.protocol right for this listener?")
        }
        var handshake = SaslHandshakeRequest()
        handshake.mechanism = credentials.mechanism.name
        let offer = try await send(handshake, timeout: timeout, allowed: 1...1, isLogin: true)
        guard offer.errorCode == .none else {
            throw KafkaError(
                .authenticationFailed,
                "\(address) does not take \(credentials.mechanism.name); it takes \(offer.mechanisms.joined(separator: ", "))")
        }
        var exchange = SaslClientExchange(credentials, nonce: SaslNonce.random())
        var token = exchange.firstMessage
        while true {
            var request = SaslAuthenticateRequest()
            request.authBytes = ByteBuffer(bytes: token)
            let response = try await send(request, timeout: timeout, isLogin: true)
            guard response.errorCode == .none else {
                let message = response.errorMessage ?? response.errorCode.defaultMessage
                throw KafkaError(.authenticationFailed, "\(address) refused the login of \(credentials): \(message)")
            }
            switch exchange.step(Array(response.authBytes.readableBytesView)) {
            case .respond(let next): token = next
            case .complete: return response.sessionLifetimeMs
            case .failed(let reason): throw KafkaError(.authenticationFailed, "the login at \(address) failed: \(reason)")
            }
        }
    }
}
