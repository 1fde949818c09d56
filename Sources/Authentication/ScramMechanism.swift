// The arithmetic of SCRAM (RFC 5802, RFC 7677): what is stored of a password, and how both sides prove that they know it.
import Crypto
import CryptoExtras

/// A SCRAM mechanism; the raw value is Kafka's number in requests and records (KIP-554).
public enum ScramMechanism: Int8, Sendable, Hashable, CaseIterable {
    case sha256 = 1
    case sha512 = 2

    /// Its name in SASL: `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    public var name: String { self == .sha256 ? "SCRAM-SHA-256" : "SCRAM-SHA-512" }

    public init?(name: String) {
        guard let found = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = found
    }

    /// Fewer iterations are refused, as in Kafka.
    public static let minimumIterations: Int32 = 4096
    /// More iterations are refused in AlterUserScramCredentials, as in Kafka.
    public static let maximumIterations: Int32 = 16384

    /// Length of keys and proofs in bytes.
    public var keyLength: Int { self == .sha256 ? 32 : 64 }

    func hash(_ bytes: [UInt8]) -> [UInt8] {
        switch self {
        case .sha256: Array(SHA256.hash(data: bytes))
        case .sha512: Array(SHA512.hash(data: bytes))
        }
    }

    func authenticationCode(_ bytes: [UInt8], key: [UInt8]) -> [UInt8] {
        let key = SymmetricKey(data: key)
        return switch self {
        case .sha256: Array(HMAC<SHA256>.authenticationCode(for: bytes, using: key))
        case .sha512: Array(HMAC<SHA512>.authenticationCode(for: bytes, using: key))
        }
    }

    /// `SaltedPassword` of RFC 5802: PBKDF2 over the password's UTF-8, as Kafka takes it, without SASLprep.
    ///
    /// - Returns: nil when the password is empty or the iterations are out of range.
    public func saltedPassword(_ password: String, salt: [UInt8], iterations: Int32) -> [UInt8]? {
        guard !password.isEmpty, iterations > 0 else { return nil }
        let key: SymmetricKey? =
            switch self {
            case .sha256:
                try? KDF.Insecure.PBKDF2.deriveKey(
                    from: Array(password.utf8), salt: salt, using: .sha256, outputByteCount: keyLength,
                    unsafeUncheckedRounds: Int(iterations))
            case .sha512:
                try? KDF.Insecure.PBKDF2.deriveKey(
                    from: Array(password.utf8), salt: salt, using: .sha512, outputByteCount: keyLength,
                    unsafeUncheckedRounds: Int(iterations))
            }
        return key.map { $0.withUnsafeBytes { Array($0) } }
    }

    func clientKey(_ saltedPassword: [UInt8]) -> [UInt8] { authenticationCode(Array("Client Key".utf8), key: saltedPassword) }
    func serverKey(_ saltedPassword: [UInt8]) -> [UInt8] { authenticationCode(Array("Server Key".utf8), key: saltedPassword) }
}

/// What a server keeps of a password: enough to verify it, not enough to log in with it elsewhere.
public struct ScramKeys: Sendable, Hashable {
    public var salt: [UInt8]
    public var storedKey: [UInt8]
    public var serverKey: [UInt8]
    public var iterations: Int32

    public init(salt: [UInt8], storedKey: [UInt8], serverKey: [UInt8], iterations: Int32) {
        self.salt = salt
        self.storedKey = storedKey
        self.serverKey = serverKey
        self.iterations = iterations
    }

    /// The keys of a salted password, as AlterUserScramCredentials carries it.
    public init(_ mechanism: ScramMechanism, saltedPassword: [UInt8], salt: [UInt8], iterations: Int32) {
        self.init(
            salt: salt, storedKey: mechanism.hash(mechanism.clientKey(saltedPassword)), serverKey: mechanism.serverKey(saltedPassword),
            iterations: iterations)
    }
}

/// Comparison in a time that does not tell where the difference is.
func isEqualInConstantTime(_ left: [UInt8], _ right: [UInt8]) -> Bool {
    guard left.count == right.count else { return false }
    var difference: UInt8 = 0
    for index in left.indices { difference |= left[index] ^ right[index] }
    return difference == 0
}

func exclusiveOr(_ left: [UInt8], _ right: [UInt8]) -> [UInt8] { zip(left, right).map { $0 ^ $1 } }
