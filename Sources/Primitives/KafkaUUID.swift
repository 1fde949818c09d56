// Kafka's Uuid: 16 bytes, shown as 22 characters of URL-safe base64 without padding.

/// A 128-bit identifier as Kafka uses it for topics, directories, clusters and incarnations.
public struct KafkaUUID: Hashable, Sendable {
    public var mostSignificantBits: UInt64
    public var leastSignificantBits: UInt64

    public init(mostSignificantBits: UInt64, leastSignificantBits: UInt64) {
        self.mostSignificantBits = mostSignificantBits
        self.leastSignificantBits = leastSignificantBits
    }

    /// Stands for "no id" on the wire.
    public static let zero = KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 0)

    /// Also the id of the metadata topic, `AAAAAAAAAAAAAAAAAAAAAQ`.
    public static let one = KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 1)

    /// A random id (UUID version 4) that is none of Kafka's reserved ones and does not begin with a dash.
    ///
    /// Kafka avoids a leading dash because its own command line would take such an id for an option.
    public static func random(using generator: inout some RandomNumberGenerator) -> KafkaUUID {
        while true {
            let candidate = KafkaUUID(
                mostSignificantBits: (generator.next() & ~0xf000) | 0x4000,
                leastSignificantBits: (generator.next() & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000)
            if !candidate.description.hasPrefix("-") { return candidate }
        }
    }

    public static func random() -> KafkaUUID {
        var generator = SystemRandomNumberGenerator()
        return random(using: &generator)
    }
}

extension KafkaUUID: CustomStringConvertible, LosslessStringConvertible {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)

    /// 22 characters of URL-safe base64.
    public var description: String {
        // 128 bits are 21 groups of six and one of two, which is padded with zero bits at the end.
        String(unsafeUninitializedCapacity: 22) { characters in
            for index in 0..<21 {
                characters[index] = Self.alphabet[Int(bits(from: index * 6, count: 6))]
            }
            characters[21] = Self.alphabet[Int(bits(from: 126, count: 2) << 4)]
            return 22
        }
    }

    /// Reads 22 characters of URL-safe base64; nil for anything else.
    public init?(_ description: String) {
        let characters = Array(description.utf8)
        guard characters.count == 22 else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for (index, character) in characters.enumerated() {
            guard let value = Self.value(of: character) else { return nil }
            if index == 21 {
                guard value & 0x0f == 0 else { return nil }
                (high, low) = ((high << 2) | (low >> 62), (low << 2) | (value >> 4))
            } else {
                (high, low) = ((high << 6) | (low >> 58), (low << 6) | value)
            }
        }
        self.init(mostSignificantBits: high, leastSignificantBits: low)
    }

    private static func value(of character: UInt8) -> UInt64? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt64(character - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt64(character - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(character - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "-"): 62
        case UInt8(ascii: "_"): 63
        default: nil
        }
    }

    private func bits(from start: Int, count: Int) -> UInt64 {
        let mask: UInt64 = (1 << UInt64(count)) - 1
        let end = start + count
        if end <= 64 { return (mostSignificantBits >> UInt64(64 - end)) & mask }
        if start >= 64 { return (leastSignificantBits >> UInt64(128 - end)) & mask }
        let upper = mostSignificantBits << UInt64(end - 64)
        return (upper | (leastSignificantBits >> UInt64(128 - end))) & mask
    }
}

extension KafkaUUID: Comparable {
    public static func < (left: KafkaUUID, right: KafkaUUID) -> Bool {
        (left.mostSignificantBits, left.leastSignificantBits) < (right.mostSignificantBits, right.leastSignificantBits)
    }
}
