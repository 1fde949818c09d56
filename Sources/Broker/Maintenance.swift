// What a broker does unasked: checkpoints, retention, flushing, the coordinator's timers. One timer thread that sleeps nearly always;
// whatever touches a disk runs on the background threads.
import Collections
import Logging
import NIOCore
import Primitives
import Runtime
import Storage
import Synchronization

/// Runs the periodic work of a broker.
final class Maintenance: Sendable {
    private let services: BrokerServices
    private let eventLoop: any EventLoop
    private let tasks = Mutex<[RepeatedTask]>([])
    /// Work of one kind does not overlap with itself, however slow the disk is.
    private let running = Mutex<Set<String>>([])

    init(services: BrokerServices, eventLoop: any EventLoop) {
        self.services = services
        self.eventLoop = eventLoop
    }

    /// How often timers of groups and of transactions are looked at, both on one waking of the thread.
    private static let coordinatorTick = TimeAmount.milliseconds(100)
    /// How often a piece of some log is read again to see whether it is still what was written.
    private static let scrubTickMilliseconds: Int64 = 10_000
    /// How long a segment's descriptor and mappings stay open without use.
    fileprivate static let idleResourceMilliseconds: Int64 = 60_000

    func start() {
        let storage = services.configuration.storage
        let first = TimeAmount.milliseconds(storage.initialTaskDelayMilliseconds)
        every(Self.coordinatorTick, after: Self.coordinatorTick) { [services] in
            services.groups.advanceIfDue()
            services.transactions.runtime.advance()
            services.shareGroups.advance()
            services.links.runtime.advance()
            services.links.checkSynchronous()
        }
        inBackground("checkpoints", every: storage.flushOffsetCheckpointIntervalMilliseconds, after: first) { $0.checkpoint() }
        inBackground("old checkpoints", every: 1_000, after: .seconds(1)) { services in
            // All are asked, so that each has said what it needs.
            if services.directories.online.count(where: { $0.takeNeedForCheckpoints() }) > 0 { services.checkpoint() }
        }
        inBackground("retention", every: storage.retentionCheckIntervalMilliseconds, after: first) { $0.enforceRetention() }
        // As often as Kafka: a follower leaves at most half as late again as `replica.lag.time.max.ms` says.
        let lag = services.replication.environment.settings.lagTimeMaxMilliseconds
        inBackground("in-sync replicas", every: max(1, lag / 2), after: .milliseconds(max(1, lag / 2))) { $0.shrinkInSyncReplicas() }
        inBackground("high watermarks", every: storage.highWatermarkCheckpointIntervalMilliseconds, after: first) {
            $0.checkpointHighWatermarks()
        }
        inBackground("deletion", every: 5_000, after: first) { $0.removeDeletedFiles() }
        inBackground("flush", every: min(storage.flushSchedulerIntervalMilliseconds, 1_000), after: first) { $0.flushDue() }
        // From the first interval on, as Kafka does it.
        let expiration = storage.producerIDExpirationCheckIntervalMilliseconds
        inBackground("producers", every: expiration, after: .milliseconds(expiration)) { $0.expireProducers() }
        inBackground("scrub", every: Self.scrubTickMilliseconds, after: first) { $0.scrub() }
        services.cleaner.start(on: eventLoop)
        inBackground("share state", every: 10_000, after: first) { $0.pruneShareState() }
        inBackground("resources", every: Self.idleResourceMilliseconds, after: first) { $0.releaseIdleResources() }
    }

    func stop() {
        let running = tasks.withLock { tasks in
            defer { tasks = [] }
            return tasks
        }
        for task in running { task.cancel() }
    }

    private func every(_ interval: TimeAmount, after delay: TimeAmount, _ work: @escaping @Sendable () -> Void) {
        let task = eventLoop.scheduleRepeatedTask(initialDelay: delay, delay: interval) { _ in work() }
        tasks.withLock { $0.append(task) }
    }

    private func inBackground(
        _ name: String, every milliseconds: Int64, after delay: TimeAmount, _ work: @escaping @Sendable (BrokerServices) -> Void
    ) {
        every(.milliseconds(max(1, min(milliseconds, 86_400_000))), after: delay) { [self] in
            guard running.withLock({ $0.insert(name).inserted }) else { return }
            services.backgroundWork.run { [self] in
                work(services)
                _ = running.withLock { $0.remove(name) }
            }
        }
    }
}

extension CoordinatorRuntime {
    /// `advance()`, but only when a timer is due.
    func advanceIfDue() {
        if let deadline = nextDeadline, deadline <= SystemClock.monotonicMilliseconds() { advance() }
    }
}

extension BrokerServices {
    /// Writes every directory's checkpoints.
    func checkpoint() {
        var byDirectory: [String: [PartitionCheckpoint]] = [:]
        for partition in partitions.all {
            guard let (directory, entry) = try? partition.withLog({ log throws(StorageError) in (log.logDirectory, log.checkpoint) })
            else { continue }
            byDirectory[directory.path, default: []].append(entry)
        }
        for directory in directories.online {
            attempt("checkpoint", directory.path) { () throws(StorageError) in
                try directory.writeCheckpoints(byDirectory[directory.path] ?? [])
            }
        }
    }

