// A token that an endpoint gave out, as its bearer sees it: the text, and until when it is good. The bearer does not check signatures; whom
// it shows the token to does.
import Primitives

/// A token of one's own. Printing it shows no token.
public struct IssuedToken: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    public let text: String
    /// Milliseconds since 1970.
    public let expirationMilliseconds: Int64
    /// Milliseconds since 1970; nil when the token does not say.
    public let issuedAtMilliseconds: Int64?
    /// Whose it is (claim `sub`), for the log, where it is cut off if it is long; nil when the token does not say.
    public let principalName: String?

    private static let maximumDepth = 16
    /// The year 9999; more is no time.
    private static let latestSecond: Double = 253_402_300_799

    public init(text: String, expirationMilliseconds: Int64, issuedAtMilliseconds: Int64? = nil, principalName: String? = nil) {
        self.text = text
        self.expirationMilliseconds = expirationMilliseconds
        self.issuedAtMilliseconds = issuedAtMilliseconds
        self.principalName = principalName
    }

    public var description: String { "a token of \(principalName ?? "somebody") until \(expirationMilliseconds)" }
    public var debugDescription: String { description }

    /// Reads the answer of a token endpoint (RFC 6749 section 5): `access_token`, else `id_token`, as Kafka does. When it ends says the token
    /// itself (claim `exp`), or the answer (`expires_in`) where the token is none that could be read.
    ///
    /// - Parameters:
    ///   - status: HTTP's.
    ///   - now: milliseconds since 1970.
    public init(status: Int, body: [UInt8], now: Int64) throws(TokenEndpointFailure) {
        let document = try? JSONValue(parsing: body, maximumDepth: Self.maximumDepth)
        guard status == 200 || status == 201 else {
            throw TokenEndpointFailure(Self.refusal(status, document), isRetriable: !TokenEndpointFailure.finalStatuses.contains(status))
        }
        guard let document, document.objectValue != nil else {
            throw TokenEndpointFailure("the answer is no JSON object", isRetriable: false)
        }
        let found = ["access_token", "id_token"].lazy.compactMap { document[$0]?.stringValue }.map(trimmed).first { !$0.isEmpty }
        guard let found else { throw TokenEndpointFailure("the answer has no access_token", isRetriable: false) }
        guard found.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw TokenEndpointFailure("the answer's token has characters that no token has", isRetriable: false)
        }
        let claims = Self.claims(found)
        let seconds = document["expires_in"]?.numberValue ?? document["expires_in"]?.stringValue.flatMap(Double.init)
        var expiration = claims.flatMap { Self.time($0, "exp") }
        if expiration == nil, let seconds, seconds > 0, seconds <= Self.latestSecond { expiration = now + Int64(seconds * 1000) }
        guard let expiration else {
            throw TokenEndpointFailure("neither the token nor the answer says when the token ends (exp, expires_in)", isRetriable: false)
        }
        self.init(
            text: found, expirationMilliseconds: expiration, issuedAtMilliseconds: claims.flatMap { Self.time($0, "iat") },
            principalName: claims?["sub"]?.stringValue.map { clipped($0) })
    }

    /// What an endpoint says of a request that it does not grant (RFC 6749 section 5.2, or Okta's names, as Kafka looks for them).
    private static func refusal(_ status: Int, _ document: JSONValue?) -> String {
        var words: [String] = []
        for names in [["error", "error_description"], ["errorCode", "errorSummary"]] where words.isEmpty {
            words = names.compactMap { document?[$0]?.stringValue }.filter { !$0.isEmpty }.map(printable)
        }
        return "the answer is HTTP status \(status)" + (words.isEmpty ? "" : ": \(words.joined(separator: ", "))")
    }

    /// Short, and on one line.
    private static func printable(_ text: String) -> String {
        clipped(String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 })))
    }

    /// The claims of a token in JWS's compact form; nil for any other.
    private static func claims(_ token: String) -> JSONValue? {
        let parts = token.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64.decodeForAddresses(parts[1]) else { return nil }
        return try? JSONValue(parsing: bytes, maximumDepth: maximumDepth)
    }

    private static func time(_ claims: JSONValue, _ name: String) -> Int64? {
        guard let seconds = claims[name]?.numberValue, seconds >= 0, seconds <= latestSecond else { return nil }
        return Int64(seconds) * 1000
    }
}

/// Why there is no token. Holds no secret and no token.
public struct TokenEndpointFailure: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
    /// False when asking again, with the same id and secret, leads nowhere.
    public let isRetriable: Bool

    /// The statuses that Kafka gives up at: what was asked for is wrong, or not to be had.
    static let finalStatuses: Set<Int> = [
        400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 411, 412, 413, 414, 415, 501, 505,
    ]

    public init(_ description: String, isRetriable: Bool) {
        self.description = description
        self.isRetriable = isRetriable
    }
}
