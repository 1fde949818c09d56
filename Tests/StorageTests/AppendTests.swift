// Appending and reading: offsets, indexes, segments, producers, transactions.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Appending")
struct AppendTests {
    @Test("Batches get consecutive offsets and the leader's epoch, and come back unchanged otherwise")
    func appendAndRead() throws {
        let fixture = try LogFixture()
        let sent = try Make.batch(count: 3)
        #expect(try fixture.append(sent, epoch: 4).firstOffset == 0)
        let second = try fixture.append(try Make.batch(count: 2, prefix: "b", compression: .lz4), epoch: 4)
        #expect(second.firstOffset == 3 && second.lastOffset == 4 && second.logAppendTime == -1 && !second.isDuplicate)
        let bytes = try fixture.log.readBytes(from: 0, maxBytes: 1 << 20, minOneBatch: true, isolation: .highWatermark)
        let header = try RecordBatchHeader.verify(in: bytes)
        #expect(header.partitionLeaderEpoch == 4 && header.baseOffset == 0)
        #expect(bytes.getSlice(at: 16, length: sent.readableBytes - 16) == sent.getSlice(at: 16, length: sent.readableBytes - 16))
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).values == ["value-0", "value-1", "value-2", "b-0", "b-1"])
        #expect(fixture.log.leaderEpochs == [LeaderEpochEntry(epoch: 4, startOffset: 0)])
        // The producer's buffer is not touched.
        #expect(try RecordBatchHeader(from: sent).baseOffset == 0 && RecordBatchHeader(from: sent).partitionLeaderEpoch == -1)
    }

    @Test("What breaks a rule is refused, and nothing is written")
    func refusals() throws {
        var configuration = LogConfiguration()
        configuration.maxMessageBytes = 300
        configuration.segmentBytes = 1000
        let fixture = try LogFixture(configuration)
        try fixture.append(try Make.batch())
        var corrupt = try Make.batch()
        corrupt.setInteger(UInt8(0xff), at: corrupt.writerIndex - 1)
        #expect(throws: StorageError.self) { try fixture.append(corrupt) }
        let large = try Make.batch(count: 1, valueBytes: 397)
        #expect(throws: StorageError.batchTooLarge(size: large.readableBytes, limit: 300)) { try fixture.append(large) }
        #expect(throws: StorageError.self) { try fixture.append(try Make.batch(timestamp: 2000 + 3_600_001)) }
        #expect(throws: StorageError.self) { try fixture.append(try Make.batch(baseOffset: 7)) }
        #expect(throws: StorageError.self) { try fixture.append(Make.marker(.commit, producer: Producer(id: 1))) }
        #expect(throws: StorageError.self) { try fixture.append(ByteBuffer(string: "short")) }
        #expect(throws: StorageError.self) { try fixture.append(ByteBuffer()) }
        #expect(fixture.log.logEndOffset == 1)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [0])
    }

    @Test("LogAppendTime is written into the batch, with its checksum")
    func logAppendTime() throws {
        var configuration = LogConfiguration()
        configuration.timestampType = .logAppendTime
        let fixture = try LogFixture(configuration)
        fixture.now = 777_000
        #expect(try fixture.append(try Make.batch(count: 2)).logAppendTime == 777_000)
        let bytes = try fixture.log.readBytes(from: 0, maxBytes: 1 << 20, minOneBatch: true, isolation: .highWatermark)
        let header = try RecordBatchHeader.verify(in: bytes)
        #expect(header.timestampType == .logAppendTime && header.maxTimestamp == 777_000)
    }

    @Test("Index entries stand where Kafka puts them")
    func indexEntries() throws {
        var configuration = LogConfiguration()
        configuration.indexIntervalBytes = 1000
        let fixture = try LogFixture(configuration)
        var positions: [Int] = []
        var lastEntry = 0
        var position = 0
        for index in 0..<60 {
            let batch = try Make.batch(valueBytes: 100 + index * 7, timestamp: index % 5 == 0 ? 1000 + Int64(index) : 500)
            // Kafka: the bytes since the last entry count the batch that the entry is for, and must exceed the interval.
            if position - lastEntry > 1000 {
                positions.append(position)
                lastEntry = position
            }
            position += batch.readableBytes
            try fixture.append(batch)
        }
        let index = try fixture.log.active.offsetIndex()
        #expect((0..<index.count).map { index.entry($0).position } == positions)
        let times = try fixture.log.active.timeIndex()
        #expect(times.count > 3 && times.count <= index.count)
        #expect(times.plausibleCount() == times.count)
        try fixture.reopen()
        #expect(try fixture.log.active.timeIndex().lastEntry == TimestampOffset(timestamp: 1055, offset: 55))
        #expect(try fixture.log.offsetOfMaxTimestamp() == LogOffset(offset: 55, timestamp: 1055, leaderEpoch: 0))
    }

    @Test("Segments roll by size, time and full index")
    func rolling() throws {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 500
        configuration.segmentMilliseconds = 10_000
        let fixture = try LogFixture(configuration)
        for index in 0..<6 { try fixture.append(try Make.batch(valueBytes: 130, timestamp: Int64(index))) }
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2, 4])
        #expect(FileManager.default.fileExists(atPath: fixture.segmentPath(4, ".snapshot")))
        fixture.log.configuration.segmentBytes = 1 << 20
        fixture.now = 40_000
        try fixture.append(try Make.batch(timestamp: 10_004))
        #expect(fixture.log.segments.count == 3)
        try fixture.append(try Make.batch(timestamp: 10_005))
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2, 4, 7])
        fixture.log.configuration.segmentIndexBytes = 48
        fixture.log.configuration.indexIntervalBytes = 0
        // Six entries fill the index; a segment's first batch has none.
        for _ in 0..<10 { try fixture.append(try Make.batch(timestamp: 10_005)) }
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 2, 4, 7, 14])
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == Array(0..<18))
    }

    @Test("Reads end at batches, return one batch at least, and stay below the high watermark")
    func readLimits() throws {
        var configuration = LogConfiguration()
        configuration.indexIntervalBytes = 200
        let fixture = try LogFixture(configuration)
        let size = try Make.batch(valueBytes: 200).readableBytes
        for _ in 0..<50 { _ = try fixture.log.append(try Make.batch(valueBytes: 200), origin: .client, leaderEpoch: 0, now: 1) }
        func read(_ offset: Offset, _ bytes: Int, _ isolation: ReadIsolation, min: Bool = true) throws -> LogReadResult {
            try fixture.log.read(from: offset, maxBytes: bytes, minOneBatch: min, isolation: isolation)
        }
        #expect(try read(0, 1 << 20, .highWatermark).slice == nil)
        #expect(try read(0, 1 << 20, .logEnd).slice?.length == 50 * size)
        fixture.log.advanceHighWatermark(to: 20)
        #expect(try read(0, 1 << 20, .highWatermark).slice?.length == 20 * size)
        #expect(try read(20, 1 << 20, .highWatermark).slice == nil)
        #expect(try read(19, 1 << 20, .highWatermark).slice?.length == size)
        #expect(try read(3, 1, .highWatermark).slice?.length == size)
        #expect(try read(3, 1, .highWatermark, min: false).slice == nil)
        let some = try #require(try read(3, 5 * size + 10, .highWatermark).slice)
        #expect(some.position == 3 * size && some.length % size == 0 && some.length >= 4 * size)
        #expect(throws: StorageError.offsetOutOfRange(requested: 51, logStartOffset: 0, endOffset: 50)) { try read(51, 1, .logEnd) }
        #expect(throws: StorageError.self) { try read(-1, 1, .logEnd) }
        fixture.log.releaseIdleResources(unusedSince: .max)
        #expect(try read(47, 1 << 20, .logEnd).slice?.length == 3 * size)
    }

    @Test("Every offset is found among small and large batches, and between them where some are missing")
    func findsEveryOffset() throws {
        let fixture = try LogFixture()
        var expected: [ClosedRange<Offset>] = []
        var next: Offset = 0
        for step in 0..<60 {
            // Small batches share an index entry, large ones have one each; as a replica's, with gaps as compaction leaves them.
            if step % 7 == 3 { next += 5 }
            let batch = try Make.batch(
                count: 3, valueBytes: step % 20 < 8 ? 100 : 9000, baseOffset: next, epoch: 0)
            try fixture.append(batch, origin: .replica)
            expected.append(next...next + 2)
            next += 3
        }
        for reopened in [false, true] {
            if reopened { try fixture.reopen() }
            for offset in 0..<next {
                let bytes = try fixture.log.readBytes(from: offset, maxBytes: 1, minOneBatch: true, isolation: .logEnd)
                let header = try RecordBatchHeader.verify(in: bytes)
                let wanted = try #require(expected.first { $0.upperBound >= offset })
                #expect(header.baseOffset == wanted.lowerBound && header.lastOffset == wanted.upperBound, "offset \(offset)")
            }
        }
    }

    @Test("A slice survives the deletion of its segment")
    func sliceSurvivesDeletion() throws {
        let fixture = try LogFixture()
        fixture.log.configuration.fileDeleteDelayMilliseconds = 0
        try fixture.append(try Make.batch(prefix: "kept"))
        let slice = try #require(try fixture.log.read(from: 0, maxBytes: 1000, minOneBatch: true, isolation: .highWatermark).slice)
        try fixture.log.delete(now: 1)
        fixture.directories.directories[0].maintain(now: 2)
        #expect(fixture.directories.directories[0].pendingDeletions == 0)
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.directoryPath).filter { $0.hasPrefix("topic") } == [])
        #expect(try RecordBatch(try slice.wholeBatches()).allRecords().count == 1)
        #expect(throws: StorageError.self) { try fixture.append(try Make.batch()) }
    }

    @Test("A topic's own compression.type is applied")
    func recompression() throws {
        var configuration = LogConfiguration()
        configuration.compression = .fixed(.zstd, level: 3)
        let fixture = try LogFixture(configuration)
        try fixture.append(try Make.batch(count: 40, valueBytes: 100))
        let bytes = try fixture.log.readBytes(from: 0, maxBytes: 1 << 20, minOneBatch: true, isolation: .highWatermark)
        #expect(try RecordBatchHeader.verify(in: bytes).compression == .zstd && bytes.readableBytes < 2000)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).records.count == 40)
    }

    @Test("Offsets are found by timestamp")
    func timestamps() throws {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 2000
        configuration.indexIntervalBytes = 100
        let fixture = try LogFixture(configuration)
        for index in 0..<40 { try fixture.append(try Make.batch(count: 3, timestamp: 1000 + Int64(index * 10))) }
        for round in 0..<2 {
            for timestamp: Timestamp in [0, 1000, 1001, 1002, 1003, 1010, 1255, 1391, 1392] {
                let index = max(0, Int(timestamp - 1000 + 7) / 10)
                let within = max(0, Int(timestamp) - 1000 - index * 10)
                let found = try fixture.log.offset(forTimestamp: timestamp)
                #expect(found?.offset == Offset(index * 3 + within), "\(timestamp) in round \(round)")
            }
            #expect(try fixture.log.offset(forTimestamp: 1393) == nil)
            #expect(try fixture.log.offsetOfMaxTimestamp()?.offset == 119)
            try fixture.reopen()
        }
    }
}
