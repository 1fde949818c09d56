// What group coordination needs of the broker: its logs, its topics, its threads.
import ClusterMetadata
import Collections
import GroupCoordination
import KafkaWire
import Logging
import NIOCore
import Primitives
import Runtime
import Storage

extension RequestContext {
    /// The request's sender as group coordination knows it.
    var group: GroupRequestContext {
        GroupRequestContext(apiVersion: version, clientID: clientID ?? "", clientHost: "/\(connection.remoteHost)")
    }
}

/// Answers the coordinator's questions about topics from one image.
struct ImageTopicLookup: GroupTopicLookup {
    let topics: TopicsImage

    func topicName(for id: TopicID) -> String? { topics.topic(id: id)?.name }
    func topicID(for name: String) -> TopicID? { topics.topic(named: name)?.id }
    func hasPartition(topic: String, partition: Int32) -> Bool { topics.topic(named: topic)?.partition(partition) != nil }
}

/// What coordination knows of topics, from one image.
struct ImageGroupTopics: GroupTopics {
    let image: MetadataImage
    /// `group.consumer.assignment.interval.ms` as it is in force, which may change while the broker runs.
    let assignmentIntervalMilliseconds: Int32
    /// `group.share.assignment.interval.ms` likewise.
    let shareAssignmentIntervalMilliseconds: Int32
    /// The same of `group.streams.assignment.interval.ms`.
    let streamsAssignmentIntervalMilliseconds: Int32

    func topic(named name: String) -> GroupTopic? { image.topics.topic(named: name).map(Self.described) }
    func topic(id: TopicID) -> GroupTopic? { image.topics.topic(id: id).map(Self.described) }
    private static func described(_ topic: TopicImage) -> GroupTopic {
        GroupTopic(name: topic.name, id: topic.id, partitionCount: Int32(topic.partitions.count))
    }

    func racks(topic: String, partition: Int32) -> [String] {
        var racks: OrderedSet<String> = []
        for replica in image.topics.topic(named: topic)?.partition(partition)?.replicas ?? [] {
            if let rack = image.cluster.broker(replica)?.rack { racks.append(rack) }
        }
        return Array(racks)
    }

    func forEachName(_ body: (String) -> Void) { for topic in image.topics.all { body(topic.name) } }

    var version: Int64 { image.provenance.offset }

    func overrides(of group: String) -> ConsumerGroupOverrides {
        var overrides = ConsumerGroupOverrides()
        let values = image.configurations.values(of: ConfigResource(.group, group))
        overrides.assignmentIntervalMilliseconds = assignmentIntervalMilliseconds
        guard !values.isEmpty else { return overrides }
        overrides.sessionTimeoutMilliseconds = values["consumer.session.timeout.ms"].flatMap { Int32($0) }
        overrides.heartbeatIntervalMilliseconds = values["consumer.heartbeat.interval.ms"].flatMap { Int32($0) }
        if let value = values["consumer.assignment.interval.ms"].flatMap({ Int32($0) }) { overrides.assignmentIntervalMilliseconds = value }
        return overrides
    }

    func shareOverrides(of group: String) -> ConsumerGroupOverrides {
        var overrides = ConsumerGroupOverrides()
        overrides.assignmentIntervalMilliseconds = shareAssignmentIntervalMilliseconds
        let values = image.configurations.values(of: ConfigResource(.group, group))
        guard !values.isEmpty else { return overrides }
        overrides.sessionTimeoutMilliseconds = values["share.session.timeout.ms"].flatMap { Int32($0) }
        overrides.heartbeatIntervalMilliseconds = values["share.heartbeat.interval.ms"].flatMap { Int32($0) }
        if let value = values["share.assignment.interval.ms"].flatMap({ Int32($0) }) { overrides.assignmentIntervalMilliseconds = value }
        return overrides
    }
}

extension BrokerServices {
    /// Whether groups of KIP-848 are served: by the cluster's features and by this broker's configuration.
    var servesConsumerGroups: Bool {
        image.features.level(of: FeatureName.group) > 0 && configuration.groups.servesConsumerProtocol
    }

    /// Whether groups of KIP-1071 are served.
    var servesStreamsGroups: Bool {
        image.features.level(of: FeatureName.streams) > 0 && configuration.groups.servesStreamsProtocol
    }

    var topicLookup: ImageTopicLookup { ImageTopicLookup(topics: image.topics) }

    /// Begins to coordinate the groups of every partition of __consumer_offsets that this node leads.
    func assignCoordinators(_ topic: TopicImage) {
        guard let placed = partitions.topic(topic.id) else { return }
        for partition in topic.partitions where partition.index < groups.configuration.partitionCount {
            guard partition.leader == nodeID, let local = placed[partition.index] else {
                coordinatedEpochs.end(partition.index)
                groups.endTerm(partition: partition.index)
                placed[partition.index]?.onHighWatermark(nil)
                continue
            }
            guard coordinatedEpochs.begin(partition.index, partition.leaderEpoch) else { continue }
            let term = groups.beginTerm(partition: partition.index)
            local.onHighWatermark { [groups, index = partition.index] offset in
                groups.highWatermarkAdvanced(partition: index, to: offset)
            }
            backgroundWork.run { [groups, logger] in
                do throws(CoordinatorLogError) {
                    let log = PartitionCoordinatorLog(partition: local)
                    try groups.load(partition: partition.index, term: term, from: log)
                } catch {
                    logger.error(
                        "groups cannot be loaded; their clients are told to wait",
                        metadata: ["partition": "\(local.topicPartition)", "reason": "\(error.code)"])
                }
            }
        }
    }
}

/// A partition of __consumer_offsets as the coordinator's log.
final class PartitionCoordinatorLog: CoordinatorLog {
    private let partition: Partition

    init(partition: Partition) {
        self.partition = partition
    }

    func append(_ batch: ByteBuffer, transaction: TransactionTerms, now: Timestamp) throws(CoordinatorLogError) -> CoordinatorAppend {
        do throws(PartitionError) {
            let result = try partition.append(
                batch, origin: .coordinator, requireInSyncReplicas: true, now: now, transaction: transaction)
            return CoordinatorAppend(baseOffset: result.log.firstOffset, highWatermark: result.highWatermark)
        } catch {
            throw CoordinatorLogError(error.errorCode)
        }
    }

    func readCommitted(from offset: Offset, maximumBytes: Int) throws(CoordinatorLogError) -> ByteBuffer {
        do throws(StorageError) {
            return try partition.withLog { log throws(StorageError) in
                // To the log's end: a new leader does not know yet how much of it is committed, and all of it will be.
                try log.readBytes(from: offset, maxBytes: maximumBytes, minOneBatch: true, isolation: .logEnd)
            }
        } catch {
            throw CoordinatorLogError(error.errorCode)
        }
    }

    var logStartOffset: Offset {
        (try? partition.withLog { log throws(StorageError) in log.logStartOffset }) ?? 0
    }

    var highWatermark: Offset {
        (try? partition.withLog { log throws(StorageError) in log.highWatermark }) ?? 0
    }
}
