// `cleaner-offset-checkpoint`: up to where each log of a data directory has been cleaned. In memory, and written when it changed.
import Primitives

extension LogDirectory {
    /// What the file says, once. One that is damaged says nothing: all logs count as dirty then.
    func loadCleanerCheckpoint() {
        let stored = (try? file(OffsetCheckpointFile.Name.cleaner).read()) ?? [:]
        cleanerCheckpoint.withLock { checkpoint in
            guard !checkpoint.isLoaded else { return }
            checkpoint.isLoaded = true
            checkpoint.offsets.merge(stored) { known, _ in known }
        }
    }

    /// Where a log was cleaned up to; nil when it never was.
    public func cleanedOffset(of topicPartition: TopicPartition) -> Offset? {
        cleanerCheckpoint.withLock { $0.offsets[topicPartition] }
    }

    /// Notes where a log is clean up to; nil forgets it. Reaches the disk with `writeCleanerCheckpoint`.
    public func noteCleaned(_ topicPartition: TopicPartition, upTo offset: Offset?) {
        cleanerCheckpoint.withLock { checkpoint in
            guard checkpoint.offsets[topicPartition] != offset else { return }
            checkpoint.offsets[topicPartition] = offset
            checkpoint.isChanged = true
        }
    }

    /// Writes the file if anything in it changed.
    public func writeCleanerCheckpoint() throws(StorageError) {
        if let failure { throw failure }
        let changed = cleanerCheckpoint.withLock { checkpoint -> Bool in
            defer { checkpoint.isChanged = false }
            return checkpoint.isChanged
        }
        guard changed else { return }
        do throws(StorageError) {
            try withCheckpointing { () throws(StorageError) in
                // Read here, so that the last writer has the last word.
                let offsets = cleanerCheckpoint.withLock { $0.offsets }
                try file(OffsetCheckpointFile.Name.cleaner).write(offsets.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
            }
        } catch {
            cleanerCheckpoint.withLock { $0.isChanged = true }
            throw error
        }
    }
}

/// The checkpoint's content.
struct CleanerCheckpoint {
    var offsets: [TopicPartition: Offset] = [:]
    var isLoaded = false
    var isChanged = false
}
