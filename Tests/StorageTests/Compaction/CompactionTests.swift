// What compaction keeps of plain records, and what readers notice of it: nothing but the gaps.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Compaction: records")
struct CompactionTests {
    private func view(_ fixture: LogFixture) throws -> [String] { try ConsumerView(fixture.log, isolation: .highWatermark).lines }

    @Test("The newest value of each key stays, at its offset", arguments: CompressionType.allCases)
    func newest(_ type: CompressionType) throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1"), Entry("b", "1"), Entry("a", "2")], compression: Compression(type))
        try fixture.put([Entry("b", "2"), Entry("c", "1")], compression: Compression(type))
        try fixture.roll()
        try fixture.put([Entry("a", "3")])
        let statistics = try #require(try fixture.clean())
        #expect(try view(fixture) == ["2 a=2", "3 b=2", "4 c=1", "5 a=3"])
        #expect(statistics.recordsRead == 5 && statistics.recordsWritten == 3 && statistics.endOffset == 5)
        let headers = try fixture.batches().map(\.header)
        #expect(headers.map(\.baseOffset) == [0, 3, 5] && headers.map(\.lastOffset) == [2, 4, 5])
        #expect(try headers.map { try $0.compression } == [type, type, .none])
        #expect(try fixture.leftovers().isEmpty)
    }

    @Test("Timestamps, headers and attributes of what stays are as they were")
    func faithful() throws {
        let fixture = try LogFixture(.compacted)
        var builder = RecordBatchBuilder()
        let headers = RecordHeaders([RecordHeader("h", ByteBuffer(string: "x")), RecordHeader("n", nil)])
        for (index, key) in ["a", "b", "c", "b"].enumerated() {
            builder.append(
                timestamp: 1000 - Int64(index) * 300, key: ByteBuffer(string: key), value: ByteBuffer(string: "\(index)"), headers: headers)
        }
        try fixture.append(try builder.build())
        let before = try ConsumerView(fixture.log, isolation: .highWatermark).records
        try fixture.roll()
        try fixture.clean()
        let after = try ConsumerView(fixture.log, isolation: .highWatermark).records
        #expect(after == [before[0], before[2], before[3]])
        let header = try #require(try fixture.batches().first).header
        #expect(header.baseTimestamp == 1000 && header.maxTimestamp == 1000 && header.recordCount == 3)
    }

    @Test("LogAppendTime stays the batch's")
    func logAppendTime() throws {
        var configuration = LogConfiguration.compacted
        configuration.timestampType = .logAppendTime
        let fixture = try LogFixture(configuration)
        try fixture.put([Entry("a", "1", timestamp: 5), Entry("a", "2", timestamp: 6)])
        try fixture.roll()
        try fixture.clean()
        let records = try ConsumerView(fixture.log, isolation: .highWatermark).records
        #expect(records.map(\.timestamp) == [2000] && records.map(\.offset) == [1])
        #expect(try fixture.batches()[0].header.timestampType == .logAppendTime)
    }

    @Test("A batch that nothing is taken from stays byte for byte")
    func unchanged() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1"), Entry("b", "1")], compression: .zstd)
        let before = try fixture.batches()
        try fixture.roll()
        try fixture.clean()
        #expect(try fixture.batches() == before)
    }

    @Test("Tombstones stay for delete.retention.ms after their first cleaning (KIP-534)")
    func tombstones() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1"), Entry("b", "1")])
        try fixture.put([Entry("a", nil, timestamp: 1500), Entry("c", "1")])
        try fixture.roll()
        try fixture.clean()
        #expect(try view(fixture) == ["1 b=1", "2 a", "3 c=1"])
        let header = try fixture.batches()[1].header
        #expect(header.deleteHorizon == fixture.now + 1000 && header.baseTimestamp == fixture.now + 1000)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).records[1].timestamp == 1500)
        fixture.now += 999
        fixture.forgetCleaning()
        try fixture.clean()
        #expect(try view(fixture) == ["1 b=1", "2 a", "3 c=1"])
        #expect(try fixture.batches()[1].header.deleteHorizon == header.deleteHorizon, "the horizon is set once")
        fixture.now += 1
        fixture.forgetCleaning()
        try fixture.clean()
        #expect(try view(fixture) == ["1 b=1", "3 c=1"])
        #expect(try fixture.batches()[1].header.deleteHorizon == header.deleteHorizon)
        #expect(fixture.log.logEndOffset == 4)
    }

    @Test("Records without a key go, and are counted")
    func withoutKey() throws {
        let fixture = try LogFixture(.compacted)
        fixture.log.configuration.cleanupPolicy = .delete
        try fixture.put([Entry(nil, "1"), Entry("a", "1")])
        try fixture.roll()
        fixture.log.configuration.cleanupPolicy = .compact
        #expect(throws: StorageError.self) { try fixture.put([Entry(nil, "2")]) }
        #expect(try #require(try fixture.clean()).invalidRecords == 1)
        #expect(try view(fixture) == ["1 a=1"])
    }

    @Test("Old message sets become batches of magic 2")
    func legacy() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("z", "1")])
        try fixture.roll()
        try fixture.put([Entry("a", "9")])
        try fixture.roll()
        try fixture.stop()
        let path = fixture.segmentPath(1, ".log")
        var messages = Data()
        for (offset, value) in [(1, "1"), (2, "2")] { messages += Self.message(offset: offset, key: "a", value: value) }
        messages += Self.message(offset: 3, key: "b", value: nil)
        try messages.write(to: URL(fileURLWithPath: path))
        for (base, suffix) in [(Offset(1), ".index"), (1, ".timeindex"), (2, ".log"), (2, ".index"), (2, ".timeindex"), (2, ".snapshot")] {
            try? FileManager.default.removeItem(atPath: fixture.segmentPath(base, suffix))
        }
        try fixture.kill()
        fixture.log.advanceHighWatermark(to: 4)
        try fixture.roll()
        try fixture.clean()
        #expect(try view(fixture) == ["0 z=1", "2 a=2", "3 b"])
        #expect(try fixture.batches().map(\.header.baseOffset) == [0, 2, 3])
        #expect(try fixture.batches()[2].header.deleteHorizon == fixture.now + 1000)
    }

    /// A message of magic 1.
    static func message(offset: Int, key: String, value: String?) -> Data {
        var body = ByteBuffer()
        body.writeMultipleIntegers(Int8(1), Int8(0), Int64(1000))
        body.writeInteger(Int32(key.utf8.count))
        body.writeString(key)
        body.writeInteger(Int32(value?.utf8.count ?? -1))
        body.writeString(value ?? "")
        var table = [UInt32](repeating: 0, count: 256)
        for index in 0..<256 {
            var value = UInt32(index)
            for _ in 0..<8 { value = value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
            table[index] = value
        }
        let crc = ~body.readableBytesView.reduce(UInt32.max) { table[Int(($0 ^ UInt32($1)) & 0xff)] ^ ($0 >> 8) }
        var all = ByteBuffer()
        all.writeMultipleIntegers(Int64(offset), Int32(body.readableBytes + 4), crc)
        all.writeBuffer(&body)
        return Data(all.readableBytesView)
    }

    // MARK: Segments

    @Test("Small segments become one; the active one is left alone")
    func grouping() throws {
        let fixture = try LogFixture(.compacted)
        for round in 0..<5 {
            try fixture.put([Entry("a", "\(round)"), Entry("k\(round)", "x")])
            try fixture.roll()
        }
        try fixture.put([Entry("a", "last")])
        try fixture.clean()
        #expect(fixture.log.segments.map(\.baseOffset) == [0, 10])
        #expect(try view(fixture) == ["1 k0=x", "3 k1=x", "5 k2=x", "7 k3=x", "8 a=4", "9 k4=x", "10 a=last"])
        try fixture.reopen()
        #expect(try view(fixture).count == 7)
        let snapshots = try FileSystem.names(in: fixture.log.path).map(\.name).filter { $0.hasSuffix(".snapshot") }
        #expect(snapshots.allSatisfy { [0, 10, 11].contains(SegmentName.offset($0)) }, "\(snapshots)")
    }

    @Test("A map that is too small cleans a part, and the next cleaning the rest")
    func partly() throws {
        let fixture = try LogFixture(.compacted)
        var resources = CleaningResources()
        resources.mapBytes = 24
        for index in 0..<100 { try fixture.put([Entry("k\(index % 80)", "\(index)")]) }
        try fixture.roll()
        let first = try #require(try fixture.clean(resources: resources))
        #expect(first.endOffset > 0 && first.endOffset < 80, "\(first)")
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).records.count == 100)
        while try fixture.clean(resources: resources) != nil {}
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).records.count == 80)
        #expect(fixture.directories.directories[0].cleanedOffset(of: fixture.topicPartition) == 100)
    }

    @Test("Batches larger than the buffers, and buffers larger than the log", arguments: [0, 1 << 20])
    func buffers(_ size: Int) throws {
        let fixture = try LogFixture(.compacted)
        var resources = CleaningResources()
        resources.bufferBytes = size
        let large = String(repeating: "x", count: 20_000)
        for index in 0..<10 { try fixture.put([Entry("k\(index % 7)", large + "\(index)"), Entry("k", "\(index)")]) }
        try fixture.roll()
        try fixture.clean(resources: resources)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [6, 8, 10, 12, 14, 16, 18, 19])
    }

    @Test("The last batch below the high watermark stays, if need be empty")
    func highWatermark() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1")])
        try fixture.put([Entry("a", nil)])
        try fixture.roll()
        for _ in 0..<3 {
            try fixture.clean()
            fixture.forgetCleaning()
            fixture.now += 2000
        }
        #expect(try view(fixture) == [])
        let header = try #require(try fixture.batches().last).header
        #expect(header.recordCount == 0 && header.nextOffset == 2 && header.sizeInBytes == 61)
    }

    // MARK: Readers

    @Test("Who reads an old segment goes on reading it")
    func openReader() throws {
        let fixture = try LogFixture(.compacted)
        for index in 0..<20 { try fixture.put([Entry("a", "\(index)")]) }
        try fixture.roll()
        let slice = try #require(try fixture.log.read(from: 0, maxBytes: 1 << 20, minOneBatch: true, isolation: .highWatermark).slice)
        try fixture.clean()
        var bytes = try slice.wholeBatches()
        var count = 0
        while bytes.readableBytes > 0 {
            let header = try RecordBatchHeader.verify(in: bytes)
            bytes.moveReaderIndex(forwardBy: header.sizeInBytes)
            count += 1
        }
        #expect(count == 20)
    }

    @Test("Every offset finds the next batch, every timestamp the next record, before and after a restart")
    func gaps() throws {
        let fixture = try LogFixture(.compacted)
        for index in 0..<200 {
            try fixture.put([Entry(index % 10 == 0 ? "k\(index)" : "x", "\(index)", timestamp: 1000 + Int64(index))])
            if index % 40 == 39 { try fixture.roll() }
        }
        try fixture.clean()
        for round in 0..<2 {
            let offsets = try ConsumerView(fixture.log, isolation: .highWatermark).offsets
            #expect(offsets.count == 21)
            for offset in 0..<Offset(200) {
                let expected = offsets.first { $0 >= offset }
                let read = try fixture.log.read(from: offset, maxBytes: 1, minOneBatch: true, isolation: .highWatermark)
                let bytes = try #require(try read.slice?.wholeBatches())
                #expect(try RecordBatchHeader(from: bytes).lastOffset == expected, "offset \(offset)")
                #expect(try fixture.log.offset(forTimestamp: 1000 + offset)?.offset == expected, "timestamp \(1000 + offset)")
            }
            #expect(try fixture.log.offset(forTimestamp: 1200) == nil)
            #expect(try fixture.log.offsetOfMaxTimestamp()?.offset == 199)
            if round == 0 { try fixture.reopen() }
        }
    }

    @Test("A follower takes a compacted leader's batches, and serves what lies at gaps from memory rightly")
    func follower() throws {
        let leader = try LogFixture(.compacted)
        for index in 0..<60 {
            try leader.put([Entry(index % 20 == 0 ? "k\(index)" : "x", "\(index)"), Entry("x", "y")])
            if index == 49 { try leader.roll() }
        }
        try leader.clean()
        let follower = try LogFixture(.compacted)
        for batch in try leader.batches() { _ = try follower.log.appendAsFollower(batch.bytes, now: 1) }
        follower.log.advanceHighWatermark(to: follower.log.logEndOffset)
        #expect(follower.log.logEndOffset == leader.log.logEndOffset)
        for offset in leader.log.logStartOffset..<leader.log.logEndOffset {
            func first(_ log: PartitionLog) throws -> Offset {
                let read = try log.read(from: offset, maxBytes: 1, minOneBatch: true, isolation: .logEnd)
                return try RecordBatchHeader(from: try #require(try read.slice?.wholeBatches())).baseOffset
            }
            #expect(try first(follower.log) == first(leader.log), "offset \(offset)")
        }
    }
}
