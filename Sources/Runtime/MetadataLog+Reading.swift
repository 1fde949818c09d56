// Reading the metadata log: what a member of the quorum must know before it starts, and the records once they are committed.
import ClusterMetadata
import Consensus
import Controlling
import KafkaRecords
import Primitives
import RecordBatches
import NIOCore
import Storage

extension MetadataLog {
    private static let readBytes = 4 << 20

    /// Reads the newest snapshot, and of the log behind it what the quorum has to know: its members decide how much of it is committed.
    func load() throws(MetadataStorageError) -> LoadedMetadata {
        try findSnapshots()
        var loaded = LoadedMetadata(
            replay: MetadataReplay(from: .empty),
            quorumLog: QuorumLog(endOffset: log.logEndOffset, lastEpoch: log.latestLeaderEpoch ?? 0), electionState: try readElectionState()
        )
        try readNewestSnapshot(into: &loaded)
        let start = loaded.snapshot?.endOffset ?? 0
        if log.logStartOffset > start {
            throw .record(
                path: path, offset: start,
                reason: "the log begins at \(log.logStartOffset) and no snapshot holds what was before")
        }
        try readControlRecords(from: start, into: &loaded)
        loaded.quorumLog.startOffset = log.logStartOffset
        loaded.quorumLog.endOffset = log.logEndOffset
        loaded.quorumLog.lastEpoch = max(log.latestLeaderEpoch ?? 0, loaded.snapshot?.epoch ?? 0)
        loaded.quorumLog.epochs = epochs()
        loaded.quorumLog.snapshots = snapshots.filter { $0 != .bootstrap }
        if loaded.replay.image.features.metadataVersion == nil && loaded.bootstrap == nil {
            loaded.bootstrap = try readBootstrap() ?? .fallback
        }
        return loaded
    }

    /// As `load`, with everything in the log taken for committed: for tools and tests.
    func loadAll() throws(MetadataStorageError) -> LoadedMetadata {
        var loaded = try load()
        try replay(from: loaded.nextOffset, to: log.logEndOffset, into: &loaded.replay)
        _ = loaded.replay.publish()
        return loaded
    }

    private func findSnapshots() throws(MetadataStorageError) {
        do throws(StorageError) {
            for name in try MetadataFiles.names(in: path) {
                if name.hasSuffix(".part") {
                    try MetadataFiles.remove("\(path)/\(name)")
                } else if let id = SnapshotID(fileName: name) {
                    snapshots.append(id)
                }
            }
        } catch {
            throw .storage(error)
        }
        snapshots.sort()
    }

    private func readNewestSnapshot(into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        for id in snapshots.reversed() {
            // An older one will do as long as the log goes on from there.
            let isLast = id == snapshots.first || id.endOffset < log.logStartOffset
            do throws(MetadataStorageError) {
                try readSnapshot(id, into: &loaded)
                if id.endOffset > log.logEndOffset {
                    do throws(StorageError) {
                        try log.truncateFullyAndStart(at: id.endOffset, now: SystemClock.now())
                    } catch {
                        throw .storage(error)
                    }
                }
                return
            } catch {
                if isLast { throw error }
                logger.error("a snapshot of the metadata cannot be read; trying the one before", metadata: ["reason": "\(error)"])
            }
        }
    }

    private func readSnapshot(_ id: SnapshotID, into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        let contents = try readSnapshot(id, at: "\(path)/\(id.fileName)")
        for control in contents.controlRecords {
            do throws(QuorumError) {
                try loaded.quorumLog.replay(control, inBootstrapSnapshot: id == .bootstrap)
            } catch {
                throw .quorum(error)
            }
        }
        loaded.snapshot = id
        if id == .bootstrap {
            // Newer releases of Kafka put the bootstrap records here rather than into bootstrap.checkpoint.
            if !contents.bootstrap.isEmpty { loaded.bootstrap = BootstrapMetadata(records: contents.bootstrap) }
            return
        }
        loaded.replay = contents.replay
    }

    /// What a snapshot holds.
    struct SnapshotContents {
        var controlRecords: [QuorumControlRecord] = []
        /// Data records of the snapshot that formatting wrote.
        var bootstrap: [VersionedRecord] = []
        var replay = MetadataReplay(from: .empty)
    }

    /// Reads and checks all of a snapshot's file.
    func readSnapshot(_ id: SnapshotID, at file: String) throws(MetadataStorageError) -> SnapshotContents {
        var contents = SnapshotContents()
        var timestamp: Timestamp = -1
        let exists = try MetadataSnapshotFile.read(file) { (control) throws(MetadataStorageError) in
            if case .snapshotHeader(let header) = control { timestamp = header.lastContainedLogTimestamp }
            contents.controlRecords.append(control)
        } data: { (record, version, offset) throws(MetadataStorageError) in
            if id == .bootstrap {
                contents.bootstrap.append(VersionedRecord(record, version: version))
                return
            }
            do throws(MetadataError) {
                try contents.replay.replay(record, offset: offset, epoch: id.epoch, timestamp: timestamp)
            } catch {
                throw .record(path: file, offset: offset, reason: "\(error)")
            }
        }
        guard exists else { throw .incomplete(path: file) }
        if id != .bootstrap {
            contents.replay.skip(to: id.endOffset - 1, epoch: id.epoch, timestamp: timestamp)
            _ = contents.replay.publish()
        }
        return contents
    }

