// Space set aside for the metadata log, so that a full disk cannot keep a topic from being deleted, which is how it gets emptier.
import CLinux
import Glibc
import Storage

/// Keeps extents reserved behind the end of the log's active segment. The file's size and contents stay what they are.
struct MetadataLogReserve {
    private static let chunk = 1 << 20
    /// Room for the records of some hundred deletions.
    private static let least = 256 << 10

    private var path = ""
    private var reservedEnd = 0

    /// Reserves anew where the segment has changed or most of its reserve is used. A disk that has nothing to give is asked again
    /// with the next append.
    mutating func extend(beyond segment: SegmentSummary) {
        if segment.path == path && segment.sizeInBytes + Self.least <= reservedEnd { return }
        let descriptor = open(segment.path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        guard martlet_reserve_extent(descriptor, Int64(segment.sizeInBytes), Int64(Self.chunk)) == 0 else { return }
        path = segment.path
        reservedEnd = segment.sizeInBytes + Self.chunk
    }
}
