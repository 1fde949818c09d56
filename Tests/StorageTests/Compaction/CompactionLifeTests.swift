// Compaction amid everything else that happens to a log: truncation, deletion, retention, damage, restarts, other threads.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Synchronization
import Testing

@testable import Storage

@Suite("Compaction: life of the log")
struct CompactionLifeTests {
    private func dirty(_ configuration: LogConfiguration = .compacted) throws -> LogFixture {
        let fixture = try LogFixture(configuration)
        for index in 0..<30 {
            try fixture.put([Entry("k\(index % 5)", "\(index)")])
            if index % 10 == 9 { try fixture.roll() }
        }
        return fixture
    }

    @Test("Up to where it is clean is in Kafka's checkpoint, and is known after a restart")
    func checkpoint() throws {
        let fixture = try dirty()
        try fixture.clean()
        let text = try String(contentsOfFile: fixture.directoryPath + "/cleaner-offset-checkpoint", encoding: .utf8)
        #expect(text == "0\n1\ntopic 0 30\n")
        try fixture.reopen()
        #expect(try fixture.clean() == nil, "nothing is dirty")
        try fixture.kill()
        #expect(try fixture.log.cleaningCandidate(now: fixture.now)?.firstDirtyOffset == 30)
    }

    @Test("A truncation makes dirty what is written behind it, and aborts the cleaning")
    func truncation() throws {
        let fixture = try dirty()
        try fixture.clean()
        for index in 30..<40 { try fixture.put([Entry("k", "\(index)")]) }
        try fixture.roll()
        #expect(throws: CleaningFailure.aborted) {
            try fixture.clean(beforeReplacement: { try fixture.log.truncate(to: 27, now: fixture.now) })
        }
        #expect(!fixture.log.isBeingCleaned)
        #expect(fixture.log.logEndOffset == 27)
        #expect(fixture.directories.directories[0].cleanedOffset(of: fixture.topicPartition) == 27)
        #expect(try fixture.leftovers().filter { !$0.hasSuffix(".deleted") }.isEmpty)
        try fixture.reopen()
        try fixture.put([Entry("k0", "new")])
        try fixture.roll()
        #expect(try #require(try fixture.clean()).endOffset == 28)
    }

    @Test("A reset, a deletion and a stop abort it as well", arguments: ["reset", "delete", "close", "control"])
    func aborts(_ kind: String) throws {
        let fixture = try dirty()
        let control = CleaningControl()
        #expect(throws: CleaningFailure.aborted) {
            try fixture.clean(control: control) {
                switch kind {
                case "reset": try fixture.log.truncateFullyAndStart(at: 100, now: fixture.now)
                case "delete": try fixture.log.delete(now: fixture.now)
                case "close": try fixture.log.close(now: fixture.now)
                default: control.abort()
                }
            }
        }
        #expect(!fixture.log.isBeingCleaned)
        // What was deleted takes them along.
        if kind != "delete" { #expect(try fixture.leftovers().allSatisfy { $0.hasSuffix(".deleted") }) }
        if kind == "control" { #expect(try fixture.clean() != nil) }
        if kind == "delete" { #expect(fixture.directories.directories[0].cleanedOffset(of: fixture.topicPartition) == nil) }
    }

    @Test("It notices an abort while it reads and while it writes", arguments: 1...5)
    func abortsMidway(_ piece: Int) throws {
        let fixture = try dirty()
        let pieces = Counter()
        let control = CleaningControl { _, control in if pieces.next() == piece { control.abort() } }
        #expect(throws: CleaningFailure.aborted) { try fixture.clean(control: control) }
        #expect(try fixture.leftovers().isEmpty)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).records.count == 30)
    }

    @Test("Appends and reads go on meanwhile; retention and DeleteRecords take away segments only afterwards")
    func meanwhile() throws {
        var configuration = LogConfiguration.compacted
        configuration.cleanupPolicy = [.compact, .delete]
        configuration.retentionMilliseconds = 1
        let fixture = try dirty(configuration)
        fixture.now += 100_000
        try fixture.clean(beforeReplacement: {
            #expect(try fixture.log.cleaningCandidate(now: fixture.now) == nil, "not twice at once")
            #expect(try fixture.log.enforceRetention(now: fixture.now).removedSegments.isEmpty)
            #expect(try fixture.log.deleteRecords(before: 12, now: fixture.now).removedSegments.isEmpty)
            try fixture.put([Entry("k0", "meanwhile", timestamp: fixture.now)])
        })
        #expect(fixture.log.logStartOffset == 12)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [25, 26, 27, 28, 29, 30])
        #expect(try fixture.log.enforceRetention(now: fixture.now).removedSegments == [0], "compact,delete deletes what is old")
        #expect(fixture.log.logStartOffset == 30)
    }

    @Test("A log that is only compacted loses nothing to retention")
    func compactOnly() throws {
        var configuration = LogConfiguration.compacted
        configuration.retentionMilliseconds = 1
        configuration.retentionBytes = 1
        let fixture = try dirty(configuration)
        fixture.now += 100_000
        #expect(try fixture.log.enforceRetention(now: fixture.now).removedSegments.isEmpty)
    }

    @Test("A damaged log is told apart from everything else", arguments: [70, 20])
    func damage(_ position: Int) throws {
        let fixture = try dirty()
        let handle = try #require(FileHandle(forUpdatingAtPath: fixture.segmentPath(10, ".log")))
        try handle.seek(toOffset: UInt64(position))
        try handle.write(contentsOf: Data([0xff, 0xff]))
        try handle.close()
        var found: CleaningFailure?
        do { try fixture.clean() } catch let failure as CleaningFailure { found = failure }
        guard case .storage(.corruptFile(let path, _)) = found else {
            Issue.record("\(String(describing: found))")
            return
        }
        #expect(path == fixture.segmentPath(10, ".log"))
        #expect(try fixture.leftovers().isEmpty && !fixture.log.isBeingCleaned)
    }

    @Test("max.compaction.lag.ms rolls the active segment, with and without appends")
    func rolls() throws {
        var configuration = LogConfiguration.compacted
        configuration.maxCompactionLagMilliseconds = 500
        let fixture = try LogFixture(configuration)
        fixture.now = 1000
        try fixture.put([Entry("a", "1", timestamp: 1000)])
        try fixture.put([Entry("a", "2", timestamp: 1400)])
        #expect(fixture.log.segments.count == 1)
        try fixture.put([Entry("a", "3", timestamp: 1501)])
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2], "by an append")
        try fixture.log.rollForCompaction(now: 2001)
        #expect(fixture.log.segments.count == 2)
        try fixture.log.rollForCompaction(now: 2002)
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2, 3], "by the clock")
        fixture.log.configuration.cleanupPolicy = .delete
        #expect(fixture.log.configuration.rollMilliseconds == 604_800_000)
    }

    @Test("Leader epochs end where they did, also where their records are gone")
    func epochs() throws {
        let fixture = try LogFixture(.compacted)
        for epoch in 0..<3 {
            for _ in 0..<4 { try fixture.append(Make.keyed([Entry("a", "\(epoch)")]), epoch: LeaderEpoch(epoch)) }
        }
        try fixture.roll()
        try fixture.append(Make.keyed([Entry("b", "x")]), epoch: 3)
        let ends = (0..<4).map { fixture.log.endOffset(forEpoch: $0) }
        try fixture.clean()
        try fixture.reopen()
        #expect((0..<4).map { fixture.log.endOffset(forEpoch: $0) } == ends)
        #expect(fixture.log.leaderEpochs.map(\.startOffset) == [0, 4, 8, 12])
    }

    @Test("A scrub that was under way begins anew in the new segment")
    func scrub() throws {
        let fixture = try dirty()
        try fixture.log.flush(now: fixture.now)
        var work = try #require(try fixture.log.beginScrub(maxBytes: 100))
        try work.run()
        try fixture.clean()
        #expect(fixture.log.finishScrub(work).isEmpty)
        var rounds = 0
        while var next = try fixture.log.beginScrub(maxBytes: 1 << 20) {
            try next.run()
            #expect(fixture.log.finishScrub(next).isEmpty)
            rounds += 1
        }
        #expect(rounds > 0)
    }
}

/// Counts across closures.
private final class Counter: Sendable {
    private let value = Mutex(0)
    func next() -> Int {
        value.withLock {
            $0 += 1
            return $0
        }
    }
}
