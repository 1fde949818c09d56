// Finds partitions on the data path: a snapshot that is replaced when the metadata changes, and read under a short lock.
import KafkaWire
import Observability
import Primitives
import Synchronization

/// The partitions of one topic that this node holds, by index.
final class TopicPartitions: Sendable {
    let name: String
    let id: TopicID
    /// How many partitions the topic has in the cluster.
    let count: Int
    private let partitions: [Partition?]
    let metrics: TopicMetrics

    init(name: String, id: TopicID, partitions: [Partition?], metrics: TopicMetrics) {
        self.metrics = metrics
        self.name = name
        self.id = id
        self.partitions = partitions
        count = partitions.count
    }

    subscript(index: Int32) -> Partition? {
        index >= 0 && index < Int32(partitions.count) ? partitions[Int(index)] : nil
    }

    /// Whether the topic has such a partition anywhere in the cluster.
    func contains(_ index: Int32) -> Bool { index >= 0 && Int(index) < count }

    var all: [Partition] { partitions.compactMap { $0 } }
}

/// All topics as the data path sees them.
struct PartitionTable: Sendable {
    private(set) var byName: [String: TopicPartitions] = [:]
    private(set) var byID: [TopicID: TopicPartitions] = [:]

    mutating func set(_ topic: TopicPartitions) {
        byName[topic.name] = topic
        byID[topic.id] = topic
    }

    mutating func remove(_ topic: TopicPartitions) {
        byID[topic.id] = nil
        if byName[topic.name]?.id == topic.id { byName[topic.name] = nil }
    }
}

/// The current table.
final class PartitionRegistry: Sendable {
    private let table = Mutex(PartitionTable())

    func topic(_ name: String) -> TopicPartitions? { table.withLock { $0.byName[name] } }
    func topic(_ id: TopicID) -> TopicPartitions? { table.withLock { $0.byID[id] } }
    func partition(_ topicPartition: TopicPartition) -> Partition? { topic(topicPartition.topic)?[topicPartition.partition] }

    /// What to answer about a partition that is not here. As Kafka: one that is elsewhere is told apart, since clients then ask anew where,
    /// while they take a topic for gone, or ask the same broker again and again, when it is called unknown.
    func refusal(of missing: TopicPartition) -> ErrorCode {
        topic(missing.topic)?.contains(missing.partition) == true ? .notLeaderOrFollower : .unknownTopicOrPartition
    }

    /// Every partition on this node, in no particular order.
    var all: [Partition] { table.withLock { table in table.byID.values.flatMap(\.all) } }
    var topics: [TopicPartitions] { table.withLock { Array($0.byID.values) } }

    func set(_ topic: TopicPartitions) { table.withLock { $0.set(topic) } }
    func remove(_ topic: TopicPartitions) { table.withLock { $0.remove(topic) } }
}
