// What a token endpoint is asked for a token of one's own with: the client credentials grant (RFC 6749 section 4.4, KIP-768), as Kafka's
// clients write it.
import Primitives

/// An id and a secret that the identity provider knows. Printing it shows no secret.
public struct ClientCredentialsGrant: Sendable, Hashable, CustomStringConvertible, CustomDebugStringConvertible {
    /// `sasl.oauthbearer.client.credentials.client.id`.
    public let clientID: String
    /// `sasl.oauthbearer.client.credentials.client.secret`.
    let clientSecret: String
    /// `sasl.oauthbearer.scope`; nil for whatever the provider gives.
    public let scope: String?
    /// `sasl.oauthbearer.header.urlencode`: whether id, secret and scope are written as in forms, as the RFC has it and Kafka by default has not.
    public let isEncoded: Bool

    /// Nil when id or secret is blank. White space around them does not count, as in Kafka.
    public init?(clientID: String, clientSecret: String, scope: String? = nil, isEncoded: Bool = false) {
        let (id, secret, scope) = (trimmed(clientID), trimmed(clientSecret), trimmed(scope ?? ""))
        guard !id.isEmpty, !secret.isEmpty else { return nil }
        self.clientID = id
        self.clientSecret = secret
        self.scope = scope.isEmpty ? nil : scope
        self.isEncoded = isEncoded
    }

    /// The value of the header `Authorization` (RFC 7617). A secret.
    public var authorization: String { "Basic " + Base64.encode("\(written(clientID)):\(written(clientSecret))".utf8) }

    /// The form that is sent.
    public var body: String { "grant_type=client_credentials" + (scope.map { "&scope=\(written($0))" } ?? "") }

    /// The text without the secret, should whoever wrote it have put it in.
    public func hidingSecret(in text: String) -> String {
        [clientSecret, written(clientSecret), authorization.dropFirst(6).description].reduce(text) { $0.replacing($1, with: "…") }
    }

    public var description: String { "client \(clientID)" }
    public var debugDescription: String { description }

    private func written(_ text: String) -> String { isEncoded ? Self.formEncoded(text) : text }

    /// `application/x-www-form-urlencoded`, as Java's URLEncoder writes it.
    static func formEncoded(_ text: String) -> String {
        var characters: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "*"), UInt8(ascii: "_"):
                characters.append(byte)
            case UInt8(ascii: " "): characters.append(UInt8(ascii: "+"))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                characters += Array((byte < 16 ? "%0\(digits)" : "%\(digits)").utf8)
            }
        }
        return String(decoding: characters, as: UTF8.self)
    }
}

/// Without white space at both ends, as Java's `trim` takes it.
func trimmed(_ text: String) -> String {
    let scalars = text.unicodeScalars
    guard let first = scalars.firstIndex(where: { $0.value > 0x20 }), let last = scalars.lastIndex(where: { $0.value > 0x20 }) else {
        return ""
    }
    return String(scalars[first...last])
}
