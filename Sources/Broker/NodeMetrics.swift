// Fills in the gauges when somebody scrapes: what the node knows about its partitions and its cluster at that moment.
import ClusterMetadata
import Observability
import Primitives
import Storage

extension BrokerServices {
    /// The node's state for `/metrics`.
    func metricsState() -> KafkaState {
        let image = self.image
        var state = KafkaState()
        state.brokerState = 3
        state.activeControllerCount = 1
        state.globalTopicCount = image.topics.count
        state.globalPartitionCount = image.topics.partitionCount
        state.activeBrokerCount = image.cluster.brokers.values.count { !$0.isFenced }
        state.fencedBrokerCount = image.cluster.brokers.values.count { $0.isFenced }
        state.offlineLogDirectoryCount = directories.directories.count { $0.isOffline } + directories.unavailable.count
        state.groupCount = groups.classicGroupCounts().reduce(0) { $0 + $1.count }
        for topic in image.topics.all {
            for partition in topic.partitions {
                if !partition.hasLeader { state.offlinePartitionsCount += 1 }
                if partition.hasLeader, partition.leader != partition.preferredLeader { state.preferredReplicaImbalanceCount += 1 }
            }
        }
        for partition in partitions.all {
            if let entry = describe(partition, image) { state.partitions.append(entry) }
            if partition.leadership.leader == nodeID { state.leaderCount += 1 }
        }
        return state
    }

    private func describe(_ partition: Partition, _ image: MetadataImage) -> KafkaState.Partition? {
        let name = partition.topicPartition
        guard let current = image.topics.topic(id: partition.topicID)?.partition(name.partition) else { return nil }
        var entry = KafkaState.Partition(topic: name.topic, partition: name.partition)
        let minimum = try? partition.withLog { log throws(StorageError) -> Int in
            entry.size = Int64(log.sizeInBytes)
            entry.logStartOffset = log.logStartOffset
            entry.logEndOffset = log.logEndOffset
            entry.segmentCount = log.segments.count
            return log.configuration.minInSyncReplicas
        }
        entry.replicaCount = current.replicas.count
        entry.inSyncReplicaCount = current.isr.count
        guard current.leader == nodeID, let minimum else { return entry }
        entry.isUnderReplicated = current.isr.count < current.replicas.count
        entry.isUnderMinISR = current.isr.count < minimum
        entry.isAtMinISR = current.isr.count == minimum
        return entry
    }
}
