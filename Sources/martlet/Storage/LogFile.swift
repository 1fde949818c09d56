// Files of a data directory: which kind a name says they are, and bounded reading of their bytes.
import Glibc
import NIOCore
import Primitives

/// What a file of a data directory holds, going by its name.
enum LogFileKind {
    /// `.log`, also with the suffixes `.deleted`, `.cleaned` and `.swap`.
    case segment
    /// `.checkpoint`: a snapshot of the metadata, or what formatting wrote.
    case metadataSnapshot
    case offsetIndex
    case timeIndex
    case transactionIndex
    case producerSnapshot
    /// Checkpoints, properties and the like.
    case text

    init?(name: String) {
        var name = name[...]
        for suffix in [".deleted", ".cleaned", ".swap"] where name.hasSuffix(suffix) { name = name.dropLast(suffix.count) }
        if name.hasSuffix(".log") {
            self = .segment
        } else if name.hasSuffix(".checkpoint") {
            self = .metadataSnapshot
        } else if name.hasSuffix(".index") {
            self = .offsetIndex
        } else if name.hasSuffix(".timeindex") {
            self = .timeIndex
        } else if name.hasSuffix(".txnindex") {
            self = .transactionIndex
        } else if name.hasSuffix(".snapshot") {
            self = .producerSnapshot
        } else if name.hasSuffix("-checkpoint") || name.hasSuffix(".properties")
            || ["partition.metadata", "quorum-state", ".kafka_cleanshutdown"].contains(name)
        {
            self = .text
        } else {
            return nil
        }
    }
}

/// A file open for reading.
struct LogFile: ~Copyable {
    let path: String
    let size: Int
    private let descriptor: Int32

    init(_ path: String) throws(CommandFailure) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw CommandFailure("cannot open \(path): \(Self.reason)") }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw CommandFailure("cannot look at \(path): \(Self.reason)") }
        size = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Up to `count` bytes; fewer at the file's end.
    func read(at position: Int, count: Int) throws(CommandFailure) -> ByteBuffer {
        let wanted = max(0, min(count, size - position))
        var buffer = ByteBuffer()
        buffer.reserveCapacity(wanted)
        while buffer.readableBytes < wanted {
            let offset = position + buffer.readableBytes
            let missing = wanted - buffer.readableBytes
            var result = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: missing) { bytes in
                result = pread(descriptor, bytes.baseAddress, missing, off_t(offset))
                return max(0, result)
            }
            if result < 0, errno == EINTR { continue }
            guard result >= 0 else { throw CommandFailure("cannot read \(path): \(Self.reason)") }
            if result == 0 { break }
        }
        return buffer
    }

    /// The last part of the path.
    static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }

    /// The names in a directory in order; nil when the path is no directory.
    static func names(in path: String) -> [String]? {
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// The path without `.`, `..` and links, so that the directory's name tells the topic.
    static func absolute(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }

    private static var reason: String { String(cString: strerror(errno)) }
}
