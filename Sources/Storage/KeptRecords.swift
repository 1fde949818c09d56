// A file of batches that were taken out of a log and are not to be lost: one after the other, as in a segment.
import Glibc
import NIOCore
import Primitives
import RecordBatches

/// Writes batches aside.
public struct KeptRecords: ~Copyable {
    private let descriptor: Int32
    private let path: String
    private var size = 0

    public init(path: String) throws(StorageError) {
        self.path = path
        descriptor = try FileSystem.open(path, O_WRONLY | O_CREAT | O_TRUNC)
    }

    deinit { Glibc.close(descriptor) }

    public mutating func append(_ bytes: ByteBuffer) throws(StorageError) {
        let (descriptor, path, position) = (descriptor, path, size)
        var problem: StorageError?
        bytes.withUnsafeReadableBytes { bytes in
            do throws(StorageError) {
                try FileSystem.write(descriptor, bytes, at: position, path: path)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        size += bytes.readableBytes
    }

    /// Makes sure that it is on disk.
    public func sync() throws(StorageError) { try FileSystem.sync(descriptor, path: path) }
}
