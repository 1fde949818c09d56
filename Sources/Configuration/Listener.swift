// Listeners: what `listeners` and `advertised.listeners` say, and the security protocol that goes with each name.
import ConfigDefinitions

/// How a connection is secured.
public enum SecurityProtocol: String, Sendable, CaseIterable {
    case plaintext = "PLAINTEXT"
    case ssl = "SSL"
    case saslPlaintext = "SASL_PLAINTEXT"
    case saslSSL = "SASL_SSL"

    /// The `securityProtocol` number of metadata records (KIP-631).
    public var id: Int16 {
        switch self {
        case .plaintext: 0
        case .ssl: 1
        case .saslPlaintext: 2
        case .saslSSL: 3
        }
    }
}

/// A named address: one that is listened on, or one that clients are told.
public struct Listener: Sendable, Hashable, CustomStringConvertible {
    /// In capitals, as Kafka normalises it.
    public var name: String
    public var securityProtocol: SecurityProtocol
    /// Without brackets; empty means all addresses.
    public var host: String
    /// 0 lets the system choose.
    public var port: Int

    public init(name: String, securityProtocol: SecurityProtocol = .plaintext, host: String, port: Int) {
        self.name = name
        self.securityProtocol = securityProtocol
        self.host = host
        self.port = port
    }

    /// The form of the configuration: `EXTERNAL://[::1]:9093`.
    public var description: String { "\(name)://\(HostAndPort.bracketed(host)):\(port)" }

    /// Whether the host is one of the addresses that mean all interfaces.
    public var isWildcard: Bool { host.isEmpty || host == "0.0.0.0" || host == "::" || host == "0:0:0:0:0:0:0:0" }
}

/// The parts of `NAME://host:port`, before a security protocol is known.
struct ListenerAddress: Equatable {
    var name: String
    var host: String
    var port: Int

    /// nil when `text` is not of the form, or the port no port.
    init?(_ text: String) {
        guard let separator = text.firstRange(of: "://"), separator.lowerBound != text.startIndex,
            let (host, port) = HostAndPort.split(String(text[separator.upperBound...])), (0...65535).contains(port)
        else { return nil }
        name = text[..<separator.lowerBound].uppercased()
        self.host = host
        self.port = port
    }
}

extension String {
    /// Where `other` occurs first; the standard library has it, but only from Foundation's overlay in some toolchains.
    fileprivate func firstRange(of other: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            let rest = self[start...]
            if rest.hasPrefix(other) { return start..<index(start, offsetBy: other.count) }
            start = index(after: start)
        }
        return nil
    }
}

/// Kinds of IP addresses, as far as two listeners may share a port.
enum AddressFamily {
    case version4, version6, name

    init(_ host: String) {
        if host.utf8.contains(UInt8(ascii: ":")) {
            self = .version6
        } else {
            let parts = host.split(separator: ".", omittingEmptySubsequences: false)
            self = parts.count == 4 && parts.allSatisfy { UInt8($0) != nil } ? .version4 : .name
        }
    }
}
