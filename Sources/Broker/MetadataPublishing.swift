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
import Replication
import Storage

extension BrokerServices {
    /// Takes over a new image. `changes` says what differs from the image before.
    func publish(_ image: MetadataImage, _ changes: MetadataChanges) {
        if changes.configurations.contains(where: isOwn) { applyDynamicConfiguration(image) }
        links.willPublish(image)
        for topic in changes.deletedTopics { delete(topic) }
        if !changes.brokers.isEmpty {
            replication.update(brokers: image)
            for partition in partitions.all { partition.liveBrokersChanged() }
        }
        // Logs first, then the image: whoever sees a topic in the metadata must find its partitions.
        var touched: OrderedDictionary<TopicID, TopicImage> = [:]
        for topic in changes.createdTopics { touched[topic.id] = topic }
        for topic in changes.changedTopics { touched[topic.id] = topic }
        for topic in touched.values { place(topic, image, changes) }
        departedBrokers.take(changes, from: self.image.cluster, to: image.cluster, now: SystemClock.monotonicMilliseconds())
        setImage(image)
        let left = changes.brokers.filter(hasLeft)
        if !left.isEmpty { transactions.brokersLeft(Array(left)) }
        assignDirectories(changes.features ? Array(image.topics.all) : Array(touched.values), image)
        hasPublished.withLock { $0 = true }
        applyConfigurations(changes.configurations, image)
        if changes.configurations.contains(where: { $0.kind == .clientMetrics }) {
            telemetry.update(ClientMetricsSubscriptions(image.configurations))
        }
        let changedNames = touched.values.map(\.name) + changes.deletedTopics.map(\.name)
        let current = configurationInForce.current
        let topics = ImageGroupTopics(
            image: image, assignmentIntervalMilliseconds: Int32(clamping: current.groups.consumer.assignmentIntervalMilliseconds),
            shareAssignmentIntervalMilliseconds: Int32(clamping: current.shareGroups.assignmentIntervalMilliseconds),
            streamsAssignmentIntervalMilliseconds: Int32(clamping: current.groups.streams.assignmentIntervalMilliseconds))
        groups.metadataChanged(topics, changedTopics: changedNames, hasNewTopics: !changes.createdTopics.isEmpty)
        if !changes.deletedTopics.isEmpty {
            groups.topicsDeleted(changes.deletedTopics.map { ($0.name, $0.id) })
            shareGroups.topicsDeleted(changes.deletedTopics.map(\.id))
        }
        for topic in touched.values { shareGroups.leadershipChanged(topic, nodeID: nodeID) }
        for topic in touched.values where topic.name == TopicName.consumerOffsets { assignCoordinators(topic) }
        for topic in touched.values where topic.name == TopicName.transactionState { assignTransactionCoordinators(topic) }
        for topic in touched.values where topic.name == TopicName.shareGroupState { assignShareCoordinators(topic) }
        for topic in touched.values where topic.name == TopicName.clusterLinks { assignLinkCoordinator(topic) }
        links.metadataChanged(image, touched: Array(touched.values), deleted: Array(changes.deletedTopics))
    }

    /// Puts the topic's partitions of this node into the table, opening or creating their logs.
    private func place(_ topic: TopicImage, _ image: MetadataImage, _ changes: MetadataChanges) {
        let known = partitions.topic(topic.id)
        let configuration = logConfiguration(of: topic.name, image)
        let throttling = TopicThrottling(image, topic: topic.name, broker: nodeID)
        let placed = topic.partitions.map { partition -> Partition? in
            guard partition.replicas.contains(nodeID) else { return nil }
            let existing = known?[partition.index]
            let local = existing ?? open(partition, of: topic, configuration, changes)
            if let local {
                if existing == nil {
                    local.update(configuration: configuration, throttling: throttling.of(partition.index))
                    let access = links.access(toTopic: topic.name, id: topic.id)
                    // What of a mirror's transactions may be shown is told when links are reconciled.
                    local.setWriteAccess(access, showing: access == .open || access == .fenced ? StableLimit.none : .unknown)
                    local.setSynchronous(links.synchronousMirrors(ofTopic: topic.name, id: topic.id))
                }
                assign(partition, to: local)
                // The directory failed between the log's opening and now.
                if local.logDirectory.isOffline, !local.isOffline { local.takeOffline() }
            }
            return local
        }
        let moved = known?.all.filter { placed[Int($0.topicPartition.partition)] == nil } ?? []
        partitions.set(
            TopicPartitions(name: topic.name, id: topic.id, partitions: placed, metrics: metrics.topic(topic.name)))
        // Replicas that a reassignment took away.
        for partition in moved { remove(partition) }
    }

