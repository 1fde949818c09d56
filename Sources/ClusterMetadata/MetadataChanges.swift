// What differs between two images, in the terms a broker acts on. Collected while records replay, so nobody compares whole images.
import OrderedCollections
import Primitives

/// One partition before and after.
public struct PartitionChange: Sendable {
    public var topicName: String
    public var topicID: TopicID
    /// Nil for a new partition.
    public var before: PartitionImage?
    public var after: PartitionImage
}

/// Everything that one delta changed. Applying the parts in the order in which they stand here is safe: a topic that was deleted and
/// created again under the same name is first deleted.
public struct MetadataChanges: Sendable {
    /// As they were before their deletion.
    public internal(set) var deletedTopics: [TopicImage] = []
    /// As they are now; all their partitions are in `partitions` too.
    public internal(set) var createdTopics: [TopicImage] = []
    /// New and changed partitions, topic by topic.
    public internal(set) var partitions: [PartitionChange] = []
    /// Topics that existed before and got more partitions or changed ones, as they are now.
    public internal(set) var changedTopics: [TopicImage] = []
    /// Resources with at least one key set or removed, deleted topics among them.
    public internal(set) var configurations: OrderedSet<ConfigResource> = []
    /// Brokers registered, changed or unregistered.
    public internal(set) var brokers: OrderedSet<NodeID> = []
    /// Controllers registered or unregistered.
    public internal(set) var controllers: OrderedSet<NodeID> = []
    public internal(set) var features = false
    public internal(set) var clientQuotas: OrderedSet<ClientQuotaEntity> = []
    public internal(set) var producerIDs = false
    public internal(set) var accessControlEntries = false
    public internal(set) var scramUsers: OrderedSet<ScramUser> = []
    public internal(set) var delegationTokens = false

    public init() {}

    /// Nothing but the provenance moved, as after a `NoOpRecord`.
    public var isEmpty: Bool {
        deletedTopics.isEmpty && createdTopics.isEmpty && partitions.isEmpty && configurations.isEmpty && brokers.isEmpty
            && controllers.isEmpty && !features && clientQuotas.isEmpty && !producerIDs && !accessControlEntries && scramUsers.isEmpty
            && !delegationTokens
    }

    /// What differs between any two images; for a snapshot that replaces an older state.
    public init(from old: MetadataImage, to new: MetadataImage) {
        for topic in old.topics.all where new.topics.topic(id: topic.id) == nil { deletedTopics.append(topic) }
        for topic in new.topics.all { add(topic, before: old.topics.topic(id: topic.id)) }
        let oldConfigurations = old.configurations.byResource
        let newConfigurations = new.configurations.byResource
        for (resource, values) in newConfigurations where oldConfigurations[resource] != values { configurations.append(resource) }
        for resource in oldConfigurations.keys where newConfigurations[resource] == nil { configurations.append(resource) }
        for (id, broker) in new.cluster.brokers where old.cluster.brokers[id] != broker { brokers.append(id) }
        for id in old.cluster.brokers.keys where new.cluster.brokers[id] == nil { brokers.append(id) }
        for (id, controller) in new.cluster.controllers where old.cluster.controllers[id] != controller { controllers.append(id) }
        for id in old.cluster.controllers.keys where new.cluster.controllers[id] == nil { controllers.append(id) }
        features = old.features != new.features
        let oldQuotas = old.clientQuotas.byEntity
        let newQuotas = new.clientQuotas.byEntity
        for (entity, values) in newQuotas where oldQuotas[entity] != values { clientQuotas.append(entity) }
        for entity in oldQuotas.keys where newQuotas[entity] == nil { clientQuotas.append(entity) }
        producerIDs = old.nextProducerID != new.nextProducerID
        accessControlEntries = old.security.accessControlEntries != new.security.accessControlEntries
        let oldUsers = old.security.scramCredentials
        let newUsers = new.security.scramCredentials
        for (user, credential) in newUsers where oldUsers[user] != credential { scramUsers.append(user) }
        for user in oldUsers.keys where newUsers[user] == nil { scramUsers.append(user) }
        delegationTokens = old.security.delegationTokens != new.security.delegationTokens
    }

    /// Notes a topic's state now against the one before, nil when it is new.
    mutating func add(_ topic: TopicImage, before: TopicImage?) {
        guard let before else {
            createdTopics.append(topic)
            for partition in topic.partitions {
                partitions.append(.init(topicName: topic.name, topicID: topic.id, before: nil, after: partition))
            }
            return
        }
        guard topic !== before else { return }
        let countBefore = partitions.count
        for partition in topic.partitions {
            let earlier = before.partition(partition.index)
            if earlier == partition { continue }
            partitions.append(.init(topicName: topic.name, topicID: topic.id, before: earlier, after: partition))
        }
        if partitions.count != countBefore { changedTopics.append(topic) }
    }
}
