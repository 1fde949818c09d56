// SASL as both sides see it: a mechanism's name, then messages back and forth until it is settled who the client is.
import Primitives

/// What the server does after a client's message.
public enum SaslServerStep: Sendable, Equatable {
    /// Sends this and waits for the next message.
    case challenge([UInt8])
    /// Sends this and waits for the client to confirm that it knows now; what comes next ends in `failed`.
    case refused([UInt8], SaslFailure)
    /// Sends this; the client is that user.
    ///
    /// - expiration: milliseconds since 1970 at which what the client logged in with comes to its end; nil for never.
    case complete([UInt8], user: String, expiration: Int64? = nil)
    case failed(SaslFailure)
}

/// Why an authentication came to nothing.
public enum SaslFailure: Error, Sendable, Hashable {
    /// No such user, or another password; which of them, the client is not told.
    case invalidCredentials(user: String)
    /// A client may only act as the user that it authenticates as.
    case otherAuthorizationID(user: String)
    case malformed
    case noUser
    case noPassword
    /// A client may only act as the user whom its token names.
    case otherTokenOwner(user: String, requested: String)
    case token(TokenFailure)

    /// What OAUTHBEARER says of a token that is not taken (RFC 7628 section 3.2.2), as Kafka writes it.
    public static let invalidToken = #"{"status":"invalid_token"}"#

    /// Who was to be authenticated, as far as that got known.
    public var user: String? {
        switch self {
        case .invalidCredentials(let user), .otherAuthorizationID(let user): user
        case .otherTokenOwner(let user, _): user
        case .token(let failure): failure.user
        case .malformed, .noUser, .noPassword: nil
        }
    }
}

/// What the client does after a server's message.
public enum SaslClientStep: Sendable, Equatable {
    case respond([UInt8])
    case complete
    /// The reason is for people and holds no secret.
    case failed(String)
}

/// One authentication, on the server's side.
public struct SaslServerExchange: Sendable {
    private enum Mechanism: Sendable {
        case plain
        case scram(ScramServer)
        case oauthBearer(OAuthBearerServer)
    }

    private var mechanism: Mechanism
    /// The mechanism's name.
    public let mechanismName: String

    /// PLAIN (RFC 4616).
    public static func plain() -> Self { Self(mechanism: .plain, mechanismName: "PLAIN") }

    /// - Parameter nonce: unpredictable, printable, without commas.
    public static func scram(_ mechanism: ScramMechanism, nonce: String) -> Self {
        Self(mechanism: .scram(ScramServer(mechanism, nonce: nonce)), mechanismName: mechanism.name)
    }

    /// OAUTHBEARER (RFC 7628).
    public static func oauthBearer() -> Self { Self(mechanism: .oauthBearer(OAuthBearerServer()), mechanismName: "OAUTHBEARER") }

    /// Whether the client logs in with a delegation token; known once the exchange is complete.
    public var isTokenAuthenticated: Bool {
        if case .scram(let server) = mechanism { return server.isTokenAuthenticated }
        return false
    }

    /// Takes the client's next message.
    ///
    /// - Parameters:
    ///   - password: the password of a user of PLAIN, nil when there is no such user.
    ///   - keys: what is stored of a SCRAM user's password, nil when there is no such user.
    ///   - delegationToken: the delegation token of an id, nil when there is none that is good.
    ///   - accessToken: what a token of OAUTHBEARER says, if it is good.
    public mutating func step(
        _ message: [UInt8], password: (String) -> String?, keys: (String, ScramMechanism) -> ScramKeys?,
        delegationToken: (String, ScramMechanism) -> DelegationTokenLogin? = { _, _ in nil },
        accessToken: (String) -> Result<AccessToken, TokenFailure>
    ) -> SaslServerStep {
        switch mechanism {
        case .plain: return PlainMessage.check(message, password: password)
        case .scram(var server):
            let scram = server.mechanism
            let step = server.step(message, credential: { keys($0, scram) }, delegationToken: { delegationToken($0, scram) })
            mechanism = .scram(server)
            return step
        case .oauthBearer(var server):
            let step = server.step(message, token: accessToken)
            mechanism = .oauthBearer(server)
            return step
        }
    }
}

