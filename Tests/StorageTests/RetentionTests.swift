// Taking away from both ends, and what a full disk does.
import Foundation
import Glibc
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Retention and truncation")
struct RetentionTests {
    private func filled(_ change: (inout LogConfiguration) -> Void = { _ in }) throws -> LogFixture {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 500
        configuration.fileDeleteDelayMilliseconds = 1000
        change(&configuration)
        let fixture = try LogFixture(configuration)
        for index in 0..<10 {
            try fixture.append(try Make.batch(valueBytes: 130, timestamp: 1000 + Int64(index * 100)), epoch: Int32(index / 3))
        }
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2, 4, 6, 8])
        return fixture
    }

    @Test("retention.bytes keeps at least so much")
    func size() throws {
        let fixture = try filled()
        let size = fixture.log.sizeInBytes
        fixture.log.configuration.retentionMilliseconds = -1
        fixture.log.configuration.retentionBytes = Int64(size / 2)
        let result = try fixture.log.enforceRetention(now: 5000)
        #expect(result.removedSegments == [0, 2] && result.logStartOffset == 4 && result.removedBytes == size * 2 / 5)
        #expect(fixture.log.leaderEpochs.first == LeaderEpochEntry(epoch: 1, startOffset: 4))
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == Array(4..<10))
        #expect(FileSystem.exists(fixture.segmentPath(0, ".log.deleted")) && !FileSystem.exists(fixture.segmentPath(0, ".log")))
        #expect(fixture.log.removeDeletedFiles(now: 5999) == 2)
        #expect(fixture.log.removeDeletedFiles(now: 6000) == 0)
        #expect(!FileSystem.exists(fixture.segmentPath(0, ".log.deleted")))
        try fixture.reopen()
        #expect(fixture.log.logStartOffset == 4)
    }

    @Test("retention.ms goes by the largest timestamp and takes the active segment too")
    func age() throws {
        let fixture = try filled { $0.retentionMilliseconds = 10_000 }
        #expect(try fixture.log.enforceRetention(now: 11_100).removedSegments == [])
        #expect(try fixture.log.enforceRetention(now: 11_101).removedSegments == [0])
        #expect(try fixture.log.enforceRetention(now: 1_000_000).removedSegments == [2, 4, 6, 8])
        #expect(fixture.log.segments.map(\.baseOffset) == [10] && fixture.log.logStartOffset == 10 && fixture.log.logEndOffset == 10)
        #expect(try fixture.append(try Make.batch()).firstOffset == 10)
        try fixture.kill()
        #expect(fixture.log.logEndOffset == 11 && fixture.log.logStartOffset == 10)
    }

    @Test("Compacted topics and unreplicated segments keep what they have")
    func kept() throws {
        let fixture = try filled { $0.retentionMilliseconds = 1 }
        fixture.log.configuration.cleanupPolicy = .compact
        #expect(try fixture.log.enforceRetention(now: 1_000_000).removedSegments == [])
        fixture.log.configuration.cleanupPolicy = .delete
        fixture.log.advanceHighWatermark(to: 5)
        #expect(try fixture.log.enforceRetention(now: 1_000_000).removedSegments == [0, 2])
    }

    @Test("DeleteRecords moves the start, which survives by its checkpoint")
    func deleteRecords() throws {
        let fixture = try filled()
        #expect(throws: StorageError.self) { try fixture.log.deleteRecords(before: 11, now: 1) }
        #expect(try fixture.log.deleteRecords(before: 5, now: 1).removedSegments == [0, 2])
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == Array(5..<10))
        #expect(fixture.log.earliestOffset() == LogOffset(offset: 5, leaderEpoch: 1))
        try fixture.checkpoint()
        #expect(
            try OffsetCheckpointFile(path: fixture.directoryPath + "/log-start-offset-checkpoint").read() == [fixture.topicPartition: 5])
        try fixture.kill()
        #expect(fixture.log.logStartOffset == 5)
        #expect(throws: StorageError.self) { try fixture.log.read(from: 4, maxBytes: 1, minOneBatch: true, isolation: .logEnd) }
        fixture.log.advanceHighWatermark(to: 10)
        try fixture.log.deleteRecords(before: 10, now: 1)
        #expect(fixture.log.logStartOffset == 10)
        try fixture.checkpoint()
        try fixture.kill()
        #expect(fixture.log.logStartOffset == 10 && fixture.log.logEndOffset == 10)
    }

    @Test("Truncation cuts records, epochs and segments, and may empty the log", arguments: [9, 8, 7, 4, 1, 0])
    func truncation(_ offset: Offset) throws {
        let fixture = try filled()
        try fixture.log.truncate(to: offset, now: 1)
        #expect(fixture.log.logEndOffset == offset && fixture.log.highWatermark == offset)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == Array(0..<offset))
        #expect(fixture.log.leaderEpochs.allSatisfy { $0.startOffset < offset })
        #expect(try fixture.append(try Make.batch(prefix: "new"), epoch: 9).firstOffset == offset)
        try fixture.kill()
        #expect(fixture.log.logEndOffset == offset + 1)
        try fixture.log.truncateFullyAndStart(at: 500, now: 1)
        #expect(try fixture.append(try Make.batch(), epoch: 10).firstOffset == 500)
        try fixture.kill()
        #expect(fixture.log.logStartOffset == 500 && fixture.log.logEndOffset == 501)
    }

    @Test("Followers append as they are told, gaps allowed, overlaps not")
    func follower() throws {
        let fixture = try LogFixture()
        _ = try fixture.log.appendAsFollower(try Make.batch(count: 2, baseOffset: 0, epoch: 3), now: 1)
        _ = try fixture.log.appendAsFollower(try Make.batch(count: 2, baseOffset: 7, epoch: 5), now: 1)
        #expect(throws: StorageError.unexpectedOffset(8, expected: 9)) {
            try fixture.log.appendAsFollower(try Make.batch(baseOffset: 8, epoch: 5), now: 1)
        }
        fixture.log.advanceHighWatermark(to: 9)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [0, 1, 7, 8])
        #expect(fixture.log.leaderEpochs == [LeaderEpochEntry(epoch: 3, startOffset: 0), LeaderEpochEntry(epoch: 5, startOffset: 7)])
        #expect(try fixture.log.read(from: 4, maxBytes: 1000, minOneBatch: true, isolation: .logEnd).slice != nil)
    }

    @Test("Extents are reserved ahead of a busy segment, and given back when it is closed")
    func reservedExtents() throws {
        let fixture = try LogFixture()
        func blocks(_ base: Offset) -> Int {
            var status = stat()
            stat(fixture.segmentPath(base, ".log"), &status)
            return Int(status.st_blocks) * 512
        }
        for _ in 0..<6 { try fixture.append(try Make.batch(valueBytes: 500_000)) }
        let size = fixture.log.active.size
        #expect(FileSystem.status(of: fixture.segmentPath(0, ".log"))?.size == size)
        // File systems without extents reserve nothing, and nothing is lost by it.
        if blocks(0) > size + (1 << 20) { #expect(blocks(0) >= 16 << 20) }
        try fixture.log.roll(now: 1)
        #expect(blocks(0) <= size + 65_536)
    }
}

