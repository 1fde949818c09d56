// The words every floor shares. Plain integers under Kafka's own names: they meet the wire, the disk and arithmetic on every
// path, and wrapping them would cost more noise than the mistakes it prevents.

/// Position of a record in a partition's log.
public typealias Offset = Int64

/// Grows by one with every new leader of a partition; -1 when unknown (KIP-101).
public typealias LeaderEpoch = Int32

/// A broker's or controller's `node.id`.
public typealias NodeID = Int32

/// A producer's id, -1 for none (KIP-98).
public typealias ProducerID = Int64

/// Milliseconds since 1970-01-01T00:00:00Z, as Kafka's record timestamps.
public typealias Timestamp = Int64

/// A topic's id (KIP-516).
public typealias TopicID = KafkaUUID

/// One partition of a topic, by the topic's name.
public struct TopicPartition: Hashable, Sendable, Comparable, CustomStringConvertible {
    public var topic: String
    public var partition: Int32

    public init(_ topic: String, _ partition: Int32) {
        self.topic = topic
        self.partition = partition
    }

    /// Kafka's spelling, also the name of the partition's directory: `topic-0`.
    public var description: String { "\(topic)-\(partition)" }

    public static func < (left: TopicPartition, right: TopicPartition) -> Bool {
        (left.topic, left.partition) < (right.topic, right.partition)
    }
}

/// One partition of a topic, by the topic's id.
public struct TopicIDPartition: Hashable, Sendable {
    public var topicID: TopicID
    public var partition: Int32

    public init(_ topicID: TopicID, _ partition: Int32) {
        self.topicID = topicID
        self.partition = partition
    }
}
