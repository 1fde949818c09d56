// Which partitions of a share group have their state with a share coordinator: only those are given to members. Others are on their way
// there, or on their way out.
import Collections
import KafkaRecords
import Primitives

struct ShareGroupStatePartitions: Sendable, Equatable {
    struct Topic: Sendable, Equatable {
        var name: String
        /// Sorted.
        var partitions: [Int32]
        /// When it was asked for, by the wall clock. Not in the log.
        var timestamp: Timestamp = 0
    }

    var initializing: OrderedDictionary<TopicID, Topic> = [:]
    var initialized: OrderedDictionary<TopicID, Topic> = [:]
    /// Name by id.
    var deleting: OrderedDictionary<TopicID, String> = [:]

    init() {}

    init(_ value: ShareGroupStatePartitionMetadataValue, now: Timestamp) {
        for topic in value.initializingTopics {
            initializing[topic.topicId] = Topic(name: topic.topicName, partitions: topic.partitions.sorted(), timestamp: now)
        }
        for topic in value.initializedTopics {
            initialized[topic.topicId] = Topic(name: topic.topicName, partitions: topic.partitions.sorted(), timestamp: now)
        }
        for topic in value.deletingTopics { deleting[topic.topicId] = topic.topicName }
    }

    var isEmpty: Bool { initializing.isEmpty && initialized.isEmpty && deleting.isEmpty }

    var record: ShareGroupStatePartitionMetadataValue {
        func info(_ topics: OrderedDictionary<TopicID, Topic>) -> [ShareGroupStatePartitionMetadataValue.TopicPartitionsInfo] {
            topics.map { id, topic in
                var info = ShareGroupStatePartitionMetadataValue.TopicPartitionsInfo()
                info.topicId = id
                info.topicName = topic.name
                info.partitions = topic.partitions
                return info
            }
        }
        var value = ShareGroupStatePartitionMetadataValue()
        value.initializingTopics = info(initializing)
        value.initializedTopics = info(initialized)
        value.deletingTopics = deleting.map { id, name in
            var info = ShareGroupStatePartitionMetadataValue.TopicInfo()
            info.topicId = id
            info.topicName = name
            return info
        }
        return value
    }

    /// Whether the group has state in the topic already, or asked for it.
    func knows(_ topic: TopicID) -> Bool { initialized[topic] != nil || initializing[topic] != nil }

    func isInitialized(_ partition: TopicIDPartition) -> Bool {
        initialized[partition.topicID]?.partitions.contains(partition.partition) ?? false
    }

    /// Partitions of a topic for which nobody has asked yet, or so long ago that the answer got lost.
    func missing(of topic: GroupTopic, now: Timestamp, retryInterval: Int64) -> [Int32] {
        var known = Set(initialized[topic.id]?.partitions ?? [])
        if let pending = initializing[topic.id], now &- pending.timestamp < retryInterval { known.formUnion(pending.partitions) }
        return (0..<max(topic.partitionCount, 0)).filter { !known.contains($0) }
    }

    mutating func beginInitializing(_ topic: TopicID, name: String, partitions: [Int32], now: Timestamp) {
        let all = Set(initializing[topic]?.partitions ?? []).union(partitions)
        initializing[topic] = Topic(name: name, partitions: all.sorted(), timestamp: now)
        deleting[topic] = nil
    }

    mutating func finishInitializing(_ topic: TopicID, name: String, partitions: [Int32]) {
        let all = Set(initialized[topic]?.partitions ?? []).union(partitions)
        initialized[topic] = Topic(name: name, partitions: all.sorted())
        abandonInitializing(topic, partitions: partitions)
    }

    mutating func abandonInitializing(_ topic: TopicID, partitions: [Int32]) {
        initializing[topic]?.partitions.removeAll { partitions.contains($0) }
        if initializing[topic]?.partitions.isEmpty == true { initializing[topic] = nil }
    }

    /// The topic's state is to be deleted.
    mutating func beginDeleting(_ topic: TopicID, name: String) {
        initializing[topic] = nil
        initialized[topic] = nil
        deleting[topic] = name
    }

    /// The topics are gone.
    ///
    /// - Returns: whether that changes anything.
    mutating func forget(_ topics: [TopicID]) -> Bool {
        let before = self
        for topic in topics {
            initializing[topic] = nil
            initialized[topic] = nil
            deleting[topic] = nil
        }
        return self != before
    }
}
