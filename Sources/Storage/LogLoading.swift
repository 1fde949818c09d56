// Loading many partitions at once: a list of work, a few threads, one result.
import Glibc
import Primitives
import Synchronization

/// One round of loading. Filled by `collect`, carried out by `run`.
final class LogLoading: Sendable {
    private struct Work {
        var directory: LogDirectory
        var topicPartition: TopicPartition
        var path: String
        var isFuture = false
        var recoveryPoint: Offset
        var logStartOffset: Offset
        var highWatermark: Offset
        var isClean: Bool
    }

    private struct State {
        var work: [Work] = []
        var next = 0
        var loaded = LoadedLogs()
        var seen: Set<TopicPartition> = []
        var futures: Set<TopicPartition> = []
        /// In the checkpoint of a directory, and without a directory of their own there.
        var missing: [ShortenedLog] = []
        /// Logs that end below their high watermark, by directory.
        var lowered: [ObjectIdentifier: (directory: LogDirectory, offsets: [(topicPartition: TopicPartition, offset: Offset)])] = [:]
        var progress = LoadProgress()
    }

    private let now: Timestamp
    private let configuration: @Sendable (String) -> LogConfiguration
    private let expected: @Sendable (TopicPartition, TopicID?) -> ExpectedTopic
    private let progress: @Sendable (LoadProgress) -> Void
    private let state = Mutex(State())

    init(
        now: Timestamp, configuration: @escaping @Sendable (String) -> LogConfiguration,
        expected: @escaping @Sendable (TopicPartition, TopicID?) -> ExpectedTopic, progress: @escaping @Sendable (LoadProgress) -> Void
    ) {
        self.now = now
        self.configuration = configuration
        self.expected = expected
        self.progress = progress
    }

    /// Notes the partitions of a directory, and the directories in it that wait for deletion.
    func collect(
        _ directory: LogDirectory, excluding excluded: Set<String> = [], only: TopicPartition? = nil, asAfterCrash: Bool = false
    ) throws(StorageError) {
        try directory.beginUse()
        directory.loadCleanerCheckpoint()
        // Without recovery points everything is scanned, without high watermarks leaders find them again: neither is worth refusing
        // to start for. Log starts stand nowhere else.
        let recoveryPoints = (try? directory.file(OffsetCheckpointFile.Name.recoveryPoint).read()) ?? [:]
        let highWatermarks = (try? directory.file(OffsetCheckpointFile.Name.highWatermark).read()) ?? [:]
        let logStarts = try directory.file(OffsetCheckpointFile.Name.logStart).read()
        var names: [(name: String, isDirectory: Bool)] = []
        if let only { names = [(only.description, true)] } else { names = try FileSystem.names(in: directory.path) }
        var work: [Work] = []
        for (name, isDirectory) in names where isDirectory {
            if PartitionDirectoryName.marker(of: name) == "-delete" {
                directory.willDelete(directory.path + "/" + name, due: now + 60_000)
            }
            if PartitionDirectoryName.marker(of: name) == "-future", let copied = PartitionDirectoryName.parseMarked(name) {
                // No checkpoint knows it: after a crash all of it is looked at.
                work.append(
                    Work(
                        directory: directory, topicPartition: copied, path: directory.path + "/" + name, isFuture: true, recoveryPoint: 0,
                        logStartOffset: 0, highWatermark: 0, isClean: directory.hadCleanShutdown))
                continue
            }
            guard let topicPartition = PartitionDirectoryName.parse(name), !excluded.contains(topicPartition.topic) else { continue }
            work.append(
                Work(
                    directory: directory, topicPartition: topicPartition, path: directory.path + "/" + name,
                    recoveryPoint: asAfterCrash ? 0 : recoveryPoints[topicPartition] ?? 0,
                    logStartOffset: logStarts[topicPartition] ?? 0, highWatermark: highWatermarks[topicPartition] ?? 0,
                    isClean: directory.hadCleanShutdown && !asAfterCrash))
        }
        let missing = only == nil ? missing(from: work, recoveryPoints, logStarts, excluding: excluded) : []
        state.withLock { state in
            state.missing += missing
            state.work += work
            state.progress.partitions += work.count
        }
    }

    private func missing(
        from work: [Work], _ recoveryPoints: [TopicPartition: Offset], _ logStarts: [TopicPartition: Offset],
        excluding excluded: Set<String>
    ) -> [ShortenedLog] {
        let present = Set(work.filter { !$0.isFuture }.map(\.topicPartition))
        return recoveryPoints.filter { topicPartition, point in
            guard point > logStarts[topicPartition] ?? 0, !present.contains(topicPartition), !excluded.contains(topicPartition.topic),
                case .known = expected(topicPartition, nil)
            else { return false }
            return true
        }.map { ShortenedLog(topicPartition: $0.key, logEndOffset: nil, recoveryPoint: $0.value) }
    }

    /// A crash while a copy took its log's place leaves the partition in two directories: the one of the metadata counts.
    func settleDuplicates(_ assigned: (TopicPartition) -> KafkaUUID?) {
        state.withLock { state in
            let found = Dictionary(grouping: state.work.filter { !$0.isFuture }, by: \.topicPartition).filter { $0.value.count > 1 }
            for (topicPartition, places) in found {
                guard let id = assigned(topicPartition), places.contains(where: { $0.directory.properties?.directoryID == id }) else {
                    continue
                }
                for place in places where place.directory.properties?.directoryID != id {
                    place.directory.countPartition(1)
                    _ = try? place.directory.markForDeletion(topicPartition, path: place.path, due: now + 60_000)
                    state.work.removeAll { $0.path == place.path }
                }
            }
        }
    }

