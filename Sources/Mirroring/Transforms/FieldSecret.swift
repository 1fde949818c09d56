// What becomes of a field's content: a keyed hash, a token of the same shape, a mask. The same content becomes the same everywhere, so that
// records can still be joined.
import Crypto

/// What is done to a place.
public enum FieldAction: String, Hashable, Sendable, CaseIterable {
    // In this order: where several are said of one place, the first one counts.
    case drop
    case hash
    case tokenise
    case mask

    /// Whether it needs a secret.
    var isKeyed: Bool { self == .hash || self == .tokenise }
}

/// A key that contents are hashed and tokenised with.
public struct FieldSecret: Sendable {
    /// A shorter key could be guessed.
    public static let minimumBytes = 16

    private let key: SymmetricKey

    public init(_ bytes: [UInt8]) {
        key = SymmetricKey(data: bytes)
    }

    /// HMAC-SHA-256 of the content as 64 hexadecimal digits.
    func hash(_ content: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in HMAC<SHA256>.authenticationCode(for: content, using: key) { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }

    /// Text of the same shape: digits for digits, letters for letters, ASCII's punctuation as it is.
    func token(_ text: String) -> String {
        var stream = TokenStream(key: key, content: Array(text.utf8))
        var token = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "0"..."9": token.unicodeScalars.append(stream.next(from: "0", count: 10))
            case "A"..."Z": token.unicodeScalars.append(stream.next(from: "A", count: 26))
            case "a"..."z": token.unicodeScalars.append(stream.next(from: "a", count: 26))
            case _ where scalar.isASCII: token.unicodeScalars.append(scalar)
            case _ where scalar.properties.isUppercase: token.unicodeScalars.append(stream.next(from: "A", count: 26))
            default: token.unicodeScalars.append(stream.next(from: "a", count: 26))
            }
        }
        return token
    }

    /// A number with as many digits before and behind the point; the exponent stays.
    func token(number: [UInt8]) -> [UInt8] {
        var stream = TokenStream(key: key, content: number)
        let mantissa = number.prefix { $0 != UInt8(ascii: "e") && $0 != UInt8(ascii: "E") }
        let whole = mantissa.prefix { $0 != UInt8(ascii: ".") }
        let firstDigit = whole.firstIndex { (0x30...0x39).contains($0) }
        let hasSeveral = whole.count - (firstDigit ?? 0) > 1
        var token: [UInt8] = []
        for (index, byte) in mantissa.enumerated() {
            guard (0x30...0x39).contains(byte) else {
                token.append(byte)
                continue
            }
            let isLeading = index == firstDigit && hasSeveral
            token.append(UInt8(stream.next(from: isLeading ? "1" : "0", count: isLeading ? 9 : 10).value))
        }
        return token + number[mantissa.count...]
    }
}

/// Pseudo-random choices that follow from a key and a content.
private struct TokenStream {
    private let key: SymmetricKey
    private let content: [UInt8]
    private var block: [UInt8] = []
    private var counter: UInt32 = 0

    init(key: SymmetricKey, content: [UInt8]) {
        self.key = key
        self.content = content
    }

    private mutating func byte() -> UInt8 {
        if block.isEmpty {
            let number = (0..<4).map { UInt8(truncatingIfNeeded: counter >> (24 - 8 * $0)) }
            block = HMAC<SHA256>.authenticationCode(for: Array("martlet token".utf8) + number + content, using: key).reversed()
            counter += 1
        }
        return block.removeLast()
    }

    /// One of `count` characters from the first one on, all equally likely.
    mutating func next(from first: Unicode.Scalar, count: UInt8) -> Unicode.Scalar {
        let limit = 255 - 255 % count
        var drawn = byte()
        while drawn >= limit { drawn = byte() }
        return Unicode.Scalar(UInt8(first.value) + drawn % count)
    }
}
