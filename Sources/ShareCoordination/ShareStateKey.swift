// What the state of share groups is kept by: a group and a partition, and the word for both by which coordinators are looked for.
import Primitives

/// A partition as one share group reads it (KIP-932).
public struct SharePartitionKey: Hashable, Sendable, CustomStringConvertible {
    public var group: String
    public var partition: TopicIDPartition

    public init(group: String, partition: TopicIDPartition) {
        self.group = group
        self.partition = partition
    }

    public init(group: String, topicID: TopicID, partition: Int32) {
        self.init(group: group, partition: TopicIDPartition(topicID, partition))
    }

    /// The key of FindCoordinator and the word whose hash chooses the partition of __share_group_state.
    public var coordinatorKey: String { "\(group):\(partition.topicID):\(partition.partition)" }

    public var description: String { coordinatorKey }

    /// Reads a coordinator key. The group may contain colons, its topic id and partition cannot.
    public init?(coordinatorKey: String) {
        let parts = coordinatorKey.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 3, let topicID = TopicID(String(parts[parts.count - 2])), let partition = Int32(parts[parts.count - 1]) else {
            return nil
        }
        let group = parts.dropLast(2).joined(separator: ":")
        guard !group.allSatisfy(\.isWhitespace) else { return nil }
        self.init(group: group, topicID: topicID, partition: partition)
    }
}
