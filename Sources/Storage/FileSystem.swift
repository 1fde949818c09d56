// The system calls this module is made of, with typed errors. Nothing here keeps state.
import CLinux
import Glibc

enum FileSystem {
    static func message(of code: Int32) -> String {
        String(cString: strerror(code))
    }

    /// The error for a failed call; a full disk is told apart, because that one passes.
    static func failure(_ operation: String, _ path: String, _ code: Int32 = errno) -> StorageError {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: .outOfSpace(path: path)
        default: .inputOutput(operation: operation, path: path, code: code)
        }
    }

    // MARK: Descriptors

    static func open(_ path: String, _ flags: Int32) throws(StorageError) -> Int32 {
        while true {
            let descriptor = Glibc.open(path, flags | O_CLOEXEC, 0o644)
            if descriptor >= 0 { return descriptor }
            if errno != EINTR { throw failure("open", path) }
        }
    }

    /// Opens, works, closes.
    static func withDescriptor<Value>(
        _ path: String, _ flags: Int32, _ body: (Int32) throws(StorageError) -> Value
    ) throws(StorageError) -> Value {
        let descriptor = try open(path, flags)
        defer { Glibc.close(descriptor) }
        return try body(descriptor)
    }

    /// Reads up to the buffer's size at `position`; fewer bytes only at the file's end.
    static func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer, at position: Int, path: String
    ) throws(StorageError) -> Int {
        guard let base = buffer.baseAddress else { return 0 }
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor, base + done, buffer.count - done, off_t(position + done))
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("read", path)
            }
            done += count
        }
        return done
    }

    static func write(
        _ descriptor: Int32, _ bytes: UnsafeRawBufferPointer, at position: Int, path: String
    ) throws(StorageError) {
        guard let base = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, base + done, bytes.count - done, off_t(position + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("write", path)
            }
            done += count
        }
    }

    static func truncate(_ descriptor: Int32, to size: Int, path: String) throws(StorageError) {
        while ftruncate(descriptor, off_t(size)) != 0 {
            if errno != EINTR { throw failure("truncate", path) }
        }
    }

    static func sync(_ descriptor: Int32, path: String) throws(StorageError) {
        while fdatasync(descriptor) != 0 {
            if errno == EINTR { continue }
            throw failure("sync", path)
        }
    }

    // MARK: Whole files

    /// Nil when there is no such file.
    static func contents(of path: String, limit: Int = 64 << 20) throws(StorageError) -> [UInt8]? {
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw failure("open", path)
        }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("stat", path) }
        let size = Int(status.st_size)
        guard size <= limit else { throw .corruptFile(path: path, reason: "\(size) bytes are more than such a file can have") }
        var problem: StorageError?
        let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            do throws(StorageError) {
                count = try read(descriptor, into: UnsafeMutableRawBufferPointer(buffer), at: 0, path: path)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        return bytes
    }

    static func text(of path: String) throws(StorageError) -> String? {
        guard let bytes = try contents(of: path) else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Writes a new file beside `path` and renames it over it, so that a crash leaves the old or the new contents, never a mix.
    ///
    /// - Parameter sync: false leaves it to a later `syncAll` to survive a loss of power.
    static func replace(_ path: String, with bytes: [UInt8], sync: Bool = true) throws(StorageError) {
        if !sync, try overwrite(path, with: bytes) { return }
        let temporary = path + ".tmp"
        do throws(StorageError) {
            try withDescriptor(temporary, O_WRONLY | O_CREAT | O_TRUNC) { descriptor throws(StorageError) in
                try bytes.withBytes { bytes throws(StorageError) in
                    try write(descriptor, bytes, at: 0, path: temporary)
                }
                if sync { try Self.sync(descriptor, path: temporary) }
            }
            try rename(temporary, to: path)
        } catch {
            unlink(temporary)
            throw error
        }
        if sync { try syncDirectory(parent(of: path)) }
    }

    /// Writes within one sector, over a file that is not longer: a single write of that size is seen whole or not at all, also after a
    /// crash, and costs no new inode, of which a node that stops with ten thousand partitions would otherwise make as many.
    ///
    /// - Returns: false when the file has to be replaced.
    private static func overwrite(_ path: String, with bytes: [UInt8]) throws(StorageError) -> Bool {
        let sector = 512
        guard bytes.count <= sector, let size = status(of: path)?.size, size > 0, size <= bytes.count else { return false }
        try withDescriptor(path, O_WRONLY) { descriptor throws(StorageError) in
            try bytes.withBytes { bytes throws(StorageError) in
                try write(descriptor, bytes, at: 0, path: path)
            }
        }
        return true
    }

    /// Waits until everything written to the file system of a directory is on the disk.
    static func syncAll(_ path: String) throws(StorageError) {
        try withDescriptor(path, O_RDONLY | O_DIRECTORY) { descriptor throws(StorageError) in
            let code = martlet_sync_file_system(descriptor)
            if code != 0 { throw failure("sync", path, code) }
        }
    }

    // MARK: Names

    static func rename(_ path: String, to newPath: String) throws(StorageError) {
        guard Glibc.rename(path, newPath) == 0 else { throw failure("rename", path) }
    }

    /// Removes a file that need not exist.
    static func remove(_ path: String) throws(StorageError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    static func createDirectory(_ path: String) throws(StorageError) {
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else {
            // What is missing may be a directory above; where it is there, nothing can be made in it (such as in /proc).
            guard errno == ENOENT, parent(of: path) != path, !exists(parent(of: path)) else { throw failure("create", path) }
            try createDirectory(parent(of: path))
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw failure("create", path) }
            return
        }
    }

    static func syncDirectory(_ path: String) throws(StorageError) {
        try withDescriptor(path, O_RDONLY | O_DIRECTORY) { descriptor throws(StorageError) in
            guard fsync(descriptor) == 0 else { throw failure("sync", path) }
        }
    }

    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Size and time of the last change; nil when there is no such file.
    static func status(of path: String) -> (size: Int, modified: Int64)? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return (Int(status.st_size), Int64(status.st_mtim.tv_sec) * 1000 + Int64(status.st_mtim.tv_nsec) / 1_000_000)
    }

    /// The names in a directory, but for `.` and `..`, in no order.
    static func names(in path: String) throws(StorageError) -> [(name: String, isDirectory: Bool)] {
        guard let stream = opendir(path) else { throw failure("open", path) }
        defer { closedir(stream) }
        var names: [(name: String, isDirectory: Bool)] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                if errno != 0 { throw failure("list", path) }
                return names
            }
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            names.append((name, isDirectory(path, name, Int32(entry.pointee.d_type))))
        }
    }

    private static func isDirectory(_ path: String, _ name: String, _ type: Int32) -> Bool {
        if type == Int32(DT_DIR) { return true }
        guard type == Int32(DT_UNKNOWN) || type == Int32(DT_LNK) else { return false }
        var status = stat()
        return stat(path + "/" + name, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Removes a directory with all files in it.
    static func removeDirectory(_ path: String) throws(StorageError) {
        for (name, isDirectory) in try names(in: path) {
            if isDirectory { try removeDirectory(path + "/" + name) } else { try remove(path + "/" + name) }
        }
        guard rmdir(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

extension [UInt8] {
    /// As `withUnsafeBytes`, with the error's type kept.
    func withBytes<Value>(_ body: (UnsafeRawBufferPointer) throws(StorageError) -> Value) throws(StorageError) -> Value {
        try withUnsafeBufferPointer { buffer throws(StorageError) in try body(UnsafeRawBufferPointer(buffer)) }
    }
}
