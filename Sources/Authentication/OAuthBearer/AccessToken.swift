// A client's token once it is known to be good, and the reasons why one is not.

/// What a token says about the client that has it.
public struct AccessToken: Sendable, Hashable {
    /// The name of the user, from the claim that `sasl.oauthbearer.sub.claim.name` names.
    public var principalName: String
    /// Milliseconds since 1970 at which it ends.
    public var expirationMilliseconds: Int64
    /// Milliseconds since 1970 at which it was made.
    public var issuedAtMilliseconds: Int64
    /// From the claim that `sasl.oauthbearer.scope.claim.name` names. Nothing here decides by them, as in Kafka.
    public var scopes: [String]
}

/// Why a token is not taken. For the audit log; the client is only told that it is not.
public enum TokenFailure: Error, Sendable, Hashable, CustomStringConvertible {
    /// Not three parts of base64 with JSON in them, or JSON of another shape.
    case malformed(String)
    /// `none`, one with a shared secret, or one that is not known.
    case algorithm(String)
    /// The key set has no key for it.
    case unknownKey(id: String?, algorithm: String)
    /// No key set could be read so far.
    case noKeySet
    case wrongSignature
    case missingClaim(String)
    case wrongClaim(String, String)
    /// Seconds since 1970.
    case expired(at: Int64, user: String?)
    case notYetValid(until: Int64, user: String?)
    case wrongIssuer(String?, user: String?)
    case wrongAudience([String], user: String?)

    /// Who has the token, where the signature is known to be right.
    public var user: String? {
        switch self {
        case .expired(_, let user), .notYetValid(_, let user), .wrongIssuer(_, let user), .wrongAudience(_, let user): user
        default: nil
        }
    }

    public var description: String {
        switch self {
        case .malformed(let reason): "the token is damaged: \(reason)"
        case .algorithm(let name): "the token is signed by '\(clipped(name))', which is not taken"
        case .unknownKey(let id?, let algorithm): "the key set has no key '\(clipped(id))' for \(algorithm)"
        case .unknownKey(nil, let algorithm): "the token names no key, and the key set has none for \(algorithm)"
        case .noKeySet: "there is no key set yet (sasl.oauthbearer.jwks.endpoint.url)"
        case .wrongSignature: "the signature is wrong"
        case .missingClaim(let name): "the token has no claim '\(name)'"
        case .wrongClaim(let name, let reason): "the claim '\(name)' \(reason)"
        case .expired(let time, _): "the token expired at \(time)"
        case .notYetValid(let time, _): "the token is not valid before \(time)"
        case .wrongIssuer(let issuer?, _): "the token was issued by '\(clipped(issuer))' (sasl.oauthbearer.expected.issuer)"
        case .wrongIssuer(nil, _): "the token does not say who issued it (sasl.oauthbearer.expected.issuer)"
        case .wrongAudience(let audience, _) where audience.isEmpty:
            "the token does not say who it is for (sasl.oauthbearer.expected.audience)"
        case .wrongAudience(let audience, _):
            "the token is for '\(clipped(audience.joined(separator: "', '")))' (sasl.oauthbearer.expected.audience)"
        }
    }
}
