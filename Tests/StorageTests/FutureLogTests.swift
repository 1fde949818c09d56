// Copies of logs in other directories: what a crash leaves of them, and how they take their logs' places.
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

/// Two data directories, a log in the first and its copy in the second.
private final class Moving {
    let scratch: Scratch
    var directories: LogDirectories
    var log: PartitionLog
    var copy: PartitionLog
    let name = TopicPartition("topic", 0)
    private static let now: Timestamp = 2000

    init() throws {
        scratch = try Scratch("moves")
        directories = try LogDirectories(Self.settings(scratch.path + "/data"))
        log = try directories.directories[0].create(name)
        copy = try directories.directories[1].createFuture(
            name, topicID: KafkaUUID.one, startingAt: 0, configuration: LogConfiguration(), now: Self.now)
    }

    private static func settings(_ path: String) -> LogDirectoriesConfiguration {
        var settings = LogDirectoriesConfiguration(paths: [path + "/first", path + "/second"])
        settings.headroomBytes = 0
        return settings
    }

    func append(_ value: String, epoch: LeaderEpoch, to log: PartitionLog? = nil) throws {
        _ = try (log ?? self.log).append(try Make.batch(prefix: value), origin: .client, leaderEpoch: epoch, now: Self.now)
    }

    func copyAll() throws {
        while copy.logEndOffset < log.logEndOffset {
            let read = try log.read(from: copy.logEndOffset, maxBytes: 100, minOneBatch: true, isolation: .logEnd)
            try copy.copy(try #require(read.slice).wholeBatches(), now: Self.now)
        }
    }

    func agree() throws { try copy.cut(toAgreeWith: log, now: Self.now) }

    func values(_ log: PartitionLog) throws -> [String] {
        log.advanceHighWatermark(to: log.logEndOffset)
        return try ConsumerView(log, isolation: .highWatermark).values
    }

    func takePlace() throws -> PartitionLog { try copy.takePlace(of: log, now: Self.now) }

    /// What a start finds; nothing is closed before.
    func crash(assigned: Int? = nil) throws -> LoadedLogs {
        let ids = [KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 1), KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 2)]
        let path = try scratch.copy(scratch.path + "/data", as: "crashed")
        directories = try LogDirectories(Self.settings(path))
        for (directory, id) in zip(directories.directories, ids) {
            try directory.write(MetaProperties(clusterID: "cluster", nodeID: 1, directoryID: id))
        }
        return try directories.load(
            now: Self.now, configuration: { _ in LogConfiguration() }, expected: { _, _ in .known(KafkaUUID.one) },
            assigned: { _ in assigned.map { ids[$0] } }, progress: { _ in })
    }
}

extension LogDirectory {
    fileprivate func create(_ name: TopicPartition) throws -> PartitionLog {
        try create(name, topicID: KafkaUUID.one, configuration: LogConfiguration(), now: 2000)
    }
}

@Suite("Copies of logs in other directories")
struct FutureLogTests {
    @Test func aCopyTakesItsLogsPlace() throws {
        let moving = try Moving()
        for value in ["a", "b", "c"] { try moving.append(value, epoch: 3) }
        try moving.copyAll()
        moving.log.advanceHighWatermark(to: 3)
        try moving.log.deleteRecords(before: 1, now: 2000)
        // An epoch without records.
        moving.log.assignLeaderEpoch(5)
        let moved = try moving.takePlace()
        #expect(moved.path == moving.directories.directories[1].path + "/topic-0")
        #expect(moved.logStartOffset == 1 && moved.logEndOffset == 3 && moved.highWatermark == 3)
        #expect(moved.latestLeaderEpoch == 5)
        try moving.append("d", epoch: 5, to: moved)
        #expect(try moving.values(moved) == ["b-0", "c-0", "d-0"])
    }

    /// The log was cut and written anew, and the node died before its copy was cut.
    @Test func aCopyIsCutToWhereItAgreesWithItsLog() throws {
        let moving = try Moving()
        for value in ["a", "b", "c", "d"] { try moving.append(value, epoch: 1) }
        try moving.copyAll()
        try moving.log.truncate(to: 2, now: 2000)
        for value in ["x", "y", "z"] { try moving.append(value, epoch: 2) }
        try moving.agree()
        #expect(moving.copy.logEndOffset == 2)
        try moving.copyAll()
        #expect(try moving.values(moving.copy) == ["a-0", "b-0", "x-0", "y-0", "z-0"])
    }

