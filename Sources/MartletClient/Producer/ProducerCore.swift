// The producer's decisions without clock, network or threads: batching, sequence numbers, what to send next, what to repeat.
//
// For idempotence (KIP-98) every batch of a partition carries consecutive sequence numbers, which a broker checks. A batch keeps its
// numbers through all attempts, so a repeated one is recognised. When a batch that was sent is given up, the numbers behind it do not
// fit any more ("gap"): once nothing of the partition is on its way and no batch's fate is open, the partition goes on under the next
// epoch from number 0. Epochs are counted per partition, which is how brokers check them.
import DequeModule
import NIOCore
import OrderedCollections
import Primitives
import RecordBatches

/// Called with a record's fate.
public typealias DeliveryHandler = @Sendable (Result<RecordMetadata, KafkaError>) -> Void

/// Producer id, epoch and first sequence number of a batch.
struct BatchIdentity: Hashable, Sendable {
    var producerID: ProducerID
    var epoch: Int16
    var baseSequence: Int32
}

/// Records of one partition on their way to the broker.
struct ProducerBatch: Sendable {
    let id: UInt64
    /// How many ids from its own on belong to the batch, for what it may be cut into.
    var reservedIDs = ProducerCore.idsPerBatch
    let partition: TopicPartition
    /// Monotonic milliseconds and nanoseconds.
    let createdAt: Int64
    let createdAtNanoseconds: Int64
    /// Taken out when the batch is built.
    var builder: RecordBatchBuilder?
    /// The built batch.
    var bytes: ByteBuffer?
    var recordCount = 0
    /// What the records count against the buffer memory.
    var charge = 0
    /// Handlers by position in the batch, with the records' timestamps; sparse, since most records need none.
    var deliveries: [(index: Int, timestamp: Timestamp, handler: DeliveryHandler)] = []
    var attempts = 0
    var notBefore: Int64 = 0
    var identity: BatchIdentity?
    /// Counts the batches of a partition's present epoch.
    var ordinal: Int64 = -1
    /// An attempt was made whose outcome nobody knows.
    var isOutcomeUnknown = false
    var lastError: KafkaError?

    var isOpen: Bool { builder != nil }
}

struct ProducerCore: Sendable {
    struct Settings: Sendable {
        var isIdempotent = true
        var compression = Compression.none
        var batchSize = 16_384
        var lingerMilliseconds: Int64 = 0
        var deliveryTimeoutMilliseconds: Int64 = 120_000
        var maximumInFlight = 5
        var maximumRequestSize = 1 << 20
        var bufferMemory = 32 << 20
        var backoff = Backoff(initial: .milliseconds(100), maximum: .seconds(1))
    }

    struct PartitionState: Sendable {
        /// Batches that are not on their way, the oldest first; the last one may be open.
        var queue = Deque<ProducerBatch>()
        /// Ids of batches that are on their way, in the order of sending.
        var inFlight: [UInt64] = []
        var producerID: ProducerID = -1
        var epoch: Int16 = -1
        var nextSequence: Int32 = 0
        /// -1 before the first under the present epoch.
        var lastAcknowledgedSequence: Int32 = -1
        var lastAcknowledgedOrdinal: Int64 = -1
        var nextOrdinal: Int64 = 0
        var hasGap = false
        /// What sequences and duplicates of an exhausted producer id wait for.
        var needsNewProducerID = false
    }

    enum AppendResult {
        /// `isReady`: a batch is full; `isNew`: a batch was begun, whose linger time now runs.
        case appended(isReady: Bool, isNew: Bool)
        case full
    }

    let settings: Settings
    var partitions: OrderedDictionary<TopicPartition, PartitionState> = [:]
    var inFlight: [UInt64: ProducerBatch] = [:]
    var inFlightRequests: [NodeID: Int] = [:]
    var requests: [UInt64: (node: NodeID, batches: [UInt64])] = [:]
    /// Bytes of all records that are not finished.
    private(set) var bufferedBytes = 0
    /// The id and epoch that new partitions begin with; nil until assigned.
    private(set) var producerID: (id: ProducerID, epoch: Int16)?
    private(set) var nextID: UInt64 = 1
    /// Batches up to this id do not wait for more records.
    var flushedThrough: UInt64 = 0
    var random: SeededRandom

