// A log's part in its own compaction: what can be cleaned, what the cleaner needs to know, and taking the copies in place of the
// originals so that a crash at any moment leaves either the old segments or the new ones.
import Glibc
import Primitives

/// A moment in the replacement of segments, for tests that crash there.
enum ReplacementStep: Equatable {
    /// A file became `.swap`.
    case swapped(String)
    /// An old segment's files became `.deleted`.
    case retired(Offset)
    /// A file got its final name.
    case placed(String)
}

extension PartitionLog {
    /// What can be cleaned; nil for logs that are not compacted, and while one is being cleaned.
    public func cleaningCandidate(now: Timestamp) throws(StorageError) -> CleaningCandidate? {
        guard !isClosed, !isCleaningPaused, !logDirectory.isOffline, cleaning == nil, configuration.cleanupPolicy.contains(.compact) else {
            return nil
        }
        return CompactionPlan.candidate(
            try outline(), cleanedOffset: logDirectory.cleanedOffset(of: topicPartition), configuration: configuration, now: now)
    }

    /// Whether a cleaning is under way.
    public var isBeingCleaned: Bool { cleaning != nil }

    private func outline() throws(StorageError) -> LogOutline {
        var outline = LogOutline(
            logStartOffset: logStartOffset, logEndOffset: logEndOffset, lastStableOffset: lastStableOffset, segments: [])
        outline.segments.reserveCapacity(segmentList.count)
        for segment in segmentList {
            var entry = SegmentOutline(baseOffset: segment.baseOffset, size: segment.size)
            if segment !== active {
                if configuration.minCompactionLagMilliseconds > 0 { entry.largestTimestamp = try segment.largestTimestamp() }
                if configuration.maxCompactionLagMilliseconds < .max { entry.firstTimestamp = try segment.firstBatchTimestamp() ?? 0 }
            }
            outline.segments.append(entry)
        }
        return outline
    }

    /// Begins a new segment when the active one's first record waits longer than `max.compaction.lag.ms`: what is in the active segment
    /// is not cleaned. Appends see to it too (KIP-354), but some logs are not appended to any more.
    public func rollForCompaction(now: Timestamp) throws(StorageError) {
        guard !isClosed, configuration.cleanupPolicy.contains(.compact), configuration.maxCompactionLagMilliseconds < .max,
            active.size > 0, let first = try active.firstBatchTimestamp(), first > 0,
            now - first > configuration.maxCompactionLagMilliseconds
        else { return }
        try roll(now: now)
    }

    // MARK: Cleaning

    /// Begins to clean the log; nil when there is nothing to clean. Until `finishCleaning` nothing is deleted from the log's front, and
    /// whatever else changes closed segments aborts the cleaning by its `control`.
    public func beginCleaning(
        now: Timestamp, resources: CleaningResources, control: CleaningControl
    ) throws(StorageError) -> CleaningWork? {
        try checkOpen()
        guard let candidate = try cleaningCandidate(now: now), candidate.cleanableBytes > 0 else { return nil }
        var segments: [CleaningSegment] = []
        for (index, segment) in segmentList.enumerated() where segment.baseOffset < candidate.firstUncleanableOffset {
            segments.append(
                CleaningSegment(
                    outline: SegmentOutline(
                        baseOffset: segment.baseOffset, size: segment.size,
                        offsetIndexBytes: FileSystem.status(of: segment.path(".index"))?.size ?? 0,
                        timeIndexBytes: FileSystem.status(of: segment.path(".timeindex"))?.size ?? 0),
                    nextBaseOffset: min(segmentList[index + 1].baseOffset, candidate.firstUncleanableOffset),
                    lastModified: FileSystem.status(of: segment.path(".log"))?.modified ?? segment.created))
        }
        let first = segmentList[segmentIndex(containing: candidate.firstDirtyOffset)]
        let position = try first.offsetIndex().lookup(candidate.firstDirtyOffset).position
        let work = CleaningWork(
            log: self, candidate: candidate, segments: segments, firstDirtyPosition: position,
            aborted: try abortedEntries(before: candidate.firstUncleanableOffset), resources: resources, control: control, now: now)
        cleaning = control
        return work
    }

    /// Aborted transactions that begin below `offset`. Those with a marker beyond it stand in a later segment's index.
    private func abortedEntries(before offset: Offset) throws(StorageError) -> [AbortedTransactionEntry] {
        guard hasTransactions else { return [] }
        var entries: [AbortedTransactionEntry] = []
        for index in segmentList.indices {
            try completeTransactionIndex(of: index)
            for entry in try segmentList[index].transactionIndex().entries {
                if entry.firstOffset < offset { entries.append(entry) }
                if entry.lastStableOffset >= offset { return entries }
            }
        }
        return entries
    }

    var lastProducerRecords: [ProducerID: ProducerLastRecord] {
        producers.entries.mapValues { entry in
            ProducerLastRecord(lastDataOffset: entry.lastDataOffset >= 0 ? entry.lastDataOffset : nil, epoch: entry.epoch)
        }
    }

    /// Ends a cleaning. `cleanedOffset` is where the log is clean up to; nil when the cleaning failed or was aborted.
    public func finishCleaning(_ work: CleaningWork, cleanedOffset: Offset?) {
        guard cleaning === work.control else { return }
        cleaning = nil
        if let cleanedOffset, !work.control.isAborted { logDirectory.noteCleaned(topicPartition, upTo: cleanedOffset) }
    }

