// One data directory: its lock, its identity, its checkpoints, and what is waiting to be deleted in it.
import CLinux
import Glibc
import Primitives
import Synchronization

/// One data directory.
public final class LogDirectory: Sendable {
    public let path: String
    /// Whether the last process stopped cleanly.
    public let hadCleanShutdown: Bool
    /// From the last clean stop; -1 when unknown.
    public let previousBrokerEpoch: Int64
    private let headroomBytes: Int
    private let state: Mutex<State>
    /// Held while checkpoints are written: two writers of one file would mix.
    private let checkpointing = Mutex(())
    /// Up to where logs have been cleaned.
    let cleanerCheckpoint = Mutex(CleanerCheckpoint())

    private struct State {
        var properties: MetaProperties?
        var failure: StorageError?
        var lock: Int32
        var partitionCount = 0
        var deletedDirectories: [(path: String, due: Timestamp)] = []
        var hasHeadroom = false
        var inUse = false
        /// Checkpoints of partitions that could not be opened: they are carried over.
        var carriedOver: [PartitionCheckpoint] = []
        var hasOldCheckpoints = false
        /// High watermarks that went back, for checkpoints whose offsets were gathered before.
        var ceilings: [TopicPartition: Ceiling] = [:]
        var onFailure: (@Sendable (LogDirectory) -> Void)?
    }

    private struct Ceiling {
        var offset: Offset
        /// How many more checkpoints may have been gathered before: one of each kind of work that writes them. A high watermark that is too
        /// low does no harm.
        var writes = 3
    }

    /// Opens and locks a directory, creating it if need be.
    init(path: String, headroomBytes: Int) throws(StorageError) {
        self.path = path
        self.headroomBytes = headroomBytes
        try FileSystem.createDirectory(path)
        let lock = try Self.lock(path + "/.lock", directory: path)
        let marker: String?
        let properties: MetaProperties?
        do throws(StorageError) {
            marker = try FileSystem.text(of: path + "/" + CleanShutdownFile.name)
            properties = try MetaProperties(path: path + "/" + MetaProperties.fileName)
        } catch {
            Glibc.close(lock)
            throw error
        }
        hadCleanShutdown = marker != nil
        previousBrokerEpoch = marker.map { CleanShutdownFile.brokerEpoch($0) } ?? -1
        state = Mutex(State(properties: properties, lock: lock))
        reserveHeadroom()
    }

    deinit {
        unlock()
    }

    // MARK: Lock and use

    /// Kafka locks the same file, so neither opens what the other has open.
    private static func lock(_ path: String, directory: String) throws(StorageError) -> Int32 {
        let descriptor = try FileSystem.open(path, O_RDWR | O_CREAT)
        if martlet_lock_file(descriptor) != 0 {
            Glibc.close(descriptor)
            throw .locked(path: directory)
        }
        return descriptor
    }

    func unlock() {
        state.withLock { state in
            guard state.lock >= 0 else { return }
            martlet_unlock_file(state.lock)
            Glibc.close(state.lock)
            state.lock = -1
        }
    }

    /// From the first use on, a crash means recovery: the marker goes.
    func beginUse() throws(StorageError) {
        let isFirst = state.withLock { state in
            defer { state.inUse = true }
            return !state.inUse
        }
        guard isFirst, hadCleanShutdown else { return }
        try FileSystem.remove(path + "/" + CleanShutdownFile.name)
        try FileSystem.syncDirectory(path)
    }

    // MARK: Identity and health

    /// `meta.properties`; nil when the directory is not formatted.
    public var properties: MetaProperties? { state.withLock { $0.properties } }

    /// Writes `meta.properties`.
    public func write(_ properties: MetaProperties) throws(StorageError) {
        try properties.write(to: path + "/" + MetaProperties.fileName)
        state.withLock { $0.properties = properties }
    }

    /// An earlier failure took it out of service: nothing is written any more, reads are tried.
    public var isOffline: Bool { state.withLock { $0.failure != nil } }
    public var failure: StorageError? { state.withLock { $0.failure } }

