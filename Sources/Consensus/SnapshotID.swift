// A snapshot is named after the first offset that it does not contain and the epoch of the last one that it does (KIP-630).
import Primitives

/// Identifies a snapshot of the metadata log.
public struct SnapshotID: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The offset after the last record in the snapshot: where the log goes on.
    public var endOffset: Offset
    /// The leader epoch of the last record in the snapshot.
    public var epoch: LeaderEpoch

    public init(endOffset: Offset, epoch: LeaderEpoch) {
        self.endOffset = endOffset
        self.epoch = epoch
    }

    /// The snapshot that formatting writes for a quorum with dynamic voters.
    public static let bootstrap = SnapshotID(endOffset: 0, epoch: 0)

    /// The suffix of finished snapshot files.
    public static let suffix = ".checkpoint"

    /// `00000000000000000353-0000000002.checkpoint`
    public var fileName: String { "\(Self.padded(endOffset, 20))-\(Self.padded(Int64(epoch), 10))\(Self.suffix)" }

    /// Reads a finished snapshot's file name; nil for any other file.
    public init?(fileName: String) {
        guard fileName.hasSuffix(Self.suffix) else { return nil }
        let parts = fileName.dropLast(Self.suffix.count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, parts[0].utf8.count == 20, parts[1].utf8.count == 10, let endOffset = Offset(parts[0]),
            let epoch = LeaderEpoch(parts[1]), endOffset >= 0, epoch >= 0
        else { return nil }
        self.init(endOffset: endOffset, epoch: epoch)
    }

    public static func < (left: SnapshotID, right: SnapshotID) -> Bool {
        (left.endOffset, left.epoch) < (right.endOffset, right.epoch)
    }

    public var description: String { "\(endOffset)-\(epoch)" }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

/// Decides when the next snapshot is due.
public struct SnapshotSchedule: Sendable {
    /// `metadata.log.max.record.bytes.between.snapshots`.
    public var maximumBytes: Int64
    /// `metadata.log.max.snapshot.interval.ms`; 0 for never by time.
    public var maximumIntervalMilliseconds: Int64
    /// Bytes of the log that no snapshot holds yet.
    public private(set) var bytes: Int64 = 0
    private var lastSnapshot: Timestamp

    public init(maximumBytes: Int64 = 20 << 20, maximumIntervalMilliseconds: Int64 = 3_600_000, now: Timestamp) {
        self.maximumBytes = maximumBytes
        self.maximumIntervalMilliseconds = maximumIntervalMilliseconds
        lastSnapshot = now
    }

    /// Notes bytes that were appended to the log.
    public mutating func appended(_ count: Int) { bytes += Int64(count) }

    public func isDue(now: Timestamp) -> Bool {
        guard bytes > 0 else { return false }
        return bytes >= maximumBytes || (maximumIntervalMilliseconds > 0 && now - lastSnapshot >= maximumIntervalMilliseconds)
    }

    public mutating func snapshotWritten(now: Timestamp) {
        bytes = 0
        lastSnapshot = now
    }
}