@Suite("A full disk", .serialized)
struct FullDiskTests {
    /// A file system of a few megabytes, if we may mount one.
    final class SmallDisk {
        let path: String

        init?(bytes: Int) {
            path = NSTemporaryDirectory() + "martlet-disk-\(UUID().uuidString)"
            mkdir(path, 0o755)
            guard mount("tmpfs", path, "tmpfs", 0, "size=\(bytes)") == 0 else {
                rmdir(path)
                return nil
            }
        }

        deinit {
            umount2(path, Int32(MNT_DETACH))
            rmdir(path)
        }
    }

    @Test("Appends fail and leave the log whole, reads and deletion go on, writing resumes")
    func fullDisk() throws {
        // Without the right to mount there is no such disk to try it on.
        guard let disk = SmallDisk(bytes: 4 << 20) else { return }
        var settings = LogDirectoriesConfiguration(paths: [disk.path + "/data"])
        settings.headroomBytes = 256 << 10
        let directories = try LogDirectories(settings)
        var configuration = LogConfiguration()
        configuration.segmentBytes = 1 << 20
        configuration.fileDeleteDelayMilliseconds = 0
        let log = try directories.create(TopicPartition("t", 0), topicID: .one, configuration: configuration, now: 1)
        var written = 0
        var failure: StorageError?
        while failure == nil {
            do throws(StorageError) {
                let batch = (try? Make.batch(valueBytes: 90_000)) ?? ByteBuffer()
                _ = try log.append(batch, origin: .client, leaderEpoch: 0, now: 1)
                written += 1
            } catch {
                failure = error
            }
        }
        #expect(failure?.isDiskFailure == true && written > 30 && log.logEndOffset == Offset(written))
        #expect(!directories.directories[0].isOffline)
        log.advanceHighWatermark(to: log.logEndOffset)
        #expect(try ConsumerView(log, isolation: .highWatermark, maxBytes: 500_000).records.count == written)
        let end = FileSystem.status(of: log.active.path(".log"))?.size
        #expect(end == log.active.size)
        // Checkpoints and deletion need what is not there any more, but for the headroom.
        try directories.directories[0].writeCheckpoints([log.checkpoint])
        let removed = try log.deleteRecords(before: Offset(written - 5), now: 1)
        #expect(!removed.removedSegments.isEmpty)
        #expect(log.removeDeletedFiles(now: 2) == 0)
        directories.directories[0].maintain(now: 2)
        #expect(try log.append(try Make.batch(valueBytes: 90_000), origin: .client, leaderEpoch: 0, now: 1).firstOffset == Offset(written))
        try log.delete(now: 3)
        directories.directories[0].maintain(now: 4)
        #expect(directories.directories[0].pendingDeletions == 0)
    }
}