    init(settings: Settings, seed: UInt64) {
        self.settings = settings
        random = SeededRandom(seed: seed)
    }

    /// Ids of batches leave room for the pieces of one that is cut in half again and again.
    static let idsPerBatch: UInt64 = 1 << 24

    mutating func makeID() -> UInt64 {
        defer { nextID += Self.idsPerBatch }
        return nextID
    }

    mutating func release(_ batch: ProducerBatch) {
        bufferedBytes -= batch.charge
    }

    /// Takes a record into its partition's open batch, or a new one.
    ///
    /// - Parameter now: monotonic nanoseconds.
    mutating func append(
        _ record: ProducerRecord, to partition: TopicPartition, size: Int, timestamp: Timestamp, nowNanoseconds: Int64,
        delivery: DeliveryHandler?
    ) -> AppendResult {
        guard bufferedBytes == 0 || bufferedBytes + size <= settings.bufferMemory else { return .full }
        bufferedBytes += size
        // One look-up per record; everything after it goes by position.
        let index: Int
        if let found = partitions.index(forKey: partition) {
            index = found
        } else {
            partitions[partition] = PartitionState()
            index = partitions.count - 1
        }
        var isNew = false
        var closesLast = false
        let last = partitions.values[index].queue.count - 1
        if last < 0 || !partitions.values[index].queue[last].isOpen
            || partitions.values[index].queue[last].charge + size > settings.batchSize
        {
            closesLast = last >= 0 && partitions.values[index].queue[last].isOpen
            if closesLast { partitions.values[index].queue[last].notBefore = 0 }
            var batch = ProducerBatch(
                id: makeID(), partition: partition, createdAt: nowNanoseconds / 1_000_000, createdAtNanoseconds: nowNanoseconds)
            batch.builder = RecordBatchBuilder(
                compression: settings.compression, capacity: min(settings.batchSize + RecordBatchHeader.size, max(size + 128, 2048)))
            partitions.values[index].queue.append(batch)
            isNew = true
        }
        let position = partitions.values[index].queue.count - 1
        partitions.values[index].queue[position].add(record, size: size, timestamp: timestamp, delivery: delivery)
        let isFull = partitions.values[index].queue[position].charge >= settings.batchSize
        return .appended(isReady: closesLast || isFull, isNew: isNew)
    }

    /// Every batch that exists now is to be sent without waiting for more records. Returns what to wait for.
    mutating func flush() -> UInt64 {
        flushedThrough = nextID - 1
        return flushedThrough
    }

    /// Whether every batch up to an id is finished.
    func isFinished(through id: UInt64) -> Bool {
        if inFlight.keys.contains(where: { $0 <= id }) { return false }
        return !partitions.values.contains { state in state.queue.contains { $0.id <= id } }
    }

    var isEmpty: Bool { inFlight.isEmpty && partitions.values.allSatisfy(\.queue.isEmpty) }

    mutating func assign(producerID: ProducerID, epoch: Int16) {
        self.producerID = (producerID, epoch)
        for index in partitions.values.indices { partitions.values[index].needsNewProducerID = false }
    }

    /// The present id's epochs are used up on some partition: another id is needed.
    mutating func retireProducerID() {
        producerID = nil
    }
}

extension ProducerBatch {
    fileprivate mutating func add(_ record: ProducerRecord, size: Int, timestamp: Timestamp, delivery: DeliveryHandler?) {
        builder?.append(timestamp: timestamp, key: record.key, value: record.value, headers: record.headers)
        if let delivery { deliveries.append((recordCount, timestamp, delivery)) }
        recordCount += 1
        charge += size
    }

    /// The batch's bytes with an identity in its header.
    func bytes(with identity: BatchIdentity?) -> ByteBuffer? {
        guard var bytes else { return nil }
        guard let identity, var header = try? RecordBatchHeader(from: bytes) else { return bytes }
        header.producerId = identity.producerID
        header.producerEpoch = identity.epoch
        header.baseSequence = identity.baseSequence
        let start = bytes.readerIndex
        header.write(into: &bytes, at: start)
        let checksummed = RecordBatchHeader.Position.attributes
        let checksum = bytes.withUnsafeReadableBytes { CRC32C.checksum(UnsafeRawBufferPointer(rebasing: $0[checksummed...])) }
        bytes.setInteger(checksum, at: start + RecordBatchHeader.Position.crc)
        return bytes
    }
}