    /// Something happened to the log that a cleaning under way must not go on after.
    func abortCleaning() {
        cleaning?.abort()
        cleaning = nil
    }

    /// After a truncation what is written from `offset` on has not been cleaned, whatever the checkpoint says.
    func truncateCleanedOffset(to offset: Offset) {
        guard let cleaned = logDirectory.cleanedOffset(of: topicPartition), cleaned > offset else { return }
        logDirectory.noteCleaned(topicPartition, upTo: offset)
        try? logDirectory.writeCleanerCheckpoint()
    }

    // MARK: Replacement

    /// Takes cleaned segments in place of those that they were made of.
    func replaceSegments(
        _ group: CleanedGroup, of work: CleaningWork, now: Timestamp, step: (ReplacementStep) throws(StorageError) -> Void = { _ in }
    ) throws(CleaningFailure) {
        guard cleaning === work.control, !work.control.isAborted, !isClosed, !logDirectory.isOffline,
            let first = segmentList.firstIndex(where: { $0.baseOffset == group.sources.first }),
            segmentList.count > first + group.sources.count,
            segmentList[first..<first + group.sources.count].map(\.baseOffset) == group.sources
        else {
            work.discard(group)
            throw .aborted
        }
        let replaced = Array(segmentList[first..<first + group.sources.count])
        do throws(StorageError) {
            try renameToSwap(group, step: step)
        } catch {
            // Swap files first: alone they would count as whole.
            for segment in group.segments {
                for suffix in ReplacementSuffix.files { try? FileSystem.remove(replacementPath(segment, suffix, ReplacementSuffix.swap)) }
            }
            work.discard(group)
            throw .storage(error)
        }
        do throws(StorageError) {
            for segment in replaced {
                retire(segment, now: now)
                try step(.retired(segment.baseOffset))
            }
            for segment in group.segments { try place(segment, step: step) }
        } catch {
            // Half of it is done; the next start does the rest.
            logDirectory.fail(with: error)
            throw .storage(error)
        }
        let added = group.segments.map { segment(of: $0, created: replaced[replaced.count - 1].created) }
        segmentList.replaceSubrange(first..<first + replaced.count, with: added)
        didReplace(replaced, by: added)
    }

    private func replacementPath(_ segment: CleanedSegment, _ suffix: String, _ stage: String) -> String {
        SegmentName.path(path, segment.baseOffset, suffix + stage)
    }

    /// From the last segment to the first: while there is a `.cleaned` file, the next start throws away it and all `.swap` files of the
    /// same and later offsets.
    private func renameToSwap(_ group: CleanedGroup, step: (ReplacementStep) throws(StorageError) -> Void) throws(StorageError) {
        for segment in group.segments.reversed() {
            for suffix in ReplacementSuffix.files {
                let source = replacementPath(segment, suffix, ReplacementSuffix.cleaned)
                if suffix == ".txnindex", !FileSystem.exists(source) { continue }
                try FileSystem.rename(source, to: replacementPath(segment, suffix, ReplacementSuffix.swap))
                try step(.swapped(SegmentName.digits(segment.baseOffset) + suffix))
            }
        }
    }

    private func place(_ segment: CleanedSegment, step: (ReplacementStep) throws(StorageError) -> Void) throws(StorageError) {
        for suffix in ReplacementSuffix.files {
            let source = replacementPath(segment, suffix, ReplacementSuffix.swap)
            if suffix == ".txnindex", !FileSystem.exists(source) { continue }
            try FileSystem.rename(source, to: replacementPath(segment, suffix, ""))
            try step(.placed(SegmentName.digits(segment.baseOffset) + suffix))
        }
    }

    private func segment(of cleaned: CleanedSegment, created: Timestamp) -> LogSegment {
        let segment = LogSegment(directory: path, baseOffset: cleaned.baseOffset, size: cleaned.size, created: created)
        configure(segment)
        segment.setMaximumTimestamp(cleaned.maximum)
        if hasTransactions { segment.setTransactionIndex(TransactionIndex(entries: cleaned.aborted)) }
        return segment
    }

    private func didReplace(_ replaced: [LogSegment], by added: [LogSegment]) {
        // Places in files that are not the log's any more.
        readHints.removeAll()
        limitCache = nil
        segmentGeneration += 1
        if replaced.contains(where: { $0.baseOffset == scrubState.segmentBase }) {
            scrubState = scrubState.moved(to: added[0].baseOffset, nextOffset: added[0].baseOffset)
        }
        let kept = Set(added.map(\.baseOffset))
        let gone = Set(replaced.map(\.baseOffset)).subtracting(kept)
        removeSnapshots { gone.contains($0) }
        directoryNeedsSync = true
    }
}

extension CleaningWork {
    /// Cleans the whole log, group after group. `withLog` runs its argument under the log's lock.
    public func run(
        now: @Sendable () -> Timestamp, withLog: ((PartitionLog) throws(CleaningFailure) -> Void) throws(CleaningFailure) -> Void
    ) throws(CleaningFailure) {
        try buildMap()
        while let group = try cleanGroup() {
            let moment = now()
            try withLog { log throws(CleaningFailure) in try log.replaceSegments(group, of: self, now: moment) }
            try control.attempt { () throws(StorageError) in try FileSystem.syncDirectory(directory) }
        }
    }
}
