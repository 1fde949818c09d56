// Who leads: elections on request, and those that follow from brokers coming and going.
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// Changes for all partitions that `selects` picks, when brokers come or go.
    ///
    /// - Parameters:
    ///   - removed: leaves every ISR and leads nothing.
    ///   - added: counts as live although the image still shows it fenced.
    ///   - uncleanlyStopped: leaves ISR and eligible replicas: it may have lost records.
    func leaderChanges(
        removing removed: NodeID = PartitionImage.noLeader, adding added: NodeID = PartitionImage.noLeader,
        uncleanlyStopped: NodeID = PartitionImage.noLeader, selects: (PartitionImage) -> Bool
    ) -> [VersionedRecord] {
        let cluster = image.cluster
        let inherited = TopicConfiguration(layers: layers)
        var records: [VersionedRecord] = []
        for topic in image.topics.all {
            // Most topics are not concerned; their configuration need not be worked out.
            var settings: (minInSyncReplicas: Int, allowsUnclean: Bool)?
            for partition in topic.partitions where selects(partition) {
                if settings == nil {
                    let configuration = inherited.applying(image.configurations.values(of: ConfigResource(.topic, topic.name)))
                    settings = (configuration.minInSyncReplicas, configuration.uncleanLeaderElectionEnable)
                }
                var builder = makeBuilder(partition, of: topic, minInSyncReplicas: settings?.minInSyncReplicas ?? 1) { replica in
                    replica != removed && replica != uncleanlyStopped && (replica == added || cluster.isActive(replica))
                }
                if settings?.allowsUnclean == true { builder.election = .unclean }
                builder.targetIsr = partition.isr.filter { $0 != removed && $0 != uncleanlyStopped }
                if uncleanlyStopped != PartitionImage.noLeader { builder.uncleanShutdownReplicas = [uncleanlyStopped] }
                if let record = builder.build() { records.append(record) }
            }
        }
        return records
    }

    private func makeBuilder(
        _ partition: PartitionImage, of topic: TopicImage, minInSyncReplicas: Int, isLive: @escaping (NodeID) -> Bool
    ) -> PartitionChangeBuilder {
        let cluster = image.cluster
        return PartitionChangeBuilder(
            partition, topicID: topic.id, version: version,
            minInSyncReplicas: min(minInSyncReplicas, topic.partitions.first?.replicas.count ?? 1),
            hasEligibleLeaderReplicas: image.features.hasEligibleLeaderReplicas
        ) { replica in
            isLive(replica) && Self.isOnline(partition.directory(of: replica), cluster.broker(replica))
        }
    }

    /// Whether a replica's directory is usable; those without a place of their own count as usable (KIP-858).
    private static func isOnline(_ directory: KafkaUUID?, _ broker: BrokerRegistration?) -> Bool {
        guard let directory, let broker else { return false }
        if directory == DirectoryID.lost { return false }
        return directory == DirectoryID.migrating || directory == DirectoryID.unassigned || broker.logDirectories.isEmpty
            || broker.logDirectories.contains(directory)
    }

    /// Leaders that won an unclean election confirm it once they serve; until then followers would not trust their logs.
    public func completeLeaderRecovery(of leader: NodeID) -> ControllerResult<Void> {
        var records: [VersionedRecord] = []
        for topic in image.topics.all {
            for partition in topic.partitions where partition.isRecovering && partition.leader == leader {
                var builder = makeBuilder(partition, of: topic, minInSyncReplicas: 1, isLive: image.cluster.isActive)
                builder.marksRecovered = true
                if let record = builder.build() { records.append(record) }
            }
        }
        return ControllerResult((), records: records, isAtomic: false)
    }

    /// Decides an ElectLeaders request.
    ///
    /// - Throws: `RequestFailure` for an election type that does not exist.
    public func electLeaders(_ request: ElectLeadersRequest) throws(RequestFailure) -> ControllerResult<ElectLeadersResponse> {
        let kind: ElectionKind
        switch request.electionType {
        case 0: kind = .preferred
        case 1: kind = .unclean
        default: throw RequestFailure(.invalidRequest, "Unknown election type \(request.electionType)")
        }
        var response = ElectLeadersResponse()
        var records: [VersionedRecord] = []
        func elect(_ topic: String, _ partitions: [Int32], omitsUnneeded: Bool) {
            var result = ElectLeadersResponse.ReplicaElectionResult()
            result.topic = topic
            for index in partitions {
                var partition = ElectLeadersResponse.PartitionResult()
                partition.partitionId = index
                do throws(RequestFailure) {
                    records.append(try electLeader(topic, index, kind))
                } catch {
                    if omitsUnneeded && error.code == .electionNotNeeded { continue }
                    partition.errorCode = error.code
                    partition.errorMessage = error.description
                }
                result.partitionResult.append(partition)
            }
            response.replicaElectionResults.append(result)
        }
        if let topics = request.topicPartitions {
            for topic in topics { elect(topic.topic, topic.partitions, omitsUnneeded: false) }
        } else {
            for topic in image.topics.all { elect(topic.name, topic.partitions.map(\.index), omitsUnneeded: true) }
        }
        return ControllerResult(response, records: records, isAtomic: false)
    }

    private func electLeader(_ name: String, _ index: Int32, _ kind: ElectionKind) throws(RequestFailure) -> VersionedRecord {
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
        let configuration = topicConfiguration(name)
        var builder = makeBuilder(
            partition, of: topic, minInSyncReplicas: configuration.minInSyncReplicas, isLive: image.cluster.isActive)
        builder.election = kind
        guard let record = builder.build() else {
            throw RequestFailure(kind == .preferred ? .preferredLeaderNotAvailable : .eligibleLeadersNotAvailable)
        }
        return record
    }
}
