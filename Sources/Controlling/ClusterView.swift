// The metadata image as the clients of one listener may see it: endpoints of that listener, live replicas, leaders that can be reached.
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Primitives

/// One listener's view of a metadata image.
public struct ClusterView: Sendable {
    /// A broker as clients see it.
    public struct Node: Sendable {
        public var id: NodeID
        public var host: String
        public var port: Int32
        public var rack: String?
        public var isFenced: Bool
    }

    public let image: MetadataImage
    public let listenerName: String

    public init(image: MetadataImage, listenerName: String) {
        self.image = image
        self.listenerName = listenerName
    }

    /// Every broker that has the listener, fenced ones included.
    public var allNodes: [Node] {
        image.cluster.brokers.values.compactMap { broker in
            broker.endpoint(listener: listenerName).map {
                Node(id: broker.id, host: $0.host, port: Int32($0.port), rack: broker.rack, isFenced: broker.isFenced)
            }
        }
    }

    /// The brokers that clients may use.
    public var nodes: [Node] { allNodes.filter { !$0.isFenced } }

    /// The broker to name as controller: brokers forward, so any will do, and Kafka takes one at random. The one that answers is certainly
    /// there, while another may have died a moment ago.
    ///
    /// - Parameter answering: the broker that answers; another one is named while clients may not use it.
    public func controllerID(answering: NodeID) -> NodeID { node(answering)?.id ?? nodes.first?.id ?? -1 }

    /// The broker if clients may use it.
    public func node(_ id: NodeID) -> Node? {
        guard let broker = image.cluster.broker(id), !broker.isFenced, let endpoint = broker.endpoint(listener: listenerName) else {
            return nil
        }
        return Node(id: id, host: endpoint.host, port: Int32(endpoint.port), rack: broker.rack, isFenced: false)
    }

    /// A topic as a Metadata response of that version shows it.
    public func topic(_ topic: TopicImage, _ version: Int16) -> MetadataResponse.MetadataResponseTopic {
        var answer = MetadataResponse.MetadataResponseTopic()
        answer.name = topic.name
        answer.topicId = topic.id
        answer.isInternal = TopicName.isInternal(topic.name)
        answer.partitions = topic.partitions.map { partition($0, version) }
        return answer
    }

    private func partition(_ partition: PartitionImage, _ version: Int16) -> MetadataResponse.MetadataResponsePartition {
        // Version 0 reports an error for replicas that are away, later versions list them all and say which are offline.
        let replicas = version == 0 ? partition.replicas.filter(isReachable) : partition.replicas
        let isr = version == 0 ? partition.isr.filter(isReachable) : partition.isr
        var answer = MetadataResponse.MetadataResponsePartition()
        answer.partitionIndex = partition.index
        answer.leaderEpoch = partition.leaderEpoch
        answer.replicaNodes = replicas
        answer.isrNodes = isr
        answer.offlineReplicas = offlineReplicas(partition)
        if node(partition.leader) != nil {
            answer.leaderId = partition.leader
            if replicas.count < partition.replicas.count || isr.count < partition.isr.count { answer.errorCode = .replicaNotAvailable }
        } else {
            answer.leaderId = PartitionImage.noLeader
            let isRegistered = image.cluster.broker(partition.leader) != nil
            answer.errorCode = isRegistered && version >= 6 ? .listenerNotFound : .leaderNotAvailable
        }
        return answer
    }

    /// Replicas on brokers that are fenced, lack this listener, or lost the directory.
    public func offlineReplicas(_ partition: PartitionImage) -> [NodeID] {
        partition.replicas.filter { id in
            guard let broker = image.cluster.broker(id), isReachable(id) else { return true }
            guard let directory = partition.directory(of: id), !DirectoryID.isReserved(directory) else { return false }
            return !broker.logDirectories.isEmpty && !broker.logDirectories.contains(directory)
        }
    }

    private func isReachable(_ id: NodeID) -> Bool {
        guard let broker = image.cluster.broker(id) else { return false }
        return !broker.isFenced && broker.endpoint(listener: listenerName) != nil
    }
}