    /// Takes the directory out of service, and tells who has to know.
    public func fail(with error: StorageError) {
        let handler = state.withLock { state -> (@Sendable (LogDirectory) -> Void)? in
            guard state.failure == nil else { return nil }
            state.failure = error
            return state.onFailure
        }
        handler?(self)
    }

    /// Sets who is told, once, when the directory fails; at once when it has failed already. Called by whoever met the failure, who
    /// may hold the lock of a log: the handler must not take any.
    func onFailure(_ handler: @escaping @Sendable (LogDirectory) -> Void) {
        let hasFailed = state.withLock { state in
            state.onFailure = handler
            return state.failure != nil
        }
        if hasFailed { handler(self) }
    }

    /// Judges a failed system call. A full disk passes, and so does a want of descriptors or memory; a disk that does not do what it is
    /// told to is out of service, and so is a directory that is gone or cannot be entered any more.
    public func noteFailure(_ error: StorageError) {
        guard case .inputOutput(_, _, let code) = error else { return }
        switch code {
        case EIO, EROFS, ENXIO, ENODEV, EUCLEAN, ESTALE: fail(with: error)
        case ENOENT, ENOTDIR, EACCES, EPERM: if !isPresent { fail(with: error) }
        default: break
        }
    }

    /// Whether the directory is where it was: not when its device was unmounted or something else put in its place.
    private var isPresent: Bool {
        let proof = properties == nil ? path + "/.lock" : path + "/" + MetaProperties.fileName
        return access(proof, R_OK | W_OK) == 0
    }

    /// Bytes of the file system: all, and free for this process.
    public func space() throws(StorageError) -> (total: Int, free: Int) {
        var space = statvfs()
        guard statvfs(path, &space) == 0 else { throw FileSystem.failure("stat", path) }
        return (Int(space.f_blocks) * Int(space.f_frsize), Int(space.f_bavail) * Int(space.f_frsize))
    }

    var partitionCount: Int { state.withLock { $0.partitionCount } }

    func countPartition(_ change: Int) {
        state.withLock { $0.partitionCount += change }
    }

    // MARK: Checkpoints

    /// Writes recovery-point-, replication- and log-start-offset-checkpoint. Call every few seconds with the state of all partitions
    /// of this directory.
    public func writeCheckpoints(_ checkpoints: [PartitionCheckpoint]) throws(StorageError) {
        if let failure { throw failure }
        let carriedOver = state.withLock { $0.carriedOver }
        let all = checkpoints + carriedOver
        try withCheckpointing { () throws(StorageError) in
            try file(OffsetCheckpointFile.Name.recoveryPoint).write(all.map { ($0.topicPartition, $0.recoveryPoint) })
            try file(OffsetCheckpointFile.Name.logStart).write(
                all.filter { $0.logStartOffset > $0.firstSegmentBaseOffset }.map { ($0.topicPartition, $0.logStartOffset) })
            try file(OffsetCheckpointFile.Name.highWatermark).write(bounded(all.map { ($0.topicPartition, $0.highWatermark) }))
        }
    }

    /// Some recovery point on disk is beyond what is there now, since a log was cut or deleted: what is appended anew below it would not be
    /// looked at after a loss of power.
    func recoveryPointsWentBack() {
        state.withLock { $0.hasOldCheckpoints = true }
    }

    /// Whether the checkpoints have to be written soon; says so once.
    public func takeNeedForCheckpoints() -> Bool {
        state.withLock { state in
            defer { state.hasOldCheckpoints = false }
            return state.hasOldCheckpoints
        }
    }

    /// Writes replication-offset-checkpoint alone, between two `writeCheckpoints`.
    public func writeHighWatermarks(_ offsets: [(TopicPartition, Offset)]) throws(StorageError) {
        if let failure { throw failure }
        let carriedOver = state.withLock { $0.carriedOver }
        try withCheckpointing { () throws(StorageError) in
            try file(OffsetCheckpointFile.Name.highWatermark).write(
                bounded(offsets + carriedOver.map { ($0.topicPartition, $0.highWatermark) }))
        }
    }

