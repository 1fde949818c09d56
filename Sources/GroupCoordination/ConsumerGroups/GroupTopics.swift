// What coordination has to know of the cluster's topics: it assigns their partitions and tells when they change.
import Primitives

/// A topic as far as the assignment of its partitions goes.
public struct GroupTopic: Sendable, Equatable {
    public var name: String
    public var id: TopicID
    public var partitionCount: Int32

    public init(name: String, id: TopicID, partitionCount: Int32) {
        self.name = name
        self.id = id
        self.partitionCount = partitionCount
    }
}

/// The topics of the cluster at one moment; the broker answers from its metadata.
public protocol GroupTopics: Sendable {
    func topic(named name: String) -> GroupTopic?
    func topic(id: TopicID) -> GroupTopic?
    /// Racks of the brokers that have a replica of the partition, for the hash that tells changes.
    func racks(topic: String, partition: Int32) -> [String]
    /// Calls `body` with the name of every topic, always in the same order.
    func forEachName(_ body: (String) -> Void)
    /// The offset of the metadata that the topics are from; Kafka stores it with resolved expressions.
    var version: Int64 { get }
    /// The settings that a group has of its own.
    func overrides(of group: String) -> ConsumerGroupOverrides
    /// The same for a share group.
    func shareOverrides(of group: String) -> ConsumerGroupOverrides
    /// The settings that a streams group has of its own.
    func streamsOverrides(of group: String) -> StreamsGroupOverrides
}

extension GroupTopics {
    public func shareOverrides(of group: String) -> ConsumerGroupOverrides { ConsumerGroupOverrides() }
    public func streamsOverrides(of group: String) -> StreamsGroupOverrides { StreamsGroupOverrides() }
}

/// A cluster without topics: what a coordinator knows before it is told of any.
public struct NoGroupTopics: GroupTopics {
    public init() {}
    public func topic(named name: String) -> GroupTopic? { nil }
    public func topic(id: TopicID) -> GroupTopic? { nil }
    public func racks(topic: String, partition: Int32) -> [String] { [] }
    public func forEachName(_ body: (String) -> Void) {}
    public var version: Int64 { 0 }
    public func overrides(of group: String) -> ConsumerGroupOverrides { ConsumerGroupOverrides() }
}