    /// Lets the replica lead or follow as the metadata says.
    private func assign(_ image: PartitionImage, to partition: Partition) {
        let assignment = PartitionAssignment(
            replicas: image.replicas, isr: image.isr, leader: image.leader, leaderEpoch: image.leaderEpoch,
            partitionEpoch: image.partitionEpoch)
        switch partition.apply(assignment, now: SystemClock.monotonicMilliseconds()) {
        case .unchanged: break
        case .leads: replication.stopFetching(partition)
        case .follows(let isNewEpoch): if isNewEpoch { replication.fetch(partition) }
        }
    }

    /// Gives up a replica of this node and deletes its log.
    private func remove(_ partition: Partition) {
        replication.stopFetching(partition)
        moves.cancel(partition)
        do throws(StorageError) {
            try partition.delete(now: SystemClock.now())
        } catch {
            logger.error("partition cannot be deleted", metadata: ["partition": "\(partition.topicPartition)", "reason": "\(error)"])
        }
    }

    private func open(
        _ partition: PartitionImage, of topic: TopicImage, _ configuration: LogConfiguration, _ changes: MetadataChanges
    ) -> Partition? {
        let name = TopicPartition(topic.name, partition.index)
        do throws(StorageError) {
            let log: PartitionLog
            if let loaded = loadedLogs.take(name) {
                log = loaded
            } else if let copy = try abandonedCopy(name, topic.id, assigned: partition.directory(of: nodeID), configuration) {
                log = copy
            } else {
                if directories.hasOffline, !isNew(partition, of: topic, changes) {
                    // It may be in a directory that is out of service: an empty log in its stead would be taken for the partition.
                    let paths = directories.unavailable.map(\.path) + directories.directories.filter(\.isOffline).map(\.path)
                    throw .offline(path: paths.joined(separator: ", "))
                }
                log = try directories.create(
                    name, topicID: topic.id, in: partition.directory(of: nodeID), configuration: configuration, now: SystemClock.now())
            }
            let opened = Partition(topicPartition: name, topicID: topic.id, log: log, environment: replication.environment)
            resumeMove(of: opened)
            return opened
        } catch {
            logger.error("partition cannot be opened", metadata: ["partition": "\(name)", "reason": "\(error)"])
            return nil
        }
    }

    /// Whether this node has never had a replica of the partition, by what changed. What the first image brings may be old.
    private func isNew(_ partition: PartitionImage, of topic: TopicImage, _ changes: MetadataChanges) -> Bool {
        guard hasPublished.withLock({ $0 }) else { return false }
        let change = changes.partitions.first { $0.topicID == topic.id && $0.after.index == partition.index }
        return change.map { $0.before?.replicas.contains(nodeID) != true } ?? false
    }

    private func delete(_ topic: TopicImage) {
        guard let known = partitions.topic(topic.id) else { return }
        partitions.remove(known)
        metrics.removeTopic(topic.name)
        if topic.name == TopicName.consumerOffsets {
            coordinatedEpochs.endAll()
            groups.endAllTerms()
        }
        if topic.name == TopicName.transactionState {
            transactions.epochs.endAll()
            transactions.runtime.endAllTerms()
        }
        if topic.name == TopicName.shareGroupState {
            shareGroups.epochs.endAll()
            shareGroups.coordinator.endAllTerms()
        }
        if topic.name == TopicName.clusterLinks {
            links.epochs.endAll()
            links.runtime.endTerm()
        }
        for partition in known.all { remove(partition) }
    }

    private func applyConfigurations(_ resources: OrderedSet<ConfigResource>, _ image: MetadataImage) {
        let names = resources.contains(where: isOwn) ? partitions.topics.map(\.name) : resources.filter { $0.kind == .topic }.map(\.name)
        for name in names {
            guard let topic = partitions.topic(name) else { continue }
            let configuration = logConfiguration(of: name, image)
            let throttling = TopicThrottling(image, topic: name, broker: nodeID)
            for partition in topic.all {
                partition.update(configuration: configuration, throttling: throttling.of(partition.topicPartition.partition))
            }
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
