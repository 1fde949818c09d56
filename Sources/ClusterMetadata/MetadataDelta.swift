// The way from one image to the next: records are replayed into it one by one, in the order of the log, and `apply` closes it.
import KafkaRecords
import OrderedCollections
import Primitives

/// Collects records on top of an image. A delta that threw must be thrown away: it holds half a batch.
public struct MetadataDelta: Sendable {
    /// The image that the delta started from.
    public let base: MetadataImage

    var features: FeaturesImage
    var cluster: ClusterImage
    var configurations: ConfigurationsImage
    var clientQuotas: ClientQuotasImage
    var nextProducerID: ProducerID?
    var security: SecurityImage
    var changes = MetadataChanges()

    /// Topics created or changed here, and open for more.
    var openTopics: OrderedDictionary<TopicID, OpenTopic> = [:]
    /// Topics of the base that were deleted here.
    var deletedTopics: OrderedDictionary<TopicID, TopicImage> = [:]
    /// Directory lists repeat from partition to partition; the last one is shared instead of kept again.
    var lastDirectories: [KafkaUUID] = []
    /// The same for lists of replicas.
    var lastReplicas: [NodeID] = []

    /// A topic that this delta is still changing.
    struct OpenTopic: Sendable {
        var name: String
        var partitions: [PartitionImage]
        /// The topic as it was; nil when it was created here.
        var before: TopicImage?
    }

    public init(from base: MetadataImage) {
        self.base = base
        features = base.features
        cluster = base.cluster
        configurations = base.configurations
        clientQuotas = base.clientQuotas
        nextProducerID = base.nextProducerID
        security = base.security
    }

    /// Nothing was replayed that changes anything.
    public var isEmpty: Bool { openTopics.isEmpty && deletedTopics.isEmpty && changes.isEmpty }

    /// Replays one record. Begin, end and abort of metadata transactions are for the caller (`MetadataReplay`).
    ///
    /// - Throws: `MetadataError` for a record that is unknown or does not fit the image.
    public mutating func replay(_ record: MetadataRecord) throws(MetadataError) {
        switch record {
        case .registerBroker(let record):
            cluster.register(BrokerRegistration(record))
            changes.brokers.append(record.brokerId)
        case .unregisterBroker(let record):
            try cluster.updateBroker(record.brokerId, epoch: record.brokerEpoch, record: "UnregisterBrokerRecord") { _ in }
            cluster.unregisterBroker(record.brokerId)
            changes.brokers.append(record.brokerId)
        case .topic(let record): try replay(record)
        case .partition(let record): try replay(record)
        case .config(let record): try replay(record)
        case .partitionChange(let record): try replay(record)
        case .fenceBroker(let record):
            try cluster.updateBroker(record.id, epoch: record.epoch, record: "FenceBrokerRecord") { $0.isFenced = true }
            changes.brokers.append(record.id)
        case .unfenceBroker(let record):
            try cluster.updateBroker(record.id, epoch: record.epoch, record: "UnfenceBrokerRecord") { $0.isFenced = false }
            changes.brokers.append(record.id)
        case .removeTopic(let record): try replay(record)
        case .delegationToken(let record):
            security.delegationTokens[record.tokenId] = DelegationToken(record)
            changes.delegationTokens = true
        case .userScramCredential(let record):
            let user = ScramUser(name: record.name, mechanism: record.mechanism)
            security.scramCredentials[user] = ScramCredential(record)
            changes.scramUsers.append(user)
        case .featureLevel(let record): try replay(record)
        case .clientQuota(let record): changes.clientQuotas.append(clientQuotas.replay(record))
        case .producerIds(let record):
            nextProducerID = record.nextProducerId
            changes.producerIDs = true
        case .brokerRegistrationChange(let record): try replay(record)
        case .accessControlEntry(let record):
            security.accessControlEntries[record.id] = AccessControlEntry(record)
            changes.accessControlEntries = true
        case .removeAccessControlEntry(let record):
            security.accessControlEntries.removeValue(forKey: record.id)
            changes.accessControlEntries = true
        case .noOp: break
        case .zkMigrationState(let record):
            // 0 is "never migrated"; 4 is "migration finished", where every cluster that came from ZooKeeper ends.
            guard [0, 3, 4].contains(record.zkMigrationState) else { throw .unsupported(name: "a migration from ZooKeeper in progress") }
        case .removeUserScramCredential(let record):
            let user = ScramUser(name: record.name, mechanism: record.mechanism)
            security.scramCredentials.removeValue(forKey: user)
            changes.scramUsers.append(user)
        case .beginTransaction, .endTransaction, .abortTransaction:
            throw .contradiction("a metadata transaction inside of a delta")
        case .removeDelegationToken(let record):
            security.delegationTokens.removeValue(forKey: record.tokenId)
            changes.delegationTokens = true
        case .registerController(let record):
            cluster.register(ControllerRegistration(record))
            changes.controllers.append(record.controllerId)
        case .clearElr(let record): try replay(record)
        case .unregisterController(let record):
            cluster.unregisterController(record.controllerId)
            changes.controllers.append(record.controllerId)
        }
    }