    @Test func aCopyOfALogWithoutAnythingInCommonBeginsAnew() throws {
        let moving = try Moving()
        for value in ["a", "b"] { try moving.append(value, epoch: 1) }
        try moving.copyAll()
        try moving.log.truncateFullyAndStart(at: 7, now: 2000)
        try moving.append("x", epoch: 4)
        try moving.agree()
        #expect(moving.copy.logStartOffset == 7 && moving.copy.logEndOffset == 7)
        // The same without any epoch left in the log.
        try moving.copyAll()
        try moving.log.truncateFullyAndStart(at: 3, now: 2000)
        try moving.agree()
        #expect(moving.copy.logStartOffset == 3 && moving.copy.logEndOffset == 3)
    }

    /// Epochs of which the log never heard: the copy goes back one after the other.
    @Test func aCopyGoesBackThroughEpochs() throws {
        let moving = try Moving()
        for (value, epoch) in [("a", 1), ("b", 2), ("c", 4), ("d", 6)] { try moving.append(value, epoch: LeaderEpoch(epoch)) }
        try moving.copyAll()
        try moving.log.truncate(to: 1, now: 2000)
        for (value, epoch) in [("x", 3), ("y", 5), ("z", 7)] { try moving.append(value, epoch: LeaderEpoch(epoch)) }
        try moving.agree()
        #expect(moving.copy.logEndOffset == 1)
        try moving.copyAll()
        #expect(try moving.values(moving.copy) == ["a-0", "x-0", "y-0", "z-0"])
    }

    @Test func aCrashLeavesTheCopy() throws {
        let moving = try Moving()
        for value in ["a", "b", "c"] { try moving.append(value, epoch: 1) }
        try moving.copyAll()
        try moving.append("d", epoch: 1)
        let found = try moving.crash()
        #expect(found.logs.map(\.logEndOffset) == [4])
        #expect(found.futures.map(\.logEndOffset) == [3])
        #expect(found.futures.allSatisfy { $0.isFuture } && found.failures.isEmpty && found.strays.isEmpty)
    }

    /// A copy of which not even the first file was made.
    @Test func aCopyThatIsEmptyIsTakenUp() throws {
        let moving = try Moving()
        try moving.append("a", epoch: 1)
        try FileSystem.removeDirectory(moving.copy.path)
        try FileSystem.createDirectory(moving.copy.path)
        let found = try moving.crash()
        #expect(found.futures.map(\.logEndOffset) == [0] && found.failures.isEmpty)
        #expect(found.futures.first?.topicID == KafkaUUID.one)
    }

    /// Between the renaming of the copy and that of the log.
    @Test(arguments: [0, 1]) func aPartitionInTwoDirectoriesIsWhereTheMetadataHaveIt(assigned: Int) throws {
        let moving = try Moving()
        try moving.append("a", epoch: 1)
        try moving.copyAll()
        _ = try moving.takePlace()
        let found = try moving.crash(assigned: assigned)
        #expect(found.failures.isEmpty && found.futures.isEmpty && found.logs.count == 1)
        #expect(found.logs.first?.logDirectory === moving.directories.directories[assigned])
        #expect(found.logs.first?.logEndOffset == 1)
        #expect(moving.directories.directories[1 - assigned].pendingDeletions == 1)
    }

    /// Where a log starts is known at once after the copy took its place.
    @Test func deletedRecordsDoNotComeBackAfterACrash() throws {
        let moving = try Moving()
        for value in ["a", "b", "c"] { try moving.append(value, epoch: 1) }
        try moving.copyAll()
        moving.log.advanceHighWatermark(to: 3)
        try moving.log.deleteRecords(before: 2, now: 2000)
        _ = try moving.takePlace()
        let found = try moving.crash(assigned: 1)
        #expect(found.logs.map(\.logStartOffset) == [2])
    }

    /// A tombstone must not go while the copy has what it deletes, and lacks it itself.
    @Test func aLogIsNotCleanedWhileItIsCopied() throws {
        let fixture = try LogFixture()
        fixture.log.configuration.cleanupPolicy = [.compact]
        fixture.log.configuration.segmentBytes = 100
        for _ in 0..<10 { try fixture.append(Make.batch()) }
        #expect(try fixture.log.cleaningCandidate(now: 9_000_000) != nil)
        fixture.log.pauseCleaning(true)
        #expect(try fixture.log.cleaningCandidate(now: 9_000_000) == nil)
        fixture.log.pauseCleaning(false)
        #expect(try fixture.log.cleaningCandidate(now: 9_000_000) != nil)
    }
}
