// Kafka's checkpoint files: a version, a count, and as many lines. Four kinds of them share the syntax.
import Primitives

/// The lines of a checkpoint file of version 0.
enum CheckpointFile {
    /// The lines behind version and count; nil when there is no file.
    static func lines(of path: String) throws(StorageError) -> [Substring]? {
        guard let text = try FileSystem.text(of: path) else { return nil }
        // Kafka takes an empty file for one without entries, and leaves some.
        if text.isEmpty { return [] }
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last?.isEmpty == true { lines.removeLast() }
        guard let version = lines.first, version == "0" else {
            throw .corruptFile(path: path, reason: "version is \(lines.first.map(String.init) ?? "missing"), not 0")
        }
        guard lines.count >= 2, let count = Int(lines[1]), count == lines.count - 2 else {
            throw .corruptFile(path: path, reason: "count does not fit the \(max(0, lines.count - 2)) entries")
        }
        return Array(lines[2...])
    }

    static func write(_ lines: [String], to path: String, sync: Bool = true) throws(StorageError) {
        var text = "0\n\(lines.count)\n"
        for line in lines {
            text += line
            text += "\n"
        }
        try FileSystem.replace(path, with: Array(text.utf8), sync: sync)
    }
}

/// `recovery-point-`, `replication-`, `log-start-` and `cleaner-offset-checkpoint`: an offset for each partition.
public struct OffsetCheckpointFile: Sendable {
    /// The files' names in a data directory.
    public enum Name {
        public static let recoveryPoint = "recovery-point-offset-checkpoint"
        public static let highWatermark = "replication-offset-checkpoint"
        public static let logStart = "log-start-offset-checkpoint"
        public static let cleaner = "cleaner-offset-checkpoint"
    }

    public let path: String

    public init(path: String) {
        self.path = path
    }

    /// No offsets when there is no file.
    /// - Throws: `corruptFile` for a wrong count or a line that is none.
    public func read() throws(StorageError) -> [TopicPartition: Offset] {
        guard let lines = try CheckpointFile.lines(of: path) else { return [:] }
        var offsets: [TopicPartition: Offset] = [:]
        offsets.reserveCapacity(lines.count)
        for line in lines {
            let fields = line.split(separator: " ", omittingEmptySubsequences: false)
            guard fields.count == 3, let partition = Int32(fields[1]), let offset = Offset(fields[2]),
                offset <= StoredBatch.largestOffset
            else {
                throw .corruptFile(path: path, reason: "\"\(line)\" is not topic, partition and offset")
            }
            offsets[TopicPartition(String(fields[0]), partition)] = offset
        }
        return offsets
    }

    /// Replaces the file atomically.
    public func write(_ offsets: [(TopicPartition, Offset)]) throws(StorageError) {
        try CheckpointFile.write(offsets.map { "\($0.topic) \($0.partition) \($1)" }, to: path)
    }
}