    /// Says on disk, before it returns, that high watermarks are no higher than given. Only where replicas in sync have lost records do they
    /// go back; what is appended there anew must not be taken for committed after a crash.
    func lowerHighWatermarks(_ offsets: [(topicPartition: TopicPartition, offset: Offset)]) throws(StorageError) {
        state.withLock { state in
            for (topicPartition, offset) in offsets { state.ceilings[topicPartition] = Ceiling(offset: offset) }
        }
        try withCheckpointing { () throws(StorageError) in
            let file = file(OffsetCheckpointFile.Name.highWatermark)
            // A file that cannot be read counts for nothing, and is written anew by the next checkpoint.
            guard var known = try? file.read() else { return }
            var isLower = false
            for (topicPartition, offset) in offsets {
                guard let old = known[topicPartition], old > offset else { continue }
                known[topicPartition] = offset
                isLower = true
            }
            if isLower { try file.write(known.map { ($0.key, $0.value) }) }
        }
    }

    /// Says on disk, before it returns, where a log starts.
    func noteLogStart(_ topicPartition: TopicPartition, _ offset: Offset) throws(StorageError) {
        try withCheckpointing { () throws(StorageError) in
            let file = file(OffsetCheckpointFile.Name.logStart)
            var known = try file.read()
            guard known[topicPartition] != offset else { return }
            known[topicPartition] = offset
            try file.write(known.map { ($0.key, $0.value) })
        }
    }

    /// What is to be written of high watermarks that were gathered.
    private func bounded(_ offsets: [(TopicPartition, Offset)]) -> [(TopicPartition, Offset)] {
        state.withLock { state in
            if state.ceilings.isEmpty { return offsets }
            let ceilings = state.ceilings
            for (topicPartition, ceiling) in ceilings {
                state.ceilings[topicPartition] = ceiling.writes > 1 ? Ceiling(offset: ceiling.offset, writes: ceiling.writes - 1) : nil
            }
            return offsets.map { topicPartition, offset in (topicPartition, min(offset, ceilings[topicPartition]?.offset ?? offset)) }
        }
    }

    func withCheckpointing(_ body: () throws(StorageError) -> Void) throws(StorageError) {
        let outcome = checkpointing.withLock { _ in Result { () throws(StorageError) in try withHeadroom(body) } }
        if case .failure(let error) = outcome { noteFailure(error) }
        try outcome.get()
    }

    func carryOver(_ checkpoint: PartitionCheckpoint) {
        state.withLock { $0.carriedOver.append(checkpoint) }
    }

    func file(_ name: String) -> OffsetCheckpointFile { OffsetCheckpointFile(path: path + "/" + name) }

    func writeCleanShutdown(brokerEpoch: Int64) throws(StorageError) {
        let marker = path + "/" + CleanShutdownFile.name
        try withHeadroom { () throws(StorageError) in try CleanShutdownFile.write(brokerEpoch: brokerEpoch, to: marker) }
    }

    // MARK: Deletion

    /// Renames a partition's directory to `topic-N.HEX-delete`. Returns the new path.
    func markForDeletion(_ topicPartition: TopicPartition, path old: String, due: Timestamp) throws(StorageError) -> String {
        let new = path + "/" + PartitionDirectoryName.marked(topicPartition, suffix: "-delete")
        try withHeadroom { () throws(StorageError) in try FileSystem.rename(old, to: new) }
        noteCleaned(topicPartition, upTo: nil)
        state.withLock { state in
            state.deletedDirectories.append((new, due))
            state.partitionCount -= 1
        }
        return new
    }

    /// Notes a directory that was marked before.
    func willDelete(_ path: String, due: Timestamp) {
        state.withLock { $0.deletedDirectories.append((path, due)) }
    }

