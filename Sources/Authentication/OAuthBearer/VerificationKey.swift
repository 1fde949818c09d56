// One public key of a key set, ready to check signatures with.
import Crypto
import CryptoExtras

/// A public key.
enum VerificationKey: Sendable {
    case rsa(_RSA.Signing.PublicKey)
    case p256(P256.Signing.PublicKey)
    case p384(P384.Signing.PublicKey)
    case p521(P521.Signing.PublicKey)
    case ed25519(Curve25519.Signing.PublicKey)

    var family: KeyFamily {
        switch self {
        case .rsa: .rsa
        case .p256: .p256
        case .p384: .p384
        case .p521: .p521
        case .ed25519: .ed25519
        }
    }

    /// Whether `signature` is this key's over `content`; false for an algorithm of another kind of key.
    func verifies(_ signature: [UInt8], of content: [UInt8], _ algorithm: SignatureAlgorithm) -> Bool {
        switch self {
        case .rsa(let key): return Self.verifies(signature, of: content, algorithm, key)
        case .p256(let key):
            guard algorithm == .es256, let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: content)
        case .p384(let key):
            guard algorithm == .es384, let signature = try? P384.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: content)
        case .p521(let key):
            guard algorithm == .es512, let signature = try? P521.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: content)
        case .ed25519(let key): return algorithm == .edDSA && key.isValidSignature(signature, for: content)
        }
    }

    private static func verifies(
        _ signature: [UInt8], of content: [UInt8], _ algorithm: SignatureAlgorithm, _ key: _RSA.Signing.PublicKey
    ) -> Bool {
        let signature = _RSA.Signing.RSASignature(rawRepresentation: signature)
        return switch algorithm {
        case .rs256: key.isValidSignature(signature, for: SHA256.hash(data: content), padding: .insecurePKCS1v1_5)
        case .rs384: key.isValidSignature(signature, for: SHA384.hash(data: content), padding: .insecurePKCS1v1_5)
        case .rs512: key.isValidSignature(signature, for: SHA512.hash(data: content), padding: .insecurePKCS1v1_5)
        case .ps256: key.isValidSignature(signature, for: SHA256.hash(data: content), padding: .PSS)
        case .ps384: key.isValidSignature(signature, for: SHA384.hash(data: content), padding: .PSS)
        case .ps512: key.isValidSignature(signature, for: SHA512.hash(data: content), padding: .PSS)
        case .es256, .es384, .es512, .edDSA: false
        }
    }
}
