// Delegation tokens (KIP-48): a token's password is a code over its id, made with a secret that all nodes share, so that nothing secret has to
// be kept of a token; and what SCRAM needs to let its bearer in.
import Crypto
import Primitives

/// `delegation.token.secret.key`. Printing it shows nothing of it.
public struct DelegationTokenSecret: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    private let key: [UInt8]

    /// Nil for an empty text, which switches tokens off as in Kafka.
    public init?(_ text: String?) {
        guard let text, !text.isEmpty else { return nil }
        key = Array(text.utf8)
    }

    /// The code of a token, which its bearer shows in Base64: HMAC-SHA-512 of its id.
    public func code(of tokenID: String) -> [UInt8] {
        Array(HMAC<SHA512>.authenticationCode(for: Array(tokenID.utf8), using: SymmetricKey(data: key)))
    }

    /// What a server compares a bearer's proof with. Takes some milliseconds.
    public func keys(of tokenID: String, _ mechanism: ScramMechanism, salt: [UInt8]) -> ScramKeys? {
        let password = Base64.encode(code(of: tokenID))
        guard let salted = mechanism.saltedPassword(password, salt: salt, iterations: ScramMechanism.minimumIterations) else { return nil }
        return ScramKeys(mechanism, saltedPassword: salted, salt: salt, iterations: ScramMechanism.minimumIterations)
    }

    public var description: String { "a secret" }
    public var debugDescription: String { description }
}

/// What a server knows of a token that somebody logs in with.
public struct DelegationTokenLogin: Sendable, Hashable {
    public var keys: ScramKeys
    /// Whom its bearer acts as.
    public var owner: String
    /// Milliseconds since 1970 at which the session ends at the latest.
    public var expiration: Timestamp

    public init(keys: ScramKeys, owner: String, expiration: Timestamp) {
        self.keys = keys
        self.owner = owner
        self.expiration = expiration
    }
}
