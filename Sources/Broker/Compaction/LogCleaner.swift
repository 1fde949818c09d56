// Keeps compacted topics small: threads of its own that look for the log with the most superfluous records and clean it, one after the
// other, and rest for `log.cleaner.backoff.ms` when none is due. Leaders and followers do it alike, each for itself.
import Configuration
import Logging
import NIOCore
import NIOPosix
import Primitives
import Storage
import Synchronization

/// The cleaner of a broker.
final class LogCleaner: Sendable {
    private struct Threads {
        var settings: CleanerSettings
        var pool: NIOThreadPool?
        var size = 0
        var next: Scheduled<Void>?
        var eventLoop: (any EventLoop)?
    }

    private let partitions: PartitionRegistry
    private let logger: Logger
    private let throttle = CleanerThrottle()
    private let state = Mutex(CleanerState(now: SystemClock.monotonicMilliseconds()))
    private let threads: Mutex<Threads>
    /// After a failure that may pass.
    private static let retryMilliseconds: Int64 = 60_000
    /// However short `log.cleaner.backoff.ms` is: looking at all logs takes time of its own.
    private static let shortestBackoffMilliseconds: Int64 = 100

    init(partitions: PartitionRegistry, settings: CleanerSettings, logger: Logger) {
        self.partitions = partitions
        self.logger = logger
        threads = Mutex(Threads(settings: settings))
    }

    // MARK: Threads

    /// Puts settings in force. As in Kafka, cleanings under way begin anew with them.
    func update(_ settings: CleanerSettings) {
        throttle.update(bytesPerSecond: settings.ioMaxBytesPerSecond)
        let isChanged = threads.withLock { threads in
            defer { threads.settings = settings }
            return threads.settings != settings
        }
        if isChanged { abortAll() }
    }

    /// Begins to clean.
    func start(on eventLoop: any EventLoop) {
        guard
            threads.withLock({ threads in
                threads.eventLoop = eventLoop
                return threads.settings.isEnabled
            })
        else { return }
        tick()
    }

    /// Stops; cleanings under way are given up, and nothing of them is left.
    func stop() {
        state.withLock { $0.isStopped = true }
        abortAll()
        let pool = threads.withLock { threads -> NIOThreadPool? in
            threads.next?.cancel()
            threads.next = nil
            defer { threads.pool = nil }
            return threads.pool
        }
        try? pool?.syncShutdownGracefully()
    }

    private func abortAll() {
        let controls = state.withLock { Array($0.inProgress.values) }
        for control in controls { control.abort() }
    }

    /// Sets every free thread to work, and itself for the next time.
    private func tick() {
        threads.withLock { threads in
            guard let eventLoop = threads.eventLoop, !state.withLock({ $0.isStopped }) else { return }
            let count = threads.settings.threads
            if threads.size != count || threads.pool == nil {
                // The old threads end when what they are at ends.
                threads.pool?.shutdownGracefully { _ in }
                threads.pool = count > 0 ? NIOThreadPool(numberOfThreads: count) : nil
                threads.pool?.start()
                threads.size = count
            }
            while let worker = state.withLock({ $0.takeWorker(threads: count) }) {
                guard let pool = threads.pool else { break }
                pool.submit { [self] mode in
                    if case .active = mode { work(worker) }
                    _ = state.withLock { $0.workers.remove(worker) }
                }
            }
            let backoff = max(Self.shortestBackoffMilliseconds, threads.settings.backoffMilliseconds)
            threads.next = eventLoop.scheduleTask(in: .milliseconds(min(backoff, 86_400_000))) { [weak self] in self?.tick() }
        }
    }

    private func work(_ worker: Int) {
        while !state.withLock({ $0.isStopped }), cleanFilthiest(worker) {}
        // Where only a checkpoint was mended, or a log forgotten.
        var written: Set<ObjectIdentifier> = []
        for directory in partitions.all.map(\.logDirectory) where written.insert(ObjectIdentifier(directory)).inserted {
            try? directory.writeCleanerCheckpoint()
        }
    }

    // MARK: Choice

    /// Cleans the log that needs it most; false when none is due.
    private func cleanFilthiest(_ worker: Int) -> Bool {
        guard let (partition, control, delay) = choose() else { return false }
        defer { _ = state.withLock { $0.inProgress.removeValue(forKey: partition.topicPartition) } }
        return clean(partition, control, worker: worker, delay: delay)
    }

    private func choose() -> (Partition, CleaningControl, delay: Int64)? {
        let now = SystemClock.now()
        let moment = SystemClock.monotonicMilliseconds()
        var due: [(partition: Partition, ratio: Double)] = []
        var dirtiest = 0.0
        var delay: Int64 = 0
        for partition in partitions.all where !partition.isOffline {
            let name = partition.topicPartition
            guard state.withLock({ $0.isFree(name, now: moment) }), let found = candidate(partition, now: now) else { continue }
            dirtiest = max(dirtiest, found.candidate.cleanableRatio)
            delay = max(delay, found.candidate.delayMilliseconds)
            if found.isDue { due.append((partition, found.candidate.cleanableRatio)) }
        }
        due.sort { $0.ratio > $1.ratio }
        return state.withLock { state in
            state.lastLook = moment
            state.dirtiestRatio = dirtiest
            state.retain { partitions.partition($0) != nil }
            guard !state.isStopped, let next = due.first(where: { state.inProgress[$0.partition.topicPartition] == nil }) else {
                return nil
            }
            let control = CleaningControl { [throttle] bytes, control in throttle.pace(bytes, control) }
            state.inProgress[next.partition.topicPartition] = control
            return (next.partition, control, delay)
        }
    }

