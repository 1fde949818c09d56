// What comes out of a consumer: single records, or the batches they were stored in.
import NIOCore
import Primitives
import RecordBatches

/// A record that was read. Key, value and headers are slices of what the broker sent.
public struct ConsumerRecord: Hashable, Sendable {
    public var topic: String
    public var partition: Int32
    public var offset: Int64
    /// Milliseconds since 1970; -1 for none.
    public var timestamp: Int64
    /// Whether ``timestamp`` is the broker's time of append instead of the producer's.
    public var isLogAppendTime: Bool
    public var key: ByteBuffer?
    /// Nil is a tombstone.
    public var value: ByteBuffer?
    public var headers: RecordHeaders
    /// -1 when unknown.
    public var leaderEpoch: Int32

    public var topicPartition: TopicPartition { TopicPartition(topic, partition) }

    /// The key as a type; nil when there is none.
    public func key<Content: RecordContent>(as type: Content.Type) throws(KafkaError) -> Content? {
        guard let key else { return nil }
        return try Content(recordBytes: key)
    }

    /// The value as a type; nil for a tombstone.
    public func value<Content: RecordContent>(as type: Content.Type) throws(KafkaError) -> Content? {
        guard let value else { return nil }
        return try Content(recordBytes: value)
    }
}

/// Records of one partition as they were stored together. Cheap until ``records()`` unpacks it.
public struct ConsumerBatch: Sendable {
    public let partition: TopicPartition
    /// The first offset that is to be read; earlier records of the stored batch are left out.
    public let startOffset: Int64
    /// The offset after the last one.
    public let nextOffset: Int64
    /// Records stored in the batch; ``records()`` may be fewer when reading began in the middle.
    public let storedRecordCount: Int
    /// Bytes as stored, compressed or not.
    public var storedBytes: Int { batch?.bytes.readableBytes ?? 0 }
    public let leaderEpoch: Int32

    /// Nil for what is passed over: transaction markers and aborted records.
    package let batch: RecordBatch?
    let maximumDecompressedSize: Int

    /// Unpacks the records.
    ///
    /// - Throws: `corruptRecords`.
    public func records() throws(KafkaError) -> [ConsumerRecord] {
        guard let batch else { return [] }
        var records: [ConsumerRecord] = []
        records.reserveCapacity(max(0, min(storedRecordCount, storedBytes)))
        do throws(RecordBatchError) {
            var iterator = try batch.records(maximumDecompressedSize: maximumDecompressedSize)
            let isLogAppendTime = batch.header.timestampType == .logAppendTime
            while let record = try iterator.next() {
                guard record.offset >= startOffset else { continue }
                records.append(
                    ConsumerRecord(
                        topic: partition.topic, partition: partition.partition, offset: record.offset, timestamp: record.timestamp,
                        isLogAppendTime: isLogAppendTime, key: record.key, value: record.value, headers: record.headers,
                        leaderEpoch: leaderEpoch))
            }
        } catch {
            throw KafkaError(.corruptRecords, "\(partition) at offset \(startOffset): \(error)")
        }
        return records
    }
}

/// Turns the bytes of a fetch response into batches to hand out.
package struct FetchedRecords {
    let partition: TopicPartition
    let isolation: IsolationLevel
    let verifiesChecksums: Bool
    let maximumDecompressedSize: Int
    let handsOutControlBatches: Bool

    package init(
        partition: TopicPartition, isolation: IsolationLevel, verifiesChecksums: Bool, maximumDecompressedSize: Int,
        handsOutControlBatches: Bool = false
    ) {
        self.handsOutControlBatches = handsOutControlBatches
        self.partition = partition
        self.isolation = isolation
        self.verifiesChecksums = verifiesChecksums
        self.maximumDecompressedSize = maximumDecompressedSize
    }

    /// - Parameters:
    ///   - position: the offset that was asked for.
    ///   - aborted: transactions whose records do not count, producer and first offset (KIP-98).
    /// - Returns: batches in order, the last of which may only move the position.
    package func batches(
        in bytes: ByteBuffer, position: Offset, aborted: [(producerID: ProducerID, firstOffset: Offset)]
    ) throws(RecordBatchError) -> [ConsumerBatch] {
        var bytes = bytes
        if let magic = RecordBatchHeader.magic(in: bytes), magic < 2 { bytes = try LegacyMessage.convertToBatches(bytes) }
        var pending = aborted.sorted { $0.firstOffset < $1.firstOffset }[...]
        var abortedProducers: Set<ProducerID> = []
        var iterator = RecordBatchIterator(bytes)
        var position = position
        var batches: [ConsumerBatch] = []
        while let batch = try iterator.next() {
            let header = batch.header
            if verifiesChecksums { try batch.verifyChecksum() }
            guard header.nextOffset > position else { continue }
            while isolation == .readCommitted, let next = pending.first, next.firstOffset <= header.lastOffset {
                abortedProducers.insert(next.producerID)
                pending.removeFirst()
            }
            var isSkipped = header.isControl && !handsOutControlBatches
            if header.isControl {
                if try endsAbortedTransaction(batch) { abortedProducers.remove(header.producerId) }
            } else if isolation == .readCommitted, header.isTransactional, abortedProducers.contains(header.producerId) {
                isSkipped = true
            }
            batches.append(
                ConsumerBatch(
                    partition: partition, startOffset: position, nextOffset: header.nextOffset,
                    storedRecordCount: isSkipped ? 0 : Int(header.recordCount), leaderEpoch: header.partitionLeaderEpoch,
                    batch: isSkipped ? nil : batch, maximumDecompressedSize: maximumDecompressedSize))
            position = header.nextOffset
        }
        return batches
    }

    private func endsAbortedTransaction(_ batch: RecordBatch) throws(RecordBatchError) -> Bool {
        var iterator = try batch.records()
        guard let record = try iterator.next() else { return false }
        return try ControlRecordType.parse(key: record.key) == .abort
    }
}
