// Makes the broker follow the metadata: creates, changes and deletes partitions, hands out new configuration, tells the coordinators.
// Called with one image after the other, in order, by the metadata runtime; never from an event loop.
import ClusterMetadata
import Collections
import ConfigDefinitions
import Configuration
import Controlling
import KafkaWire
import Logging
import Primitives
import Storage

extension BrokerServices {
    /// Takes over a new image. `changes` says what differs from the image before.
    func publish(_ image: MetadataImage, _ changes: MetadataChanges) {
        if changes.configurations.contains(where: isOwn) { applyDynamicConfiguration(image) }
        for topic in changes.deletedTopics { delete(topic) }
        // Logs first, then the image: whoever sees a topic in the metadata must find its partitions.
        var touched: OrderedDictionary<TopicID, TopicImage> = [:]
        for topic in changes.createdTopics { touched[topic.id] = topic }
        for topic in changes.changedTopics { touched[topic.id] = topic }
        for topic in touched.values { place(topic, image) }
        setImage(image)
        applyConfigurations(changes.configurations, image)
        if !changes.deletedTopics.isEmpty {
            groups.topicsDeleted(changes.deletedTopics.map { ($0.name, $0.id) })
        }
        for topic in touched.values where topic.name == TopicName.consumerOffsets { assignCoordinators(topic) }
    }

    /// Puts the topic's partitions of this node into the table, opening or creating their logs.
    func place(_ topic: TopicImage, _ image: MetadataImage) {
        let known = partitions.topic(topic.id)
        let configuration = logConfiguration(of: topic.name, image)
        let placed = topic.partitions.map { partition -> Partition? in
            guard partition.replicas.contains(nodeID) else { return nil }
            let leadership = PartitionLeadership(
                leader: partition.leader, leaderEpoch: partition.leaderEpoch, inSyncReplicaCount: partition.isr.count)
            if let existing = known?[partition.index] {
                if existing.leadership != leadership { existing.update(leadership: leadership) }
                return existing
            }
            return open(TopicPartition(topic.name, partition.index), topic.id, leadership, configuration)
        }
        partitions.set(
            TopicPartitions(name: topic.name, id: topic.id, partitions: placed, metrics: metrics.topic(topic.name)))
    }

    private func open(
        _ name: TopicPartition, _ topicID: TopicID, _ leadership: PartitionLeadership, _ configuration: LogConfiguration
    ) -> Partition? {
        do throws(StorageError) {
            let log: PartitionLog
            if let loaded = loadedLogs.take(name) {
                log = loaded
            } else {
                log = try directories.create(name, topicID: topicID, configuration: configuration, now: SystemClock.now())
            }
            let partition = Partition(node: nodeID, topicPartition: name, topicID: topicID, log: log, leadership: leadership)
            partition.becomeLeaderIfNamed()
            return partition
        } catch {
            logger.error("partition cannot be opened", metadata: ["partition": "\(name)", "reason": "\(error)"])
            return nil
        }
    }

    private func delete(_ topic: TopicImage) {
        guard let known = partitions.topic(topic.id) else { return }
        partitions.remove(known)
        metrics.removeTopic(topic.name)
        if topic.name == TopicName.consumerOffsets {
            coordinatedEpochs.endAll()
            groups.endAllTerms()
        }
        for partition in known.all {
            do throws(StorageError) {
                try partition.delete(now: SystemClock.now())
            } catch {
                logger.error("partition cannot be deleted", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
            }
        }
    }

    private func applyConfigurations(_ resources: OrderedSet<ConfigResource>, _ image: MetadataImage) {
        let names = resources.contains(where: isOwn) ? partitions.topics.map(\.name) : resources.filter { $0.kind == .topic }.map(\.name)
        for name in names {
            guard let topic = partitions.topic(name) else { continue }
            let configuration = logConfiguration(of: name, image)
            for partition in topic.all { partition.update(configuration: configuration) }
        }
    }

    /// Whether a change of the resource's configuration is one of this broker's own.
    private func isOwn(_ resource: ConfigResource) -> Bool {
        resource == .clusterDefault || resource == ConfigResource(.broker, String(nodeID))
    }

    /// Puts the dynamic configuration in force that the image holds for this broker.
    func applyDynamicConfiguration(_ image: MetadataImage) {
        let layers = configurationLayers(image)
        guard configurationInForce.apply(layers) else { return }
        let keys = OrderedSet(layers.dynamicDefault.keys).union(layers.dynamicBroker.keys)
        logger.info("dynamic configuration is in force", metadata: ["keys": "\(keys.joined(separator: " "))"])
        for warning in BrokerConfiguration.withoutEffect(layers) { logger.warning("\(warning)") }
    }

    /// The layers of this broker's configuration: what it was started with, and what the metadata says on top.
    func configurationLayers(_ image: MetadataImage) -> BrokerConfigLayers {
        BrokerConfigLayers(
            fixed: configuration.layers.fixed, dynamicDefault: image.configurations.values(of: .clusterDefault),
            dynamicBroker: image.configurations.values(of: ConfigResource(.broker, String(nodeID))))
    }

    /// A topic's settings in force, over the broker's configuration in force.
    func logConfiguration(of topic: String, _ image: MetadataImage) -> LogConfiguration {
        let overrides = image.configurations.values(of: ConfigResource(.topic, topic))
        let current = configurationInForce.current
        return LogConfiguration(
            current.topics.defaults.applying(overrides), producerIDExpirationMilliseconds: current.storage.producerIDExpirationMilliseconds)
    }
}
