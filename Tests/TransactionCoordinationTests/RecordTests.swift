// The records of __transaction_state: byte for byte what Apache Kafka 3.9 (version 0) and 4.1 (version 1) wrote.
import KafkaWire
import NIOCore
import Primitives
import Testing

@testable import TransactionCoordination

@Suite("Records of __transaction_state")
struct RecordTests {
    private static let vectors: [(state: TransactionState, partitions: [TopicPartition], key: String, value: String)] = [
        (.empty, [], "0000000474782d31", "0000000000000000000600000000ea6000ffffffff000001a1fbd565fcffffffffffffffff"),
        (
            .ongoing, ["t-txn-2", "t-txn-0", "t-txn-1"], "0000000474782d31",
            "0000000000000000000600000000ea6001000000010005742d74786e00000003000000020000000000000001000001a1fbd56705000001a1fbd566dc"
        ),
        (
            .prepareCommit, ["__consumer_offsets-2", "t-txn-1", "t-txn-0"], "0000000474782d30",
            "0000000000000000000500000000ea60020000000200125f5f636f6e73756d65725f6f66667365747300000001000000020005742d74786e0000000200000001"
                + "00000000000001a1fbd56928000001a1fbd568e5"
        ),
        (
            .prepareAbort, ["t-txn-1"], "0000000474782d31",
            "0000000000000000000600010000ea6003000000010005742d74786e0000000100000001000001a1fbd588fe000001a1fbd588f6"
        ),
        (.completeCommit, [], "0000000474782d31", "0000000000000000000600000000ea600400000000000001a1fbd566bf000001a1fbd5667e"),
        (.completeAbort, [], "0000000474782d31", "0000000000000000000600000000ea600500000000000001a1fbd5674c000001a1fbd56719"),
        (.empty, [], "0000000470657266", "0001000000000000000000000000ea600000000001a223566c09ffffffffffffffff00"),
        (
            .ongoing, ["t-0"], "0000000470657266",
            "0001000000000000000000000000ea6001020274020000000000000001a223566c66000001a223566c660102020002"
        ),
        (
            .prepareCommit, ["t-0"], "0000000470657266",
            "0001000000000000000000010000ea6002020274020000000000000001a223566e2e000001a223566c660102020002"
        ),
        (.completeCommit, [], "0000000470657266", "0001000000000000000000010000ea600401000001a223566e31000001a223566c660102020002"),
    ]

    private static func bytes(_ hex: String) -> ByteBuffer {
        var buffer = ByteBuffer()
        var digits = hex[...]
        while let high = digits.popFirst(), let low = digits.popFirst() { buffer.writeInteger(UInt8("\(high)\(low)", radix: 16)!) }
        return buffer
    }

    @Test("What Kafka wrote is read, and written again the same", arguments: vectors.indices)
    func golden(index: Int) throws {
        let vector = Self.vectors[index]
        let (key, value) = (Self.bytes(vector.key), Self.bytes(vector.value))
        let record = try #require(try TransactionRecord(key: key, value: value))
        #expect(record.metadata?.state == vector.state)
        #expect(record.metadata.map { Array($0.partitions) } == vector.partitions)
        #expect(record.metadata?.timeoutMilliseconds == 60_000)
        let version: Int16 = value.getInteger(at: 0)!
        let written = try record.encoded(version: version)
        #expect(written.key == key && written.value == value)
    }

    @Test("Tombstones, types and versions that nobody knows, and damage")
    func others() throws {
        let key = Self.bytes("0000000474782d31")
        #expect(try TransactionRecord(key: key, value: nil) == TransactionRecord(transactionalID: "tx-1", metadata: nil))
        #expect(try TransactionRecord(key: Self.bytes("0001000474782d31"), value: nil) == nil)
        #expect(try TransactionRecord(key: key, value: Self.bytes("0002")) == nil)
        #expect(throws: WireError.self) { try TransactionRecord(key: Self.bytes("00"), value: nil) }
        #expect(throws: WireError.self) { try TransactionRecord(key: key, value: Self.bytes("000000")) }
    }

    @Test("What transaction.version 2 keeps survives the log")
    func bumped() throws {
        var metadata = TransactionMetadata(producerID: 5, producerEpoch: .max, timeoutMilliseconds: 7, state: .prepareAbort, now: 9)
        metadata.previousProducerID = 4
        metadata.nextProducerID = 6
        metadata.clientVersion = 2
        metadata.startTimestamp = 8
        metadata.partitions = ["a-1", "b-0", "a-3"]
        let (key, value) = try TransactionRecord(transactionalID: "t", metadata: metadata).encoded(version: 1)
        let read = try #require(try TransactionRecord(key: key, value: value)?.metadata)
        #expect(read.previousProducerID == 4 && read.nextProducerID == 6 && read.clientVersion == 2)
        #expect(Set(read.partitions) == Set(metadata.partitions))
        // Version 0 has no place for it.
        let old = try TransactionRecord(transactionalID: "t", metadata: metadata).encoded(version: 0)
        let readOld = try #require(try TransactionRecord(key: old.key, value: old.value)?.metadata)
        #expect(readOld.nextProducerID == -1 && readOld.clientVersion == 0 && readOld.producerEpoch == .max)
    }
}
