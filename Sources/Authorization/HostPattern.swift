// Which hosts an entry holds for: all, one address, or a range of addresses (`10.0.0.0/8`, from metadata.version 4.4-IV1).

/// Matches of host patterns.
public enum HostPattern {
    /// Whether the pattern covers that address.
    public static func matches(_ pattern: String, _ host: String) -> Bool {
        if pattern == "*" || pattern == host { return true }
        guard let (network, bits) = range(pattern), let address = bytes(host), address.count == network.count else { return false }
        for index in network.indices {
            let left = bits - 8 * index
            if left <= 0 { return true }
            let mask: UInt8 = left >= 8 ? 0xff : ~(0xff >> UInt8(left))
            if address[index] & mask != network[index] & mask { return false }
        }
        return true
    }

    /// Whether a pattern with a slash is a range.
    public static func isRange(_ pattern: String) -> Bool { range(pattern) != nil }

    private static func range(_ pattern: String) -> (network: [UInt8], bits: Int)? {
        guard let slash = pattern.firstIndex(of: "/"), let network = bytes(String(pattern[..<slash])),
            let bits = Int(pattern[pattern.index(after: slash)...]), (0...network.count * 8).contains(bits)
        else { return nil }
        return (network, bits)
    }

    /// The bytes of an address as text.
    static func bytes(_ text: String) -> [UInt8]? {
        if !text.utf8.contains(UInt8(ascii: ":")) { return version4(text) }
        let halves = split(text)
        guard halves.count <= 2 else { return nil }
        guard let head = groups(halves[0]) else { return nil }
        guard halves.count == 2 else { return head.count == 16 ? head : nil }
        guard let tail = groups(halves[1]), head.count + tail.count <= 14 else { return nil }
        return head + [UInt8](repeating: 0, count: 16 - head.count - tail.count) + tail
    }

    /// At every "::".
    private static func split(_ text: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = Substring(text)
        while let colon = rest.indices.first(where: { rest[$0...].hasPrefix("::") }) {
            parts.append(rest[..<colon])
            rest = rest[rest.index(colon, offsetBy: 2)...]
        }
        return parts + [rest]
    }

    private static func groups(_ text: Substring) -> [UInt8]? {
        if text.isEmpty { return [] }
        var bytes: [UInt8] = []
        for part in text.split(separator: ":", omittingEmptySubsequences: false) {
            if part.contains("."), let four = version4(String(part)) {
                bytes += four
            } else if (1...4).contains(part.count), let group = UInt16(part, radix: 16) {
                bytes += [UInt8(group >> 8), UInt8(truncatingIfNeeded: group)]
            } else {
                return nil
            }
        }
        return bytes
    }

    private static func version4(_ text: String) -> [UInt8]? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt8($0) : nil }
        return parts.count == 4 && bytes.count == 4 ? bytes : nil
    }
}
