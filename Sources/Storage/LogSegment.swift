// One segment: a `.log` file and its indexes, opened when somebody needs them.
import CLinux
import Glibc
import Primitives
import RecordBatches

/// Names of the files in a partition's directory.
enum SegmentName {
    static func digits(_ offset: Offset) -> String {
        let text = String(offset)
        return String(repeating: "0", count: max(0, 20 - text.count)) + text
    }

    static func path(_ directory: String, _ baseOffset: Offset, _ suffix: String) -> String {
        directory + "/" + digits(baseOffset) + suffix
    }

    /// The offset in front of a file name's first dot; nil when there is none.
    static func offset(_ name: String) -> Offset? {
        guard let dot = name.firstIndex(of: "."), name.utf8.count > 20, let offset = Offset(name[..<dot]) else { return nil }
        return (0...StoredBatch.largestOffset).contains(offset) ? offset : nil
    }
}

/// Belongs to one `PartitionLog` and shares its lock.
final class LogSegment {
    let baseOffset: Offset
    let directory: String
    /// Bytes of the log; what the file has beyond them does not count.
    private(set) var size: Int
    /// When the segment was begun, for rolling by time while it is empty.
    var created: Timestamp
    /// `index.interval.bytes`, for indexes that have to be written anew.
    var indexIntervalBytes = 4096
    /// Drawn anew for each segment from `segment.jitter.ms`.
    var rollJitter: Int64 = 0
    /// Whether a `.txnindex` exists, or is known not to be needed.
    var transactionIndexIsComplete = false
    /// Parts of the file that a scrub found to be no batches.
    var damage: [Range<Int>] = []
    /// Monotonic milliseconds of the last use, for giving back descriptors.
    var lastUsed: Int64 = 0

    private var openFile: SegmentFile?
    private var openOffsetIndex: OffsetIndex?
    private var openTimeIndex: TimeIndex?
    private var openTransactionIndex: TransactionIndex?
    /// The largest timestamp and the last offset of its batch; read from the time index when not known.
    private var knownMaximum: TimestampOffset?
    /// The first batch's largest timestamp, from which the segment's age counts (KIP-33).
    private var firstTimestamp: Timestamp?
    /// Position of the batch that the newest offset index entry is for, or where appending began.
    private var indexedPosition: Int
    /// How far extents are reserved, or reserving is not tried.
    private var reservedEnd = 0
    private let sizeWhenOpened: Int

    init(directory: String, baseOffset: Offset, size: Int, created: Timestamp) {
        self.directory = directory
        self.baseOffset = baseOffset
        self.size = size
        self.created = created
        indexedPosition = size
        sizeWhenOpened = size
    }

    /// Creates the files of a new, empty segment, so that Kafka finds them all.
    static func create(directory: String, baseOffset: Offset, now: Timestamp) throws(StorageError) -> LogSegment {
        for suffix in [".index", ".timeindex", ".txnindex", ".log"] {
            let path = SegmentName.path(directory, baseOffset, suffix)
            if suffix == ".txnindex" {
                try FileSystem.remove(path)
            } else {
                Glibc.close(try FileSystem.open(path, O_WRONLY | O_CREAT | O_TRUNC))
            }
        }
        let segment = LogSegment(directory: directory, baseOffset: baseOffset, size: 0, created: now)
        segment.openOffsetIndex = OffsetIndex(path: segment.path(".index"), baseOffset: baseOffset, storedCount: 0)
        segment.openTimeIndex = TimeIndex(path: segment.path(".timeindex"), baseOffset: baseOffset, storedCount: 0)
        segment.transactionIndexIsComplete = true
        return segment
    }

    func path(_ suffix: String) -> String { SegmentName.path(directory, baseOffset, suffix) }

    // MARK: Opening on demand

