// Base64 (RFC 4648) without Foundation, in both alphabets: padded, as JSON views, SCRAM and HTTP's Basic have it, and the one for addresses
// and file names without padding (section 5; RFC 7515 section 2), as tokens and their keys have it.

public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let padding = UInt8(ascii: "=")

    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var characters: [UInt8] = []
        var group: UInt32 = 0
        var count = 0
        func emit(_ characterCount: Int) {
            for position in 0..<4 {
                let index = Int((group >> UInt32(18 - 6 * position)) & 0x3f)
                characters.append(position < characterCount ? alphabet[index] : padding)
            }
        }
        for byte in bytes {
            group |= UInt32(byte) << UInt32(16 - 8 * count)
            count += 1
            if count == 3 {
                emit(4)
                (group, count) = (0, 0)
            }
        }
        if count > 0 { emit(count + 1) }
        return String(decoding: characters, as: UTF8.self)
    }

    /// The bytes, nil for text that is not padded base64. Bits that belong to no byte may have any value, as Java takes them.
    public static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 4 == 0 else { return nil }
        let content = characters.prefix { $0 != padding }
        let padded = characters.count - content.count
        guard padded <= 2, characters.suffix(padded).allSatisfy({ $0 == padding }) else { return nil }
        return decode(content, last: (UInt8(ascii: "+"), UInt8(ascii: "/")))?.bytes
    }

    /// The bytes of base64 for addresses; nil when the text has a character of another alphabet, padding, or bits that belong to no byte.
    public static func decodeForAddresses(_ characters: some Sequence<UInt8>) -> [UInt8]? {
        guard let (bytes, rest, restBits) = decode(characters, last: (UInt8(ascii: "-"), UInt8(ascii: "_"))), restBits < 6, rest == 0 else {
            return nil
        }
        return bytes
    }

    /// What whole bytes there are, then the bits that are left over and their number; nil for a character that is not in the alphabet.
    ///
    /// - Parameter last: the characters for 62 and 63, in which the alphabets differ.
    private static func decode(
        _ characters: some Sequence<UInt8>, last: (UInt8, UInt8)
    ) -> (bytes: [UInt8], rest: UInt32, restBits: UInt32)? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(characters.underestimatedCount * 3 / 4)
        var group: UInt32 = 0
        var bits: UInt32 = 0
        for character in characters {
            let value: UInt32
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = UInt32(character - UInt8(ascii: "A"))
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = UInt32(character - UInt8(ascii: "a")) + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = UInt32(character - UInt8(ascii: "0")) + 52
            case last.0: value = 62
            case last.1: value = 63
            default: return nil
            }
            group = (group << 6 | value) & 0xfff
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: group >> bits))
            }
        }
        return (bytes, group & (1 << bits - 1), bits)
    }
}
