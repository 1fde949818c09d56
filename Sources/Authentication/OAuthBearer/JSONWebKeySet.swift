// The keys that an identity provider signs with, as it publishes them (JWKS, RFC 7517): read once, then asked for every token.
import Crypto
import CryptoExtras
import Primitives

/// Why a text is no key set that could be used; holds no key.
public struct JSONWebKeySetError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
}

/// A set of public keys.
public struct JSONWebKeySet: Sendable {
    /// A set of more keys is refused.
    static let maximumKeys = 256
    /// Bytes that a key set may have.
    public static let maximumBytes = 1 << 20
    /// How many keys a token without a key id is tried with.
    static let maximumAttempts = 8
    private static let maximumDepth = 16

    struct Entry: Sendable {
        var id: String?
        /// The only algorithm that the provider uses it for, if it says so.
        var algorithm: SignatureAlgorithm?
        var key: VerificationKey
    }

    let entries: [Entry]
    /// Keys that were left out, each with the reason: of kinds that are not known here, for encryption, or damaged.
    public let skipped: [String]

    /// How many keys can be used.
    public var count: Int { entries.count }

    /// Reads a key set. A key that cannot be used is left out, a set that holds none is an error.
    public init(parsing bytes: [UInt8]) throws(JSONWebKeySetError) {
        guard bytes.count <= Self.maximumBytes else { throw JSONWebKeySetError(description: "is larger than \(Self.maximumBytes) bytes") }
        let document: JSONValue
        do throws(JSONError) {
            document = try JSONValue(parsing: bytes, maximumDepth: Self.maximumDepth)
        } catch {
            throw JSONWebKeySetError(description: "is \(error)")
        }
        guard let keys = document["keys"]?.arrayValue else { throw JSONWebKeySetError(description: "has no list named 'keys'") }
        guard keys.count <= Self.maximumKeys else { throw JSONWebKeySetError(description: "has more than \(Self.maximumKeys) keys") }
        var entries: [Entry] = []
        var skipped: [String] = []
        for (index, key) in keys.enumerated() {
            do throws(JSONWebKeySetError) {
                entries.append(try Self.entry(key))
            } catch {
                skipped.append("\(key["kid"]?.stringValue.map { "'\(clipped($0))'" } ?? "key \(index)") \(error)")
            }
        }
        guard !entries.isEmpty else {
            throw JSONWebKeySetError(description: "has no key to check signatures with: \(clipped(skipped.joined(separator: "; ")))")
        }
        self.entries = entries
        self.skipped = skipped
    }

    /// The keys that a token with that header may be signed by, at most `maximumAttempts`.
    func candidates(id: String?, _ algorithm: SignatureAlgorithm) -> [VerificationKey] {
        var found: [VerificationKey] = []
        for entry in entries where found.count < Self.maximumAttempts {
            guard entry.key.family == algorithm.family, entry.algorithm == nil || entry.algorithm == algorithm,
                id == nil || entry.id == id
            else { continue }
            found.append(entry.key)
        }
        return found
    }

    private static func entry(_ key: JSONValue) throws(JSONWebKeySetError) -> Entry {
        if let use = key["use"], use.stringValue != "sig" { throw JSONWebKeySetError(description: "is not for signatures") }
        if let operations = key["key_ops"], operations.arrayValue?.contains("verify") != true {
            throw JSONWebKeySetError(description: "is not for verifying")
        }
        var algorithm: SignatureAlgorithm?
        if let name = key["alg"] {
            algorithm = name.stringValue.flatMap(SignatureAlgorithm.init(rawValue:))
            guard algorithm != nil else { throw JSONWebKeySetError(description: "is for an algorithm that is not spoken here") }
        }
        let entry = Entry(id: key["kid"]?.stringValue, algorithm: algorithm, key: try verificationKey(key))
        if let algorithm, algorithm.family != entry.key.family {
            throw JSONWebKeySetError(description: "is of another kind than its algorithm \(algorithm.rawValue)")
        }
        return entry
    }

    private static func verificationKey(_ key: JSONValue) throws(JSONWebKeySetError) -> VerificationKey {
        let curve = key["crv"]?.stringValue
        let damaged: JSONWebKeySetError
        switch (key["kty"]?.stringValue, curve) {
        case ("RSA", _):
            damaged = JSONWebKeySetError(description: "is no RSA key of 2048 bits or more")
            guard let modulus = bytes(key, "n"), let exponent = bytes(key, "e"), modulus.count <= 2048, !exponent.isEmpty,
                exponent.count <= 8
            else { throw damaged }
            if let publicKey = try? _RSA.Signing.PublicKey(n: modulus, e: exponent) { return .rsa(publicKey) }
        case ("EC", "P-256"):
            damaged = JSONWebKeySetError(description: "is no point of the curve P-256")
            if let point = point(key, 32), let publicKey = try? P256.Signing.PublicKey(x963Representation: point) {
                return .p256(publicKey)
            }
        case ("EC", "P-384"):
            damaged = JSONWebKeySetError(description: "is no point of the curve P-384")
            if let point = point(key, 48), let publicKey = try? P384.Signing.PublicKey(x963Representation: point) {
                return .p384(publicKey)
            }
        case ("EC", "P-521"):
            damaged = JSONWebKeySetError(description: "is no point of the curve P-521")
            if let point = point(key, 66), let publicKey = try? P521.Signing.PublicKey(x963Representation: point) {
                return .p521(publicKey)
            }
        case ("OKP", "Ed25519"):
            damaged = JSONWebKeySetError(description: "is no key of Ed25519")
            if let point = bytes(key, "x"), let publicKey = try? Curve25519.Signing.PublicKey(rawRepresentation: point) {
                return .ed25519(publicKey)
            }
        case (let kind, _):
            throw JSONWebKeySetError(description: "is of a kind that is not known here: \(clipped(kind ?? "none")) \(clipped(curve ?? ""))")
        }
        throw damaged
    }

    /// The point as X9.63 writes it, uncompressed.
    private static func point(_ key: JSONValue, _ size: Int) -> [UInt8]? {
        guard let x = bytes(key, "x"), let y = bytes(key, "y"), x.count == size, y.count == size else { return nil }
        return [4] + x + y
    }

    private static func bytes(_ key: JSONValue, _ name: String) -> [UInt8]? {
        key[name]?.stringValue.flatMap { Base64.decodeForAddresses($0.utf8) }
    }
}

/// Text from outside for a message: short, so that nobody fills a log with it.
func clipped(_ text: String, to length: Int = 200) -> String {
    text.utf8.count <= length ? text : String(text.prefix(length)) + "…"
}