    func file() throws(StorageError) -> SegmentFile {
        if let openFile { return openFile }
        let path = path(".log")
        let file = SegmentFile(descriptor: try FileSystem.open(path, O_RDWR), path: path, baseOffset: baseOffset)
        openFile = file
        return file
    }

    /// The offset index; written anew from the log when it is missing or makes no sense.
    func offsetIndex() throws(StorageError) -> OffsetIndex {
        if let openOffsetIndex { return openOffsetIndex }
        let index = OffsetIndex(path: path(".index"), baseOffset: baseOffset)
        let status = FileSystem.status(of: index.path)
        let isWhole = status.map { $0.size % OffsetIndex.entrySize == 0 } ?? (size == 0)
        guard isWhole, index.looksPlausible(logSize: size) else {
            try rebuildIndexes()
            return try offsetIndex()
        }
        openOffsetIndex = index
        return index
    }

    func timeIndex() throws(StorageError) -> TimeIndex {
        if let openTimeIndex { return openTimeIndex }
        let index = TimeIndex(path: path(".timeindex"), baseOffset: baseOffset)
        let status = FileSystem.status(of: index.path)
        let isWhole = status.map { $0.size % TimeIndex.entrySize == 0 } ?? (size == 0)
        guard isWhole, index.looksPlausible(nextOffset: nil), size == 0 || index.count > 0 || !mayHaveTimestamps else {
            try rebuildIndexes()
            return try timeIndex()
        }
        openTimeIndex = index
        return index
    }

    /// A closed segment with timestamps always has at least one entry.
    private var mayHaveTimestamps: Bool {
        guard let file = try? file() else { return false }
        var reader = SegmentReader(file: file, from: 0, to: size)
        return ((try? reader.next())?.maxTimestamp ?? -1) >= 0
    }

    var indexesAreOpen: Bool { openOffsetIndex != nil || openTimeIndex != nil }

    /// Takes indexes that recovery has checked.
    func adopt(_ offsetIndex: OffsetIndex, _ timeIndex: TimeIndex) {
        openOffsetIndex = offsetIndex
        openTimeIndex = timeIndex
    }

    /// Writes both indexes anew from the batches in the log.
    func rebuildIndexes() throws(StorageError) {
        let offsets = OffsetIndex(path: path(".index"), baseOffset: baseOffset, storedCount: 0)
        let times = TimeIndex(path: path(".timeindex"), baseOffset: baseOffset, storedCount: 0)
        var maximum = TimestampOffset(timestamp: -1, offset: baseOffset)
        var indexed = 0
        var reader = SegmentReader(file: try file(), from: 0, to: size, readAhead: 64 << 10)
        while let batch = try reader.next() {
            if batch.maxTimestamp > maximum.timestamp {
                maximum = TimestampOffset(timestamp: batch.maxTimestamp, offset: batch.lastOffset)
            }
            if batch.position - indexed > indexIntervalBytes {
                offsets.append(batch.lastOffset, position: batch.position)
                times.appendIfLarger(maximum)
                indexed = batch.position
            }
        }
        times.appendIfLarger(maximum)
        knownMaximum = maximum
        openOffsetIndex = offsets
        openTimeIndex = times
        // Lookups work from memory if the disk is full.
        try? flushIndexes()
    }

    /// Gives back descriptor and mappings; they open again on demand.
    func releaseResources() {
        openFile = nil
        openOffsetIndex?.releaseMapping()
        openTimeIndex?.releaseMapping()
    }

    // MARK: Timestamps

    func maximumTimestamp() throws(StorageError) -> TimestampOffset {
        if let knownMaximum { return knownMaximum }
        let maximum = try timeIndex().lastEntry
        knownMaximum = maximum
        return maximum
    }

    func setMaximumTimestamp(_ maximum: TimestampOffset) { knownMaximum = maximum }

