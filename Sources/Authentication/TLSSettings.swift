// How connections are to be secured by TLS, as configuration says it: where keys and certificates are, and whom to trust.

/// Keys and certificates of one side. Printing it shows no secret.
public struct TLSStore: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    public enum Kind: String, Sendable, Hashable {
        case pem = "PEM"
        case pkcs12 = "PKCS12"
    }

    public var kind: Kind
    /// `ssl.keystore.location`, `ssl.truststore.location`.
    public var location: String?
    /// `ssl.keystore.password`, `ssl.truststore.password`.
    public var password: String?
    /// `ssl.keystore.key`: PEM text.
    public var key: String?
    /// `ssl.keystore.certificate.chain` or `ssl.truststore.certificates`: PEM text.
    public var certificates: String?
    /// `ssl.key.password`.
    public var keyPassword: String?

    public init(
        kind: Kind, location: String? = nil, password: String? = nil, key: String? = nil, certificates: String? = nil,
        keyPassword: String? = nil
    ) {
        self.kind = kind
        self.location = location
        self.password = password
        self.key = key
        self.certificates = certificates
        self.keyPassword = keyPassword
    }

    public var description: String { "\(kind.rawValue) \(location ?? "in the configuration")" }
    public var debugDescription: String { description }
}

/// Everything about TLS on one listener, or towards it.
public struct TLSSettings: Sendable, Hashable {
    /// `ssl.client.auth`.
    public enum ClientAuthentication: String, Sendable, Hashable {
        case none, requested, required
    }

    public var keyStore: TLSStore?
    /// Nil for the certificate authorities of the system.
    public var trustStore: TLSStore?
    public var clientAuthentication: ClientAuthentication
    /// `ssl.enabled.protocols`, of which TLSv1.2 and TLSv1.3 are known.
    public var protocols: [String]
    /// `ssl.cipher.suites`, for TLS 1.2; empty for the defaults.
    public var cipherSuites: [String]
    /// `ssl.endpoint.identification.algorithm`: whether the server's name has to be in its certificate.
    public var verifiesHostName: Bool

    public init(
        keyStore: TLSStore? = nil, trustStore: TLSStore? = nil, clientAuthentication: ClientAuthentication = .none,
        protocols: [String] = ["TLSv1.2", "TLSv1.3"], cipherSuites: [String] = [], verifiesHostName: Bool = true
    ) {
        self.keyStore = keyStore
        self.trustStore = trustStore
        self.clientAuthentication = clientAuthentication
        self.protocols = protocols
        self.cipherSuites = cipherSuites
        self.verifiesHostName = verifiesHostName
    }

    /// Every protocol that can be enabled.
    public static let knownProtocols = ["TLSv1.2", "TLSv1.3"]
}
