// Opens a partition's directory: cheap after a clean stop, checked batch by batch from the recovery point on after a crash.
import Glibc
import Primitives

/// What the data directory's checkpoints know of a partition.
struct LoadRequest {
    var topicPartition: TopicPartition
    var path: String
    var configuration: LogConfiguration
    /// The last process closed its logs.
    var isClean: Bool
    var recoveryPoint: Offset
    var logStartOffset: Offset
    /// The log's end when nil: with one replica all that is there is replicated.
    var highWatermark: Offset?
    var now: Timestamp
    /// Told of bytes scanned, for the progress of a start.
    var onScanned: @Sendable (Int) -> Void = { _ in }
}

struct LogLoader {
    let request: LoadRequest
    var state = LoadedState()
    private var hasEpochFile = false

    init(_ request: LoadRequest) {
        self.request = request
    }

    mutating func load() throws(StorageError) -> LoadedState {
        try findFiles()
        if state.segments.isEmpty {
            let base = max(0, request.logStartOffset)
            state.segments.append(try LogSegment.create(directory: request.path, baseOffset: base, now: request.now))
        }
        try loadEpochs()
        var end: Offset?
        if request.isClean { end = try cleanEnd() }
        if end == nil {
            var recovery = LogRecovery(request: request, state: state)
            end = try recovery.run()
            state = recovery.state
        }
        state.logEndOffset = end ?? 0
        try settleOffsets()
        if !hasEpochFile { try rebuildEpochs() }
        state.epochs.truncate(fromEnd: state.logEndOffset)
        state.epochs.truncate(fromStart: state.logStartOffset)
        if !state.report.recovered { try loadProducers() }
        removeStraySnapshots()
        return state
    }

    // MARK: Files

    private mutating func findFiles() throws(StorageError) {
        var names = try FileSystem.names(in: request.path).filter { !$0.isDirectory }.map(\.name)
        if try InterruptedWork(path: request.path).finish(names) {
            names = try FileSystem.names(in: request.path).filter { !$0.isDirectory }.map(\.name)
        }
        var bases: [Offset] = []
        var others: [(name: String, base: Offset)] = []
        for name in names {
            if name == LeaderEpochs.fileName { hasEpochFile = true }
            guard let offset = SegmentName.offset(name) else { continue }
            if name.hasSuffix(".log") {
                bases.append(offset)
            } else if name.hasSuffix(".snapshot") {
                state.snapshotOffsets.append(offset)
            } else if name.hasSuffix(".index") || name.hasSuffix(".timeindex") || name.hasSuffix(".txnindex") {
                others.append((name, offset))
            }
        }
        bases.sort()
        state.snapshotOffsets.sort()
        for base in bases {
            let path = SegmentName.path(request.path, base, ".log")
            guard let status = FileSystem.status(of: path) else { throw FileSystem.failure("stat", path) }
            let segment = LogSegment(directory: request.path, baseOffset: base, size: status.size, created: request.now)
            segment.indexIntervalBytes = request.configuration.indexIntervalBytes
            state.segments.append(segment)
        }
        for other in others {
            if !bases.contains(other.base) {
                // An index without its log is of no use.
                try FileSystem.remove(request.path + "/" + other.name)
            } else if other.name.hasSuffix(".txnindex") {
                state.hasTransactions = true
            }
        }
    }

    private mutating func loadEpochs() throws(StorageError) {
        guard hasEpochFile else { return }
        do throws(StorageError) {
            state.epochs = try LeaderEpochs(path: request.path + "/" + LeaderEpochs.fileName)
        } catch {
            guard case .corruptFile(_, let reason) = error else { throw error }
            state.report.remarks.append("leader epochs are read from the log, because their checkpoint is corrupt: \(reason)")
            hasEpochFile = false
        }
    }

    // MARK: Clean start

    /// The log's end, from the last batch; nil when the last segment does not end with a whole batch after all.
    private mutating func cleanEnd() throws(StorageError) -> Offset? {
        guard let active = state.segments.last else { return nil }
        let last: (batch: StoredBatch?, problem: String?)
        do throws(StorageError) {
            last = try active.lastBatch()
        } catch {
            guard case .corruptFile = error else { throw error }
            return nil
        }
        if let problem = last.problem {
            state.report.remarks.append("recovered although the last stop was clean: \(problem)")
            return nil
        }
        active.releaseResources()
        state.recoveryPoint = last.batch.map { $0.lastOffset + 1 } ?? active.baseOffset
        return state.recoveryPoint
    }

    // MARK: Offsets

    private mutating func settleOffsets() throws(StorageError) {
        let first = state.segments[0].baseOffset
        if state.logEndOffset < request.logStartOffset {
            // The files that had the log's end are gone; only the checkpoint knows that it was beyond.
            state.report.remarks.append("all segments end below the log start offset \(request.logStartOffset) and are removed")
            for segment in state.segments { removeFiles(of: segment) }
            state.segments = [try LogSegment.create(directory: request.path, baseOffset: request.logStartOffset, now: request.now)]
            state.epochs.removeAll()
            state.producers.removeAll()
            state.logEndOffset = request.logStartOffset
            state.logStartOffset = request.logStartOffset
        } else {
            state.logStartOffset = max(request.logStartOffset, first)
        }
        let checkpointed = state.report.recovered ? request.recoveryPoint : state.logEndOffset
        state.recoveryPoint = min(max(checkpointed, state.logStartOffset), state.logEndOffset)
        state.highWatermark = request.highWatermark ?? state.logEndOffset
    }