    func run(threads: Int) -> LoadedLogs {
        let count = state.withLock { $0.work.count }
        let others = min(threads, count) - 1
        let running = (0..<max(0, others)).compactMap { _ in LoaderThread { self.loadAll() } }
        loadAll()
        for thread in running { thread.join() }
        // What is appended from here on must not be taken for committed by the next start. A disk that refuses has reported it.
        for (directory, offsets) in state.withLock({ $0.lowered }).values { try? directory.lowerHighWatermarks(offsets) }
        return state.withLock { state in
            // Whoever moved a partition to another directory has removed nothing.
            state.loaded.shortened += state.missing.filter { !state.seen.contains($0.topicPartition) }
            state.loaded.shortened.sort {
                ($0.topicPartition.topic, $0.topicPartition.partition) < ($1.topicPartition.topic, $1.topicPartition.partition)
            }
            return state.loaded
        }
    }

    private func loadAll() {
        while let work = state.withLock({ state -> Work? in
            guard state.next < state.work.count else { return nil }
            defer { state.next += 1 }
            return state.work[state.next]
        }) {
            do throws(StorageError) {
                let isNew = state.withLock { state in
                    work.isFuture ? state.futures.insert(work.topicPartition).inserted : state.seen.insert(work.topicPartition).inserted
                }
                guard isNew else { throw .exists(path: work.path) }
                let log = try load(work)
                finish { state in
                    guard let log else { return }
                    if work.isFuture { return state.loaded.futures.append(log) }
                    state.loaded.logs.append(log)
                    if log.loadReport.recovered { state.progress.recoveredPartitions += 1 }
                }
            } catch {
                // A copy that cannot be opened is made anew, by whoever wants it.
                if work.isFuture {
                    try? FileSystem.removeDirectory(work.path)
                    finish { _ in }
                    continue
                }
                work.directory.carryOver(
                    PartitionCheckpoint(
                        topicPartition: work.topicPartition, recoveryPoint: work.recoveryPoint, highWatermark: work.highWatermark,
                        logStartOffset: work.logStartOffset, firstSegmentBaseOffset: 0))
                finish { $0.loaded.failures.append((work.topicPartition, error)) }
            }
        }
    }

    private func finish(_ change: (inout State) -> Void) {
        let now = state.withLock { state in
            change(&state)
            state.progress.loadedPartitions += 1
            return state.progress
        }
        progress(now)
    }

    private func noteScanned(_ bytes: Int) {
        let now = state.withLock { state in
            state.progress.scannedBytes += bytes
            return state.progress
        }
        progress(now)
    }

    /// Nil when the directory was put aside.
    private func load(_ work: Work) throws(StorageError) -> PartitionLog? {
        let path = work.path
        guard let topicID = try topicID(of: work, path: path) else {
            if work.isFuture {
                work.directory.countPartition(1)
                _ = try work.directory.markForDeletion(work.topicPartition, path: path, due: now + 60_000)
                return nil
            }
            let aside = try work.directory.setAside(work.topicPartition, path: path)
            state.withLock { $0.loaded.strays.append(aside) }
            return nil
        }
        let settings = configuration(work.topicPartition.topic)
        var loader = LogLoader(
            LoadRequest(
                topicPartition: work.topicPartition, path: path, configuration: settings, isClean: work.isClean,
                recoveryPoint: work.recoveryPoint, logStartOffset: work.logStartOffset, highWatermark: work.highWatermark, now: now,
                onScanned: { self.noteScanned($0) }))
        let loaded = try loader.load()
        if loaded.logEndOffset < work.recoveryPoint {
            let shortened = ShortenedLog(
                topicPartition: work.topicPartition, logEndOffset: loaded.logEndOffset, recoveryPoint: work.recoveryPoint)
            state.withLock { $0.loaded.shortened.append(shortened) }
        }
        if loaded.logEndOffset < work.highWatermark {
            state.withLock { state in
                state.lowered[ObjectIdentifier(work.directory), default: (work.directory, [])].offsets
                    .append((work.topicPartition, loaded.logEndOffset))
            }
        }
        let log = PartitionLog(
            topicPartition: work.topicPartition, topicID: topicID, logDirectory: work.directory, path: path, configuration: settings,
            state: loaded, now: now)
        log.configure(log.active)
        work.directory.countPartition(1)
        return log
    }

    /// The partition's topic id; nil when it has no business here. A lost `partition.metadata` is written anew if the id is known.
    private func topicID(of work: Work, path: String) throws(StorageError) -> TopicID? {
        let file = path + "/" + PartitionMetadataFile.name
        var found: TopicID?
        do throws(StorageError) {
            found = try PartitionMetadataFile.read(file)
        } catch {
            guard case .corruptFile = error else { throw error }
        }
        switch expected(work.topicPartition, found) {
        case .absent: return nil
        case .unknown: return found ?? .zero
        case .known(let id):
            if let found, found != id { return nil }
            if found == nil { try? PartitionMetadataFile.write(id, to: file) }
            return id
        }
    }
}

/// A thread that runs one closure.
private final class LoaderThread {
    private var thread = pthread_t()

    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    /// Nil when the system gives no thread.
    init?(_ run: @escaping @Sendable () -> Void) {
        let body = Unmanaged.passRetained(Body(run))
        let result = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Body>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        if result != 0 {
            body.release()
            return nil
        }
    }

    func join() {
        pthread_join(thread, nil)
    }
}
