// Batches as they are passed on: as they are where that is possible, and otherwise with every record as it was.
import MartletClient
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import MirrorMaker

@Suite("Copied batches")
struct CopiedBatchTests {
    static func batch(
        at base: Int64, offsets: [Int64], size: Int = 50, _ change: (inout RecordBatchBuilder) -> Void = { _ in }
    ) throws -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: base)
        change(&builder)
        for offset in offsets {
            builder.append(
                offset: offset, timestamp: 1000 + offset, key: ByteBuffer(string: "k\(offset)"),
                value: offset % 5 == 4 ? nil : ByteBuffer(repeating: UInt8(truncatingIfNeeded: offset), count: size),
                headers: [RecordHeader("h", "\(offset)"), RecordHeader("none", nil)])
        }
        return try builder.build()
    }

    static func fetched(_ parts: [ByteBuffer], from position: Int64) throws -> [ConsumerBatch] {
        var whole = ByteBuffer()
        for part in parts { whole.writeImmutableBuffer(part) }
        let reader = FetchedRecords(
            partition: TopicPartition("t", 0), isolation: .readUncommitted, verifiesChecksums: true, maximumDecompressedSize: 1 << 20)
        return try reader.batches(in: whole, position: position, aborted: [])
    }

    /// Offset on the source and record, of every record of copies.
    static func records(_ copies: [CopiedBatch]) throws -> [(upstream: Int64, record: Record)] {
        var found: [(Int64, Record)] = []
        for copy in copies {
            let stamped = try copy.bytes(producerID: 7, epoch: 1, sequence: 3, isTransactional: false)
            let batch = try RecordBatch(stamped)
            try batch.verifyChecksum()
            #expect(batch.header.producerId == 7 && batch.header.baseSequence == 3 && batch.header.baseOffset == 0)
            #expect(batch.header.recordCount == batch.header.lastOffsetDelta + 1 && Int(batch.header.recordCount) == copy.count)
            #expect(batch.header.timestampType == .createTime && !batch.header.isTransactional)
            let offsets = copy.segments.flatMap { segment in (0..<segment.count).map { segment.upstream + $0 } }
            let all = try batch.allRecords()
            #expect(offsets.count == all.count)
            found += zip(offsets, all)
        }
        return found
    }

    static func copies(_ batches: [ConsumerBatch], _ settings: ProduceSettings) throws -> [CopiedBatch] {
        var rewriting: RecordRewriting?
        return try BatchCopying.copies(of: batches, settings, &rewriting)
    }

    static func check(_ copies: [CopiedBatch], _ offsets: [Int64], size: Int = 50, timestamp: (Int64) -> Int64 = { 1000 + $0 }) throws {
        let found = try records(copies)
        #expect(found.map(\.upstream) == offsets)
        for (offset, record) in found {
            #expect(record.key == ByteBuffer(string: "k\(offset)") && record.timestamp == timestamp(offset))
            #expect(record.value == (offset % 5 == 4 ? nil : ByteBuffer(repeating: UInt8(truncatingIfNeeded: offset), count: size)))
            #expect(record.headers == [RecordHeader("h", "\(offset)"), RecordHeader("none", nil)])
        }
    }

    @Test("A large batch is passed on as it is, also compressed and from a transaction")
    func large() throws {
        let offsets = Array(Int64(100)..<200)
        for codec in [CompressionType.none, .lz4] {
            let stored = try Self.batch(at: 100, offsets: offsets, size: 2000) { builder in
                builder.compression = Compression(codec)
                builder.producerId = 99
                builder.producerEpoch = 5
                builder.baseSequence = 1000
                builder.isTransactional = true
                builder.partitionLeaderEpoch = 4
            }
            let copies = try Self.copies(Self.fetched([stored], from: 100), ProduceSettings())
            #expect(copies.count == 1 && copies[0].bytes.readableBytes == stored.readableBytes)
            try Self.check(copies, offsets, size: 2000)
        }
    }

    @Test("Small batches are put together")
    func small() throws {
        let parts = try (0..<40).map { try Self.batch(at: $0 * 3, offsets: [$0 * 3, $0 * 3 + 1, $0 * 3 + 2]) }
        let copies = try Self.copies(Self.fetched(parts, from: 0), ProduceSettings())
        #expect(copies.count == 1 && copies[0].segments == [CopiedBatch.Segment(upstream: 0, count: 120)])
        try Self.check(copies, Array(0..<120))
        var settings = ProduceSettings()
        settings.batchSize = 1000
        let several = try Self.copies(Self.fetched(parts, from: 0), settings)
        #expect(several.count > 3 && several.allSatisfy { $0.bytes.readableBytes < 1400 })
        try Self.check(several, Array(0..<120))
    }

    @Test("Gaps, a position in the middle of a batch, and markers")
    func gaps() throws {
        let compacted = try Self.batch(at: 10, offsets: [10, 13, 14, 19], size: 8000)
        let marker = try Self.batch(at: 20, offsets: [20]) { $0.isControl = true }
        let more = try Self.batch(at: 21, offsets: [21, 22])
        let copies = try Self.copies(Self.fetched([compacted, more], from: 13), ProduceSettings())
        #expect(copies.flatMap(\.segments).map(\.upstream) == [13, 19, 21])
        #expect(try Self.records(copies).map(\.upstream) == [13, 14, 19, 21, 22])
        #expect(throws: (any Error).self) { try Self.fetched([marker], from: 20) }
    }

    @Test("The broker's timestamps become the records' own")
    func appendTime() throws {
        var stored = try Self.batch(at: 0, offsets: Array(0..<50), size: 1000)
        try RecordBatchHeader.setTimestamp(.logAppendTime, maximum: 777_000, in: &stored, at: 0)
        let copies = try Self.copies(Self.fetched([stored], from: 0), ProduceSettings())
        try Self.check(copies, Array(0..<50), size: 1000) { _ in 777_000 }
    }

    @Test("Another codec when the settings ask for one")
    func compression() throws {
        let stored = try Self.batch(at: 0, offsets: Array(0..<60), size: 1000)
        var settings = ProduceSettings()
        settings.compression = Compression(.zstd)
        let copies = try Self.copies(Self.fetched([stored], from: 0), settings)
        for copy in copies { #expect(try RecordBatch(copy.bytes).header.compression == .zstd) }
        try Self.check(copies, Array(0..<60), size: 1000)
    }

    @Test("Halves of a batch have its records, down to one")
    func halves() throws {
        let stored = try Self.batch(at: 5, offsets: [5, 6, 9], size: 30)
        var waiting = try Self.copies(Self.fetched([stored], from: 5), ProduceSettings())
        var single: [CopiedBatch] = []
        while let copy = waiting.first {
            waiting.removeFirst()
            if let (first, second) = try copy.halves(nil) { waiting = [first, second] + waiting } else { single.append(copy) }
        }
        #expect(single.map(\.count) == [1, 1, 1])
        try Self.check(single, [5, 6, 9], size: 30)
    }
}
