// Producer state from what is on disk: the newest snapshot that can be read, then the headers of the batches behind it.
import Primitives

struct ProducerReplay {
    let directory: String
    let segments: [LogSegment]
    var snapshotOffsets: [Offset]
    let logStartOffset: Offset
    let expiration: Int64
    let now: Timestamp
    var states = ProducerStates()
    /// Everything below it is in `states`.
    var position: Offset = 0
    var sawTransactions = false

    init(
        directory: String, segments: [LogSegment], snapshotOffsets: [Offset], logStartOffset: Offset, expiration: Int64, now: Timestamp
    ) {
        self.directory = directory
        self.segments = segments
        self.snapshotOffsets = snapshotOffsets
        self.logStartOffset = logStartOffset
        self.expiration = expiration
        self.now = now
    }

    /// Begins with the newest snapshot at or below `offset`, or with nothing at the log's start. Damaged snapshots are removed.
    mutating func start(at offset: Offset) throws(StorageError) {
        states.removeAll()
        for candidate in snapshotOffsets.reversed() where candidate <= offset && candidate > logStartOffset {
            let path = SegmentName.path(directory, candidate, ".snapshot")
            do throws(StorageError) {
                let entries = try ProducerSnapshotFile.read(path)
                if entries.contains(where: { $0.coordinatorEpoch >= 0 || $0.currentTransactionFirstOffset >= 0 }) { sawTransactions = true }
                states.load(entries, now: now, expiration: expiration)
                position = candidate
                return
            } catch {
                guard case .corruptFile = error else { throw error }
                try? FileSystem.remove(path)
                snapshotOffsets.removeAll { $0 == candidate }
            }
        }
        position = logStartOffset
    }

    /// Replays batch headers up to `end`. Stops before damage: what follows is unknown anyway.
    mutating func advance(to end: Offset) throws(StorageError) {
        guard position < end else { return }
        for (index, segment) in segments.enumerated() where segment.size > 0 && segment.baseOffset < end {
            if index + 1 < segments.count, segments[index + 1].baseOffset <= position { continue }
            let start = position > segment.baseOffset ? try segment.offsetIndex().lookup(position).position : 0
            var reader = SegmentReader(file: try segment.file(), from: start, to: segment.size, readAhead: 64 << 10)
            while let batch = try reader.next(), batch.baseOffset < end {
                if batch.lastOffset < position { continue }
                note(batch, marker: try segment.marker(of: batch)) { _ in }
            }
            position = max(position, min(end, index + 1 < segments.count ? segments[index + 1].baseOffset : end))
        }
        position = end
    }

    /// Notes one batch.
    mutating func note(_ batch: StoredBatch, marker: TransactionMarker?, onAbort: (AbortedTransactionEntry) -> Void) {
        guard batch.magic == 2, batch.header.hasProducerId else { return }
        if batch.header.isTransactional { sawTransactions = true }
        states.replay(batch.header, marker: marker, onAbort: onAbort)
    }
}

extension PartitionLog {
    /// Makes sure that a segment's `.txnindex` can be trusted, where transactions were seen: one that is missing or damaged is written
    /// anew from the markers in the log. Kafka shows a read_committed consumer the aborted records instead.
    func completeTransactionIndex(of index: Int) throws(StorageError) {
        let segment = segmentList[index]
        if segment.transactionIndexIsComplete { return }
        let path = segment.path(".txnindex")
        if FileSystem.exists(path) {
            do throws(StorageError) {
                segment.setTransactionIndex(try TransactionIndex(path: path, baseOffset: segment.baseOffset))
                return
            } catch {
                guard case .corruptFile = error else { throw error }
            }
        }
        let rebuilt = try transactionIndexFromLog(of: index)
        segment.setTransactionIndex(rebuilt)
        // An empty file tells the next start that somebody looked. A full disk may keep it from being written.
        try? rebuilt.write(to: path)
    }

    private func transactionIndexFromLog(of index: Int) throws(StorageError) -> TransactionIndex {
        let segment = segmentList[index]
        var replay = ProducerReplay(
            directory: path, segments: segmentList, snapshotOffsets: snapshotOffsets, logStartOffset: segmentList[0].baseOffset - 1,
            expiration: .max, now: 0)
        try replay.start(at: segment.baseOffset)
        try replay.advance(to: segment.baseOffset)
        var entries: [AbortedTransactionEntry] = []
        var reader = SegmentReader(file: try segment.file(), from: 0, to: segment.size, readAhead: 64 << 10)
        while let batch = try reader.next() {
            replay.note(batch, marker: try segment.marker(of: batch)) { entries.append($0) }
        }
        return TransactionIndex(entries: entries)
    }
}