    /// Puts a partition aside whose topic is not known. Returns the new path.
    func setAside(_ topicPartition: TopicPartition, path old: String) throws(StorageError) -> String {
        let new = path + "/" + PartitionDirectoryName.marked(topicPartition, suffix: "-stray")
        try FileSystem.rename(old, to: new)
        noteCleaned(topicPartition, upTo: nil)
        return new
    }

    /// Removes directories of deleted partitions whose time has come (all of them when the disk is full), and reserves headroom again
    /// when there is space.
    public func maintain(now: Timestamp) {
        let isShort = !reserveHeadroom()
        let due = state.withLock { state in
            let due = state.deletedDirectories.filter { $0.due <= now || isShort }
            state.deletedDirectories.removeAll { $0.due <= now || isShort }
            return due
        }
        for directory in due {
            do throws(StorageError) {
                try FileSystem.removeDirectory(directory.path)
            } catch {
                willDelete(directory.path, due: now + 60_000)
            }
        }
        if isShort, !due.isEmpty { reserveHeadroom() }
    }

    /// Directories waiting to be removed.
    public var pendingDeletions: Int { state.withLock { $0.deletedDirectories.count } }

    // MARK: Headroom

    private static let headroomName = ".martlet-headroom"

    /// A few megabytes of a file that is given up when renaming and checkpoints need space that is gone. Returns whether they are
    /// there.
    @discardableResult
    private func reserveHeadroom() -> Bool {
        guard headroomBytes > 0 else { return true }
        return state.withLock { state in
            if state.hasHeadroom { return true }
            let path = path + "/" + Self.headroomName
            // More than just enough, or appends would starve again at once.
            guard let space = try? self.space(), space.free > headroomBytes * 2,
                let descriptor = try? FileSystem.open(path, O_WRONLY | O_CREAT)
            else { return false }
            defer { Glibc.close(descriptor) }
            state.hasHeadroom = martlet_reserve_extent(descriptor, 0, Int64(headroomBytes)) == 0
            return state.hasHeadroom
        }
    }

    /// Runs something that must not fail for want of space, and gives up the headroom if it does.
    private func withHeadroom(_ body: () throws(StorageError) -> Void) throws(StorageError) {
        do throws(StorageError) {
            try body()
        } catch {
            guard case .outOfSpace = error else { throw error }
            let released = state.withLock { state in
                defer { state.hasHeadroom = false }
                return state.hasHeadroom
            }
            guard released, unlink(path + "/" + Self.headroomName) == 0 else { throw error }
            try body()
        }
    }
}

/// Names of partition directories.
enum PartitionDirectoryName {
    /// `topic-N`; nil for other directories, such as those marked for deletion.
    static func parse(_ name: String) -> TopicPartition? {
        guard let dash = name.lastIndex(of: "-"), dash != name.startIndex, marker(of: name) == nil else { return nil }
        let number = name[name.index(after: dash)...]
        guard let partition = Int32(number), partition >= 0, String(partition) == number else { return nil }
        return TopicPartition(String(name[..<dash]), partition)
    }

    /// The partition of a name that `marked` made.
    static func parseMarked(_ name: String) -> TopicPartition? {
        guard marker(of: name) != nil, let dot = name.lastIndex(of: ".") else { return nil }
        return parse(String(name[..<dot]))
    }

    /// `-delete`, `-stray` or `-future`, behind a dot and an id.
    static func marker(of name: String) -> String? {
        guard let dash = name.lastIndex(of: "-"), name[..<dash].contains(".") else { return nil }
        let suffix = String(name[dash...])
        return ["-delete", "-stray", "-future"].contains(suffix) ? suffix : nil
    }

    /// `topic-N.HEX-delete`, with the topic cut so that the name fits a file system.
    static func marked(_ topicPartition: TopicPartition, suffix: String) -> String {
        var generator = SystemRandomNumberGenerator()
        let hex = [generator.next(), generator.next()].map { (word: UInt64) in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }
        let tail = "-\(topicPartition.partition).\(hex.joined())\(suffix)"
        return String(topicPartition.topic.prefix(255 - tail.utf8.count)) + tail
    }
}
