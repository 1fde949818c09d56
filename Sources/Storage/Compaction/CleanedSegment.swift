// A segment that compaction writes: `.log.cleaned` and its indexes, complete and on the disk before anybody hears of them.
import Glibc
import NIOCore
import Primitives
import RecordBatches

/// Suffixes of a segment's files on their way into the log, in the order in which each is renamed.
enum ReplacementSuffix {
    static let cleaned = ".cleaned"
    static let swap = ".swap"
    static let files = [".log", ".index", ".timeindex", ".txnindex"]
}

final class CleanedSegment {
    let baseOffset: Offset
    /// Bytes of the log, those included that are not written yet.
    private(set) var size = 0
    private(set) var maximum: TimestampOffset
    private(set) var aborted: [AbortedTransactionEntry] = []
    private let directory: String
    private let file: SegmentFile
    private let control: CleaningControl
    private let bufferBytes: Int
    private let indexIntervalBytes: Int
    private let offsets: OffsetIndex
    private let times: TimeIndex
    private var indexed = 0
    private var pending = ByteBuffer()

    init(
        directory: String, baseOffset: Offset, indexIntervalBytes: Int, bufferBytes: Int, control: CleaningControl
    ) throws(StorageError) {
        self.directory = directory
        self.baseOffset = baseOffset
        self.indexIntervalBytes = indexIntervalBytes
        self.bufferBytes = max(4096, bufferBytes)
        self.control = control
        maximum = TimestampOffset(timestamp: -1, offset: baseOffset)
        let path = Self.path(directory, baseOffset, ".log")
        file = SegmentFile(descriptor: try FileSystem.open(path, O_WRONLY | O_CREAT | O_TRUNC), path: path, baseOffset: baseOffset)
        offsets = OffsetIndex(path: Self.path(directory, baseOffset, ".index"), baseOffset: baseOffset, storedCount: 0)
        times = TimeIndex(path: Self.path(directory, baseOffset, ".timeindex"), baseOffset: baseOffset, storedCount: 0)
    }

    private static func path(_ directory: String, _ baseOffset: Offset, _ suffix: String) -> String {
        SegmentName.path(directory, baseOffset, suffix + ReplacementSuffix.cleaned)
    }

    /// Whether one more batch fits: positions and offsets of a segment have 31 bits. The first one always does.
    func hasRoom(_ count: Int, lastOffset: Offset) -> Bool {
        size == 0 || (size + count <= Int(Int32.max) && lastOffset - baseOffset <= Offset(Int32.max))
    }

    /// Appends one batch and, where it is due, an entry of each index.
    func append(_ bytes: UnsafeRawBufferPointer, lastOffset: Offset, maxTimestamp: Timestamp) throws(CleaningFailure) {
        if pending.readableBytes + bytes.count > bufferBytes { try writePending() }
        if maxTimestamp > maximum.timestamp { maximum = TimestampOffset(timestamp: maxTimestamp, offset: lastOffset) }
        if size - indexed > indexIntervalBytes {
            offsets.append(lastOffset, position: size)
            times.appendIfLarger(maximum)
            indexed = size
        }
        size += bytes.count
        if bytes.count >= bufferBytes { return try write(bytes, at: size - bytes.count) }
        pending.writeBytes(bytes)
    }

    func append(_ entry: AbortedTransactionEntry) { aborted.append(entry) }

    private func writePending() throws(CleaningFailure) {
        guard pending.readableBytes > 0 else { return }
        let position = size - pending.readableBytes
        let outcome = pending.withUnsafeReadableBytes { bytes in
            Result { () throws(CleaningFailure) in try write(bytes, at: position) }
        }
        pending.clear()
        try outcome.get()
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at position: Int) throws(CleaningFailure) {
        try control.pace(bytes.count)
        try control.attempt { () throws(StorageError) in
            try FileSystem.write(file.descriptor, bytes, at: position, path: file.path)
        }
    }

    /// Writes what is left, waits for the disk and sets the time of the last change, from which retention counts where records have no
    /// timestamps.
    func finish(lastModified: Timestamp, writesTransactionIndex: Bool) throws(CleaningFailure) {
        try writePending()
        times.appendIfLarger(maximum)
        try control.attempt { () throws(StorageError) in
            try offsets.flush()
            try times.flush()
            let transactions = Self.path(directory, baseOffset, ".txnindex")
            // Also an empty one: it takes the place of the old segment's.
            if writesTransactionIndex || !aborted.isEmpty {
                try TransactionIndex(entries: aborted).write(to: transactions)
            } else {
                try FileSystem.remove(transactions)
            }
            for path in [offsets.path, times.path] {
                try FileSystem.withDescriptor(path, O_WRONLY) { descriptor throws(StorageError) in
                    try FileSystem.sync(descriptor, path: path)
                }
            }
            let time = timespec(tv_sec: Int(lastModified / 1000), tv_nsec: Int(lastModified % 1000) * 1_000_000)
            guard futimens(file.descriptor, [time, time]) == 0 else { throw FileSystem.failure("set the time", file.path) }
            try FileSystem.sync(file.descriptor, path: file.path)
        }
    }

    /// Takes the files away again.
    func remove() {
        for suffix in ReplacementSuffix.files { try? FileSystem.remove(Self.path(directory, baseOffset, suffix)) }
    }
}
