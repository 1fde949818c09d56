// Beginning and ending segments: rolling, flushing, producer snapshots, closing.
import Glibc
import Primitives

extension PartitionLog {
    /// Begins a new segment, unless the active one is empty.
    public func roll(now: Timestamp) throws(StorageError) {
        try checkOpen()
        if active.size > 0 { try roll(at: logEndOffset, now: now) }
    }

    /// Begins a segment at `offset`. Nothing has changed if that fails, but for an index entry more in the old one.
    func roll(at offset: Offset, now: Timestamp) throws(StorageError) {
        let old = active
        guard old.baseOffset != offset else { return }
        let segment = try LogSegment.create(directory: path, baseOffset: offset, now: now)
        configure(segment)
        do throws(StorageError) {
            try old.seal()
        } catch {
            for suffix in [".log", ".index", ".timeindex"] { try? FileSystem.remove(segment.path(suffix)) }
            throw error
        }
        segmentList.append(segment)
        recentBatches.removeAll()
        limitCache = nil
        directoryNeedsSync = true
        producersEndOffset = offset
        // A missing snapshot costs time at the next start, no more.
        try? takeSnapshot(sync: false)
    }

    /// Settings that a segment keeps for its life.
    func configure(_ segment: LogSegment) {
        segment.indexIntervalBytes = configuration.indexIntervalBytes
        let limit = min(configuration.segmentJitterMilliseconds, configuration.segmentMilliseconds)
        segment.rollJitter = limit > 0 ? Int64.random(in: 0..<limit) : 0
    }

    // MARK: Producer snapshots

    func snapshotPath(_ offset: Offset) -> String { SegmentName.path(path, offset, ".snapshot") }

    /// Writes what is known of the producers up to the log's end, unless a snapshot has it.
    func takeSnapshot(sync: Bool) throws(StorageError) {
        guard producersEndOffset > snapshotOffsets.last ?? logStartOffset else { return }
        let path = snapshotPath(producersEndOffset)
        if sync {
            try ProducerSnapshotFile.write(producers.snapshot, to: path)
        } else {
            let bytes = ProducerSnapshotFile.encode(producers.snapshot)
            try FileSystem.withDescriptor(path, O_WRONLY | O_CREAT | O_TRUNC) { descriptor throws(StorageError) in
                try bytes.withBytes { bytes throws(StorageError) in
                    try FileSystem.write(descriptor, bytes, at: 0, path: path)
                }
            }
        }
        snapshotOffsets.append(producersEndOffset)
    }

    func removeSnapshots(where condition: (Offset) -> Bool) {
        for offset in snapshotOffsets where condition(offset) { try? FileSystem.remove(snapshotPath(offset)) }
        snapshotOffsets.removeAll(where: condition)
    }

    // MARK: Flushing

    /// Whether there is something to flush and `flush.ms` is over since the last flush, or a segment was rolled since: like Kafka, a
    /// closed segment is flushed soon, so that a recovery begins behind it.
    public func isFlushDue(now: Timestamp) -> Bool {
        guard !isClosed, recoveryPoint < logEndOffset else { return false }
        if recoveryPoint < active.baseOffset { return true }
        return configuration.flushMilliseconds != .max && now - lastFlush >= configuration.flushMilliseconds
    }

    /// Flushes everything below `offset` (the log's end when nil) and moves the recovery point there. Blocks for as long as the disk
    /// takes: prefer `beginFlush`.
    public func flush(upTo offset: Offset? = nil, now: Timestamp) throws(StorageError) {
        guard let work = try flushWork(upTo: offset) else { return }
        try work.run()
        finishFlush(work, now: now)
    }

    /// What to flush so that the recovery point can move up to `offset` (the log's end when nil); nil when it is there already.
    public func beginFlush(upTo offset: Offset? = nil) throws(StorageError) -> FlushWork? {
        if isClosed || logDirectory.isOffline { return nil }
        return try flushWork(upTo: offset)
    }

