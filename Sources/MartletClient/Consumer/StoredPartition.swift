// Reading a partition as it is stored, for those who compare two of them: whole batches with their headers and checksums, or the records
// that count, from the leader and never beyond the high watermark.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// What a leader answered about one partition.
package struct StoredAnswer: Sendable {
    package var records: ByteBuffer
    package var highWatermark: Offset
    package var lastStableOffset: Offset
    /// -1 where the broker does not say.
    package var logStartOffset: Offset
    /// Transactions whose records do not count; empty unless only committed records were asked for.
    var aborted: [(producerID: ProducerID, firstOffset: Offset)]
}

/// A partition to be read from its leader, one answer at a time. Holds no records itself.
package struct StoredPartition: Sendable {
    package let partition: TopicPartition
    package let isolation: IsolationLevel
    private let cluster: ClusterClient
    private let maximumBytes: Int

    /// - Parameter maximumBytes: of one answer, but for a first batch that is larger.
    package init(_ cluster: ClusterClient, _ partition: TopicPartition, isolation: IsolationLevel = .readUncommitted, maximumBytes: Int) {
        self.cluster = cluster
        self.partition = partition
        self.isolation = isolation
        self.maximumBytes = maximumBytes
    }

    /// What is stored from an offset on; tried again while the leader cannot be asked.
    ///
    /// - Throws: OFFSET_OUT_OF_RANGE when the partition has no such offset any more.
    package func read(from offset: Offset) async throws(KafkaError) -> StoredAnswer {
        try await cluster.retrying { () throws(KafkaError) in
            let leader = try await cluster.leader(of: partition)
            let id = cluster.view.topics[partition.topic]?.topicID ?? .zero
            let response = try await cluster.send(
                request(offset, id), to: .node(leader), purpose: .fetch, allowed: 4...(id == .zero ? 12 : 18))
            try response.errorCode.check(about: "fetch from broker \(leader)")
            guard let data = response.responses.first?.partitions.first else {
                throw KafkaError(.protocolViolation, "the answer to Fetch does not mention \(partition)")
            }
            try data.errorCode.check(about: "\(partition) at offset \(offset)")
            return StoredAnswer(
                records: data.records ?? ByteBuffer(), highWatermark: data.highWatermark, lastStableOffset: data.lastStableOffset,
                logStartOffset: data.logStartOffset,
                aborted: (data.abortedTransactions ?? []).map { ($0.producerId, $0.firstOffset) })
        }
    }

    private func request(_ offset: Offset, _ id: KafkaUUID) -> FetchRequest {
        var data = FetchRequest.FetchPartition()
        data.partition = partition.partition
        data.fetchOffset = offset
        data.partitionMaxBytes = Int32(clamping: maximumBytes)
        var topic = FetchRequest.FetchTopic()
        topic.topic = partition.topic
        topic.topicId = id
        topic.partitions = [data]
        var request = FetchRequest()
        request.maxWaitMs = 500
        request.minBytes = 1
        request.maxBytes = Int32(clamping: maximumBytes)
        request.isolationLevel = isolation.rawValue
        request.topics = [topic]
        return request
    }
}

/// Goes through a partition's batches, or its committed records, in order; keeps one answer at a time.
package struct StoredCursor: Sendable {
    /// How many answers without records make a gap that goes on to the end.
    private static let answersUntilGap = 3

    package let source: StoredPartition
    /// The offset that comes next.
    package private(set) var position: Offset
    /// Bytes that were read in all.
    package private(set) var bytesRead = 0
    private var batches: RecordBatchIterator?
    private var unread: ArraySlice<ConsumerBatch> = []
    private var records: ArraySlice<ConsumerRecord> = []
    private var emptyAnswers = 0

    package init(_ source: StoredPartition, at position: Offset) {
        self.source = source
        self.position = position
    }

    /// Goes on at an offset, forwards or back.
    package mutating func seek(to offset: Offset) {
        guard offset != position else { return }
        position = offset
        batches = nil
        unread = []
        records = []
        emptyAnswers = 0
    }

    /// Whether the leader has to be asked before the next batch or record before `end` is known.
    package mutating func needsAnswer(before end: Offset) throws(KafkaError) -> Bool {
        guard position < end, emptyAnswers < Self.answersUntilGap else { return false }
        if source.isolation == .readCommitted {
            try unpack()
            return records.isEmpty
        }
        guard let batches else { return true }
        return !batches.hasWholeBatch
    }

    /// Takes in what the leader answered about ``position``.
    package mutating func take(_ answer: StoredAnswer) throws(KafkaError) {
        bytesRead += answer.records.readableBytes
        emptyAnswers = answer.records.readableBytes == 0 ? emptyAnswers + 1 : 0
        do throws(RecordBatchError) {
            guard source.isolation == .readCommitted else {
                var bytes = answer.records
                if let magic = RecordBatchHeader.magic(in: bytes), magic < 2 { bytes = try LegacyMessage.convertToBatches(bytes) }
                return batches = RecordBatchIterator(bytes)
            }
            let reader = FetchedRecords(
                partition: source.partition, isolation: .readCommitted, verifiesChecksums: true,
                maximumDecompressedSize: RecordBatch.defaultMaximumDecompressedSize)
            unread = try reader.batches(in: answer.records, position: position, aborted: answer.aborted)[...]
        } catch {
            throw KafkaError(.corruptRecords, "\(source.partition) at offset \(position): \(error)")
        }
    }

    /// The next batch that begins before `end`; nil when there is none. Only after ``needsAnswer(before:)`` said no.
    package mutating func nextBatch(before end: Offset) throws(KafkaError) -> RecordBatch? {
        while position < end, let batch = try nextStored() {
            // An answer begins with the batch that the offset asked for is in.
            guard batch.header.nextOffset > position else { continue }
            guard batch.header.baseOffset < end else {
                seek(to: end)
                return nil
            }
            position = batch.header.nextOffset
            return batch
        }
        return nil
    }

    private mutating func nextStored() throws(KafkaError) -> RecordBatch? {
        do throws(RecordBatchError) {
            return try batches?.next()
        } catch {
            throw KafkaError(.corruptRecords, "\(source.partition) at offset \(position): \(error)")
        }
    }

    /// The next record before `end`; nil when there is none. Only after ``needsAnswer(before:)`` said no.
    package mutating func nextRecord(before end: Offset) -> ConsumerRecord? {
        guard let record = records.first, record.offset < end else { return nil }
        records.removeFirst()
        position = record.offset + 1
        return record
    }

    /// Unpacks batches until there is a record; what was passed over moves the position.
    private mutating func unpack() throws(KafkaError) {
        while records.isEmpty, let batch = unread.first {
            unread.removeFirst()
            records = try batch.records().drop { $0.offset < position }
            if records.isEmpty { position = max(position, batch.nextOffset) }
        }
    }
}

extension RecordBatchIterator {
    fileprivate var hasWholeBatch: Bool {
        guard let header = try? RecordBatchHeader(from: rest) else { return rest.readableBytes >= RecordBatchHeader.size }
        return header.sizeInBytes <= rest.readableBytes
    }
}