    private func removeFiles(of segment: LogSegment) {
        for suffix in [".log", ".index", ".timeindex", ".txnindex"] { try? FileSystem.remove(segment.path(suffix)) }
    }

    // MARK: Producers and epochs

    private mutating func loadProducers() throws(StorageError) {
        if state.logEndOffset == state.logStartOffset, state.snapshotOffsets.isEmpty { return }
        var replay = ProducerReplay(
            directory: request.path, segments: state.segments, snapshotOffsets: state.snapshotOffsets,
            logStartOffset: state.logStartOffset, expiration: request.configuration.producerIDExpirationMilliseconds, now: request.now)
        try replay.start(at: state.logEndOffset)
        try replay.advance(to: state.logEndOffset)
        state.producers = replay.states
        state.snapshotOffsets = replay.snapshotOffsets
        state.hasTransactions = state.hasTransactions || replay.sawTransactions || replay.states.showsTransactions
        for segment in state.segments { segment.releaseResources() }
    }

    /// Snapshots above the log's end are wrong; older ones are of use only where a segment begins.
    private mutating func removeStraySnapshots() {
        let bases = Set(state.segments.map(\.baseOffset))
        let newest = state.snapshotOffsets.last { $0 <= state.logEndOffset }
        state.snapshotOffsets.removeAll { offset in
            let isKept = offset <= state.logEndOffset && (bases.contains(offset) || offset == newest)
            if !isKept { try? FileSystem.remove(SegmentName.path(request.path, offset, ".snapshot")) }
            return !isKept
        }
    }

    /// Epochs grow along the log, so only segments between whose beginnings they differ have to be walked.
    private mutating func rebuildEpochs() throws(StorageError) {
        state.epochs.removeAll()
        var starts: [LeaderEpoch] = []
        for segment in state.segments {
            var reader = SegmentReader(file: try segment.file(), from: 0, to: segment.size)
            starts.append(try reader.next()?.header.partitionLeaderEpoch ?? -1)
        }
        for (index, segment) in state.segments.enumerated() where segment.size > 0 {
            if starts[index] > state.epochs.latest?.epoch ?? -1 {
                state.epochs.assign(starts[index], startOffset: segment.baseOffset)
            }
            if index + 1 < starts.count, starts[index + 1] == starts[index] { continue }
            var reader = SegmentReader(file: try segment.file(), from: 0, to: segment.size, readAhead: 64 << 10)
            while let batch = try reader.next() {
                let epoch = batch.header.partitionLeaderEpoch
                if batch.magic == 2, epoch > state.epochs.latest?.epoch ?? -1 {
                    state.epochs.assign(epoch, startOffset: batch.baseOffset)
                }
            }
            segment.releaseResources()
        }
    }
}

/// What a crash left half done: files to be deleted, and segments that compaction was about to put in place of others.
struct InterruptedWork {
    let path: String

    /// Returns whether anything changed.
    func finish(_ names: [String]) throws(StorageError) -> Bool {
        guard
            names.contains(where: { $0.hasSuffix(".deleted") || $0.hasSuffix(".cleaned") || $0.hasSuffix(".swap") || $0.hasSuffix(".tmp") })
        else { return false }
        for name in names where (name.hasSuffix(".deleted") && !name.hasSuffix(".checkpoint.deleted")) || name.hasSuffix(".tmp") {
            try FileSystem.remove(path + "/" + name)
        }
        // Cleaned files that were not all renamed to swap files: the old segments are still there, whole.
        let unfinished = names.filter { $0.hasSuffix(".cleaned") }.compactMap { SegmentName.offset($0) }.min() ?? .max
        var swaps: [String] = []
        for name in names where name.hasSuffix(".swap") {
            if SegmentName.offset(name) ?? .max >= unfinished {
                try FileSystem.remove(path + "/" + name)
            } else {
                swaps.append(name)
            }
        }
        // Not before the swap files that they speak against: a crash in between must not make those look whole.
        for name in names where name.hasSuffix(".cleaned") { try FileSystem.remove(path + "/" + name) }
        try replaceSegments(by: swaps, names: names)
        return true
    }

    private func replaceSegments(by swaps: [String], names: [String]) throws(StorageError) {
        var lowest = Offset.max
        var highest = Offset.min
        for name in swaps where name.hasSuffix(".log.swap") {
            guard let base = SegmentName.offset(name) else { continue }
            lowest = min(lowest, base)
            highest = max(highest, try end(of: path + "/" + name, base: base))
        }
        for name in names where !name.hasSuffix(".swap") && !name.hasSuffix(".snapshot") && !name.hasSuffix(".checkpoint") {
            guard let offset = SegmentName.offset(name), offset >= lowest, offset < highest else { continue }
            try FileSystem.remove(path + "/" + name)
        }
        for name in swaps { try FileSystem.rename(path + "/" + name, to: path + "/" + name.dropLast(".swap".count)) }
    }

    private func end(of path: String, base: Offset) throws(StorageError) -> Offset {
        let file = SegmentFile(descriptor: try FileSystem.open(path, O_RDONLY), path: path, baseOffset: base)
        var reader = SegmentReader(file: file, from: 0, to: FileSystem.status(of: path)?.size ?? 0, readAhead: 64 << 10)
        var end = base
        while let batch = try reader.next() { end = batch.lastOffset + 1 }
        return end
    }
}
