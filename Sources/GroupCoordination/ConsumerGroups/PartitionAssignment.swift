// Partitions that a member has or is to have: sorted and flat, because most members have few and all steps walk them in order.
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

/// A partition of a member and the epoch at which it was given to it.
struct AssignedPartition: Sendable, Hashable {
    var partition: TopicIDPartition
    var epoch: Int32

    init(_ partition: TopicIDPartition, epoch: Int32) {
        self.partition = partition
        self.epoch = epoch
    }
}

extension TopicIDPartition {
    func precedes(_ other: TopicIDPartition) -> Bool {
        topicID == other.topicID ? partition < other.partition : topicID.precedes(other.topicID)
    }
}

extension TopicID {
    func precedes(_ other: TopicID) -> Bool {
        (mostSignificantBits, leastSignificantBits) < (other.mostSignificantBits, other.leastSignificantBits)
    }
}

/// Sorted partitions without duplicates.
struct PartitionSet: Sendable, Equatable {
    private(set) var elements: [TopicIDPartition]

    init() { elements = [] }

    init(_ partitions: some Sequence<TopicIDPartition>) {
        elements = partitions.sorted { $0.precedes($1) }
        var last: TopicIDPartition?
        elements.removeAll { element in
            defer { last = element }
            return element == last
        }
    }

    /// Takes partitions that are sorted already.
    init(sorted: [TopicIDPartition]) { elements = sorted }

    init(_ value: ConsumerGroupTargetAssignmentMemberValue) {
        self.init(value.topicPartitions.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } })
    }

    init(_ topics: [ConsumerGroupHeartbeatRequest.TopicPartitions]) {
        self.init(topics.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } })
    }

    var isEmpty: Bool { elements.isEmpty }
    var count: Int { elements.count }

    func contains(_ partition: TopicIDPartition) -> Bool { elements.position(of: partition) != nil }

    /// The partitions by topic, in order.
    var byTopic: [(topicID: TopicID, partitions: [Int32])] {
        var topics: [(topicID: TopicID, partitions: [Int32])] = []
        for element in elements {
            if topics.last?.topicID == element.topicID {
                topics[topics.count - 1].partitions.append(element.partition)
            } else {
                topics.append((element.topicID, [element.partition]))
            }
        }
        return topics
    }

    var record: ConsumerGroupTargetAssignmentMemberValue {
        var value = ConsumerGroupTargetAssignmentMemberValue()
        value.topicPartitions = byTopic.map { topic in
            var stored = ConsumerGroupTargetAssignmentMemberValue.TopicPartition()
            stored.topicId = topic.topicID
            stored.partitions = topic.partitions
            return stored
        }
        return value
    }
}

extension [TopicIDPartition] {
    fileprivate func position(of partition: TopicIDPartition) -> Int? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].precedes(partition) { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low] == partition ? low : nil
    }
}

/// Partitions with their epochs, sorted by partition.
typealias AssignedPartitions = [AssignedPartition]

extension AssignedPartitions {
    /// Reads a record's partitions; those stored before epochs were (Kafka 4.1) count as given at the member's epoch.
    init(_ topics: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions], memberEpoch: Int32) {
        self = topics.flatMap { topic in
            let epochs = topic.assignmentEpochs.flatMap { $0.count == topic.partitions.count ? $0 : nil }
            return topic.partitions.enumerated().map { index, partition in
                AssignedPartition(TopicIDPartition(topic.topicId, partition), epoch: epochs?[index] ?? memberEpoch)
            }
        }
        sort { $0.partition.precedes($1.partition) }
    }

    var record: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions] {
        var topics: [ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions] = []
        for element in self {
            if topics.last?.topicId != element.partition.topicID {
                var topic = ConsumerGroupCurrentMemberAssignmentValue.TopicPartitions()
                topic.topicId = element.partition.topicID
                topic.assignmentEpochs = []
                topics.append(topic)
            }
            topics[topics.count - 1].partitions.append(element.partition.partition)
            topics[topics.count - 1].assignmentEpochs?.append(element.epoch)
        }
        return topics
    }

    /// The epoch at which the partition was given; nil when it was not.
    func epoch(of partition: TopicIDPartition) -> Int32? {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if self[middle].partition.precedes(partition) { low = middle + 1 } else { high = middle }
        }
        return low < count && self[low].partition == partition ? self[low].epoch : nil
    }

    func contains(partition: TopicIDPartition) -> Bool { epoch(of: partition) != nil }

    var partitions: PartitionSet { PartitionSet(sorted: map(\.partition)) }

    /// Whether both hold the same partitions, whatever their epochs.
    func hasSamePartitions(as other: AssignedPartitions) -> Bool {
        count == other.count && zip(self, other).allSatisfy { $0.partition == $1.partition }
    }
}
