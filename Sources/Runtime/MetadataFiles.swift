// The few file operations of the metadata shell: whole files read, replaced atomically, listed and removed.
import Glibc
import NIOCore
import Storage

/// Whole files, durable when a call returns. Errors are `StorageError.inputOutput`.
enum MetadataFiles {
    private static func failure(_ operation: String, _ path: String) -> StorageError {
        errno == ENOSPC || errno == EDQUOT
            ? .outOfSpace(path: path) : .inputOutput(operation: operation, path: path, code: errno)
    }

    /// The contents; nil when there is no such file.
    ///
    /// - Parameter limit: of a longer file only about that many bytes from its start.
    static func read(_ path: String, limit: Int = .max) throws(StorageError) -> ByteBuffer? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw failure("open", path)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("stat", path) }
        var buffer = ByteBuffer()
        buffer.reserveCapacity(min(Int(status.st_size), limit))
        var isAtEnd = false
        while !isAtEnd {
            var count = 0
            buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 64 << 10) { bytes in
                count = Glibc.read(descriptor, bytes.baseAddress, bytes.count)
                return max(0, count)
            }
            if count < 0 && errno != EINTR { throw failure("read", path) }
            isAtEnd = count == 0 || buffer.readableBytes >= limit
        }
        return buffer
    }

    /// Writes a file under another name, makes it durable and gives it its name: a crash leaves all of it or nothing.
    ///
    /// - Parameters:
    ///   - temporaryName: appended to the path while the file is being written.
    ///   - mode: the permissions in the end.
    ///   - body: hands over the contents piece by piece.
    static func create(
        _ path: String, temporaryName: String, mode: mode_t = 0o644, _ body: (inout FileWriter) throws(StorageError) -> Void
    ) throws(StorageError) {
        let temporary = path + temporaryName
        let descriptor = Glibc.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw failure("create", temporary) }
        var writer = FileWriter(descriptor: descriptor, path: temporary)
        do throws(StorageError) {
            defer { close(descriptor) }
            try body(&writer)
            guard fchmod(descriptor, mode) == 0 else { throw failure("chmod", temporary) }
            guard fdatasync(descriptor) == 0 else { throw failure("fdatasync", temporary) }
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, path) == 0 else { throw failure("rename", path) }
        try sync(directory: parent(of: path))
    }

    /// A file open for writing.
    struct FileWriter {
        fileprivate let descriptor: Int32
        fileprivate let path: String
        private(set) var count = 0

        fileprivate init(descriptor: Int32, path: String) {
            self.descriptor = descriptor
            self.path = path
        }

        mutating func write(_ buffer: ByteBuffer) throws(StorageError) {
            var rest = buffer
            while rest.readableBytes > 0 {
                let written = rest.withUnsafeReadableBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                if written < 0 {
                    if errno == EINTR { continue }
                    throw MetadataFiles.failure("write", path)
                }
                rest.moveReaderIndex(forwardBy: written)
            }
            count += buffer.readableBytes
        }
    }

    /// At most `count` bytes of a file from a position on.
    static func read(_ path: String, from position: Int64, count: Int) throws(StorageError) -> ByteBuffer {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        var buffer = ByteBuffer()
        let wanted = max(1, min(count, 16 << 20))
        var got = 0
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted) { bytes in
            repeat {
                got = pread(descriptor, bytes.baseAddress, wanted, off_t(position))
            } while got < 0 && errno == EINTR
            return max(0, got)
        }
        guard got >= 0 else { throw failure("read", path) }
        return buffer
    }

    /// Writes a piece of a file; at position 0 the file begins anew. Not durable before `finish`.
    static func write(_ bytes: ByteBuffer, at position: Int64, of path: String) throws(StorageError) {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (position == 0 ? O_TRUNC : 0), 0o600)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard lseek(descriptor, off_t(position), SEEK_SET) >= 0 else { throw failure("seek", path) }
        var writer = FileWriter(descriptor: descriptor, path: path)
        try writer.write(bytes)
    }

    /// Makes a file durable that was written piece by piece and gives it its name.
    static func finish(_ temporary: String, as path: String) throws(StorageError) {
        try sync(file: temporary)
        guard rename(temporary, path) == 0 else { throw failure("rename", path) }
        try sync(directory: parent(of: path))
    }

    /// Makes the contents of a file durable that others have written.
    static func sync(file path: String) throws(StorageError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fdatasync(descriptor) == 0 else { throw failure("fdatasync", path) }
    }

    /// Makes the names in a directory durable.
    static func sync(directory path: String) throws(StorageError) {
        let descriptor = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("fsync", path) }
    }

    /// The names in a directory in order; none when there is no such directory.
    static func names(in path: String) throws(StorageError) -> [String] {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return [] }
            throw failure("open", path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Creates a directory, and those above it, unless they are there.
    static func createDirectory(_ path: String) throws(StorageError) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, parent(of: path) != path else { throw failure("mkdir", path) }
        try createDirectory(parent(of: path))
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("mkdir", path) }
    }

    /// Removes a file that need not be there.
    static func remove(_ path: String) throws(StorageError) {
        if unlink(path) != 0 && errno != ENOENT { throw failure("unlink", path) }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// The size in bytes; nil when there is no such file.
    static func size(of path: String) -> Int? {
        var status = stat()
        return stat(path, &status) == 0 ? Int(status.st_size) : nil
    }

    static func parent(of path: String) -> String {
        var end = path.utf8.endIndex
        while end > path.utf8.startIndex, path.utf8[path.utf8.index(before: end)] == UInt8(ascii: "/") {
            end = path.utf8.index(before: end)
        }
        guard let slash = path.utf8[..<end].lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.utf8.startIndex ? "/" : String(path[..<slash])
    }
}