    /// Where epochs begin. The record before the log's start counts, for a member that has nothing but its snapshot stands there.
    private func epochs() -> [EpochStart] {
        let start = log.logStartOffset
        var epochs: [EpochStart] = []
        for entry in log.leaderEpochs {
            if entry.startOffset <= start { epochs.removeAll() }
            epochs.append(EpochStart(epoch: entry.epoch, startOffset: max(start, entry.startOffset)))
        }
        if start > 0, let snapshot = snapshots.last(where: { $0.endOffset == start }), (epochs.first?.epoch ?? .max) > snapshot.epoch {
            epochs.insert(EpochStart(epoch: snapshot.epoch, startOffset: start), at: 0)
        }
        return epochs
    }

    private func readControlRecords(from start: Offset, into loaded: inout LoadedMetadata) throws(MetadataStorageError) {
        let path = path
        try forEachBatch(from: start, to: log.logEndOffset) { (batch) throws(MetadataStorageError) in
            guard batch.header.isControl else { return }
            var offset = batch.header.baseOffset
            try MetadataBatches.forEachControlRecord(batch, path: path) { (record) throws(MetadataStorageError) in
                do throws(QuorumError) { try loaded.quorumLog.replay(record, at: offset) } catch { throw .quorum(error) }
                offset += 1
            }
        }
    }

    /// Replays what lies between two offsets, the second of which is where a batch ends.
    ///
    /// - Parameter publish: called with complete states on the way, in order; the last one is left to the caller's `replay.publish()`.
    func replay(
        from start: Offset, to end: Offset, into replay: inout MetadataReplay, publish: (MetadataPublication) -> Void = { _ in }
    ) throws(MetadataStorageError) {
        let path = path
        try forEachBatch(from: start, to: end) { (batch) throws(MetadataStorageError) in
            let header = batch.header
            if header.isControl {
                replay.skip(to: header.lastOffset, epoch: header.partitionLeaderEpoch, timestamp: header.maxTimestamp)
                return
            }
            try MetadataBatches.forEachRecord(batch, path: path) { (record, _, offset) throws(MetadataStorageError) in
                // A snapshot may end within a batch of another leader's making.
                guard offset >= start else { return }
                // The state before a transaction must be there by itself, for the transaction may never end.
                if case .beginTransaction = record, let publication = replay.publish() { publish(publication) }
                do throws(MetadataError) {
                    try replay.replay(record, offset: offset, epoch: header.partitionLeaderEpoch, timestamp: header.maxTimestamp)
                } catch {
                    throw .record(path: path, offset: offset, reason: "\(error)")
                }
            }
        }
    }

    /// The bytes that the log holds between two offsets, by whole segments at the edges.
    func bytes(behind offset: Offset) -> Int {
        var bytes = 0
        let segments = log.segments
        for (index, segment) in segments.enumerated() where index == segments.count - 1 || segments[index + 1].baseOffset > offset {
            bytes += segment.sizeInBytes
        }
        return bytes
    }

    private func forEachBatch(
        from start: Offset, to end: Offset, _ body: (RecordBatch) throws(MetadataStorageError) -> Void
    ) throws(MetadataStorageError) {
        var next = start
        while next < end {
            let bytes = try read(from: next, maxBytes: Self.readBytes)
            let before = next
            try MetadataBatches.forEach(bytes, path: path, verifying: false) { (batch) throws(MetadataStorageError) in
                guard batch.header.lastOffset >= next, batch.header.baseOffset < end else { return }
                try body(batch)
                next = batch.header.nextOffset
            }
            guard next > before else { throw .record(path: path, offset: next, reason: "no batch begins here") }
        }
    }

    /// Whole batches from an offset on, at least one.
    func read(from offset: Offset, maxBytes: Int) throws(MetadataStorageError) -> ByteBuffer {
        do throws(StorageError) {
            return try log.readBytes(from: offset, maxBytes: maxBytes, minOneBatch: true, isolation: .logEnd)
        } catch {
            throw .storage(error)
        }
    }

    /// The records of bootstrap.checkpoint; nil when there is no such file.
    private func readBootstrap() throws(MetadataStorageError) -> BootstrapMetadata? {
        var records: [VersionedRecord] = []
        let file = "\(configuration.directory)/\(Self.bootstrapFileName)"
        let exists = try MetadataSnapshotFile.read(file) { _ in
        } data: { record, version, _ in
            records.append(VersionedRecord(record, version: version))
        }
        return exists ? BootstrapMetadata(records: records) : nil
    }

    private func readElectionState() throws(MetadataStorageError) -> ElectionState? {
        do throws(StorageError) {
            guard let stored = try Storage.QuorumState(path: "\(path)/\(Storage.QuorumState.fileName)") else { return nil }
            return ElectionState(
                leaderID: stored.leaderID, leaderEpoch: stored.leaderEpoch, votedID: stored.votedID,
                votedDirectoryID: stored.votedDirectoryID, staticVoters: stored.dataVersion == 0 ? stored.currentVoters : nil)
        } catch {
            throw .storage(error)
        }
    }
}
