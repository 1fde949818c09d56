// What a share fetch makes of bytes from the log, and of the settings of a group.
import NIOCore
import Primitives
import RecordBatches
import Storage
import Testing

@testable import Broker

@Suite("Share fetches")
struct ShareReadTests {
    private func batch(_ base: Offset, count: Int, producer: ProducerID = -1, isTransactional: Bool = false) throws -> ByteBuffer {
        var builder = RecordBatchBuilder()
        if isTransactional {
            builder.producerId = producer
            builder.producerEpoch = 0
            builder.isTransactional = true
        }
        for number in 0..<count { builder.append(timestamp: 0, key: nil, value: ByteBuffer(string: "value \(number)")) }
        var bytes = builder.buildUncompressed()
        RecordBatchHeader.setBaseOffset(base, in: &bytes, at: bytes.readerIndex)
        return bytes
    }

    @Test("Batches that hold what was acquired are sent, and no others")
    func slices() throws {
        var bytes = ByteBuffer()
        var sizes: [Int] = []
        for base in [Offset(0), 10, 20] {
            let batch = try batch(base, count: 10)
            sizes.append(batch.readableBytes)
            bytes.writeImmutableBuffer(batch)
        }
        let batches = try #require(ShareReadBatches(bytes, aborted: []))
        #expect(batches.extents.map(\.baseOffset) == [0, 10, 20] && batches.extents.map(\.lastOffset) == [9, 19, 29])
        #expect(batches.slice(bytes, from: 0, to: 29).readableBytes == sizes.reduce(0, +))
        #expect(batches.slice(bytes, from: 12, to: 13).readableBytes == sizes[1])
        #expect(try RecordBatch(batches.slice(bytes, from: 12, to: 20)).header.baseOffset == 10)
        #expect(batches.slice(bytes, from: 40, to: 50).readableBytes == 0)
        #expect(ShareReadBatches(ByteBuffer(repeating: 1, count: 100), aborted: []) == nil)
    }

    @Test("Only batches of the aborted transaction are told as aborted")
    func aborted() throws {
        var bytes = ByteBuffer()
        bytes.writeImmutableBuffer(try batch(0, count: 5, producer: 7, isTransactional: true))
        bytes.writeImmutableBuffer(try batch(5, count: 5, producer: 8, isTransactional: true))
        bytes.writeImmutableBuffer(try batch(10, count: 5))
        let transactions = [AbortedTransaction(producerID: 8, firstOffset: 5)]
        let batches = try #require(ShareReadBatches(bytes, aborted: transactions))
        #expect(batches.aborted.map(\.baseOffset) == [5])
        #expect(try #require(ShareReadBatches(bytes, aborted: [])).aborted.isEmpty)
    }

    @Test(
        "share.auto.offset.reset",
        arguments: [
            ("earliest", ShareAutoOffsetReset.earliest), ("LATEST", .latest), ("by_duration:PT1H", .duration(milliseconds: 3_600_000)),
            ("by_duration:P1DT0.5S", .duration(milliseconds: 86_400_500)), ("by_duration:P1H", .latest),
            ("by_duration:PT", .duration(milliseconds: 0)),
            ("nonsense", .latest),
        ])
    func offsetReset(text: String, expected: ShareAutoOffsetReset) {
        #expect(ShareAutoOffsetReset(text) == expected)
    }
}
