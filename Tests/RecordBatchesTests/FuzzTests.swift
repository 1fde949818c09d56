// Damaged bytes through every reader: errors are fine, crashes and unbounded memory are not.
import NIOCore
import Primitives
import RecordBatches
import Testing

@Suite struct FuzzTests {
    private static let limit = 1 << 20

    /// Everything that reads bytes from outside. Returns how many records came out.
    @discardableResult
    private static func readEverything(_ bytes: ByteBuffer) -> Int {
        var count = 0
        var largest = 0
        _ = try? RecordBatchHeader.verify(in: bytes)
        if let batch = try? RecordBatch(bytes), var records = try? batch.records(maximumDecompressedSize: limit) {
            while let record = try? records.next() {
                count += 1
                for header in record.headers { largest = max(largest, header.value?.readableBytes ?? 0) }
                largest = max(largest, record.key?.readableBytes ?? 0, record.value?.readableBytes ?? 0)
                _ = try? EndTransactionMarker(record)
            }
            for target in CompressionType.allCases {
                _ = try? batch.recompressed(to: Compression(target), maximumDecompressedSize: limit)
            }
        }
        var batches = RecordBatchIterator(bytes)
        while (try? batches.next()) != nil { count += 1 }
        var messages = LegacyMessageIterator(bytes)
        while let message = try? messages.next() {
            count += (try? message.records(maximumDecompressedSize: limit).count) ?? 0
        }
        _ = try? LegacyMessage.convertToBatches(bytes, maximumDecompressedSize: limit)
        #expect(largest <= limit)
        return count
    }

    private static func validate(_ bytes: ByteBuffer) {
        var rules = RecordBatchValidation()
        rules.maximumDecompressedSize = limit
        _ = try? rules.validate(bytes, now: 1_700_000_000_000)
        rules.isCompacted = true
        rules.timestampType = .logAppendTime
        rules.targetCompression = .lz4
        if let accepted = try? rules.validate(bytes, now: 1_700_000_000_000) {
            // What is accepted after every record was looked at must be readable.
            #expect(throws: Never.self) {
                try RecordBatch(accepted.bytes).verifyChecksum()
                _ = try RecordBatch(accepted.bytes).allRecords()
            }
        }
    }

    private static func mutate(_ seed: ByteBuffer, using random: inout SeededRandom) -> ByteBuffer {
        var bytes = seed
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            let length = bytes.readableBytes
            guard length > 0 else { return bytes }
            let index = Int.random(in: 0..<length, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0, 1:
                let byte: UInt8 = bytes.getInteger(at: index) ?? 0
                bytes.setInteger(byte ^ (1 << UInt8.random(in: 0..<8, using: &random)), at: index)
            case 2: bytes.setInteger(UInt8.random(in: 0...255, using: &random), at: index)
            case 3: bytes = ByteBuffer(bytes: bytes.getBytes(at: 0, length: index) ?? [])
            case 4 where index + 4 <= length:
                // Inflated lengths: the largest, the smallest, just beyond.
                let value = [Int32.max, .min, -1, Int32(length), Int32(length) + 1, 0].randomElement(using: &random) ?? 0
                bytes.setInteger(value, at: index)
            default:
                let piece = bytes.getBytes(at: index, length: min(length - index, 16)) ?? []
                bytes.writeBytes(piece)
            }
        }
        return bytes
    }

    /// Make length and checksum fit again, so that damage reaches what lies behind them.
    private static func repaired(_ bytes: ByteBuffer) -> ByteBuffer {
        guard bytes.readableBytes >= RecordBatchHeader.size, RecordBatchHeader.magic(in: bytes) == 2 else { return bytes }
        var result = bytes
        result.setInteger(Int32(bytes.readableBytes - 12), at: RecordBatchHeader.Position.batchLength)
        let covered = result.getSlice(at: 21, length: result.readableBytes - 21) ?? ByteBuffer()
        result.setInteger(CRC32C.checksum(covered), at: RecordBatchHeader.Position.crc)
        return result
    }

    @Test(arguments: 0..<4)
    func mutatedBatchesAndMessageSets(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let seeds =
            try VectorTable.batches(VectorTable.own("batches.tsv")).map(\.bytes)
            + VectorTable.messages(VectorTable.own("messages.tsv")).map(\.bytes)
        var records = 0
        for _ in 0..<1500 {
            let origin = seeds[Int.random(in: 0..<seeds.count, using: &random)]
            let damaged = Self.mutate(origin, using: &random)
            records += Self.readEverything(damaged)
            Self.validate(damaged)
            let repaired = Self.repaired(damaged)
            records += Self.readEverything(repaired)
            Self.validate(repaired)
        }
        #expect(records > 1000, "most damage leaves something to read, so the readers really ran")
    }

    @Test func noise() {
        var random = SeededRandom(seed: 99)
        for length in 0..<400 {
            var bytes = ByteBuffer(bytes: (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) })
            Self.readEverything(bytes)
            for type in CompressionType.allCases {
                _ = try? Compression.decompress(bytes, type: type, maximumSize: Self.limit, ignoringHeaderChecksum: length % 2 == 0)
            }
            guard length > RecordBatchHeader.Position.magic else { continue }
            bytes.setInteger(Int8(length % 3), at: RecordBatchHeader.Position.magic)
            Self.readEverything(Self.repaired(bytes))
        }
    }

    @Test(arguments: CompressionTests.codecs)
    func damagedCompressedData(type: CompressionType) throws {
        var random = SeededRandom(seed: UInt64(type.rawValue))
        var good = ByteBuffer()
        try Compression(type).compress(CompressionTests.mixed(size: 5000, seed: 5), into: &good)
        for _ in 0..<1500 {
            let damaged = Self.mutate(good, using: &random)
            let result = try? Compression.decompress(damaged, type: type, maximumSize: 20_000)
            #expect((result?.readableBytes ?? 0) <= 20_000)
        }
        // The contexts that failed are used again.
        #expect(try Compression.decompress(good, type: type, maximumSize: 5000).readableBytes == 5000)
    }
}
