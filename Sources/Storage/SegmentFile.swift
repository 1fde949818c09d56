// An open segment. Its descriptor belongs to whoever still refers to it: a sendfile under way survives the segment's deletion.
import Glibc
import Primitives

/// One open `.log` file. The descriptor closes when the last reference goes.
public final class SegmentFile: Sendable {
    /// For sendfile and pread; do not close it, and keep the `SegmentFile` as long as you use it.
    public let descriptor: Int32
    /// The path at the time of opening; deletion renames the file.
    public let path: String
    public let baseOffset: Offset

    /// Takes ownership of the descriptor.
    init(descriptor: Int32, path: String, baseOffset: Offset) {
        self.descriptor = descriptor
        self.path = path
        self.baseOffset = baseOffset
    }

    deinit {
        Glibc.close(descriptor)
    }
}
