// What the builder writes, the view and the iterator read; header fields set in place keep the batch valid.
import NIOCore
import Primitives
import Testing

@testable import RecordBatches

@Suite struct BuilderTests {
    static func sample(count: Int = 3) throws -> ByteBuffer {
        var builder = RecordBatchBuilder(baseOffset: 100)
        builder.producerId = 7
        builder.producerEpoch = 1
        builder.baseSequence = Int32.max - 1
        for index in 0..<count {
            builder.append(
                timestamp: 1_700_000_000_000 + Int64(index), key: index == 1 ? nil : ByteBuffer(string: "key-\(index)"),
                value: index == 2 ? nil : ByteBuffer(string: "value-\(index)"),
                headers: index == 0 ? [RecordHeader("a", "1"), RecordHeader("a", nil), RecordHeader("", "")] : [])
        }
        return try builder.build()
    }

    @Test func roundTrip() throws {
        let batch = try RecordBatch(Self.sample())
        try batch.verifyChecksum()
        #expect(batch.header.baseOffset == 100)
        #expect(batch.header.lastOffset == 102)
        #expect(batch.header.recordCount == 3)
        #expect(batch.header.lastSequence == 0, "sequences wrap to 0")
        #expect(batch.header.maxTimestamp == 1_700_000_000_002)
        #expect(batch.header.sizeInBytes == batch.bytes.readableBytes)
        let records = try batch.allRecords()
        #expect(records.map(\.offset) == [100, 101, 102])
        #expect(records.map(\.timestamp) == [1_700_000_000_000, 1_700_000_000_001, 1_700_000_000_002])
        #expect(records.map(\.key) == [ByteBuffer(string: "key-0"), nil, ByteBuffer(string: "key-2")])
        #expect(records.map(\.value) == [ByteBuffer(string: "value-0"), ByteBuffer(string: "value-1"), nil])
        let headers = Array(records[0].headers)
        #expect(headers == [RecordHeader("a", "1"), RecordHeader("a", nil), RecordHeader("", "")])
        #expect(records[0].headers.last("a") == .some(nil))
        #expect(records[1].headers.isEmpty)
    }

    @Test func leaderFieldsAreNotUnderTheChecksum() throws {
        var buffer = ByteBuffer(string: "in front")
        let index = buffer.writerIndex
        buffer.writeImmutableBuffer(try Self.sample())
        RecordBatchHeader.setBaseOffset(5_000_000_000, in: &buffer, at: index)
        RecordBatchHeader.setPartitionLeaderEpoch(9, in: &buffer, at: index)
        let header = try RecordBatchHeader.verify(in: buffer, at: index)
        #expect(header.baseOffset == 5_000_000_000)
        #expect(header.partitionLeaderEpoch == 9)
        let prefix = header.leaderPrefix
        for position in 0..<16 { #expect(buffer.getInteger(at: index + position, as: UInt8.self) == prefix[position]) }
    }

    @Test func logAppendTimeReplacesEveryTimestamp() throws {
        var buffer = try Self.sample()
        try RecordBatchHeader.setTimestamp(.logAppendTime, maximum: 1_800_000_000_000, in: &buffer, at: 0)
        let batch = try RecordBatch(buffer)
        try batch.verifyChecksum()
        #expect(batch.header.timestampType == .logAppendTime)
        #expect(try batch.allRecords().map(\.timestamp) == [Int64](repeating: 1_800_000_000_000, count: 3))
    }

    @Test func headerReadsFromEveryKindOfBytes() throws {
        let buffer = try Self.sample()
        let fromBuffer = try RecordBatchHeader(from: buffer)
        let fromSpan = try RecordBatchHeader(buffer.readableBytesSpan)
        let fromPointer = try buffer.withUnsafeReadableBytes { try RecordBatchHeader($0) }
        #expect(fromBuffer == fromSpan)
        #expect(fromBuffer == fromPointer)
        #expect(RecordBatchHeader.magic(in: buffer) == 2)
    }

    @Test func errorsSayWhatIsWrong() throws {
        let whole = try Self.sample()
        #expect(throws: RecordBatchError.truncated(needed: 61, available: 0)) { try RecordBatchHeader(from: ByteBuffer()) }
        #expect(throws: RecordBatchError.truncated(needed: 61, available: 0)) { try RecordBatchHeader(from: whole, at: 100_000) }
        var other = whole
        other.setInteger(Int8(1), at: RecordBatchHeader.Position.magic)
        #expect(throws: RecordBatchError.unsupportedMagic(1)) { try RecordBatchHeader(from: other) }
        other = whole
        other.setInteger(Int32(48), at: RecordBatchHeader.Position.batchLength)
        #expect(throws: RecordBatchError.invalidLength(48)) { try RecordBatchHeader(from: other) }
        other = whole
        other.setInteger(UInt8(0xee), at: whole.readableBytes - 1)
        #expect {
            try RecordBatchHeader.verify(in: other)
        } throws: { error in
            if case .checksumMismatch = error as? RecordBatchError { true } else { false }
        }
        other = try #require(whole.getSlice(at: 0, length: whole.readableBytes - 1))
        #expect(throws: RecordBatchError.truncated(needed: whole.readableBytes, available: whole.readableBytes - 1)) {
            try RecordBatchHeader.verify(in: other)
        }
        #expect(throws: RecordBatchError.invalidLength(whole.readableBytes - 12)) {
            try RecordBatchHeader.verify(in: whole, maximumSize: 80)
        }
    }

    @Test func batchesInARow() throws {
        var buffer = try Self.sample()
        buffer.writeImmutableBuffer(try Self.sample(count: 1))
        buffer.writeImmutableBuffer(try #require(try Self.sample().getSlice(at: 0, length: 70)))
        var iterator = RecordBatchIterator(buffer)
        #expect(try iterator.next()?.header.recordCount == 3)
        #expect(try iterator.next()?.header.recordCount == 1)
        #expect(try iterator.next() == nil)
        #expect(iterator.rest.readableBytes == 70)
    }

    @Test func emptyBatchKeepsItsRange() throws {
        let builder = RecordBatchBuilder(baseOffset: 10)
        let batch = try RecordBatch(try builder.build(lastOffset: 19, maxTimestamp: 5))
        try batch.verifyChecksum()
        #expect(batch.header.recordCount == 0)
        #expect(batch.header.lastOffset == 19)
        #expect(batch.header.baseTimestamp == -1)
        #expect(batch.header.maxTimestamp == 5)
        #expect(try batch.allRecords().isEmpty)
    }

    @Test func finishingInPlaceMakesTheSameBytes() throws {
        for type in CompressionType.allCases {
            var builder = RecordBatchBuilder(baseOffset: 3, compression: Compression(type))
            builder.append(timestamp: 9, key: ByteBuffer(string: "k"), value: ByteBuffer(repeating: 5, count: 500))
            let built = try builder.build(lastOffset: 7, maxTimestamp: 11)
            #expect(try builder.finish(lastOffset: 7, maxTimestamp: 11) == built)
        }
    }
}
