// Fills in the gauges when somebody scrapes: what the node knows about its partitions and its cluster at that moment.
import ClusterMetadata
import Observability
import Primitives
import Runtime
import Storage

extension KafkaState {
    /// What every node knows: the quorum, and on controllers the cluster.
    init(_ metadata: MetadataRuntime, _ image: MetadataImage, isController: Bool) {
        self.init()
        self.isController = isController
        let quorum = metadata.quorum
        var raft = Raft()
        raft.currentState = quorum.state
        raft.currentLeader = quorum.leaderID
        raft.currentVote = quorum.votedID
        raft.currentEpoch = quorum.epoch
        raft.highWatermark = quorum.highWatermark
        raft.logEndOffset = quorum.logEndOffset
        raft.currentVoteDirectoryID = "\(quorum.votedDirectoryID)"
        raft.logEndEpoch = quorum.logEndEpoch
        raft.voterCount = quorum.voterCount
        raft.observerCount = quorum.observerCount
        raft.isChangingVoters = quorum.isChangingVoters
        let traffic = metadata.quorumTraffic
        raft.requestsSent = traffic.requests
        raft.responsesReceived = traffic.responses
        raft.outgoingBytes = traffic.outgoingBytes
        raft.incomingBytes = traffic.incomingBytes
        let rates = metadata.quorumRates
        raft.commitLatencyAverage = rates.commitLatencyAverage
        raft.commitLatencyMaximum = rates.commitLatencyMaximum
        raft.electionLatencyAverage = rates.electionLatencyAverage
        raft.electionLatencyMaximum = rates.electionLatencyMaximum
        raft.appendedRecordsPerSecond = rates.appendedRecordsPerSecond
        raft.fetchedRecordsPerSecond = rates.fetchedRecordsPerSecond
        raft.idleRatio = rates.idleRatio
        self.raft = raft
        guard isController else { return }
        activeControllerCount = metadata.leadership.isActive ? 1 : 0
        globalTopicCount = image.topics.count
        globalPartitionCount = image.topics.partitionCount
        activeBrokerCount = image.cluster.brokers.values.count { !$0.isFenced }
        fencedBrokerCount = image.cluster.brokers.values.count { $0.isFenced }
        for topic in image.topics.all {
            for partition in topic.partitions {
                if !partition.hasLeader { offlinePartitionsCount += 1 }
                if partition.hasLeader, partition.leader != partition.preferredLeader { preferredReplicaImbalanceCount += 1 }
            }
        }
    }
}

extension BrokerServices {
    /// The node's state for `/metrics`.
    func metricsState() -> KafkaState {
        let image = self.image
        var state = KafkaState(metadataRuntime, image, isController: controllerServices != nil)
        state.brokerState = 3
        state.offlineLogDirectoryCount = directories.directories.count { $0.isOffline } + directories.unavailable.count
        state.cleaner = cleanerState()
        state.groups = groupState()
        state.transactions = transactionState()
        state.shareGroups = shareGroupState(image)
        (state.moves, state.maximumMoveLag) = moves.numbers
        for partition in partitions.all {
            if partition.isOffline { state.offlineReplicaCount += 1 }
            state.maximumLag = max(state.maximumLag, partition.followerLag)
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