    /// The largest timestamp, or the file's time if no record has one: what retention goes by.
    func largestTimestamp() throws(StorageError) -> Timestamp {
        let maximum = try maximumTimestamp().timestamp
        if maximum >= 0 { return maximum }
        return FileSystem.status(of: path(".log"))?.modified ?? created
    }

    /// The largest timestamp of the first batch; nil in an empty segment.
    func firstBatchTimestamp() throws(StorageError) -> Timestamp? {
        if firstTimestamp == nil, size > 0 {
            var reader = SegmentReader(file: try file(), from: 0, to: size)
            firstTimestamp = try reader.next()?.maxTimestamp
        }
        return firstTimestamp
    }

    /// How long the segment waits to be rolled, as seen by a batch with `timestamp`.
    func timeWaited(now: Timestamp, timestamp: Timestamp) throws(StorageError) -> Int64 {
        if let firstTimestamp = try firstBatchTimestamp(), firstTimestamp >= 0 { return timestamp &- firstTimestamp }
        return now - created
    }

    // MARK: Writing

    /// Writes gathered bytes behind the log's end. A write that fails half-way leaves the log as it was.
    func write(_ parts: [iovec], count: Int, configuration: LogConfiguration) throws(StorageError) {
        let file = try file()
        lastUsed = SystemClock.monotonicMilliseconds()
        reserve(count, file: file, configuration: configuration)
        var parts = parts
        var first = 0
        var done = 0
        while done < count {
            let written = parts.withUnsafeBufferPointer { pointer in
                pwritev(file.descriptor, pointer.baseAddress.map { $0 + first }, Int32(min(parts.count - first, 1024)), off_t(size + done))
            }
            if written < 0 {
                if errno == EINTR { continue }
                let error = FileSystem.failure("write", file.path)
                ftruncate(file.descriptor, off_t(size))
                throw error
            }
            done += written
            var rest = written
            while first < parts.count, rest >= parts[first].iov_len {
                rest -= parts[first].iov_len
                first += 1
            }
            if rest > 0 {
                parts[first].iov_base += rest
                parts[first].iov_len -= rest
            }
        }
    }

    /// Notes one batch that was written at the log's end.
    func didAppend(_ header: RecordBatchHeader, configuration: LogConfiguration) throws(StorageError) {
        let position = size
        if firstTimestamp == nil { firstTimestamp = header.maxTimestamp }
        var maximum = try maximumTimestamp()
        if header.maxTimestamp > maximum.timestamp {
            maximum = TimestampOffset(timestamp: header.maxTimestamp, offset: header.lastOffset)
            knownMaximum = maximum
        }
        if position - indexedPosition > configuration.indexIntervalBytes {
            try offsetIndex().append(header.lastOffset, position: position)
            try timeIndex().appendIfLarger(maximum)
            indexedPosition = position
        }
        size = position + header.sizeInBytes
    }

    /// Extents of a busy segment are asked for ahead, 16 MiB at a time: a quarter less work for the file system, and the file's size
    /// stays what it is. Idle segments reserve nothing; a disk that is short is left alone.
    private func reserve(_ count: Int, file: SegmentFile, configuration: LogConfiguration) {
        let chunk = 16 << 20
        guard size + count > reservedEnd, configuration.preallocate || size - sizeWhenOpened >= 1 << 20 else { return }
        let wanted = configuration.preallocate && size == 0 ? configuration.segmentBytes : chunk
        let end = min(size + max(wanted, count), max(configuration.segmentBytes, size + count))
        var space = statvfs()
        let isShort = fstatvfs(file.descriptor, &space) != 0 || Int(space.f_bavail) * Int(space.f_frsize) < 64 * chunk
        if isShort || martlet_reserve_extent(file.descriptor, Int64(size), Int64(end - size)) != 0 {
            // Not before another 64 MiB.
            reservedEnd = size + 4 * chunk
            return
        }
        reservedEnd = end
    }

    private var hasReservedExtents: Bool { reservedEnd > size }

