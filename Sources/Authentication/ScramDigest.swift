// A digest by which two clusters' stored credentials can be compared without showing them. The salt, which is random and as secret as the rest,
// keeps a digest from being of any use for guessing passwords.
import Crypto

extension ScramKeys {
    /// The beginning of SHA-256 over everything that is stored, in hexadecimal digits.
    public var digest: String {
        var hash = SHA256()
        for part in [salt, storedKey, serverKey] {
            withUnsafeBytes(of: UInt32(part.count).bigEndian) { hash.update(bufferPointer: $0) }
            hash.update(data: part)
        }
        withUnsafeBytes(of: iterations.bigEndian) { hash.update(bufferPointer: $0) }
        let digits = Array("0123456789abcdef")
        return String(hash.finalize().prefix(16).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
    }
}
