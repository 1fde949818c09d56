// The records of __transaction_state, in Kafka's format: a key that begins with its type, a value that begins with its version.
import Collections
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// A record of a transaction coordinator's partition. Without metadata it is a tombstone.
public struct TransactionRecord: Sendable, Equatable {
    public var transactionalID: String
    public var metadata: TransactionMetadata?

    private static let type: Int16 = 0

    public init(transactionalID: String, metadata: TransactionMetadata?) {
        self.transactionalID = transactionalID
        self.metadata = metadata
    }

    /// Reads a record.
    ///
    /// - Returns: nil for a type or version that nobody knows: Kafka's rule is to pass over it.
    /// - Throws: when a record of a known type is damaged.
    public init?(key: ByteBuffer, value: ByteBuffer?) throws(WireError) {
        guard let type: Int16 = key.getInteger(at: key.readerIndex) else {
            throw WireError(
                message: "TransactionLogKey", field: "type", offset: 0, reason: .truncated(needed: 2, remaining: key.readableBytes))
        }
        guard type == Self.type else { return nil }
        var body = key
        body.moveReaderIndex(forwardBy: 2)
        transactionalID = try TransactionLogKey(decoding: body, version: 0).transactionalId
        guard let value else { return }
        guard let version: Int16 = value.getInteger(at: value.readerIndex), TransactionLogValue.validVersions.contains(version) else {
            return nil
        }
        guard let metadata = TransactionMetadata(try TransactionLogValue(decodingWithVersion: value)) else { return nil }
        self.metadata = metadata
    }

    /// The record's key and value as they are stored.
    ///
    /// - Parameter version: of the value: 1 from transaction.version 1 on, else 0.
    /// - Throws: when a name is longer than the format can hold.
    public func encoded(version: Int16) throws(WireError) -> (key: ByteBuffer, value: ByteBuffer?) {
        var key = TransactionLogKey()
        key.transactionalId = transactionalID
        return (
            try Self.encode(key, prefix: Self.type, version: 0),
            try metadata.map { metadata throws(WireError) in
                try Self.encode(metadata.value(version: version), prefix: version, version: version)
            }
        )
    }

    private static func encode(_ message: some KafkaMessage, prefix: Int16, version: Int16) throws(WireError) -> ByteBuffer {
        var writer = WireWriter(ByteBufferAllocator().buffer(capacity: 128))
        writer.int16(prefix)
        try message.encode(to: &writer, version: version)
        return writer.buffer
    }
}

extension TransactionMetadata {
    /// - Returns: nil for a state that nobody knows.
    init?(_ value: TransactionLogValue) {
        guard let state = TransactionState(rawValue: value.transactionStatus) else { return nil }
        self.init(
            producerID: value.producerId, producerEpoch: value.producerEpoch, timeoutMilliseconds: value.transactionTimeoutMs, state: state,
            now: value.transactionLastUpdateTimestampMs)
        previousProducerID = value.previousProducerId
        nextProducerID = value.nextProducerId
        startTimestamp = value.transactionStartTimestampMs
        clientVersion = value.clientTransactionVersion
        guard state != .empty else { return }
        for topic in value.transactionPartitions ?? [] {
            for partition in topic.partitionIds { partitions.append(TopicPartition(topic.topic, partition)) }
        }
    }

    func value(version: Int16) -> TransactionLogValue {
        var value = TransactionLogValue()
        value.producerId = producerID
        value.producerEpoch = producerEpoch
        value.transactionTimeoutMs = timeoutMilliseconds
        value.transactionStatus = state.rawValue
        value.transactionLastUpdateTimestampMs = lastUpdateTimestamp
        value.transactionStartTimestampMs = startTimestamp
        if version >= 1 {
            value.previousProducerId = previousProducerID
            value.nextProducerId = nextProducerID
            value.clientTransactionVersion = clientVersion
        }
        guard state != .empty else {
            value.transactionPartitions = nil
            return value
        }
        value.transactionPartitions = partitions.byTopic.map { topic, indexes in
            var schema = TransactionLogValue.PartitionsSchema()
            schema.topic = topic
            schema.partitionIds = indexes
            return schema
        }
        return value
    }
}

extension OrderedSet<TopicPartition> {
    /// Grouped by topic, in the order in which topics and partitions came.
    public var byTopic: [(topic: String, partitions: [Int32])] {
        var topics: OrderedDictionary<String, [Int32]> = [:]
        for entry in self { topics[entry.topic, default: []].append(entry.partition) }
        return topics.map { (topic: $0.key, partitions: $0.value) }
    }
}
