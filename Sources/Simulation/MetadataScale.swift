// What metadata of many partitions cost: to load, to keep, to elect new leaders when a broker is lost, to answer Metadata. The cores do it
// all; only files and sockets are left out.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives
import RecordBatches

/// A cluster of so many partitions with three replicas on ten brokers.
public struct MetadataScale {
    /// One figure.
    public struct Figure: Sendable {
        public var name: String
        public var value: Double
        public var unit: String
    }

    public enum ScaleError: Error {
        case damaged(String)
    }

    private static let brokers: Int32 = 10
    private let partitions: Int
    private let partitionsPerTopic: Int
    /// Seconds of a clock, best one that counts CPU time.
    private let now: () -> Double
    /// Bytes that the process occupies.
    private let residentBytes: () -> Int

    public init(partitions: Int, partitionsPerTopic: Int = 1000, now: @escaping () -> Double, residentBytes: @escaping () -> Int) {
        self.partitions = partitions
        self.partitionsPerTopic = min(partitionsPerTopic, partitions)
        self.now = now
        self.residentBytes = residentBytes
    }

    /// Runs through all of it once.
    public func run() throws -> [Figure] {
        var figures: [Figure] = []
        func note(_ name: String, _ value: Double, _ unit: String) { figures.append(Figure(name: name, value: value, unit: unit)) }
        let snapshot = try snapshot()
        note("snapshot", Double(snapshot.readableBytes) / 1e6, "MB")
        let before = residentBytes()
        var began = now()
        let image = try load(snapshot)
        note("load", now() - began, "s")
        note("image", Double(residentBytes() - before) / 1e6, "MB")
        began = now()
        var controller = Controller(
            ControllerConfiguration(nodeID: 1, clusterID: ClusterWorld.clusterID), image: image, seed: 1)
        controller.activated(now: 0)
        note("controller", now() - began, "s")
        note("image and controller", Double(residentBytes() - before) / 1e6, "MB")
        began = now()
        let result = try controller.fenceBroker(1, epoch: 1)
        note("records of a lost broker", Double(result.records.count), "")
        note("decide", now() - began, "s")
        began = now()
        let bytes = try batches(result.records)
        note("their batches", Double(bytes.readableBytes) / 1e6, "MB")
        note("encode", now() - began, "s")
        began = now()
        let publication = try controller.replay(result.records.map(\.record), at: 10_000_000, epoch: 2, timestamp: 0)
        note("replay", now() - began, "s")
        guard let newest = publication?.image, newest.topics.all.allSatisfy({ $0.partitions.allSatisfy { $0.leader != 1 } }) else {
            throw ScaleError.damaged("the lost broker still leads")
        }
        try metadata(newest, note)
        return figures
    }

    private func metadata(_ image: MetadataImage, _ note: (String, Double, String) -> Void) throws {
        let view = ClusterView(image: image, listenerName: "PLAINTEXT")
        var began = now()
        let rounds = 20
        for _ in 0..<rounds {
            guard let topic = image.topics.topic(named: "topic-0") else { throw ScaleError.damaged("no topic") }
            var response = MetadataResponse()
            response.topics = [view.topic(topic, 12)]
            _ = try response.encoded(version: 12)
        }
        note("Metadata of a topic", (now() - began) / Double(rounds) * 1000, "ms")
        began = now()
        var response = MetadataResponse()
        response.topics = image.topics.all.map { view.topic($0, 12) }
        let bytes = try response.encoded(version: 12)
        note("Metadata of all topics", now() - began, "s")
        note("its size", Double(bytes.readableBytes) / 1e6, "MB")
    }

    // MARK: Snapshots

    private func snapshot() throws -> ByteBuffer {
        var records: [VersionedRecord] = []
        var feature = FeatureLevelRecord()
        feature.name = MetadataVersion.featureName
        feature.featureLevel = MetadataVersion.latest.rawValue
        records.append(VersionedRecord(.featureLevel(feature)))
        for id in 1...Self.brokers { records.append(broker(id)) }
        var random = SeededRandom(seed: 7)
        var written = 0
        var number = 0
        while written < partitions {
            var topic = TopicRecord()
            topic.name = "topic-\(number)"
            topic.topicId = KafkaUUID.random(using: &random)
            records.append(VersionedRecord(.topic(topic)))
            for index in 0..<min(partitionsPerTopic, partitions - written) {
                var record = PartitionRecord()
                record.partitionId = Int32(index)
                record.topicId = topic.topicId
                let first = Int32((number + index) % Int(Self.brokers))
                record.replicas = (0..<3).map { (first + $0 * 3) % Self.brokers + 1 }
                record.isr = record.replicas
                record.leader = record.replicas[0]
                record.directories = record.replicas.map { KafkaUUID(mostSignificantBits: 1, leastSignificantBits: UInt64(1000 + $0)) }
                records.append(VersionedRecord(.partition(record), version: MetadataVersion.latest.partitionRecordVersion))
            }
            written += partitionsPerTopic
            number += 1
        }
        return try batches(records)
    }

    private func broker(_ id: NodeID) -> VersionedRecord {
        var record = RegisterBrokerRecord()
        record.brokerId = id
        record.brokerEpoch = 1
        record.incarnationId = KafkaUUID(mostSignificantBits: 2, leastSignificantBits: UInt64(id))
        record.fenced = false
        record.logDirs = [KafkaUUID(mostSignificantBits: 1, leastSignificantBits: UInt64(1000 + id))]
        var endpoint = RegisterBrokerRecord.BrokerEndpoint()
        endpoint.name = "PLAINTEXT"
        endpoint.host = "broker-\(id).example"
        endpoint.port = 9092
        record.endPoints = [endpoint]
        return VersionedRecord(.registerBroker(record), version: MetadataVersion.latest.registerBrokerRecordVersion)
    }

    /// As they lie in the log and in snapshots: about a megabyte in each batch.
    private func batches(_ records: [VersionedRecord]) throws -> ByteBuffer {
        var bytes = ByteBuffer()
        var offset: Offset = 0
        var builder = RecordBatchBuilder(baseOffset: 0, baseTimestamp: 0)
        for record in records {
            builder.append(timestamp: 0, key: nil, value: try record.record.encoded(version: record.version))
            offset += 1
            if builder.uncompressedSize >= 1 << 20 {
                var batch = try builder.build()
                bytes.writeBuffer(&batch)
                builder = RecordBatchBuilder(baseOffset: offset, baseTimestamp: 0)
            }
        }
        if !builder.isEmpty {
            var batch = try builder.build()
            bytes.writeBuffer(&batch)
        }
        return bytes
    }

    private func load(_ snapshot: ByteBuffer) throws -> MetadataImage {
        var delta = MetadataDelta(from: .empty)
        var batches = RecordBatchIterator(snapshot)
        while let batch = try batches.next() {
            try batch.verifyChecksum()
            var records = try batch.records()
            while let record = try records.next() {
                guard let value = record.value else { throw ScaleError.damaged("a record without a value") }
                try delta.replay(try MetadataRecord.decode(value).record)
            }
        }
        return delta.apply(MetadataProvenance(offset: 9_999_999, epoch: 1, timestamp: 0)).image
    }
}