    private func flushWork(upTo offset: Offset?) throws(StorageError) -> FlushWork? {
        let end = min(offset ?? logEndOffset, logEndOffset)
        // Epochs come first: what lies below the recovery point is not looked at again for them.
        try epochs.writeIfChanged(to: path + "/" + LeaderEpochs.fileName)
        guard end > recoveryPoint else { return nil }
        var work = FlushWork(offset: end, logDirectory: logDirectory, directory: directoryNeedsSync ? path : nil)
        for index in segmentIndex(containing: recoveryPoint)..<segmentList.count {
            let segment = segmentList[index]
            guard segment.baseOffset < end || index == 0 else { break }
            if segment.indexesAreOpen { try segment.flushIndexes() }
            if segment.size > 0 { work.files.append(try segment.file()) }
            work.paths += [".index", ".timeindex", ".txnindex", ".snapshot"].map { segment.path($0) }
        }
        return work
    }

    /// Moves the recovery point after `FlushWork.run` succeeded.
    public func finishFlush(_ work: FlushWork, now: Timestamp) {
        // Of the log that was here before this one took its place.
        guard work.logDirectory === logDirectory else { return }
        // A truncation may have come between.
        recoveryPoint = max(recoveryPoint, min(work.offset, logEndOffset))
        if work.directory != nil { directoryNeedsSync = false }
        lastFlush = now
    }

    // MARK: Idle resources

    /// Gives back descriptors and mappings of segments that were not used since `monotonicMilliseconds`.
    public func releaseIdleResources(unusedSince monotonicMilliseconds: Int64) {
        for segment in segmentList where segment.lastUsed < monotonicMilliseconds {
            try? segment.releaseExtents()
            segment.releaseResources()
        }
    }

    // MARK: The end

    /// Writes the producer snapshot, epochs and indexes as Kafka does on a clean stop, gives reserved extents back, closes.
    ///
    /// Does not wait for the disk: `LogDirectories.close` does that once for all logs, before it writes the recovery points.
    public func close(now: Timestamp) throws(StorageError) {
        guard !isClosed else { return }
        abortCleaning()
        defer {
            isClosed = true
            for segment in segmentList { segment.releaseResources() }
        }
        if logDirectory.isOffline { return }
        try active.seal()
        try epochs.writeIfChanged(to: path + "/" + LeaderEpochs.fileName, sync: false)
        try takeSnapshot(sync: false)
        recoveryPoint = logEndOffset
    }

    /// Renames the directory to `topic-N.HEX-delete`; its files go when `LogDirectory.maintain` finds it due.
    public func delete(now: Timestamp) throws(StorageError) {
        guard !isClosed else { return }
        abortCleaning()
        path = try logDirectory.markForDeletion(
            topicPartition, path: path, due: now + max(0, configuration.fileDeleteDelayMilliseconds))
        isClosed = true
        logDirectory.recoveryPointsWentBack()
        for segment in segmentList { segment.releaseResources() }
    }
}

/// Files to be flushed outside of the log's lock.
public struct FlushWork: Sendable {
    /// The recovery point once the work is done.
    public let offset: Offset
    /// Kept open, so that a deletion meanwhile does no harm.
    fileprivate var files: [SegmentFile] = []
    /// Small files beside them, which need not exist.
    fileprivate var paths: [String] = []
    fileprivate let logDirectory: LogDirectory
    /// The partition's directory, if it has new files.
    fileprivate let directory: String?

    fileprivate init(offset: Offset, logDirectory: LogDirectory, directory: String?) {
        self.offset = offset
        self.logDirectory = logDirectory
        self.directory = directory
    }

    /// Blocks until the bytes are on the disk. A disk that cannot flush is not to be trusted any more: a failure takes the log
    /// directory out of service.
    public func run() throws(StorageError) {
        do throws(StorageError) {
            try flush()
        } catch {
            logDirectory.noteFailure(error)
            throw error
        }
    }

    private func flush() throws(StorageError) {
        for file in files { try FileSystem.sync(file.descriptor, path: file.path) }
        for path in paths {
            let descriptor = Glibc.open(path, O_WRONLY | O_CLOEXEC)
            if descriptor < 0 { continue }
            defer { Glibc.close(descriptor) }
            try FileSystem.sync(descriptor, path: path)
        }
        guard let directory else { return }
        // Deleted meanwhile: nothing is left to be kept.
        guard FileSystem.exists(directory) else { return }
        try FileSystem.syncDirectory(directory)
        try FileSystem.syncDirectory(FileSystem.parent(of: directory))
    }
}
