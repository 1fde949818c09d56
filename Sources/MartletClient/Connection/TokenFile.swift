// A token out of a file, for OAUTHBEARER: something else keeps the file fresh, so it is read for every login.
import Glibc

enum TokenFile {
    /// No token is larger.
    private static let maximumBytes = 1 << 20

    /// The text of the file; nil when it cannot be read or is too large.
    static func text(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while content.count <= maximumBytes {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { return String(decoding: content, as: UTF8.self) }
            content += chunk[..<count]
        }
        return nil
    }
}
