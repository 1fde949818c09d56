// Where a key set is to be found: `sasl.oauthbearer.jwks.endpoint.url`, taken apart without Foundation.

/// An address by HTTP.
public struct WebAddress: Sendable, Hashable, CustomStringConvertible {
    /// Whether it is https.
    public var isSecured: Bool
    /// A name or a numeric address, IPv6 without brackets.
    public var host: String
    public var port: Int
    /// What is asked for: path and query, beginning with a slash.
    public var target: String

    public init(isSecured: Bool, host: String, port: Int, target: String) {
        self.isSecured = isSecured
        self.host = host
        self.port = port
        self.target = target
    }

    /// Host and port as the header Host has them.
    public var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isSecured ? 443 : 80) ? name : "\(name):\(port)"
    }

    public var description: String { "\(isSecured ? "https" : "http")://\(authority)\(target)" }
}

/// An address that cannot be used.
public struct AddressError: Error, Sendable, Hashable, CustomStringConvertible {
    public let description: String
}

/// Where a key set is.
public enum KeySetAddress: Sendable, Hashable, CustomStringConvertible {
    /// A path of this machine.
    case file(String)
    case web(WebAddress)

    public var description: String {
        switch self {
        case .file(let path): path
        case .web(let address): address.description
        }
    }

    /// Reads an address of file, http or https.
    public init(parsing text: String) throws(AddressError) {
        guard let colon = text.firstIndex(of: ":") else {
            throw AddressError(description: "names no protocol; file:, http: or https: is needed")
        }
        guard text.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw AddressError(description: "has a character that no address has; write others as %XX")
        }
        let scheme = text[..<colon].lowercased()
        var rest = text[text.index(after: colon)...].prefix { $0 != "#" }
        switch scheme {
        case "file":
            if rest.hasPrefix("//") {
                rest = rest.dropFirst(2)
                let host = rest.prefix { $0 != "/" }
                guard host.isEmpty || host == "localhost" else { throw AddressError(description: "names a file of another machine") }
                rest = rest.dropFirst(host.count)
            }
            guard rest.hasPrefix("/"), let path = Self.decoded(rest) else {
                throw AddressError(description: "names no file: file:///path is needed")
            }
            self = .file(path)
        case "http", "https": self = .web(try Self.web(rest, isSecured: scheme == "https"))
        default: throw AddressError(description: "has the protocol \(clipped(scheme)); only file, http and https are spoken")
        }
    }

    private static func web(_ text: Substring, isSecured: Bool) throws(AddressError) -> WebAddress {
        guard text.hasPrefix("//") else { throw AddressError(description: "names no host") }
        let rest = text.dropFirst(2)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let target = rest.dropFirst(authority.count)
        guard !authority.contains("@") else { throw AddressError(description: "has a user or a password in it, which are not sent") }
        var host = authority
        var port: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { throw AddressError(description: "has no ] after [") }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let after = authority[authority.index(after: end)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw AddressError(description: "has something between host and port") }
            if !after.isEmpty { port = after.dropFirst() }
        } else if let colon = authority.firstIndex(of: ":") {
            host = authority[..<colon]
            port = authority[authority.index(after: colon)...]
        }
        guard !host.isEmpty else { throw AddressError(description: "names no host") }
        let standard = isSecured ? 443 : 80
        let number = port.map { $0.isEmpty ? standard : Int($0) ?? 0 } ?? standard
        guard (1...65535).contains(number) else { throw AddressError(description: "has no port between 1 and 65535") }
        return WebAddress(
            isSecured: isSecured, host: String(host), port: number, target: target.hasPrefix("/") ? String(target) : "/\(target)")
    }

    /// The path with `%XX` as bytes; nil when that is no text.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, let value = UInt8(String(decoding: digits, as: UTF8.self), radix: 16), value != 0 else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
