// What a leader refuses, what it changes, and what it leaves alone.
import NIOCore
import Primitives
import RecordBatches
import Testing

@Suite struct ValidationTests {
    private let now: Timestamp = 1_700_000_000_000

    private func batch(
        count: Int = 3, compression: Compression = .none, timestamps: [Timestamp]? = nil, keyless: Set<Int> = [],
        _ configure: (inout RecordBatchBuilder) -> Void = { _ in }
    ) throws -> ByteBuffer {
        var builder = RecordBatchBuilder(compression: compression)
        configure(&builder)
        for index in 0..<count {
            builder.append(
                timestamp: timestamps?[index] ?? now + Int64(index), key: keyless.contains(index) ? nil : ByteBuffer(string: "k\(index)"),
                value: ByteBuffer(repeating: UInt8(truncatingIfNeeded: index), count: 100), headers: [RecordHeader("h", "x")])
        }
        return try builder.build()
    }

    private func expect(
        _ batch: ByteBuffer, _ rules: RecordBatchValidation, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(sourceLocation: sourceLocation) {
            try rules.validate(batch, now: now)
        } throws: { error in
            if case .invalidBatch = error as? RecordValidationError { true } else { false }
        }
    }

    @Test(arguments: CompressionType.allCases)
    func theUsualBatchIsLeftAlone(type: CompressionType) throws {
        let bytes = try batch(compression: Compression(type))
        let result = try RecordBatchValidation().validate(bytes, now: now)
        #expect(result.bytes == bytes)
        #expect(!result.isRewritten)
        #expect(result.header.recordCount == 3)
    }

    @Test func headerRulesForClients() throws {
        let rules = RecordBatchValidation()
        expect(ByteBuffer(), rules)
        expect(try batch { $0.isControl = true }, rules)
        expect(try batch { $0.producerId = 5 }, rules)
        expect(try batch(count: 0), rules)
        var gap = RecordBatchBuilder()
        gap.append(offset: 0, timestamp: now, key: nil, value: nil)
        gap.append(offset: 5, timestamp: now, key: nil, value: nil)
        let gapped = gap.buildUncompressed()
        expect(gapped, rules)
        var two = try batch()
        two.writeImmutableBuffer(try batch())
        expect(two, rules)
        var broker = RecordBatchValidation()
        broker.origin = .broker
        #expect(try broker.validate(gapped, now: now).bytes == gapped)
        let marker = EndTransactionMarker(.commit, coordinatorEpoch: 3).batch(producerId: 5, producerEpoch: 0, timestamp: now)
        broker.targetCompression = .zstd
        broker.isCompacted = true
        #expect(try broker.validate(marker, now: now).bytes == marker, "control batches are not compressed and need no rules of records")
    }

