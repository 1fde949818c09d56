// A copy of a partition's log in another directory of the same node, and how it takes the log's place (KIP-113): `topic-N.HEX-future`
// becomes `topic-N`, then what was `topic-N` before goes the way of deleted partitions. A crash in between leaves both, and the metadata
// say which one counts.
import Glibc
import NIOCore
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

    /// Appends what is in the log that this is a copy of; whole batches.
    public func copy(_ bytes: ByteBuffer, now: Timestamp) throws(StorageError) {
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

    /// Cuts a copy from an earlier life of the node back to where it agrees with the log: that may have been cut, and written anew, when
    /// the node ended before the copy was cut too. As a follower does with its leader, by leader epochs (KIP-101).
    public func cut(toAgreeWith log: PartitionLog, now: Timestamp) throws(StorageError) {
        var hasCommon = false
        while !hasCommon, let epoch = latestLeaderEpoch {
            let end = log.endOffset(forEpoch: epoch)
            guard end.leaderEpoch >= 0, end.endOffset >= logStartOffset else { break }
            let own = endOffset(forEpoch: end.leaderEpoch)
            // Every round that does not find its epoch ends one epoch further back.
            try truncate(to: own.endOffset < 0 ? logStartOffset : min(own.endOffset, end.endOffset), now: now)
            hasCommon = end.leaderEpoch == epoch
        }
        if hasCommon, logEndOffset >= log.logStartOffset { return }
        // Nothing that is of use, or nothing to go by: all of it is copied again.
        if logEndOffset > logStartOffset || logStartOffset != log.logStartOffset {
            try truncateFullyAndStart(at: log.logStartOffset, now: now)
        }
    }

    /// Takes the place of the log that this is a complete copy of. This object is closed then, and the one returned is the partition's log.
    /// The old log is left to the caller to delete.
    ///
    /// - Throws: when the copy cannot be renamed or opened; the old log is as it was.
    public func takePlace(of old: PartitionLog, now: Timestamp) throws(StorageError) -> PartitionLog {
        precondition(logEndOffset == old.logEndOffset, "only a whole copy can take a log's place")
        advanceHighWatermark(to: old.highWatermark)
        if old.logStartOffset > logStartOffset { try deleteRecords(before: old.logStartOffset, now: now) }
        let log = try becomeLog(configuration: old.configuration, now: now)
        // An epoch that began without a record; opening a log forgets what begins at its end.
        if let epoch = old.latestLeaderEpoch, epoch > log.latestLeaderEpoch ?? -1 { log.assignLeaderEpoch(epoch) }
        log.verifications = old.verifications
        // The old one was not cleaned while it was copied.
        logDirectory.noteCleaned(topicPartition, upTo: old.logDirectory.cleanedOffset(of: topicPartition))
        return log
    }

    /// Makes a copy the partition's log. This object is closed then.
    public func becomeLog(configuration: LogConfiguration, now: Timestamp) throws(StorageError) -> PartitionLog {
        precondition(isFuture, "only a copy can become a log")
        let flushed = recoveryPoint
        // Log starts stand in the checkpoint alone.
        if logStartOffset > segmentList[0].baseOffset { try logDirectory.noteLogStart(topicPartition, logStartOffset) }
        try close(now: now)
        let copy = path
        let place = logDirectory.path + "/\(topicPartition)"
        try FileSystem.rename(copy, to: place)
        do throws(StorageError) {
            try FileSystem.syncDirectory(logDirectory.path)
            var loader = LogLoader(
                LoadRequest(
                    topicPartition: topicPartition, path: place, configuration: configuration, isClean: true, recoveryPoint: logEndOffset,
                    logStartOffset: logStartOffset, highWatermark: highWatermark, now: now))
            let log = PartitionLog(
                topicPartition: topicPartition, topicID: topicID, logDirectory: logDirectory, path: place, configuration: configuration,
                state: try loader.load(), now: now)
            log.configure(log.active)
            log.recoveryPoint = min(flushed, log.logEndOffset)
            log.directoryNeedsSync = true
            logDirectory.recoveryPointsWentBack()
            return log
        } catch {
            try? FileSystem.rename(place, to: copy)
            throw error
        }
    }

    /// Deletes a copy that was closed, or could not become a log.
    public func discard(now: Timestamp) {
        if isClosed {
            _ = try? logDirectory.markForDeletion(topicPartition, path: path, due: now)
        } else {
            try? delete(now: now)
        }
    }
}