    /// Gives reserved extents back, completes the time index and writes both indexes: the segment is done.
    func seal() throws(StorageError) {
        if openTimeIndex != nil || knownMaximum != nil { try timeIndex().appendIfLarger(try maximumTimestamp()) }
        try releaseExtents()
        try flushIndexes()
    }

    func releaseExtents() throws(StorageError) {
        guard hasReservedExtents, let openFile else { return }
        try FileSystem.truncate(openFile.descriptor, to: size, path: openFile.path)
        reservedEnd = 0
    }

    func flushIndexes() throws(StorageError) {
        try openOffsetIndex?.flush()
        try openTimeIndex?.flush()
    }

    /// Cuts the log at a batch boundary; entries of the indexes at or above `offset` go too.
    func truncate(to position: Int, offset: Offset, now: Timestamp) throws(StorageError) {
        let file = try file()
        try offsetIndex().truncate(to: offset)
        try timeIndex().truncate(to: offset)
        if var transactions = try? transactionIndex(), transactions.truncate(to: offset) {
            try transactions.write(to: path(".txnindex"))
            openTransactionIndex = transactions
        }
        try FileSystem.truncate(file.descriptor, to: position, path: file.path)
        size = position
        reservedEnd = 0
        indexedPosition = position
        damage.removeAll { $0.upperBound > position }
        if size == 0 {
            created = now
            firstTimestamp = nil
        }
        try refreshMaximumTimestamp()
    }

    /// Reads on from the newest time index entry, since later batches may have larger timestamps without an entry yet.
    private func refreshMaximumTimestamp() throws(StorageError) {
        var maximum = try timeIndex().lastEntry
        let start = try offsetIndex().lookup(maximum.offset).position
        var reader = SegmentReader(file: try file(), from: start, to: size, readAhead: 64 << 10)
        while let batch = try reader.next() {
            guard batch.maxTimestamp > maximum.timestamp else { continue }
            maximum = TimestampOffset(timestamp: batch.maxTimestamp, offset: batch.lastOffset)
        }
        knownMaximum = maximum
    }

    /// Takes over what recovery found, and cuts the file behind it.
    func finishRecovery(
        size newSize: Int, offsets: OffsetIndex, times: TimeIndex, maximum: TimestampOffset, aborted: [AbortedTransactionEntry]
    ) throws(StorageError) {
        // Also where nothing is cut: extents that were reserved before the crash are given back.
        try FileSystem.truncate(try file().descriptor, to: newSize, path: path(".log"))
        size = newSize
        indexedPosition = newSize
        // As Kafka leaves a recovered segment: with an entry for its largest timestamp.
        times.appendIfLarger(maximum)
        // On a full disk the indexes stay in memory, and the log can be read all the same.
        try? offsets.flush()
        try? times.flush()
        knownMaximum = maximum
        openOffsetIndex = offsets
        openTimeIndex = times
        let index = TransactionIndex(entries: aborted)
        if !aborted.isEmpty || FileSystem.exists(path(".txnindex")) { try? index.write(to: path(".txnindex")) }
        setTransactionIndex(index)
    }

    // MARK: Transactions

    func transactionIndex() throws(StorageError) -> TransactionIndex {
        if let openTransactionIndex { return openTransactionIndex }
        let index = try TransactionIndex(path: path(".txnindex"), baseOffset: baseOffset)
        openTransactionIndex = index
        return index
    }

    func setTransactionIndex(_ index: TransactionIndex) {
        openTransactionIndex = index
        transactionIndexIsComplete = true
    }

    /// Notes an aborted transaction. It is in memory even if the file cannot be written now: recovery finds it in the log again.
    func append(_ entry: AbortedTransactionEntry) {
        var index = (try? transactionIndex()) ?? TransactionIndex()
        try? TransactionIndex.append(entry, count: index.entries.count, to: path(".txnindex"))
        index.append(entry)
        openTransactionIndex = index
    }
}
