// Secrets out of files: keys of transforms, and the token of the admin endpoint.
import Glibc

/// A small file with a secret in it.
public enum SecretFile {
    private static let maximumBytes = 64 << 10

    /// Nil when it cannot be read or is too large.
    public static func read(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while content.count <= maximumBytes {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { return content }
            content += chunk[..<count]
        }
        return nil
    }
}
