// What a configuration says about security, as typed values: who may connect to a listener and how, what a node itself logs in with at
// others, and whether there is an authorizer.
import Authentication
import Authorization

/// Security of a whole node.
public struct SecuritySettings: Sendable, Equatable {
    /// By the listener's name in capitals; every listener has an entry.
    public var listeners: [String: ListenerSecuritySettings] = [:]
    /// Nil when `authorizer.class.name` is empty: everybody may do everything.
    public var authorizer: AccessRules?
    /// What this node uses towards the listener of that name at other nodes: `inter.broker.listener.name` and the first of
    /// `controller.listener.names`.
    public var outgoing: [String: OutgoingSecuritySettings] = [:]
    /// `connection.failed.authentication.delay.ms`.
    public var failedAuthenticationDelayMilliseconds: Int64 = 100
    /// `sasl.server.max.receive.size`.
    public var maximumTokenBytes: Int = 524_288
    /// `martlet.audit.log.file`; nil for the node's own log.
    public var auditLogFile: String?
    /// `delegation.token.secret.key`; nil when there are no delegation tokens.
    public var delegationTokenSecret: DelegationTokenSecret?

    public init() {}
}

/// Security of one listener.
public struct ListenerSecuritySettings: Sendable, Equatable {
    public var securityProtocol: SecurityProtocol
    /// Nil without SASL.
    public var sasl: SaslListenerSettings?
    /// Nil without TLS.
    public var tls: TLSSettings?
    /// `ssl.principal.mapping.rules`.
    public var principalMapping = PrincipalMappingRules.standard

    public init(_ securityProtocol: SecurityProtocol) {
        self.securityProtocol = securityProtocol
    }
}

/// Who may log in at a listener by SASL. Printing it shows no password.
public struct SaslListenerSettings: Sendable, Equatable, CustomStringConvertible {
    /// `sasl.enabled.mechanisms`, those that are spoken here.
    public var mechanisms: [SaslCredentials.Mechanism]
    /// PLAIN's users with their passwords, from `sasl.jaas.config`.
    public var plainUsers: [String: String]
    /// `martlet.sasl.plain.users.file`: more of them.
    public var plainUsersFile: String?
    /// `connections.max.reauth.ms` by mechanism (KIP-368); absent for sessions without end.
    public var maximumReauthenticationMilliseconds: [SaslCredentials.Mechanism: Int64]
    /// Nil when OAUTHBEARER is not among the mechanisms.
    public var oauthBearer: OAuthBearerSettings?

    public var description: String { mechanisms.map(\.name).joined(separator: ", ") }
}

/// Whose tokens OAUTHBEARER takes at a listener.
public struct OAuthBearerSettings: Sendable, Equatable {
    /// `sasl.oauthbearer.jwks.endpoint.url`.
    public var keySet: KeySetAddress
    /// For https: `ssl.*` of the listener's JAAS entry.
    public var tls: TLSSettings
    /// The `sasl.oauthbearer.*` keys about what has to be in a token.
    public var validator: TokenValidator
    /// `sasl.oauthbearer.jwks.endpoint.refresh.ms`; a file is read again when it changes.
    public var refreshMilliseconds: Int64
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.ms`.
    public var retryBackoffMilliseconds: Int64
    /// `sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms`.
    public var maximumRetryBackoffMilliseconds: Int64
}

/// How this node connects to a listener of other nodes.
public struct OutgoingSecuritySettings: Sendable, Equatable {
    public var securityProtocol: SecurityProtocol
    public var credentials: SaslCredentials?
    /// Where the token is that this node logs in with by OAUTHBEARER: `sasl.oauthbearer.token.endpoint.url`.
    public var token: TokenOrigin?
    public var tls: TLSSettings?
}