    @Test func damageIsToldFromBrokenRules() throws {
        let rules = RecordBatchValidation()
        let bytes = try batch()
        var flipped = bytes
        flipped.setInteger(UInt8(0xff), at: 80)
        #expect {
            try rules.validate(flipped, now: now)
        } throws: { error in
            if case .corrupt(.checksumMismatch) = error as? RecordValidationError { true } else { false }
        }
        let cut = try #require(bytes.getSlice(at: 0, length: bytes.readableBytes - 1))
        #expect(throws: RecordValidationError.corrupt(.truncated(needed: bytes.readableBytes, available: bytes.readableBytes - 1))) {
            try rules.validate(cut, now: now)
        }
        var old = bytes
        old.setInteger(Int8(1), at: RecordBatchHeader.Position.magic)
        expect(old, rules)
        var small = RecordBatchValidation()
        small.maximumBatchSize = bytes.readableBytes - 1
        #expect(throws: RecordValidationError.tooLarge(size: bytes.readableBytes, maximum: bytes.readableBytes - 1)) {
            try small.validate(bytes, now: now)
        }
    }

    @Test(arguments: CompressionType.allCases)
    func compactedTopicsNeedKeys(type: CompressionType) throws {
        var rules = RecordBatchValidation()
        rules.isCompacted = true
        #expect(try !rules.validate(try batch(compression: Compression(type)), now: now).isRewritten)
        #expect {
            try rules.validate(try batch(compression: Compression(type), keyless: [1, 2]), now: now)
        } throws: { error in
            guard case .invalidRecords(let records) = error as? RecordValidationError else { return false }
            return records.map(\.index) == [1, 2]
        }
    }

    @Test func namedRecordsAreBounded() throws {
        var rules = RecordBatchValidation()
        rules.isCompacted = true
        #expect {
            try rules.validate(try batch(count: 500, keyless: Set(0..<500)), now: now)
        } throws: { error in
            guard case .invalidRecords(let records) = error as? RecordValidationError else { return false }
            return records.count == 100
        }
    }

    @Test func timestampsOutOfRange() throws {
        var rules = RecordBatchValidation()
        rules.timestampAfterMaximum = 1000
        #expect(try !rules.validate(try batch(timestamps: [now, now + 1000, -1]), now: now).isRewritten)
        #expect {
            try rules.validate(try batch(timestamps: [now, now + 1001, now]), now: now)
        } throws: { error in
            // The header's maximum says that there is one, the records say which.
            guard case .invalidTimestamps(let records) = error as? RecordValidationError else { return false }
            return records.map(\.index) == [1]
        }
        rules.timestampBeforeMaximum = 1000
        #expect {
            try rules.validate(try batch(timestamps: [now - 1000, now - 1001, now + 1001]), now: now)
        } throws: { error in
            guard case .invalidTimestamps(let records) = error as? RecordValidationError else { return false }
            return records.map(\.index) == [1, 2]
        }
        #expect(try !rules.validate(try batch(timestamps: [-1, -1, -1]), now: now).isRewritten, "no timestamp is never out of range")
    }

    @Test(arguments: [Timestamp.min, -1, 0, .max])
    func extremeTimestampsDoNotOverflow(timestamp: Timestamp) throws {
        var rules = RecordBatchValidation()
        rules.timestampAfterMaximum = 1000
        rules.timestampBeforeMaximum = 1000
        _ = try? rules.validate(try batch(count: 1, timestamps: [timestamp]), now: now)
        let far = try batch(count: 2, timestamps: [timestamp, .max])
        #expect(throws: RecordValidationError.self) { try rules.validate(far, now: now) }
    }

    @Test func logAppendTime() throws {
        var rules = RecordBatchValidation()
        rules.timestampType = .logAppendTime
        for type in CompressionType.allCases {
            let result = try rules.validate(try batch(compression: Compression(type), timestamps: [1, 2, 3]), now: now)
            #expect(result.isRewritten)
            let batch = try RecordBatch(result.bytes)
            try batch.verifyChecksum()
            #expect(batch.header == result.header)
            #expect(try batch.allRecords().map(\.timestamp) == [now, now, now])
        }
        let claimed = try batch { $0.timestampType = .logAppendTime }
        #expect {
            try rules.validate(claimed, now: now)
        } throws: { error in
            guard case .invalidTimestamps(let records) = error as? RecordValidationError else { return false }
            return records.map(\.index) == [0, 1, 2]
        }
        let cleared = try RecordBatchValidation().validate(claimed, now: now)
        #expect(cleared.header.timestampType == .createTime)
        try RecordBatch(cleared.bytes).verifyChecksum()
    }

    @Test func topicsCompressionType() throws {
        for source in CompressionType.allCases {
            for target in CompressionType.allCases {
                let bytes = try batch(compression: Compression(source)) {
                    $0.producerId = 9
                    $0.producerEpoch = 2
                    $0.baseSequence = 44
                    $0.isTransactional = true
                }
                var rules = RecordBatchValidation()
                rules.targetCompression = Compression(target)
                let result = try rules.validate(bytes, now: now)
                #expect(result.isRewritten == (source != target))
                let batch = try RecordBatch(result.bytes)
                try batch.verifyChecksum()
                #expect(try batch.header.compression == target)
                #expect(batch.header == result.header)
                #expect(batch.header.producerId == 9 && batch.header.producerEpoch == 2 && batch.header.baseSequence == 44)
                #expect(batch.header.isTransactional)
                #expect(try batch.allRecords() == RecordBatch(bytes).allRecords())
            }
        }
    }

    @Test func wrongMaximumIsCorrectedOnceSeen() throws {
        var builder = RecordBatchBuilder()
        builder.append(timestamp: 7, key: nil, value: nil)
        let bytes = try builder.build(maxTimestamp: 3)
        #expect(try RecordBatchValidation().validate(bytes, now: now).header.maxTimestamp == 3, "the header is trusted unopened")
        var rules = RecordBatchValidation()
        rules.walksUncompressedRecords = true
        let result = try rules.validate(bytes, now: now)
        #expect(result.header.maxTimestamp == 7)
        try RecordBatch(result.bytes).verifyChecksum()
    }

    @Test func wronglyNumberedRecordsAreNumberedAnew() throws {
        var builder = RecordBatchBuilder(compression: .gzip)
        builder.append(offset: 0, timestamp: 1, key: ByteBuffer(string: "a"), value: nil)
        builder.append(offset: 4, timestamp: 2, key: ByteBuffer(string: "b"), value: nil)
        let bytes = try builder.build(lastOffset: 1)
        var rules = RecordBatchValidation()
        rules.isCompacted = true
        let result = try RecordBatch(rules.validate(bytes, now: now).bytes)
        try result.verifyChecksum()
        #expect(try result.allRecords().map(\.offset) == [0, 1])
        #expect(try result.header.compression == .gzip)
    }

    @Test func malformedRecordsAreRefusedWhereTheyAreRead() throws {
        var bytes = try batch()
        // The record's length, first byte behind the header; the checksum is made to fit again.
        bytes.setInteger(UInt8(0x7e), at: RecordBatchHeader.size)
        try RecordBatchHeader.setTimestamp(.createTime, maximum: now + 1, in: &bytes, at: 0)
        var rules = RecordBatchValidation()
        #expect(try rules.validate(bytes, now: now).bytes == bytes)
        rules.walksUncompressedRecords = true
        expect(bytes, rules)
        var bomb = RecordBatchBuilder(compression: .zstd)
        bomb.append(timestamp: now, key: ByteBuffer(string: "k"), value: ByteBuffer(repeating: 0, count: 1 << 20))
        rules.isCompacted = true
        rules.maximumDecompressedSize = 1 << 16
        expect(try bomb.build(), rules)
    }
}
