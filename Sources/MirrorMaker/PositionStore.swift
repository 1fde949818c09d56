// How far each partition was copied, kept on the target in the topic and form of MirrorMaker 2's Connect workers: a mirror that takes over
// from MirrorMaker goes on where that stopped, and the other way round.
import MartletClient
import Mirroring
import NIOCore
import Primitives
import RecordBatches
import Synchronization

/// The next offset to copy of a partition.
struct StoredPosition: Sendable {
    var partition: TopicPartition
    var next: Int64
    /// What its target's partition has of each origin; nil where origins do not matter.
    var origins: OriginSnapshot?
    /// What had been forgotten of that before, by its count.
    var losses = 0

    fileprivate func record(_ sourceAlias: String) -> (position: SourcePosition, headers: RecordHeaders) {
        // -1 for a partition of which nothing was copied yet; Kafka's own workers take that so, too.
        let position = SourcePosition(sourceAlias: sourceAlias, partition: partition, offset: next - 1)
        guard let origins else { return (position, RecordHeaders()) }
        return (position, [RecordHeader(OriginSnapshot.header, origins.value)])
    }
}

/// The positions of a flow.
final class PositionStore: Sendable {
    let topic: String
    let partitions: Int32
    private let sourceAlias: String
    private let client: ClientConfiguration
    private let producer: KafkaProducer

    init(_ flow: MirrorFlow, _ clients: FlowClients) throws(KafkaError) {
        topic = flow.positionsTopic
        partitions = flow.positionsPartitions
        sourceAlias = flow.source
        client = clients.targetConsumer
        var configuration = ProducerConfiguration(clients.targetProducer)
        configuration.allowTopicCreation = false
        producer = try KafkaProducer(configuration)
    }

    /// The next offset to copy of every partition that was copied before.
    func load() async throws(KafkaError) -> [TopicPartition: StoredPosition] {
        var found: [TopicPartition: (position: StoredPosition, timestamp: Int64)] = [:]
        let alias = sourceAlias
        try await TopicReading.readAll(topic, client, isolation: .readCommitted) { record in
            guard let key = record.key, let position = try? SourcePosition(key: key, value: record.value), position.sourceAlias == alias
            else { return }
            // The same key can stand in two partitions, when another kind of worker spelled it in another order.
            if let known = found[position.partition], known.timestamp > record.timestamp { return }
            let origins = record.headers.first { $0.key == OriginSnapshot.header }?.value.flatMap { OriginSnapshot($0) }
            found[position.partition] = (
                StoredPosition(partition: position.partition, next: position.offset + 1, origins: origins), record.timestamp
            )
        }
        return found.mapValues(\.position)
    }

    /// Stores positions and waits until they are.
    func store(_ positions: [StoredPosition]) async throws(KafkaError) {
        for stored in positions {
            let (position, headers) = stored.record(sourceAlias)
            try await producer.enqueue(ProducerRecord(topic: topic, keyBytes: position.key, valueBytes: position.value, headers: headers))
        }
        try await producer.flush()
    }

    /// The same as batches, for a transaction that also holds the records.
    ///
    /// - Parameter count: partitions of the topic.
    func batches(
        _ positions: [StoredPosition], partitions count: Int32
    ) throws(RecordBatchError) -> [(target: TopicPartition, batch: CopiedBatch)] {
        var builders: [Int32: RecordBatchBuilder] = [:]
        let now = SystemClock.now()
        for stored in positions {
            let (position, headers) = stored.record(sourceAlias)
            let number = Murmur2.partition(forKey: position.key, count: count)
            builders[number, default: RecordBatchBuilder()].append(
                timestamp: now, key: position.key, value: position.value, headers: headers)
        }
        var batches: [(target: TopicPartition, batch: CopiedBatch)] = []
        for (number, builder) in builders.sorted(by: { $0.key < $1.key }) {
            let count = builder.count
            batches.append(
                (
                    TopicPartition(topic, number),
                    CopiedBatch(bytes: try builder.build(), count: count, segments: [], maximumTimestamp: now)
                ))
        }
        return batches
    }

    func close() async { try? await producer.close() }
}
