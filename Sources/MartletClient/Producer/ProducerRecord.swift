// What goes into a producer, and what comes back.
import NIOCore
import RecordBatches

/// A record to send.
public struct ProducerRecord: Hashable, Sendable {
    public var topic: String
    /// Nil to let the partitioner choose.
    public var partition: Int32?
    public var key: ByteBuffer?
    /// Nil is a tombstone in a compacted topic.
    public var value: ByteBuffer?
    public var headers: RecordHeaders
    /// Milliseconds since 1970; nil for the time of sending.
    public var timestamp: Int64?

    public init(
        topic: String, partition: Int32? = nil, keyBytes: ByteBuffer?, valueBytes: ByteBuffer?, headers: RecordHeaders = RecordHeaders(),
        timestamp: Int64? = nil
    ) {
        self.topic = topic
        self.partition = partition
        key = keyBytes
        value = valueBytes
        self.headers = headers
        self.timestamp = timestamp
    }

    /// A record with a key and a value of any types that can be.
    public init<Key: RecordContent, Value: RecordContent>(
        topic: String, partition: Int32? = nil, key: Key, value: Value, headers: RecordHeaders = RecordHeaders(), timestamp: Int64? = nil
    ) {
        self.init(
            topic: topic, partition: partition, keyBytes: key.recordBytes, valueBytes: value.recordBytes, headers: headers,
            timestamp: timestamp)
    }

    /// A record without a key.
    public init<Value: RecordContent>(
        topic: String, partition: Int32? = nil, value: Value, headers: RecordHeaders = RecordHeaders(), timestamp: Int64? = nil
    ) {
        self.init(
            topic: topic, partition: partition, keyBytes: nil, valueBytes: value.recordBytes, headers: headers, timestamp: timestamp)
    }
}

/// Where a record was written.
public struct RecordMetadata: Hashable, Sendable {
    public var topic: String
    public var partition: Int32
    /// -1 when it is not known: with acks=0, or when a broker recognised a repeated batch too old to remember its offset.
    public var offset: Int64
    /// Milliseconds since 1970, the record's own or the broker's.
    public var timestamp: Int64
}

/// A whole batch that was acknowledged or given up, for those who count and measure.
public struct BatchDelivery: Sendable {
    public var partition: TopicPartition
    public var recordCount: Int
    /// Bytes of the batch as it was sent.
    public var bytes: Int
    /// From the first record's arrival in the batch to the acknowledgement.
    public var latencyNanoseconds: Int64
    public var baseOffset: Int64
    /// Nil after success.
    public var error: KafkaError?
}

/// Who must have a record before it counts as written.
public enum Acknowledgements: Int16, Hashable, Sendable {
    /// Nobody: fire and forget, without offsets.
    case none = 0
    /// The partition's leader.
    case leader = 1
    /// All replicas that are in sync.
    case all = -1
}

/// Settings of a producer. The defaults are those of Apache Kafka 4, except for the larger batches.
public struct ProducerConfiguration: Sendable {
    public var client: ClientConfiguration
    public var acknowledgements = Acknowledgements.all
    /// Each record is written once and in order, whatever is repeated underneath (KIP-98). Needs ``Acknowledgements/all``.
    public var isIdempotent = true
    public var compression = Compression.none
    public var partitioner = Partitioner.standard
    /// Bytes before compression at which a batch is full.
    public var batchSize = 64 * 1024
    /// How long a batch waits for more records.
    public var linger: Duration = .milliseconds(5)
    /// Bytes of a request; also bounds one record.
    public var maximumRequestSize = 1 << 20
    /// Bytes of all records that wait or are on their way; enqueueing waits beyond that.
    public var bufferMemory = 32 << 20
    /// From enqueueing to success or failure, all attempts included.
    public var deliveryTimeout: Duration = .seconds(120)
    /// How long enqueueing waits for metadata or for space.
    public var maximumBlockTime: Duration = .seconds(60)
    /// Whether a topic that does not exist may be created by the broker, if that allows it.
    public var allowTopicCreation = true
    /// Called for every batch when its fate is known, on an event loop: be quick.
    public var onBatch: (@Sendable (BatchDelivery) -> Void)?

    public init(_ client: ClientConfiguration) {
        self.client = client
    }

    public init(bootstrapServers: String) throws(KafkaError) {
        self.init(try ClientConfiguration(bootstrapServers: bootstrapServers))
    }

    func validate() throws(KafkaError) {
        if isIdempotent, acknowledgements != .all {
            throw KafkaError(.invalidArgument, "an idempotent producer needs acknowledgements from all replicas; set isIdempotent = false")
        }
        guard batchSize > 0, maximumRequestSize > 0, bufferMemory >= maximumRequestSize else {
            throw KafkaError(.invalidArgument, "batchSize and maximumRequestSize are positive, and bufferMemory is no less than the latter")
        }
        guard linger >= .zero, deliveryTimeout > .zero else {
            throw KafkaError(.invalidArgument, "linger is not negative and deliveryTimeout is positive")
        }
        if let level = compression.level, Compression.levels(of: compression.type)?.contains(level) != true {
            throw KafkaError(.invalidArgument, "compression level \(level) does not exist for \(compression.type)")
        }
    }
}