    /// Closes the delta: the new image, and what it changed against the base.
    public consuming func apply(_ provenance: MetadataProvenance) -> (image: MetadataImage, changes: MetadataChanges) {
        var topics = base.topics
        topics.remove(deletedTopics)
        changes.deletedTopics = Array(deletedTopics.values)
        for (id, open) in openTopics {
            let topic = TopicImage(name: open.name, id: id, partitions: open.partitions)
            topics.insert(topic)
            changes.add(topic, before: open.before)
        }
        let image = MetadataImage(
            provenance: provenance, features: features, cluster: cluster, topics: topics, configurations: configurations,
            clientQuotas: clientQuotas, nextProducerID: nextProducerID, security: security)
        return (image, changes)
    }
}

extension MetadataDelta {
    private mutating func replay(_ record: TopicRecord) throws(MetadataError) {
        let existsInBase = base.topics.topic(id: record.topicId) != nil && deletedTopics[record.topicId] == nil
        if openTopics[record.topicId] != nil || existsInBase {
            throw .contradiction("topic \(record.name) is created a second time under the id \(record.topicId)")
        }
        openTopics[record.topicId] = OpenTopic(name: record.name, partitions: [], before: nil)
    }

    private mutating func replay(_ record: RemoveTopicRecord) throws(MetadataError) {
        let opened = openTopics.removeValue(forKey: record.topicId)
        let existing = deletedTopics[record.topicId] == nil ? base.topics.topic(id: record.topicId) : nil
        guard let name = existing?.name ?? opened?.name else { throw .unknownTopic(record.topicId, record: "RemoveTopicRecord") }
        if let existing { deletedTopics[record.topicId] = existing }
        // As in Kafka, the topic's configuration goes with it.
        let resource = ConfigResource(.topic, name)
        if !configurations.values(of: resource).isEmpty {
            configurations.removeAll(of: resource)
            changes.configurations.append(resource)
        }
    }

    private mutating func replay(_ record: PartitionRecord) throws(MetadataError) {
        var partition = try PartitionImage(record)
        share(&partition)
        try open(record.topicId, for: "PartitionRecord")
        let position = openTopics[record.topicId]!.partitions.insertionPosition(ofPartition: record.partitionId)
        if openTopics[record.topicId]!.partitions.position(ofPartition: record.partitionId) != nil {
            openTopics[record.topicId]!.partitions[position] = partition
        } else {
            openTopics[record.topicId]!.partitions.insert(partition, at: position)
        }
    }

