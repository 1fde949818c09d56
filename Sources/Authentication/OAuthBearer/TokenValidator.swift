// Whether a token is to be believed: its shape (JWS in compact form, RFC 7515), its signature by a key of the set, and its claims (RFC
// 7519) by the rules of Kafka's BrokerJwtValidator. No clock and no files: time and keys are handed in.
import Primitives

/// The rules for tokens of one listener.
public struct TokenValidator: Sendable, Hashable {
    /// `sasl.oauthbearer.expected.audience`: the token must be for one of them; empty for any or none.
    public var expectedAudience: [String]
    /// `sasl.oauthbearer.expected.issuer`; nil for any or none.
    public var expectedIssuer: String?
    /// `sasl.oauthbearer.clock.skew.seconds`: how far the provider's clock may be from this one.
    public var clockSkewSeconds: Int64
    /// `sasl.oauthbearer.scope.claim.name`.
    public var scopeClaimName: String
    /// `sasl.oauthbearer.sub.claim.name`: the claim with the user's name.
    public var subClaimName: String

    private static let maximumDepth = 16
    /// The year 9999; more is no time.
    private static let latestSecond: Int64 = 253_402_300_799

    public init(
        expectedAudience: [String], expectedIssuer: String?, clockSkewSeconds: Int64 = 30, scopeClaimName: String = "scope",
        subClaimName: String = "sub"
    ) {
        self.expectedAudience = expectedAudience
        self.expectedIssuer = expectedIssuer
        self.clockSkewSeconds = clockSkewSeconds
        self.scopeClaimName = scopeClaimName
        self.subClaimName = subClaimName
    }

    /// Checks a token.
    ///
    /// - Parameter now: milliseconds since 1970.
    public func validate(_ token: String, _ keys: JSONWebKeySet, now: Int64) throws(TokenFailure) -> AccessToken {
        let parts = Array(token.utf8).split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, !parts.contains(where: \.isEmpty) else { throw .malformed("it has not three parts") }
        let algorithm = try checkSignature(parts, keys)
        let claims = try Self.object(parts[1], "the claims")
        return try check(claims, algorithm, now: now)
    }

    private func checkSignature(_ parts: [ArraySlice<UInt8>], _ keys: JSONWebKeySet) throws(TokenFailure) -> SignatureAlgorithm {
        let header = try Self.object(parts[0], "the header")
        guard let name = header["alg"]?.stringValue else { throw .malformed("the header names no algorithm") }
        guard let algorithm = SignatureAlgorithm(rawValue: name) else { throw .algorithm(name) }
        // Something that must be understood, and nothing like it is understood here (RFC 7515 section 4.1.11).
        guard header["crit"] == nil else { throw .malformed("the header has critical extensions") }
        var id: String?
        if let value = header["kid"] {
            guard let text = value.stringValue else { throw .malformed("the key id is no text") }
            id = text
        }
        guard let signature = Base64.decodeForAddresses(parts[2]) else { throw .malformed("the signature is no base64") }
        let candidates = keys.candidates(id: id, algorithm)
        guard !candidates.isEmpty else { throw .unknownKey(id: id, algorithm: name) }
        let content = Array(parts[0]) + [UInt8(ascii: ".")] + Array(parts[1])
        guard candidates.contains(where: { $0.verifies(signature, of: content, algorithm) }) else { throw .wrongSignature }
        return algorithm
    }

    private func check(_ claims: JSONObject, _ algorithm: SignatureAlgorithm, now: Int64) throws(TokenFailure) -> AccessToken {
        let user = claims[subClaimName]?.stringValue.map(trimmed)
        guard let expiration = try Self.time(claims, "exp") else { throw .missingClaim("exp") }
        guard let issuedAt = try Self.time(claims, "iat") else { throw .missingClaim("iat") }
        let notBefore = try Self.time(claims, "nbf")
        let second = now / 1000
        if second - clockSkewSeconds >= expiration { throw .expired(at: expiration, user: user) }
        if let notBefore {
            if second + clockSkewSeconds < notBefore { throw .notYetValid(until: notBefore, user: user) }
            if expiration < notBefore { throw .wrongClaim("exp", "is before 'nbf'") }
        }
        if expiration < issuedAt { throw .wrongClaim("exp", "is before 'iat'") }
        try checkOrigin(claims, user)
        let scopes = try scopes(claims)
        guard let value = claims[subClaimName] else { throw .missingClaim(subClaimName) }
        guard value.stringValue != nil, let user else { throw .wrongClaim(subClaimName, "is no text") }
        guard !user.isEmpty else { throw .wrongClaim(subClaimName, "is empty") }
        return AccessToken(
            principalName: user, expirationMilliseconds: expiration * 1000, issuedAtMilliseconds: issuedAt * 1000, scopes: scopes)
    }

    /// Who made the token, and for whom.
    private func checkOrigin(_ claims: JSONObject, _ user: String?) throws(TokenFailure) {
        if let expectedIssuer {
            let issuer = claims["iss"]?.stringValue
            guard issuer == expectedIssuer else { throw .wrongIssuer(issuer, user: user) }
        }
        guard !expectedAudience.isEmpty else { return }
        var audience: [String] = []
        switch claims["aud"] {
        case nil: break
        case .string(let one): audience = [one]
        case .array(let several):
            for value in several {
                guard let text = value.stringValue else { throw .wrongClaim("aud", "is neither text nor a list of texts") }
                audience.append(text)
            }
        default: throw .wrongClaim("aud", "is neither text nor a list of texts")
        }
        guard audience.contains(where: expectedAudience.contains) else { throw .wrongAudience(audience, user: user) }
    }

    private func scopes(_ claims: JSONObject) throws(TokenFailure) -> [String] {
        var values: [JSONValue] = []
        switch claims[scopeClaimName] {
        case .string(let one): values = [.string(one)]
        case .array(let several): values = several
        default: return []
        }
        var scopes: Set<String> = []
        var ordered: [String] = []
        for value in values {
            guard let text = value.stringValue.map(trimmed), !text.isEmpty else {
                throw .wrongClaim(scopeClaimName, "has a scope that is empty or no text")
            }
            guard scopes.insert(text).inserted else { throw .wrongClaim(scopeClaimName, "names a scope twice") }
            ordered.append(text)
        }
        return ordered
    }

    /// A time in seconds since 1970, nil when the claim is not there. Fractions are cut off.
    private static func time(_ claims: JSONObject, _ name: String) throws(TokenFailure) -> Int64? {
        guard let value = claims[name] else { return nil }
        guard let seconds = value.numberValue, seconds >= 0, seconds <= Double(latestSecond) else {
            throw .wrongClaim(name, "is no time")
        }
        return value.integerValue ?? Int64(seconds)
    }

    /// A part of the token: base64 of an object in UTF-8, no name of which stands twice at the top.
    private static func object(_ part: ArraySlice<UInt8>, _ what: String) throws(TokenFailure) -> JSONObject {
        guard let bytes = Base64.decodeForAddresses(part) else { throw .malformed("\(what) is no base64") }
        guard String(validating: bytes, as: UTF8.self) != nil else { throw .malformed("\(what) is no UTF-8") }
        let value: JSONValue
        do throws(JSONError) {
            value = try JSONValue(parsing: bytes, maximumDepth: maximumDepth)
        } catch {
            throw .malformed("\(what) is \(clipped(error.description))")
        }
        guard let object = value.objectValue else { throw .malformed("\(what) is no object") }
        var names: Set<String> = []
        for member in object.members where !names.insert(member.name).inserted {
            throw .malformed("\(what) names '\(clipped(member.name))' twice")
        }
        return object
    }
}
