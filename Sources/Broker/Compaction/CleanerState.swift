// What the cleaner knows beside the logs themselves: who is being cleaned, which logs cannot be, and how the last runs went.
import Primitives
import Storage

/// One cleaning that came to its end.
struct CleanerRun: Sendable {
    var statistics = CleaningStatistics()
    var seconds = 0.0
    /// How late the latest log was when this run chose its log.
    var delayMilliseconds: Int64 = 0
}

/// A log that is left alone because it is damaged.
struct UncleanablePartition: Sendable {
    var directory: String
    var reason: String
}

struct CleanerState {
    var inProgress: [TopicPartition: CleaningControl] = [:]
    var uncleanable: [TopicPartition: UncleanablePartition] = [:]
    /// Monotonic milliseconds before which a log is not tried again, after a failure that passes, such as a full disk.
    var retryAt: [TopicPartition: Int64] = [:]
    /// By thread.
    var lastRuns: [Int: CleanerRun] = [:]
    var dirtiestRatio = 0.0
    /// Monotonic milliseconds of the last look at all logs.
    var lastLook: Int64
    /// Places of threads that are cleaning.
    var workers: Set<Int> = []
    var isStopped = false

    init(now: Int64) {
        lastLook = now
    }

    /// Whether the log may be chosen.
    func isFree(_ partition: TopicPartition, now: Int64) -> Bool {
        inProgress[partition] == nil && uncleanable[partition] == nil && retryAt[partition] ?? .min <= now
    }

    /// Takes a place for one more thread, if one is left.
    mutating func takeWorker(threads: Int) -> Int? {
        guard !isStopped, let free = (0..<max(0, threads)).first(where: { !workers.contains($0) }) else { return nil }
        workers.insert(free)
        return free
    }

    /// Forgets logs that are not here any more.
    mutating func retain(_ present: (TopicPartition) -> Bool) {
        for name in Array(uncleanable.keys) where !present(name) { uncleanable[name] = nil }
        for name in Array(retryAt.keys) where !present(name) { retryAt[name] = nil }
    }
}