    private mutating func replay(_ record: PartitionChangeRecord) throws(MetadataError) {
        try open(record.topicId, for: "PartitionChangeRecord")
        guard let position = openTopics[record.topicId]?.partitions.position(ofPartition: record.partitionId) else {
            throw .unknownPartition(record.topicId, record.partitionId)
        }
        try openTopics[record.topicId]!.partitions[position].merge(record)
    }

    private mutating func replay(_ record: ClearElrRecord) throws(MetadataError) {
        if record.topicName.isEmpty {
            for topic in base.topics.all where deletedTopics[topic.id] == nil { try open(topic.id, for: "ClearElrRecord") }
            for id in openTopics.keys { clearEligibleLeaders(of: id) }
            return
        }
        let created = openTopics.elements.last { $0.value.name == record.topicName }?.key
        guard let id = created ?? base.topics.topic(named: record.topicName)?.id, deletedTopics[id] == nil else {
            throw .contradiction("ClearElrRecord names the topic \(record.topicName), which does not exist")
        }
        try open(id, for: "ClearElrRecord")
        clearEligibleLeaders(of: id)
    }

    private mutating func clearEligibleLeaders(of id: TopicID) {
        for index in openTopics[id]!.partitions.indices { openTopics[id]!.partitions[index].clearEligibleLeaders() }
    }

    /// Makes sure that `openTopics` has that topic.
    private mutating func open(_ id: TopicID, for record: String) throws(MetadataError) {
        if openTopics[id] != nil { return }
        guard deletedTopics[id] == nil, let topic = base.topics.topic(id: id) else { throw .unknownTopic(id, record: record) }
        openTopics[id] = OpenTopic(name: topic.name, partitions: topic.partitions, before: topic)
    }

    private mutating func share(_ partition: inout PartitionImage) {
        if partition.directories == lastDirectories {
            partition.directories = lastDirectories
        } else {
            lastDirectories = partition.directories
        }
        if partition.replicas == lastReplicas {
            partition.replicas = lastReplicas
            if partition.isr == lastReplicas { partition.isr = lastReplicas }
        } else {
            lastReplicas = partition.replicas
        }
    }

    private mutating func replay(_ record: ConfigRecord) throws(MetadataError) {
        guard let kind = ConfigResource.Kind(rawValue: record.resourceType) else {
            throw .unsupported(name: "a configuration of resource type \(record.resourceType)")
        }
        let resource = ConfigResource(kind, record.resourceName)
        configurations.set(record.name, of: resource, to: record.value)
        changes.configurations.append(resource)
    }

    private mutating func replay(_ record: FeatureLevelRecord) throws(MetadataError) {
        switch record.name {
        case MetadataVersion.featureName:
            guard let version = MetadataVersion(rawValue: record.featureLevel) else {
                throw .unsupported(name: "metadata.version \(record.featureLevel)")
            }
            features.metadataVersion = version
        case FeatureName.kraft:
            // Kafka 4.0 wrote these by mistake; the level that counts is in the control records (KAFKA-18979).
            return
        case let name:
            features.levels[name] = record.featureLevel == 0 ? nil : record.featureLevel
        }
        changes.features = true
    }

    private mutating func replay(_ record: BrokerRegistrationChangeRecord) throws(MetadataError) {
        guard (-1...1).contains(record.fenced), (0...1).contains(record.inControlledShutdown) else {
            throw .unsupported(name: "a BrokerRegistrationChangeRecord with fenced \(record.fenced)")
        }
        try cluster.updateBroker(record.brokerId, epoch: record.brokerEpoch, record: "BrokerRegistrationChangeRecord") { broker in
            // -1 unfences, 1 fences, 0 leaves it.
            if record.fenced != 0 { broker.isFenced = record.fenced == 1 }
            if record.inControlledShutdown == 1 { broker.isInControlledShutdown = true }
            if !record.logDirs.isEmpty { broker.logDirectories = record.logDirs }
            if let cordoned = record.cordonedLogDirs { broker.cordonedLogDirectories = cordoned }
        }
        changes.brokers.append(record.brokerId)
    }
}