    private func candidate(_ partition: Partition, now: Timestamp) -> (candidate: CleaningCandidate, isDue: Bool)? {
        do throws(StorageError) {
            let found = try partition.withLog { log throws(StorageError) -> (CleaningCandidate, Double)? in
                try log.rollForCompaction(now: now)
                return try log.cleaningCandidate(now: now).map { ($0, log.configuration.minCleanableDirtyRatio) }
            }
            guard let (candidate, ratio) = found else { return nil }
            if candidate.replacesCheckpoint {
                partition.logDirectory.noteCleaned(partition.topicPartition, upTo: candidate.firstDirtyOffset)
            }
            return (candidate, candidate.isDue(minCleanableDirtyRatio: ratio))
        } catch {
            failed(partition, .storage(error))
            return nil
        }
    }

    // MARK: Cleaning

    private func clean(_ partition: Partition, _ control: CleaningControl, worker: Int, delay: Int64) -> Bool {
        let began = SystemClock.monotonicNanoseconds()
        let resources = threads.withLock { $0.settings.resources }
        do throws(CleaningFailure) {
            let work = try withLog(of: partition) { log throws(CleaningFailure) in
                do throws(StorageError) {
                    return try log.beginCleaning(now: SystemClock.now(), resources: resources, control: control)
                } catch {
                    throw .storage(error)
                }
            }
            guard let work else { return false }
            do throws(CleaningFailure) {
                try work.run(now: { SystemClock.now() }) { body throws(CleaningFailure) in try withLog(of: partition, body) }
            } catch {
                try? withLog(of: partition) { log throws(CleaningFailure) in log.finishCleaning(work, cleanedOffset: nil) }
                throw error
            }
            let statistics = work.statistics
            try withLog(of: partition) { log throws(CleaningFailure) in
                log.finishCleaning(work, cleanedOffset: statistics.endOffset)
            }
            try? partition.logDirectory.writeCleanerCheckpoint()
            let seconds = Double(SystemClock.monotonicNanoseconds() - began) / 1e9
            report(partition, work, CleanerRun(statistics: statistics, seconds: seconds, delayMilliseconds: delay), worker: worker)
            return true
        } catch {
            failed(partition, error)
            return false
        }
    }

    private func withLog<Value: Sendable>(
        of partition: Partition, _ body: (PartitionLog) throws(CleaningFailure) -> Value
    ) throws(CleaningFailure) -> Value {
        let outcome: Result<Value, CleaningFailure>
        do throws(StorageError) {
            outcome = try partition.withLog { log throws(StorageError) in Result { () throws(CleaningFailure) in try body(log) } }
        } catch {
            throw .storage(error)
        }
        return try outcome.get()
    }

    private func report(_ partition: Partition, _ work: CleaningWork, _ run: CleanerRun, worker: Int) {
        state.withLock { $0.lastRuns[worker] = run }
        let statistics = run.statistics
        let rate = Double(statistics.bytesRead) / max(run.seconds, 1e-9) / 1e6
        logger.info(
            "log cleaned",
            metadata: [
                "partition": "\(partition.topicPartition)", "from": "\(work.candidate.firstDirtyOffset)", "to": "\(statistics.endOffset)",
                "bytesBefore": "\(statistics.bytesRead)", "bytesAfter": "\(statistics.bytesWritten)",
                "recordsBefore": "\(statistics.recordsRead)", "recordsAfter": "\(statistics.recordsWritten)",
                "milliseconds": "\(Int(run.seconds * 1000))", "MB/s": "\(Int(rate))",
                "map": "\(Int(statistics.mapUtilization * 100)) % of \(statistics.mapMemoryBytes) bytes",
            ])
        if statistics.invalidRecords > 0 {
            logger.warning(
                "records without a key were dropped",
                metadata: ["partition": "\(partition.topicPartition)", "records": "\(statistics.invalidRecords)"])
        }
    }

    /// A damaged log is left alone until the node starts again; whatever else went wrong is tried again later.
    private func failed(_ partition: Partition, _ failure: CleaningFailure) {
        let name = partition.topicPartition
        let retryAt = SystemClock.monotonicMilliseconds() + Self.retryMilliseconds
        switch failure {
        case .aborted, .storage(.closed), .storage(.offline): break
        case .outOfMemory(let bytes):
            state.withLock { $0.retryAt[name] = retryAt }
            logger.warning(
                "a log is not cleaned for now: no memory for the map of keys; log.cleaner.dedupe.buffer.size sets it",
                metadata: ["partition": "\(name)", "bytes": "\(bytes)"])
        case .storage(.corruptFile(let path, let reason)):
            state.withLock { $0.uncleanable[name] = UncleanablePartition(directory: partition.logDirectory.path, reason: reason) }
            logger.error(
                "a log cannot be cleaned because it is damaged; it is set aside until this node is started again, and grows",
                metadata: ["partition": "\(name)", "file": "\(path)", "reason": "\(reason)"])
        case .storage(let error):
            partition.logDirectory.noteFailure(error)
            state.withLock { $0.retryAt[name] = retryAt }
            logger.error("a log could not be cleaned; it is tried again", metadata: ["partition": "\(name)", "reason": "\(error)"])
        }
    }
}

extension LogCleaner {
    /// For the metrics.
    var snapshot: CleanerState { state.withLock { $0 } }
}

extension CleanerSettings {
    /// What one of the threads may use.
    var resources: CleaningResources {
        var resources = CleaningResources()
        let share = max(1, threads)
        resources.mapBytes = dedupeBufferBytes / share
        resources.mapLoadFactor = dedupeBufferLoadFactor
        resources.bufferBytes = ioBufferBytes / share / 2
        return resources
    }
}
