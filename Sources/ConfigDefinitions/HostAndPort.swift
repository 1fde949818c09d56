// Addresses as they appear inside configuration values. Here, on the ground floor, because validators and listeners share them.

/// `host:port`, with IPv6 hosts in brackets.
public struct HostAndPort: Hashable, Sendable, CustomStringConvertible {
    /// Without brackets.
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// nil unless `text` is `host:port` with a host of Kafka's characters and a port between 1 and 65535.
    public init?(_ text: String) {
        guard let parts = HostAndPort.split(text), !parts.host.isEmpty, (1...65535).contains(parts.port) else { return nil }
        self.init(host: parts.host, port: parts.port)
    }

    public var description: String { HostAndPort.bracketed(host) + ":\(port)" }

    /// The host in brackets when it is an IPv6 address.
    public static func bracketed(_ host: String) -> String {
        host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
    }

    /// Splits at the last colon; the host may be empty, the port is any number that fits. nil when there is no such form.
    public static func split(_ text: String) -> (host: String, port: Int)? {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]) else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("[") != host.hasSuffix("]") { return nil }
        if host.hasPrefix("[") { host = host.dropFirst().dropLast() }
        guard host.utf8.allSatisfy(isHostCharacter) else { return nil }
        return (String(host), port)
    }

    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
        case UInt8(ascii: "-"), UInt8(ascii: "%"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"): true
        default: false
        }
    }
}

/// One element of `controller.quorum.voters`: `id@host:port`.
public struct QuorumVoter: Hashable, Sendable {
    public var id: Int32
    public var address: HostAndPort

    public init(id: Int32, address: HostAndPort) {
        self.id = id
        self.address = address
    }

    /// nil unless `text` has the form.
    public init?(_ text: String) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, let id = Int32(parts[0]), id >= 0, let address = HostAndPort(String(parts[1])) else { return nil }
        self.init(id: id, address: address)
    }
}
