// What the client knows of the cluster, learned from Metadata responses.
import KafkaMessages
import KafkaWire
import OrderedCollections
import Primitives

/// A broker as clients reach it.
public struct BrokerNode: Hashable, Sendable {
    public var id: Int32
    public var host: String
    public var port: Int
    public var rack: String?

    package var address: BrokerAddress { BrokerAddress(host: host, port: port) }
}

/// A partition's leader and replicas.
public struct PartitionDescription: Hashable, Sendable {
    public var partition: Int32
    /// Nil while there is none.
    public var leader: Int32?
    /// -1 where the broker does not say.
    public var leaderEpoch: Int32 = -1
    public var replicas: [Int32] = []
    public var inSyncReplicas: [Int32] = []
    public var offlineReplicas: [Int32] = []
    /// Replicas that may become leader although they are not in sync (KIP-966); empty where the broker does not say.
    public var eligibleLeaderReplicas: [Int32] = []
}

/// A topic and its partitions.
public struct TopicDescription: Hashable, Sendable {
    public var name: String
    /// Zero where the broker has no topic ids.
    public var topicID: KafkaUUID = .zero
    public var isInternal = false
    /// In the order of their numbers, which begin at 0.
    public var partitions: [PartitionDescription] = []
}

/// A snapshot of what the client knows; only grows and changes by ``merge(_:now:)``.
package struct ClusterView: Sendable {
    package var clusterID: String?
    package var controllerID: NodeID?
    package var brokers: OrderedDictionary<NodeID, BrokerNode> = [:]
    package var topics: [String: TopicDescription] = [:]
    package var topicErrors: [String: ErrorCode] = [:]
    package var topicNames: [KafkaUUID: String] = [:]
    /// Monotonic milliseconds; nil before the first response.
    package var updatedAt: Int64?

    package init() {}

    package func leader(of partition: TopicPartition) -> NodeID? { description(of: partition)?.leader }

    package func description(of partition: TopicPartition) -> PartitionDescription? {
        guard let topic = topics[partition.topic], topic.partitions.indices.contains(Int(partition.partition)) else { return nil }
        return topic.partitions[Int(partition.partition)]
    }

    /// Takes over a response. A partition's leader of an older epoch than known is stale news and left out.
    package mutating func merge(_ response: MetadataResponse, now: Int64) {
        updatedAt = now
        if let id = response.clusterId { clusterID = id }
        controllerID = response.controllerId >= 0 ? response.controllerId : nil
        brokers = OrderedDictionary(
            response.brokers.map { ($0.nodeId, BrokerNode(id: $0.nodeId, host: $0.host, port: Int($0.port), rack: $0.rack)) },
            uniquingKeysWith: { _, last in last })
        for topic in response.topics {
            guard let name = topic.name ?? topicNames[topic.topicId] else { continue }
            guard topic.errorCode == .none else {
                topicErrors[name] = topic.errorCode
                if topic.errorCode == .unknownTopicOrPartition || topic.errorCode == .unknownTopicId { forget(name) }
                continue
            }
            topicErrors[name] = nil
            var description = TopicDescription(topic, name: name)
            if let old = topics[name], old.topicID == description.topicID {
                for index in description.partitions.indices where index < old.partitions.count {
                    let known = old.partitions[index]
                    if known.leaderEpoch > description.partitions[index].leaderEpoch { description.partitions[index] = known }
                }
            } else {
                forget(name)
            }
            topics[name] = description
            if description.topicID != .zero { topicNames[description.topicID] = name }
        }
    }

    /// Takes over a leader that a broker named in an error (KIP-951).
    package mutating func learnLeader(_ leader: NodeID, epoch: LeaderEpoch, of partition: TopicPartition) {
        guard leader >= 0, brokers[leader] != nil, let known = description(of: partition), epoch > known.leaderEpoch else { return }
        topics[partition.topic]?.partitions[Int(partition.partition)].leader = leader
        topics[partition.topic]?.partitions[Int(partition.partition)].leaderEpoch = epoch
    }

    private mutating func forget(_ name: String) {
        if let old = topics.removeValue(forKey: name) { topicNames[old.topicID] = nil }
    }
}

extension TopicDescription {
    package init(_ topic: MetadataResponse.MetadataResponseTopic, name: String) {
        self.init(name: name, topicID: topic.topicId, isInternal: topic.isInternal)
        var byNumber: OrderedDictionary<Int32, PartitionDescription> = [:]
        for partition in topic.partitions {
            byNumber[partition.partitionIndex] = PartitionDescription(
                partition: partition.partitionIndex, leader: partition.leaderId >= 0 ? partition.leaderId : nil,
                leaderEpoch: partition.leaderEpoch, replicas: partition.replicaNodes, inSyncReplicas: partition.isrNodes,
                offlineReplicas: partition.offlineReplicas)
        }
        let highest = byNumber.keys.max() ?? -1
        // Numbers are looked up by position, so a gap, which only a damaged answer could have, ends the list.
        for number in stride(from: Int32(0), through: highest, by: 1) {
            guard let partition = byNumber[number] else { break }
            partitions.append(partition)
        }
    }
}
