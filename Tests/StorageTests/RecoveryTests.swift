// What a crash leaves behind, at every byte: nothing that was whole is lost, nothing that was torn is kept.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Recovery")
struct RecoveryTests {
    private func truncate(_ path: String, to size: Int) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.truncate(atOffset: UInt64(size))
        try handle.close()
    }

    private func overwrite(_ path: String, at position: Int, with bytes: [UInt8]) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.seek(toOffset: UInt64(position))
        try handle.write(contentsOf: Data(bytes))
        try handle.close()
    }

    /// A log of a few segments; returns where each batch of the last one ends, with the offset behind it.
    private func filled() throws -> (fixture: LogFixture, ends: [(size: Int, offset: Offset)]) {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 420
        configuration.indexIntervalBytes = 100
        let fixture = try LogFixture(configuration)
        for index in 0..<14 {
            try fixture.append(try Make.batch(count: 1 + index % 3, producer: Producer(id: 9, sequence: Int32(sequence(index)))), epoch: 1)
        }
        var ends: [(Int, Offset)] = [(0, fixture.log.active.baseOffset)]
        var reader = SegmentReader(file: try fixture.log.active.file(), from: 0, to: fixture.log.active.size)
        while let batch = try reader.next() { ends.append((batch.end, batch.lastOffset + 1)) }
        return (fixture, ends)
    }

    private func sequence(_ index: Int) -> Int { (0..<index).reduce(0) { $0 + 1 + $1 % 3 } }

    @Test("A tail cut at any byte ends with the last whole batch")
    func everyByte() throws {
        let (fixture, ends) = try filled()
        let name = SegmentName.digits(fixture.log.active.baseOffset) + ".log"
        let size = fixture.log.active.size
        let original = try fixture.scratch.copy(fixture.directoryPath, as: "original")
        for cut in stride(from: size, through: 0, by: -1) {
            let copy = try fixture.scratch.copy(original, as: "cut")
            try truncate(copy + "/topic-0/" + name, to: cut)
            let expected = ends.last { $0.size <= cut }
            let (log, directories) = try open(copy, fixture.configuration)
            #expect(log.logEndOffset == expected?.offset, "cut at \(cut)")
            #expect(log.active.size == expected?.size, "cut at \(cut)")
            #expect(log.activeProducers.first?.lastSequence == expected.map { Int32($0.offset) - 1 })
            // And it goes on from there.
            let next = try Make.batch(producer: Producer(id: 9, sequence: Int32(log.logEndOffset)))
            #expect(try log.append(next, origin: .client, leaderEpoch: 2, now: 3000).firstOffset == expected?.offset)
            withExtendedLifetime(directories) {}
        }
    }

    private func open(_ path: String, _ configuration: LogConfiguration) throws -> (PartitionLog, LogDirectories) {
        var settings = LogDirectoriesConfiguration(paths: [path])
        settings.headroomBytes = 0
        let directories = try LogDirectories(settings)
        let loaded = try directories.load(
            now: 2000, configuration: { _ in configuration }, expected: { _, _ in .unknown }, progress: { _ in })
        if let failure = loaded.failures.first { throw failure.error }
        let log = try #require(loaded.logs.first)
        log.advanceHighWatermark(to: log.logEndOffset)
        return (log, directories)
    }

    @Test("A tail overwritten at any byte ends before that batch, or where Kafka does not look either")
    func everyByteFlipped() throws {
        let (fixture, ends) = try filled()
        let name = SegmentName.digits(fixture.log.active.baseOffset) + ".log"
        let original = try fixture.scratch.copy(fixture.directoryPath, as: "original")
        for position in 0..<fixture.log.active.size {
            let copy = try fixture.scratch.copy(original, as: "flip")
            let path = copy + "/topic-0/" + name
            let byte = try Data(contentsOf: URL(fileURLWithPath: path))[position]
            try overwrite(path, at: position, with: [byte ^ 0x80])
            let batch = ends.lastIndex { $0.size <= position } ?? 0
            let (log, directories) = try open(copy, fixture.configuration)
            // The leader epoch is not under the checksum. Neither is the base offset, and gaps are allowed: compaction makes them.
            if (12..<16).contains(position - ends[batch].size) || (5..<8).contains(position - ends[batch].size) { continue }
            #expect(log.logEndOffset == ends[batch].offset, "byte \(position) of \(ends)")
            withExtendedLifetime(directories) {}
        }
    }

    @Test("Zeros and torn headers behind the log are cut", arguments: [1, 9, 12, 17, 61, 200, 70_000])
    func trailingZeros(_ count: Int) throws {
        let (fixture, ends) = try filled()
        let name = SegmentName.digits(fixture.log.active.baseOffset) + ".log"
        let size = fixture.log.active.size
        try fixture.kill { directory in
            try overwrite(directory + "/topic-0/" + name, at: size, with: [UInt8](repeating: 0, count: count))
        }
        #expect(fixture.log.logEndOffset == ends.last?.offset)
        #expect(fixture.log.loadReport.truncatedBytes == count && fixture.log.loadReport.remarks.count == 1)
        #expect(FileSystem.status(of: fixture.segmentPath(fixture.log.active.baseOffset, ".log"))?.size == size)
    }

    @Test("Only what follows the recovery point is scanned")
    func recoveryPoint() throws {
        let (fixture, _) = try filled()
        try fixture.log.flush(now: 1)
        try fixture.checkpoint()
        let flushed = fixture.log.logEndOffset
        let more = try Make.batch(producer: Producer(id: 9, sequence: Int32(flushed)))
        try fixture.append(more)
        try fixture.kill()
        #expect(fixture.log.logEndOffset == flushed + 1 && fixture.log.recoveryPoint == flushed)
        #expect(fixture.log.loadReport.recovered)
        // The segment of the recovery point is read from there on if its index reaches so far.
        #expect(fixture.log.loadReport.scannedBytes <= more.readableBytes * 4)
        #expect(fixture.log.activeProducers.map(\.lastSequence) == [Int32(flushed)])
        try fixture.kill { directory in try overwrite(directory + "/recovery-point-offset-checkpoint", at: 0, with: [0x39]) }
        #expect(fixture.log.loadReport.scannedBytes == fixture.log.sizeInBytes)
        #expect(fixture.log.logEndOffset == flushed + 1)
    }

    @Test("Indexes are the same after recovery as they were before the crash")
    func indexesAfterRecovery() throws {
        let (fixture, _) = try filled()
        func entries() throws -> [[OffsetPosition]] {
            try fixture.log.segmentList.map { segment in
                let index = try segment.offsetIndex()
                return (0..<index.count).map { index.entry($0) }
            }
        }
        let before = try entries()
        #expect(before.joined().count >= 4)
        try fixture.kill()
        #expect(try entries() == before)
        // Garbage and surplus entries are written over.
        try fixture.kill { directory in
            for name in try FileManager.default.contentsOfDirectory(atPath: directory + "/topic-0") where name.hasSuffix("index") {
                try overwrite(directory + "/topic-0/" + name, at: 0, with: [UInt8](repeating: 0xa5, count: 240))
            }
        }
        #expect(try entries() == before)
    }

    @Test("Damage in a segment above the recovery point removes what follows")
    func damageInTheMiddle() throws {
        let (fixture, _) = try filled()
        let bases = fixture.log.segments.map(\.baseOffset)
        #expect(bases.count >= 3)
        try fixture.kill { directory in
            try overwrite(directory + "/topic-0/" + SegmentName.digits(bases[1]) + ".log", at: 70, with: [0xff, 0xff])
        }
        #expect(fixture.log.segments.map(\.baseOffset) == Array(bases[...1]))
        #expect(fixture.log.logEndOffset == bases[1])
        #expect(fixture.log.loadReport.remarks.count >= 2)
        #expect(fixture.log.activeProducers.map(\.lastSequence) == [Int32(bases[1]) - 1])
    }

    @Test("Damage below the recovery point is found by the scrub, and readers are led around it")
    func scrub() throws {
        let (fixture, _) = try filled()
        let all = try ConsumerView(fixture.log, isolation: .highWatermark)
        try fixture.log.flush(now: 1)
        try fixture.checkpoint()
        let second = fixture.log.segmentList[0]
        var reader = SegmentReader(file: try second.file(), from: 0, to: second.size)
        let first = try #require(try reader.next())
        let damaged = try #require(try reader.next())
        // Once in the records, once in the length.
        for position in [damaged.position + 65, damaged.position + 9] {
            try fixture.kill { directory in
                try overwrite(directory + "/topic-0/" + SegmentName.digits(0) + ".log", at: position, with: [0xee])
            }
            fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
            #expect(fixture.log.logEndOffset == all.end)
            var findings: [ScrubFinding] = []
            #expect(!fixture.log.isScrubDue(now: fixture.now + 9, interval: 10))
            #expect(fixture.log.isScrubDue(now: fixture.now + 10, interval: 10))
            while var work = try fixture.log.beginScrub(maxBytes: 100) {
                try work.run()
                findings += fixture.log.finishScrub(work)
            }
            #expect(findings.map(\.kind) == [.damagedBatches])
            #expect(findings.first?.offsets == damaged.baseOffset...damaged.lastOffset)
            let view = try ConsumerView(fixture.log, isolation: .highWatermark)
            #expect(view.offsets == all.offsets.filter { $0 < damaged.baseOffset || $0 > damaged.lastOffset })
            #expect(first.lastOffset < damaged.baseOffset)
        }
    }

    @Test("A lost partition.metadata is no loss when the metadata log knows the topic; strangers are put aside")
    func partitionMetadata() throws {
        let fixture = try LogFixture()
        try fixture.append(try Make.batch())
        try FileManager.default.removeItem(atPath: fixture.directoryPath + "/topic-0/partition.metadata")
        let copy = try fixture.scratch.copy(fixture.directoryPath, as: "again")
        func load(_ expected: ExpectedTopic) throws -> LoadedLogs {
            let directories = try LogDirectories(LogDirectoriesConfiguration(paths: [copy]))
            return try directories.load(
                now: 1, configuration: { _ in LogConfiguration() }, expected: { _, _ in expected }, progress: { _ in })
        }
        #expect(try load(.known(.one)).logs.map(\.logEndOffset) == [1])
        #expect(try PartitionMetadataFile.read(copy + "/topic-0/partition.metadata") == .one)
        let other = KafkaUUID(mostSignificantBits: 1, leastSignificantBits: 1)
        let stray = try load(.known(other))
        #expect(stray.logs.isEmpty && stray.strays.count == 1 && stray.strays[0].hasSuffix("-stray"))
        #expect(try load(.absent).strays.isEmpty)
    }

    @Test("A data directory is locked, and its marker goes with the first use")
    func lockAndMarker() throws {
        let fixture = try LogFixture()
        let path = fixture.directoryPath
        #expect(throws: StorageError.locked(path: path)) { try LogDirectories(LogDirectoriesConfiguration(paths: [path])) }
        try fixture.reopen()
        #expect(fixture.directories.directories[0].hadCleanShutdown)
        #expect(fixture.directories.directories[0].previousBrokerEpoch == 7)
        #expect(!FileSystem.exists(path + "/" + CleanShutdownFile.name))
        #expect(!fixture.log.loadReport.recovered)
    }

    @Test("A swap that a crash interrupted is finished, leftovers are removed")
    func interruptedSwap() throws {
        let (fixture, _) = try filled()
        let bases = fixture.log.segments.map(\.baseOffset)
        let all = try ConsumerView(fixture.log, isolation: .highWatermark)
        try fixture.log.flush(now: 1)
        try fixture.checkpoint()
        try fixture.kill { directory in
            let partition = directory + "/topic-0/"
            // Compaction put segment 0 and 1 into one file and died before it had removed the old ones.
            var merged = try Data(contentsOf: URL(fileURLWithPath: partition + SegmentName.digits(0) + ".log"))
            merged += try Data(contentsOf: URL(fileURLWithPath: partition + SegmentName.digits(bases[1]) + ".log"))
            try merged.write(to: URL(fileURLWithPath: partition + SegmentName.digits(0) + ".log.swap"))
            try Data().write(to: URL(fileURLWithPath: partition + SegmentName.digits(bases[2]) + ".log.cleaned"))
            try Data().write(to: URL(fileURLWithPath: partition + SegmentName.digits(0) + ".index.deleted"))
        }
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        #expect(fixture.log.segments.map(\.baseOffset) == [bases[0]] + bases[2...])
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark) == all)
        let names = try FileManager.default.contentsOfDirectory(atPath: fixture.directoryPath + "/topic-0")
        #expect(!names.contains { $0.hasSuffix(".swap") || $0.hasSuffix(".cleaned") || $0.hasSuffix(".deleted") })
    }
}
