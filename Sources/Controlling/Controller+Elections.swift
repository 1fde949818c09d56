// Who leads: elections on request, and those that follow from brokers coming and going.
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// Changes for partitions when brokers come or go.
    ///
    /// - Parameters:
    ///   - removed: leaves every ISR and leads nothing.
    ///   - added: counts as live although the image still shows it fenced.
    ///   - uncleanlyStopped: leaves ISR and eligible replicas: it may have lost records.
    ///   - selects: which of the partitions are meant.
    func leaderChanges(
        _ partitions: PartitionSet, removing removed: NodeID = PartitionImage.noLeader, adding added: NodeID = PartitionImage.noLeader,
        uncleanlyStopped: NodeID = PartitionImage.noLeader, where selects: (PartitionImage) -> Bool = { _ in true }
    ) -> [VersionedRecord] {
        let cluster = image.cluster
        let isLive: (NodeID) -> Bool = { replica in
            replica != removed && replica != uncleanlyStopped && (replica == added || cluster.isActive(replica))
        }
        return leaderChanges(partitions, limit: .max, isLive: isLive, where: selects) { builder, settings in
            if settings.uncleanLeaderElectionEnable { builder.election = .unclean }
            builder.targetIsr.removeAll { $0 == removed || $0 == uncleanlyStopped }
            if uncleanlyStopped != PartitionImage.noLeader { builder.uncleanShutdownReplicas = [uncleanlyStopped] }
            return true
        }
    }

    /// Changes for some partitions, topic by topic, as `prepare` sets each one up.
    ///
    /// - Parameters:
    ///   - limit: no more records than that.
    ///   - prepare: false leaves the partition as it is; its second parameter is the topic's configuration.
    func leaderChanges(
        _ partitions: PartitionSet, limit: Int, isLive: ((NodeID) -> Bool)? = nil, where selects: (PartitionImage) -> Bool = { _ in true },
        prepare: (inout PartitionChangeBuilder, TopicConfiguration) -> Bool
    ) -> [VersionedRecord] {
        guard !partitions.isEmpty else { return [] }
        let inherited = TopicConfiguration(layers: layers)
        var records: [VersionedRecord] = []
        for (topic, indices) in partitions.ordered(by: image.topics) {
            let settings = inherited.applying(image.configurations.values(of: ConfigResource(.topic, topic.name)))
            for index in indices {
                guard let partition = topic.partition(index), selects(partition) else { continue }
                var builder = makeBuilder(partition, of: topic, settings, isLive: isLive)
                guard prepare(&builder, settings), let record = builder.build() else { continue }
                records.append(record)
                if records.count >= limit { return records }
            }
        }
        return records
    }

    /// A builder for one partition.
    ///
    /// - Parameter isLive: which brokers may lead; nil for those that the image shows to be active.
    func makeBuilder(
        _ partition: PartitionImage, of topic: TopicImage, _ settings: TopicConfiguration, isLive: ((NodeID) -> Bool)? = nil
    ) -> PartitionChangeBuilder {
        let cluster = image.cluster
        return PartitionChangeBuilder(
            partition, topicID: topic.id, version: version,
            minInSyncReplicas: min(settings.minInSyncReplicas, topic.partitions.first?.replicas.count ?? 1),
            hasEligibleLeaderReplicas: image.features.hasEligibleLeaderReplicas, defaultDirectory: defaultDirectory(of:)
        ) { replica in
            (isLive?(replica) ?? cluster.isActive(replica)) && Self.isOnline(partition.directory(of: replica), cluster.broker(replica))
        }
    }

    /// Whether a replica's directory is usable; those without a place of their own count as usable (KIP-858).
    static func isOnline(_ directory: KafkaUUID?, _ broker: BrokerRegistration?) -> Bool {
        guard let directory, let broker else { return false }
        if directory == DirectoryID.lost { return false }
        return directory == DirectoryID.migrating || directory == DirectoryID.unassigned || broker.logDirectories.isEmpty
            || broker.logDirectories.contains(directory)
    }

    /// Leaders that won an unclean election confirm it once they serve; until then followers would not trust their logs.
    public func completeLeaderRecovery(of leader: NodeID) -> ControllerResult<Void> {
        // An unclean election leaves nobody in the ISR but the leader.
        let records = leaderChanges(
            partitions.inSync(leader), limit: .max, where: { $0.isRecovering && $0.leader == leader },
            prepare: { builder, _ in
                builder.targetIsRecovering = false
                return true
            })
        return ControllerResult((), records: records, isAtomic: false)
    }

    /// Decides an ElectLeaders request.
    ///
    /// - Throws: `RequestFailure` for an election type that does not exist, or when more leaders would change than one request may.
    public func electLeaders(_ request: ElectLeadersRequest) throws(RequestFailure) -> ControllerResult<ElectLeadersResponse> {
        let kind: ElectionKind
        switch request.electionType {
        case 0: kind = .preferred
        case 1: kind = .unclean
        default: throw RequestFailure(.invalidRequest, "Unknown election type \(request.electionType)")
        }
        var response = ElectLeadersResponse()
        var records: [VersionedRecord] = []
        let inherited = TopicConfiguration(layers: layers)
        func elect(_ topic: String, _ partitions: [Int32], omitsUnneeded: Bool) throws(RequestFailure) {
            var result = ElectLeadersResponse.ReplicaElectionResult()
            result.topic = topic
            let settings = topicConfiguration(topic, inherited: inherited)
            for index in partitions {
                var partition = ElectLeadersResponse.PartitionResult()
                partition.partitionId = index
                partition.errorMessage = nil
                do throws(RequestFailure) {
                    records.append(try electLeader(topic, index, kind, settings))
                } catch {
                    if omitsUnneeded && error.code == .electionNotNeeded { continue }
                    partition.errorCode = error.code
                    partition.errorMessage = error.description
                }
                result.partitionResult.append(partition)
            }
            response.replicaElectionResults.append(result)
            try ControllerConfiguration.checkRecordCount(records.count)
        }
        if let topics = request.topicPartitions {
            for topic in topics { try elect(topic.topic, topic.partitions, omitsUnneeded: false) }
        } else {
            for topic in image.topics.all { try elect(topic.name, topic.partitions.map(\.index), omitsUnneeded: true) }
        }
        return ControllerResult(response, records: records, isAtomic: false)
    }

    private func electLeader(
        _ name: String, _ index: Int32, _ kind: ElectionKind, _ settings: TopicConfiguration
    ) throws(RequestFailure) -> VersionedRecord {
        guard let topic = image.topics.topic(named: name) else {
            throw RequestFailure(.unknownTopicOrPartition, "No such topic as \(name)")
        }
        guard let partition = topic.partition(index) else {
            throw RequestFailure(.unknownTopicOrPartition, "No such partition as \(name)-\(index)")
        }
        let isNeedless =
            switch kind {
            case .preferred: partition.leader == partition.preferredLeader
            case .unclean, .online: partition.hasLeader
            }
        if isNeedless { throw RequestFailure(.electionNotNeeded) }
        var builder = makeBuilder(partition, of: topic, settings)
        builder.election = kind
        guard let record = builder.build() else {
            throw RequestFailure(kind == .preferred ? .preferredLeaderNotAvailable : .eligibleLeadersNotAvailable)
        }
        return record
    }
}
