// Names to addresses with the system's resolver: hosts file, DNS and whatever else it is set up for.
import Glibc

/// Resolves host names, for `ConfigurationChecks` and everyone who wants to know what a client would see.
public enum HostResolution {
    /// The addresses of `host` as text, each once; nil when it has none. Blocks for as long as the system's resolver does.
    public static func addresses(of host: String) -> [String]? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var first: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, &hints, &first) == 0 else { return nil }
        defer { freeaddrinfo(first) }
        var result: [String] = []
        var next = first
        while let entry = next {
            if let text = numeric(entry.pointee), !result.contains(text) { result.append(text) }
            next = entry.pointee.ai_next
        }
        return result.isEmpty ? nil : result
    }

    private static func numeric(_ entry: addrinfo) -> String? {
        var buffer = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(entry.ai_addr, entry.ai_addrlen, &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST)
        guard status == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}
