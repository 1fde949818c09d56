// Several data directories, and directories that do not do what they should.
import Foundation
import NIOCore
import Primitives
import Testing

@testable import Storage

@Suite("Data directories")
struct DirectoryTests {
    private func open(_ scratch: Scratch, _ names: [String]) throws -> LogDirectories {
        try LogDirectories(LogDirectoriesConfiguration(paths: names.map { scratch.path + "/" + $0 }))
    }

    private func load(_ directories: LogDirectories, progress: @escaping @Sendable (LoadProgress) -> Void = { _ in }) throws -> LoadedLogs {
        try directories.load(now: 1, configuration: { _ in LogConfiguration() }, expected: { _, _ in .unknown }, progress: progress)
    }

    @Test("New partitions go where there are fewest; all come back, and progress is told")
    func severalDirectories() throws {
        let scratch = try Scratch()
        var directories = try open(scratch, ["a", "b"])
        var logs: [PartitionLog] = []
        for index in 0..<6 {
            logs.append(
                try directories.create(TopicPartition("t", Int32(index)), topicID: .one, configuration: LogConfiguration(), now: 1))
        }
        #expect(directories.directories.map(\.partitionCount) == [3, 3])
        #expect(throws: StorageError.self) {
            try directories.directories[0].create(TopicPartition("t", 0), topicID: .one, configuration: LogConfiguration(), now: 1)
        }
        for (index, log) in logs.enumerated() {
            for _ in 0..<index { _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1) }
            log.advanceHighWatermark(to: log.logEndOffset)
            try log.close(now: 1)
        }
        try directories.close(logs.map { ($0.logDirectory, $0.checkpoint) }, brokerEpoch: 3)
        directories = try open(scratch, ["a", "b", "c"])
        let last = Last()
        let loaded = try load(directories) { last.set($0) }
        #expect(loaded.logs.count == 6 && loaded.failures.isEmpty)
        #expect(last.value == LoadProgress(partitions: 6, loadedPartitions: 6))
        for log in loaded.logs {
            #expect(log.logEndOffset == Offset(log.topicPartition.partition) && log.highWatermark == log.logEndOffset)
        }
        #expect(
            try directories.create(TopicPartition("n", 0), topicID: .one, configuration: LogConfiguration(), now: 1).path.hasPrefix(
                scratch.path + "/c/"))
        #expect(try directories.directories[0].space().total > 0)
    }

    private final class Last: @unchecked Sendable {
        private let lock = NSLock()
        private var stored = LoadProgress()
        var value: LoadProgress { lock.withLock { stored } }
        func set(_ value: LoadProgress) { lock.withLock { if value.loadedPartitions >= stored.loadedPartitions { stored = value } } }
    }

    @Test("A directory out of service refuses writes and lets others work")
    func offline() throws {
        let scratch = try Scratch()
        let directories = try open(scratch, ["a", "b"])
        let log = try directories.create(TopicPartition("t", 0), topicID: .one, configuration: LogConfiguration(), now: 1)
        _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1)
        log.advanceHighWatermark(to: 1)
        // What passes takes nothing out of service.
        log.logDirectory.noteFailure(.inputOutput(operation: "open", path: log.path, code: EMFILE))
        log.logDirectory.noteFailure(.outOfSpace(path: log.path))
        #expect(!log.logDirectory.isOffline)
        log.logDirectory.noteFailure(.inputOutput(operation: "write", path: log.path, code: EIO))
        #expect(throws: StorageError.offline(path: log.logDirectory.path)) {
            try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1)
        }
        #expect(try ConsumerView(log, isolation: .highWatermark).offsets == [0])
        #expect(directories.online.count == 1)
        let other = try directories.create(TopicPartition("t", 1), topicID: .one, configuration: LogConfiguration(), now: 1)
        #expect(other.logDirectory !== log.logDirectory)
        try log.close(now: 1)
        try directories.close([(other.logDirectory, other.checkpoint)], brokerEpoch: 1)
        #expect(!FileSystem.exists(log.logDirectory.path + "/" + CleanShutdownFile.name))
        #expect(FileSystem.exists(other.logDirectory.path + "/" + CleanShutdownFile.name))
    }

    @Test("A path that is no directory leaves the others; none at all is an error")
    func unavailable() throws {
        let scratch = try Scratch()
        try Data().write(to: URL(fileURLWithPath: scratch.path + "/file"))
        let directories = try open(scratch, ["file/below", "a"])
        #expect(directories.directories.count == 1 && directories.unavailable.count == 1)
        #expect(throws: StorageError.self) { try open(scratch, ["file/below"]) }
    }

    @Test("The same partition in two directories is refused once")
    func twice() throws {
        let scratch = try Scratch()
        do {
            let directories = try open(scratch, ["a", "b"])
            for directory in directories.directories {
                _ = try directory.create(TopicPartition("t", 0), topicID: .one, configuration: LogConfiguration(), now: 1)
            }
        }
        let loaded = try load(try open(scratch, ["a", "b"]))
        #expect(loaded.logs.count == 1 && loaded.failures.count == 1)
    }

    @Test("A directory that cannot be made is an error, not an endless attempt")
    func impossibleDirectory() throws {
        #expect(throws: StorageError.self) { _ = try LogDirectories(LogDirectoriesConfiguration(paths: ["/proc/martlet/x"])) }
        let scratch = try Scratch()
        try Data().write(to: URL(fileURLWithPath: scratch.path + "/file"))
        #expect(throws: StorageError.self) { _ = try open(scratch, ["file/x"]) }
        #expect(try open(scratch, ["a/b/c"]).directories.count == 1)
    }

    @Test(
        "A damaged meta.properties is no directory that was never formatted",
        arguments: ["", "rubbish", "version=1\nnode.id=1\n", "version=1\ncluster.id=c\n", "version=1\nnode.id=x\ncluster.id=c\n"])
    func damagedMetaProperties(text: String) throws {
        let scratch = try Scratch()
        _ = try open(scratch, ["a"])
        try Data(text.utf8).write(to: URL(fileURLWithPath: scratch.path + "/a/meta.properties"))
        do {
            _ = try open(scratch, ["a"])
            Issue.record("it was taken")
        } catch StorageError.corruptFile(let path, _) {
            #expect(path == scratch.path + "/a/meta.properties")
        }
        try Data("version=0\nbroker.id=1\ncluster.id=c\n".utf8).write(to: URL(fileURLWithPath: scratch.path + "/a/meta.properties"))
        #expect(try open(scratch, ["a"]).directories[0].properties?.nodeID == 1)
    }

    @Test("Files that somebody removed are missed", arguments: [true, false])
    func removedFiles(clean: Bool) throws {
        let scratch = try Scratch()
        do {
            let directories = try open(scratch, ["a", "b"])
            var logs: [PartitionLog] = []
            for index in 0..<4 as Range<Int32> {
                let log = try directories.directories[0].create(
                    TopicPartition("t", index), topicID: .one, configuration: LogConfiguration(), now: 1)
                for _ in 0..<5 { _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1) }
                try log.close(now: 1)
                logs.append(log)
            }
            try directories.close(logs.map { ($0.logDirectory, $0.checkpoint) }, brokerEpoch: 3, clean: clean)
        }
        let end = Offset(5)
        try FileManager.default.removeItem(atPath: scratch.path + "/a/t-0")
        try FileManager.default.removeItem(atPath: scratch.path + "/a/t-1/00000000000000000000.log")
        // Moved, not lost.
        try FileManager.default.moveItem(atPath: scratch.path + "/a/t-2", toPath: scratch.path + "/b/t-2")
        let loaded = try open(scratch, ["a", "b"]).load(
            now: 1, configuration: { _ in LogConfiguration() }, expected: { _, _ in .known(.one) }, progress: { _ in })
        #expect(
            loaded.shortened == [
                ShortenedLog(topicPartition: TopicPartition("t", 0), logEndOffset: nil, recoveryPoint: end),
                ShortenedLog(topicPartition: TopicPartition("t", 1), logEndOffset: 0, recoveryPoint: end),
            ])
        #expect(loaded.logs.map(\.logEndOffset).sorted() == [0, end, end])
    }

    @Test("A high watermark that goes back is on disk before the log is cut, and a checkpoint gathered before does not bring it back")
    func highWatermarksThatGoBack() throws {
        let scratch = try Scratch()
        let name = TopicPartition("t", 0)
        var directories = try open(scratch, ["a"])
        let directory = directories.directories[0]
        func written() throws -> Offset? { try directory.file(OffsetCheckpointFile.Name.highWatermark).read()[name] }
        let log = try directory.create(name, topicID: .one, configuration: LogConfiguration(), now: 1)
        for _ in 0..<5 { _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1) }
        log.advanceHighWatermark(to: 4)
        let gathered = log.checkpoint
        try directory.writeCheckpoints([gathered])
        #expect(try written() == 4)
        try log.truncate(to: 4, now: 1)
        #expect(try written() == 4, "nothing committed was cut")
        try log.truncate(to: 2, now: 1)
        #expect(try written() == 2)
        try directory.writeCheckpoints([gathered])
        #expect(try written() == 2, "that one is out of date")
        for _ in 0..<5 { _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 1, now: 1) }
        log.advanceHighWatermark(to: 6)
        for _ in 0..<3 { try directory.writeHighWatermarks([(name, log.highWatermark)]) }
        #expect(try written() == 6)
        // A log that ends below it, as after a loss of power.
        var beyond = log.checkpoint
        beyond.highWatermark = 50
        try log.close(now: 1)
        try directories.close([(directory, beyond)], brokerEpoch: 1)
        directories = try open(scratch, ["a"])
        let loaded = try load(directories)
        #expect(loaded.logs.first?.highWatermark == 7)
        #expect(try directories.directories[0].file(OffsetCheckpointFile.Name.highWatermark).read()[name] == 7)
    }

    @Test("Cutting a log below what the checkpoint says of it asks for another checkpoint, once")
    func truncationAsksForCheckpoint() throws {
        let scratch = try Scratch()
        let directories = try open(scratch, ["a"])
        let directory = directories.directories[0]
        let log = try directory.create(TopicPartition("t", 0), topicID: .one, configuration: LogConfiguration(), now: 1)
        for _ in 0..<5 { _ = try log.append(try Make.batch(), origin: .client, leaderEpoch: 0, now: 1) }
        try log.truncate(to: 4, now: 1)
        #expect(!directory.takeNeedForCheckpoints(), "nothing of it was flushed")
        try log.flush(now: 1)
        try log.truncate(to: 2, now: 1)
        #expect(log.recoveryPoint == 2 && directory.takeNeedForCheckpoints() && !directory.takeNeedForCheckpoints())
        try log.flush(now: 1)
        try log.truncateFullyAndStart(at: 1, now: 1)
        #expect(directory.takeNeedForCheckpoints())
        try log.delete(now: 1)
        #expect(directory.takeNeedForCheckpoints())
    }

    @Test("Directories marked for deletion are removed some time after a start")
    func leftovers() throws {
        let scratch = try Scratch()
        let path = scratch.path + "/a/t-0.51e15d26797a47a18176460ed68b4d71-delete"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try Data([1]).write(to: URL(fileURLWithPath: path + "/00000000000000000000.log"))
        let directories = try open(scratch, ["a"])
        #expect(try load(directories).logs.isEmpty)
        directories.directories[0].maintain(now: 10)
        #expect(FileSystem.exists(path))
        directories.directories[0].maintain(now: 60_001)
        #expect(!FileSystem.exists(path))
    }

    @Test("Without its checkpoints a directory is scanned; with a corrupt log start checkpoint it is not guessed")
    func checkpoints() throws {
        let fixture = try LogFixture()
        try fixture.append(try Make.batch(count: 3))
        try fixture.reopen()
        try fixture.kill { directory in
            try FileManager.default.removeItem(atPath: directory + "/recovery-point-offset-checkpoint")
            try "damaged".write(toFile: directory + "/replication-offset-checkpoint", atomically: false, encoding: .utf8)
        }
        #expect(fixture.log.logEndOffset == 3 && fixture.log.loadReport.scannedBytes > 0 && fixture.log.highWatermark == 0)
        #expect(throws: StorageError.self) {
            try fixture.kill { directory in
                try "damaged".write(toFile: directory + "/log-start-offset-checkpoint", atomically: false, encoding: .utf8)
            }
        }
    }
}
