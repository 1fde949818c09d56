// An identity provider for tests: keys of every kind, the key set that it publishes, and tokens that it signs.
import Crypto
import CryptoExtras
import Primitives

@testable import Authentication

struct TokenIssuer {
    enum PrivateKey {
        case rsa(_RSA.Signing.PrivateKey)
        case p256(P256.Signing.PrivateKey)
        case p384(P384.Signing.PrivateKey)
        case p521(P521.Signing.PrivateKey)
        case ed25519(Curve25519.Signing.PrivateKey)
    }

    /// Made once: an RSA key takes a while.
    static let shared = try! TokenIssuer()
    static let now: Int64 = 1_764_352_800_000

    let keys: [(id: String, key: PrivateKey)]

    init() throws {
        keys = [
            ("rsa", .rsa(try _RSA.Signing.PrivateKey(keySize: .bits2048))), ("p256", .p256(P256.Signing.PrivateKey())),
            ("p384", .p384(P384.Signing.PrivateKey())), ("p521", .p521(P521.Signing.PrivateKey())),
            ("ed25519", .ed25519(Curve25519.Signing.PrivateKey())),
        ]
    }

    static func encoded(_ bytes: some Sequence<UInt8>) -> String {
        String(Base64.encode(bytes).compactMap { $0 == "=" ? nil : $0 == "+" ? "-" : $0 == "/" ? "_" : $0 })
    }

    var keySetText: String {
        JSONValue.object([("keys", .array(keys.map { Self.published($0.id, $0.key) }))]).description
    }

    var keySet: JSONWebKeySet { get throws { try JSONWebKeySet(parsing: Array(keySetText.utf8)) } }

    static func published(_ id: String, _ key: PrivateKey) -> JSONValue {
        switch key {
        case .rsa(let key):
            let numbers = try! key.publicKey.getKeyPrimitives()
            return [
                "kty": "RSA", "kid": .string(id), "use": "sig", "n": .string(encoded(numbers.modulus)),
                "e": .string(encoded(numbers.publicExponent)),
            ]
        case .p256(let key): return point(id, "P-256", Array(key.publicKey.rawRepresentation))
        case .p384(let key): return point(id, "P-384", Array(key.publicKey.rawRepresentation))
        case .p521(let key): return point(id, "P-521", Array(key.publicKey.rawRepresentation))
        case .ed25519(let key):
            return [
                "kty": "OKP", "crv": "Ed25519", "kid": .string(id), "alg": "EdDSA", "x": .string(encoded(key.publicKey.rawRepresentation)),
            ]
        }
    }

    private static func point(_ id: String, _ curve: String, _ bytes: [UInt8]) -> JSONValue {
        [
            "kty": "EC", "crv": .string(curve), "kid": .string(id), "key_ops": ["verify"],
            "x": .string(encoded(bytes.prefix(bytes.count / 2))), "y": .string(encoded(bytes.suffix(bytes.count / 2))),
        ]
    }

    static let goodClaims: JSONObject = JSONObject([
        ("sub", "alice"), ("iss", "https://issuer.example"), ("aud", ["other", "kafka"]), ("iat", .integer(now / 1000 - 10)),
        ("exp", .integer(now / 1000 + 600)), ("scope", ["read", "write"]),
    ])

    /// A token of these claims.
    ///
    /// - Parameters:
    ///   - change: applied to the good claims.
    ///   - header: added to the header.
    func token(
        _ algorithm: SignatureAlgorithm = .es256, header: [(String, JSONValue)] = [], keyID: String?? = .none,
        changing change: (inout JSONObject) -> Void = { _ in }
    ) throws -> String {
        var claims = Self.goodClaims
        change(&claims)
        return try token(algorithm, header: header, keyID: keyID, text: JSONValue.object(claims).description)
    }

    func token(
        _ algorithm: SignatureAlgorithm = .es256, header: [(String, JSONValue)] = [], keyID: String?? = .none, text: String
    ) throws -> String {
        let (id, key) = keys.first { Self.family($0.key) == algorithm.family }!
        var members: [(String, JSONValue)] = [("alg", .string(algorithm.rawValue)), ("typ", "JWT")]
        if let id = keyID ?? id { members.append(("kid", .string(id))) }
        let head = JSONValue.object(members + header).description
        let content = Self.encoded(head.utf8) + "." + Self.encoded(text.utf8)
        return content + "." + Self.encoded(try Self.sign(Array(content.utf8), algorithm, key))
    }

    private static func family(_ key: PrivateKey) -> KeyFamily {
        switch key {
        case .rsa: .rsa
        case .p256: .p256
        case .p384: .p384
        case .p521: .p521
        case .ed25519: .ed25519
        }
    }

    private static func sign(_ content: [UInt8], _ algorithm: SignatureAlgorithm, _ key: PrivateKey) throws -> [UInt8] {
        switch key {
        case .rsa(let key):
            let signature =
                switch algorithm {
                case .rs256: try key.signature(for: SHA256.hash(data: content), padding: .insecurePKCS1v1_5)
                case .rs384: try key.signature(for: SHA384.hash(data: content), padding: .insecurePKCS1v1_5)
                case .rs512: try key.signature(for: SHA512.hash(data: content), padding: .insecurePKCS1v1_5)
                case .ps256: try key.signature(for: SHA256.hash(data: content), padding: .PSS)
                case .ps384: try key.signature(for: SHA384.hash(data: content), padding: .PSS)
                default: try key.signature(for: SHA512.hash(data: content), padding: .PSS)
                }
            return Array(signature.rawRepresentation)
        case .p256(let key): return Array(try key.signature(for: content).rawRepresentation)
        case .p384(let key): return Array(try key.signature(for: content).rawRepresentation)
        case .p521(let key): return Array(try key.signature(for: content).rawRepresentation)
        case .ed25519(let key): return Array(try key.signature(for: content))
        }
    }
}
