// Base64 (RFC 4648, padded) without Foundation: how JSON views show bytes.

public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    public static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var characters: [UInt8] = []
        var group: UInt32 = 0
        var count = 0
        func emit(_ characterCount: Int) {
            for position in 0..<4 {
                let index = Int((group >> UInt32(18 - 6 * position)) & 0x3f)
                characters.append(position < characterCount ? alphabet[index] : UInt8(ascii: "="))
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

    /// The bytes, nil for text that is not padded base64.
    public static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count % 4 == 0 else { return nil }
        let content = characters.prefix { $0 != UInt8(ascii: "=") }
        let padding = characters.count - content.count
        guard padding <= 2, characters.suffix(padding).allSatisfy({ $0 == UInt8(ascii: "=") }) else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(content.count * 3 / 4)
        var group: UInt32 = 0
        var bits: UInt32 = 0
        for character in content {
            guard let value = value(of: character) else { return nil }
            group = (group << 6 | value) & 0xffff
            bits += 6
            if bits >= 8 {
                bits -= 8
                bytes.append(UInt8(truncatingIfNeeded: group >> bits))
            }
        }
        return bytes
    }

    private static func value(of character: UInt8) -> UInt32? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(character - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(character - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(character - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
