// A directory of its own for each test, and nothing left behind.
import Glibc

/// A new, empty directory.
public struct ScratchDirectory: Sendable {
    public let path: String

    /// - Throws: `errno` when none can be made.
    public init() throws(ScratchFailure) {
        var template = Array("/tmp/martlet-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw ScratchFailure(number: errno) }
        path = String(cString: made)
    }

    /// Removes it with everything in it.
    public func remove() { Self.remove(path) }

    private static func remove(_ path: String) {
        if let folder = opendir(path) {
            while let entry = readdir(folder) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                if name != ".", name != ".." { remove(path + "/" + name) }
            }
            closedir(folder)
        }
        _ = Glibc.remove(path)
    }
}

/// The system's number of what went wrong.
public struct ScratchFailure: Error {
    public var number: Int32
}
