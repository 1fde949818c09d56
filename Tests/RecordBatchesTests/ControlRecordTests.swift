// Control records: what brokers tell each other through a log.
import NIOCore
import Primitives
import RecordBatches
import Testing

@Suite struct ControlRecordTests {
    @Test(arguments: [EndTransactionMarker.Outcome.commit, .abort])
    func markers(outcome: EndTransactionMarker.Outcome) throws {
        let marker = EndTransactionMarker(outcome, coordinatorEpoch: 31)
        let batch = try RecordBatch(
            marker.batch(producerId: 77, producerEpoch: 1, timestamp: 5, baseOffset: 80, partitionLeaderEpoch: 5))
        try batch.verifyChecksum()
        #expect(batch.header.isControl && batch.header.isTransactional)
        #expect(batch.header.producerId == 77 && batch.header.producerEpoch == 1 && batch.header.baseSequence == -1)
        #expect(batch.header.partitionLeaderEpoch == 5 && batch.header.baseOffset == 80)
        let record = try #require(try batch.allRecords().first)
        #expect(try EndTransactionMarker(record) == marker)
    }

    @Test func quorumBatches() throws {
        let batch = try RecordBatch(
            RecordBatchBuilder.controlBatch(
                [(.kraftVersion, ByteBuffer(string: "v")), (.kraftVoters, ByteBuffer(string: "w"))], timestamp: 9, baseOffset: 3,
                partitionLeaderEpoch: 2))
        #expect(batch.header.isControl && !batch.header.isTransactional && batch.header.producerId == -1)
        let records = try batch.allRecords()
        #expect(try records.map { try ControlRecordType.parse(key: $0.key) } == [.kraftVersion, .kraftVoters])
        #expect(try records.map { try EndTransactionMarker($0) } == [nil, nil])
    }

    @Test func keys() throws {
        for type in ControlRecordType.allCases { #expect(try ControlRecordType.parse(key: type.key) == type) }
        #expect(try ControlRecordType.parse(key: ByteBuffer(bytes: [0, 0, 0, 99])) == nil, "newer types are skipped")
        #expect(try ControlRecordType.parse(key: ByteBuffer(bytes: [0, 9, 0, 1, 7])) == .commit, "newer versions only append")
        for bad in [nil, ByteBuffer(), ByteBuffer(bytes: [0, 0, 1]), ByteBuffer(bytes: [0xff, 0xff, 0, 1])] {
            #expect(throws: RecordBatchError.self) { try ControlRecordType.parse(key: bad) }
        }
        let short = Record(offset: 0, timestamp: 0, key: ControlRecordType.abort.key, value: ByteBuffer(bytes: [0, 0, 0]))
        #expect(throws: RecordBatchError.self) { try EndTransactionMarker(short) }
    }
}
