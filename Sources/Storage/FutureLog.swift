// A copy of a partition's log in another directory of the same node, and how it takes the log's place (KIP-113): `topic-N.HEX-future`
// becomes `topic-N`, then what was `topic-N` before goes the way of deleted partitions. A crash in between leaves both, and the metadata
// say which one counts.
import Glibc
import Primitives

extension LogDirectory {
    /// Creates an empty copy of a partition that is in another directory.
    ///
    /// - Parameter offset: where the partition's log starts.
    public func createFuture(
        _ topicPartition: TopicPartition, topicID: TopicID, startingAt offset: Offset, configuration: LogConfiguration, now: Timestamp
    ) throws(StorageError) -> PartitionLog {
        if let failure { throw failure }
        try beginUse()
        let path = self.path + "/" + PartitionDirectoryName.marked(topicPartition, suffix: "-future")
        guard mkdir(path, 0o755) == 0 else {
            let error = FileSystem.failure("create", path)
            noteFailure(error)
            throw error
        }
        do throws(StorageError) {
            if topicID != .zero { try PartitionMetadataFile.write(topicID, to: path + "/" + PartitionMetadataFile.name) }
            var state = LoadedState()
            state.segments = [try LogSegment.create(directory: path, baseOffset: offset, now: now)]
            state.logStartOffset = offset
            state.logEndOffset = offset
            state.highWatermark = offset
            state.recoveryPoint = offset
            let log = PartitionLog(
                topicPartition: topicPartition, topicID: topicID, logDirectory: self, path: path, configuration: configuration,
                state: state, now: now)
            log.configure(log.active)
            log.directoryNeedsSync = true
            countPartition(1)
            return log
        } catch {
            try? FileSystem.removeDirectory(path)
            noteFailure(error)
            throw error
        }
    }
}

extension PartitionLog {
    /// Whether this is a copy that has not taken its log's place.
    public var isFuture: Bool { PartitionDirectoryName.marker(of: path) == "-future" }

    /// Up to where compaction has cleaned the log.
    public var cleanedOffset: Offset? { logDirectory.cleanedOffset(of: topicPartition) }

    /// Appends what is in the log that this is a copy of.
    public func copy(_ records: LogSlice, now: Timestamp) throws(StorageError) {
        let bytes = try records.wholeBatches()
        guard bytes.readableBytes > 0 else { return }
        do throws(StorageError) {
            _ = try appendAsFollower(bytes, now: now)
        } catch {
            // The log may start in the middle of a batch, after DeleteRecords: an empty copy begins with that batch.
            guard case .unexpectedOffset(let first, let expected) = error, logStartOffset == logEndOffset, first < expected else {
                throw error
            }
            try truncateFullyAndStart(at: first, now: now)
            _ = try appendAsFollower(bytes, now: now)
        }
    }

    /// Takes the place of the log that this is a complete copy of. This object is closed then, and the one returned is the partition's log.
    /// The old log is left to the caller to delete.
    ///
    /// - Parameter cleanedOffset: up to where the old log was clean when the copying began; nil when that is not known.
    /// - Throws: when the copy cannot be renamed or opened; the old log is as it was.
    public func takePlace(of old: PartitionLog, cleanedOffset: Offset?, now: Timestamp) throws(StorageError) -> PartitionLog {
        precondition(isFuture && logEndOffset == old.logEndOffset, "only a whole copy can take a log's place")
        advanceHighWatermark(to: old.highWatermark)
        if old.logStartOffset > logStartOffset { try deleteRecords(before: old.logStartOffset, now: now) }
        // An epoch that began without a record.
        if let epoch = old.latestLeaderEpoch, epoch > latestLeaderEpoch ?? -1 { assignLeaderEpoch(epoch) }
        let flushed = recoveryPoint
        try close(now: now)
        let place = logDirectory.path + "/\(topicPartition)"
        try FileSystem.rename(path, to: place)
        try FileSystem.syncDirectory(logDirectory.path)
        var loader = LogLoader(
            LoadRequest(
                topicPartition: topicPartition, path: place, configuration: old.configuration, isClean: true, recoveryPoint: logEndOffset,
                logStartOffset: logStartOffset, highWatermark: highWatermark, now: now))
        let log = PartitionLog(
            topicPartition: topicPartition, topicID: topicID, logDirectory: logDirectory, path: place, configuration: old.configuration,
            state: try loader.load(), now: now)
        log.configure(log.active)
        log.recoveryPoint = min(flushed, log.logEndOffset)
        log.verifications = old.verifications
        log.directoryNeedsSync = true
        logDirectory.noteCleaned(topicPartition, upTo: cleanedOffset)
        // Log starts stand in the checkpoint alone.
        logDirectory.recoveryPointsWentBack()
        return log
    }
}
