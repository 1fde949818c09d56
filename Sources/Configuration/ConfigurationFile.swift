// Getting a configuration file's bytes and the process's surroundings, with the system's own calls.
import Glibc

/// Reads configuration files; `.yaml` and `.yml` are YAML, everything else is properties.
public enum ConfigurationFile {
    /// More is not a configuration but a slip, such as naming a log segment.
    static let maximumBytes = 4 << 20

    /// The settings of the file, or why it could not be read.
    public static func read(_ path: String) -> SourceContent {
        switch bytes(path) {
        case .success(let bytes): return parse(PropertiesParser.decode(bytes), path: path)
        case .failure(let failure):
            var content = SourceContent()
            content.isUnreadable = true
            content.mistakes.append(ConfigurationMistake(.error, .file(path: path, line: 0), key: "", failure.reason))
            return content
        }
    }

    /// Parses `text` as the name of the file says.
    public static func parse(_ text: String, path: String) -> SourceContent {
        path.hasSuffix(".yaml") || path.hasSuffix(".yml")
            ? YAMLParser.parse(text, path: path) : PropertiesParser.parse(text, path: path)
    }

    struct Failure: Error {
        var reason: String
    }

    static func bytes(_ path: String) -> Result<[UInt8], Failure> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return .failure(Failure(reason: "cannot be read: \(String(cString: strerror(errno)))")) }
        defer { close(descriptor) }
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            if count < 0 { return .failure(Failure(reason: "cannot be read: \(String(cString: strerror(errno)))")) }
            if count == 0 { return .success(content) }
            content += chunk[..<count]
            if content.count > maximumBytes {
                return .failure(Failure(reason: "is larger than \(maximumBytes >> 20) MiB, which no configuration is"))
            }
        }
    }
}

/// The surroundings of this process that a configuration depends on.
public enum ProcessSurroundings {
    /// The environment this process was started with.
    public static func environment() -> [String: String] {
        guard case .success(let bytes) = ConfigurationFile.bytes("/proc/self/environ") else { return [:] }
        var result: [String: String] = [:]
        for variable in bytes.split(separator: 0) {
            guard let equals = variable.firstIndex(of: UInt8(ascii: "=")) else { continue }
            result[String(decoding: variable[..<equals], as: UTF8.self)] = String(decoding: variable[(equals + 1)...], as: UTF8.self)
        }
        return result
    }

    /// Processors that this process may use, as the system restricts it.
    public static func processorCount() -> Int {
        max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    }

    /// This machine's name, which listeners on all addresses are advertised under unless they are told otherwise.
    public static func hostName() -> String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "localhost" }
        let name = String(decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return name.isEmpty ? "localhost" : name
    }
}