    /// Writes the high watermarks alone, as often as Kafka: a follower that starts does not know more. Without followers nothing is lost
    /// by the slower checkpoints, for a sole replica's high watermark is its log's end.
    func checkpointHighWatermarks() {
        var byDirectory: [String: [(TopicPartition, Offset)]] = [:]
        var isReplicated = false
        var total: Offset = 0
        for partition in partitions.all {
            guard let (directory, offset) = try? partition.withLog({ log throws(StorageError) in (log.logDirectory, log.highWatermark) })
            else { continue }
            if !isReplicated { isReplicated = partition.isReplicated }
            total &+= offset &+ 1
            byDirectory[directory.path, default: []].append((partition.topicPartition, offset))
        }
        guard isReplicated, replication.noteHighWatermarks(total) else { return }
        for directory in directories.online {
            attempt("checkpoint", directory.path) { () throws(StorageError) in
                try directory.writeHighWatermarks(byDirectory[directory.path] ?? [])
            }
        }
    }

    func shrinkInSyncReplicas() {
        let now = SystemClock.monotonicMilliseconds()
        for partition in partitions.all { partition.shrinkInSyncReplicas(now: now) }
    }

    func enforceRetention() {
        let now = SystemClock.now()
        for partition in partitions.all {
            attempt("retention", partition.topicPartition.description) { () throws(StorageError) in
                let result = try partition.withLog { log throws(StorageError) in try log.enforceRetention(now: now) }
                guard !result.removedSegments.isEmpty else { return }
                logger.info(
                    "retention removed segments",
                    metadata: [
                        "partition": "\(partition.topicPartition)", "segments": "\(result.removedSegments.count)",
                        "bytes": "\(result.removedBytes)", "logStartOffset": "\(result.logStartOffset)",
                    ])
            }
        }
    }

    func removeDeletedFiles() {
        let now = SystemClock.now()
        for partition in partitions.all {
            _ = try? partition.withLog { log throws(StorageError) in log.removeDeletedFiles(now: now) }
        }
        for directory in directories.online { directory.maintain(now: now) }
    }

    /// Flushes partitions whose `flush.ms` is over, outside of their locks.
    func flushDue() {
        for partition in partitions.all { flush(partition, onlyIfDue: true) }
    }

    func flush(_ partition: Partition, onlyIfDue: Bool) {
        attempt("flush", partition.topicPartition.description) { () throws(StorageError) in
            let now = SystemClock.now()
            let work = try partition.withLog { log throws(StorageError) -> FlushWork? in
                guard !onlyIfDue || log.isFlushDue(now: now) else { return nil }
                return try log.beginFlush()
            }
            guard let work else { return }
            let start = SystemClock.monotonicNanoseconds()
            try work.run()
            metrics.logFlushTime.record(nanoseconds: SystemClock.monotonicNanoseconds() - start)
            try partition.withLog { log throws(StorageError) in log.finishFlush(work, now: now) }
        }
    }

    /// Reads the next pieces of logs whose last look is a week ago, and reports what is damaged. Readers are led around it afterwards.
    func scrub() {
        let interval: Int64 = 7 * 86_400_000
        var budget = 64 << 20
        let now = SystemClock.now()
        for partition in partitions.all where budget > 0 {
            attempt("scrub", partition.topicPartition.description) { () throws(StorageError) in
                let work = try partition.withLog { log throws(StorageError) in
                    log.isScrubDue(now: now, interval: interval) ? try log.beginScrub(maxBytes: min(budget, 16 << 20)) : nil
                }
                guard var work else { return }
                do throws(StorageError) {
                    try work.run()
                } catch {
                    try partition.withLog { log throws(StorageError) in log.abandonScrub() }
                    throw error
                }
                budget -= work.scannedBytes
                let done = work
                for finding in try partition.withLog({ log throws(StorageError) in log.finishScrub(done) }) {
                    logger.error("damage found in a log", metadata: ["finding": "\(finding)"])
                }
            }
        }
    }

    func expireProducers() {
        let now = SystemClock.now()
        for partition in partitions.all {
            try? partition.withLog { log throws(StorageError) in log.removeExpiredProducers(now: now) }
        }
    }

    func releaseIdleResources() {
        let limit = SystemClock.monotonicMilliseconds() - Maintenance.idleResourceMilliseconds
        for partition in partitions.all {
            try? partition.withLog { log throws(StorageError) in log.releaseIdleResources(unusedSince: limit) }
        }
    }

    private func attempt(_ work: String, _ subject: String, _ body: () throws(StorageError) -> Void) {
        do throws(StorageError) {
            try body()
        } catch {
            // Told once, when the directory failed.
            if case .offline = error { return }
            logger.error("\(work) failed", metadata: ["of": "\(subject)", "reason": "\(error)"])
        }
    }
}
