// Batches and message sets that were encoded without this package's code.
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@Suite struct VectorTests {
    @Test func ownBatches() throws {
        let vectors = try VectorTable.batches(VectorTable.own("batches.tsv"))
        #expect(vectors.count == 39)
        for vector in vectors {
            #expect(throws: Never.self, "\(vector.name)") { try vector.check() }
        }
    }

    @Test func ownMessageSets() throws {
        let vectors = try VectorTable.messages(VectorTable.own("messages.tsv"))
        #expect(vectors.count == 14)
        for vector in vectors {
            var records: [Record] = []
            var iterator = LegacyMessageIterator(vector.bytes)
            while let message = try iterator.next() {
                try message.verifyChecksum()
                records += try message.records()
            }
            #expect(iterator.rest.readableBytes == 0)
            expectEqual(records, vector)
        }
    }

    @Test func messageSetsBecomeBatches() throws {
        for vector in try VectorTable.messages(VectorTable.own("messages.tsv")) {
            let converted = try LegacyMessage.convertToBatches(vector.bytes, partitionLeaderEpoch: 3)
            var records: [Record] = []
            var iterator = RecordBatchIterator(converted)
            while let batch = try iterator.next() {
                try batch.verifyChecksum()
                #expect(batch.header.partitionLeaderEpoch == 3)
                #expect(batch.header.recordCount == 3, "wrappers and neighbours stay together")
                let isCompressed = !vector.scenario.hasSuffix("plain")
                #expect(batch.header.isCompressed == isCompressed, "\(vector.scenario)")
                records += try batch.allRecords()
            }
            #expect(iterator.rest.readableBytes == 0)
            expectEqual(records, vector)
        }
    }

    @Test func conversionSplitsAtTheSize() throws {
        let vector = try #require(try VectorTable.messages(VectorTable.own("messages.tsv")).first)
        var iterator = RecordBatchIterator(try LegacyMessage.convertToBatches(vector.bytes, maximumBatchSize: 1))
        var offsets: [Offset] = []
        while let batch = try iterator.next() { offsets += try batch.allRecords().map(\.offset) + [-1] }
        #expect(offsets == [40, -1, 41, -1, 42, -1])
    }

    @Test func damagedMessageSetsAreRefused() throws {
        let vectors = try VectorTable.messages(VectorTable.own("messages.tsv"))
        let plain = try #require(vectors.first { $0.scenario == "magic-1-plain" })
        var damaged = plain.bytes
        damaged.setInteger(UInt8(0xaa), at: 30)
        #expect {
            try LegacyMessage.convertToBatches(damaged)
        } throws: { error in
            if case .checksumMismatch = error as? RecordBatchError { true } else { false }
        }
        let wrapper = try #require(vectors.first { $0.scenario == "magic-1-gzip" })
        var early = wrapper.bytes
        early.setInteger(Int64(1), at: 0)
        #expect(throws: RecordBatchError.self) { try LegacyMessage(early).records() }
        #expect(throws: RecordBatchError.unsupportedMagic(2)) { try LegacyMessage(try BuilderTests.sample()) }
        #expect(throws: RecordBatchError.decompressedSizeExceeded(limit: 20)) {
            try LegacyMessage(wrapper.bytes).records(maximumDecompressedSize: 20)
        }
    }

    private func expectEqual(_ records: [Record], _ vector: MessageVector) {
        #expect(records.map(\.offset) == vector.expected.map(\.offset), "\(vector.scenario)")
        #expect(records.map(\.timestamp) == vector.expected.map(\.timestamp), "\(vector.scenario)")
        #expect(records.map { $0.key.map { Data($0) } } == vector.expected.map(\.key), "\(vector.scenario)")
        #expect(records.map { $0.value.map { Data($0) } } == vector.expected.map(\.value), "\(vector.scenario)")
    }
}

@Suite struct RecordBatchConformance {
    @Test(.enabled(if: VectorTable.hasGoldenBatches, "no golden vectors beside the package"))
    func everyBatchThatKafkaSerialized() throws {
        let vectors = try VectorTable.batches(VectorTable.goldenBatches)
        #expect(vectors.count > 70)
        var held = 0
        for vector in vectors {
            do {
                try vector.check()
                held += 1
            } catch {
                Issue.record("\(vector.name): \(error)")
            }
        }
        print("conformance batches: \(held) of \(vectors.count)")
    }
}