/// One authentication, on the client's side.
public struct SaslClientExchange: Sendable {
    private enum Mechanism: Sendable {
        case plain
        case scram(ScramClient)
        case oauthBearer(error: String?)
    }

    private var mechanism: Mechanism
    /// The first message to the server.
    public let firstMessage: [UInt8]

    /// - Parameter nonce: unpredictable, printable, without commas.
    public init(_ credentials: SaslCredentials, nonce: String) {
        switch credentials.mechanism {
        case .plain:
            mechanism = .plain
            firstMessage = Array("\u{0}\(credentials.user)\u{0}\(credentials.password)".utf8)
        case .scram(let scram):
            let client = ScramClient(
                scram, user: credentials.user, password: credentials.password, isToken: credentials.isDelegationToken, nonce: nonce)
            mechanism = .scram(client)
            firstMessage = client.firstMessage
        case .oauthBearer:
            mechanism = .oauthBearer(error: nil)
            firstMessage = OAuthBearerMessage.bytes(token: credentials.password)
        }
    }

    /// Takes the server's answer. PLAIN has one message only, and an error code says whether it was right.
    public mutating func step(_ challenge: [UInt8]) -> SaslClientStep {
        switch mechanism {
        case .plain: return .complete
        case .scram(var client):
            let step = client.step(challenge)
            mechanism = .scram(client)
            return step
        case .oauthBearer(nil):
            guard !challenge.isEmpty else { return .complete }
            mechanism = .oauthBearer(error: clipped(String(decoding: challenge, as: UTF8.self)))
            return .respond(OAuthBearerMessage.confirmation)
        case .oauthBearer(let error?): return .failed("the token was refused: \(error)")
        }
    }
}

/// Who a client is and how it proves it. Printing it shows no password.
public struct SaslCredentials: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    public enum Mechanism: Sendable, Hashable {
        case plain
        case scram(ScramMechanism)
        /// The password is the token; nobody needs to name a user.
        case oauthBearer

        /// The name on the wire; nil for mechanisms that this software does not speak.
        public init?(name: String) {
            if name == "PLAIN" {
                self = .plain
            } else if name == "OAUTHBEARER" {
                self = .oauthBearer
            } else if let scram = ScramMechanism(name: name) {
                self = .scram(scram)
            } else {
                return nil
            }
        }

        public var name: String {
            switch self {
            case .plain: "PLAIN"
            case .scram(let mechanism): mechanism.name
            case .oauthBearer: "OAUTHBEARER"
            }
        }

        public var isScram: Bool {
            if case .scram = self { return true }
            return false
        }

        /// Every name that a configuration may use.
        public static let names = ["PLAIN"] + ScramMechanism.allCases.map(\.name) + ["OAUTHBEARER"]
    }

    public var mechanism: Mechanism
    public var user: String
    public var password: String
    /// Whether user and password are a delegation token's id and code (KIP-48); by SCRAM only.
    public var isDelegationToken: Bool

    public init(mechanism: Mechanism, user: String, password: String, isDelegationToken: Bool = false) {
        self.mechanism = mechanism
        self.user = user
        self.password = password
        self.isDelegationToken = isDelegationToken
    }

    /// The only word of a file with a token; nil when there is none, or more than one.
    public static func token(in text: String) -> String? {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard words.count == 1, words[0].utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else { return nil }
        return String(words[0])
    }

    public var description: String { mechanism == .oauthBearer ? "this side by \(mechanism.name)" : "\(user) by \(mechanism.name)" }
    public var debugDescription: String { description }
}

/// A nonce for SCRAM from random bytes, as printable text without commas.
public enum SaslNonce {
    public static func random(using generator: inout some RandomNumberGenerator) -> String {
        let bytes = (0..<24).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return Base64.encode(bytes)
    }

    /// From the system's own source of randomness.
    public static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }
}

func encoded(_ bytes: [UInt8]) -> String { Base64.encode(bytes) }
