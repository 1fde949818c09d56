// The configuration of a node as typed values: what the rest of Martlet asks, instead of looking up keys.
// Fields carry the names of Kafka's keys; times are in milliseconds and sizes in bytes unless a name says otherwise.
import ConfigDefinitions
import Primitives

/// What a node does; `process.roles`.
public struct ProcessRoles: OptionSet, Sendable, Hashable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let broker = ProcessRoles(rawValue: 1)
    public static let controller = ProcessRoles(rawValue: 2)
}

/// A node's configuration, complete and consistent: loading refuses everything else.
public struct BrokerConfiguration: Sendable {
    public var nodeID: NodeID
    public var processRoles: ProcessRoles
    /// `broker.rack`.
    public var rack: String?
    /// Every address listened on, in the order of `listeners`, the controller's among them.
    public var listeners: [Listener]
    /// What clients and brokers are told: never a controller's listener, never an empty host, possibly port 0 (then the port that
    /// the system chose for the listener of that name).
    public var advertisedListeners: [Listener]
    /// What the quorum is told about this node's controller listeners; empty without the controller role.
    public var advertisedControllerListeners: [Listener]
    /// In capitals; the first is the one that brokers use.
    public var controllerListenerNames: [String]
    public var interBrokerListenerName: String
    public var controllerQuorumVoters: [QuorumVoter]
    public var controllerQuorumBootstrapServers: [HostAndPort]
    public var cluster: ClusterSettings
    public var quorum: QuorumSettings
    /// Where health and metrics are served; `martlet.admin.listeners`. An empty host means all addresses.
    public var adminListeners: [HostAndPort]
    /// `martlet.log.level`.
    public var logLevel: String
    public var network: NetworkSettings
    public var storage: StorageSettings
    public var cleaner: CleanerSettings
    public var metadataLog: MetadataLogSettings
    public var topics: TopicSettings
    public var groups: GroupSettings
    public var offsets: OffsetsSettings
    public var transactions: TransactionSettings
    public var shareGroups: ShareGroupSettings
    public var security: SecuritySettings
    public var quotas: QuotaSettings
    /// The texts that were given, without dynamic layers: for DescribeConfigs and as the ground of dynamic configuration.
    public var layers: BrokerConfigLayers

    /// The listeners that clients and brokers connect to.
    public var brokerListeners: [Listener] { listeners.filter { !controllerListenerNames.contains($0.name) } }

    /// The listeners that serve the controller.
    public var controllerListeners: [Listener] { listeners.filter { controllerListenerNames.contains($0.name) } }

    /// The listener between brokers as it is advertised; nil on a node that is no broker.
    public var interBrokerListener: Listener? { advertisedListeners.first { $0.name == interBrokerListenerName } }
}

/// How a broker and the controller keep in touch; the keys `broker.*`, `initial.broker.registration.timeout.ms` and so on.
public struct ClusterSettings: Sendable, Equatable {
    public var heartbeatIntervalMilliseconds: Int64
    public var sessionTimeoutMilliseconds: Int64
    public var initialRegistrationTimeoutMilliseconds: Int64
    /// `controlled.shutdown.enable`.
    public var controlledShutdownEnable: Bool
    /// `log.dir.failure.timeout.ms`: how long the controller may not know of a failed directory before the node stops.
    public var directoryFailureTimeoutMilliseconds: Int64
    /// `request.timeout.ms`: how long a request forwarded to the controller is tried.
    public var requestTimeoutMilliseconds: Int64
}

/// The times of the metadata quorum; the keys `controller.quorum.*`.
public struct QuorumSettings: Sendable, Equatable {
    public var electionTimeoutMilliseconds: Int64
    public var electionBackoffMaxMilliseconds: Int64
    public var fetchTimeoutMilliseconds: Int64
    public var requestTimeoutMilliseconds: Int64
    public var retryBackoffMilliseconds: Int64
    public var fetchMaxBytes: Int
    /// `controller.quorum.auto.join.enable`.
    public var autoJoinEnable: Bool
}

/// Limits over connections and requests; the keys `socket.*`, `max.connections*`, `queued.*`.
public struct NetworkSettings: Sendable, Equatable {
    /// `num.network.threads`: event loops.
    public var networkThreads: Int
    public var socketRequestMaxBytes: Int
    /// -1 leaves it to the system.
    public var socketSendBufferBytes: Int
    /// -1 leaves it to the system.
    public var socketReceiveBufferBytes: Int
    public var socketListenBacklogSize: Int
    /// -1 never.
    public var connectionsMaxIdleMilliseconds: Int64
    public var maxConnections: Int
    public var maxConnectionsPerAddress: Int
    /// `max.connections.per.ip.overrides`, by address as text.
    public var maxConnectionsPerAddressOverrides: [String: Int]
    /// `listener.name.NAME.max.connections`, by the listener's name in capitals.
    public var maxConnectionsPerListener: [String: Int]
    /// `max.connection.creation.rate`: new connections per second.
    public var maxConnectionCreationRate: Int
    /// `listener.name.NAME.max.connection.creation.rate`, by the listener's name in capitals.
    public var maxConnectionCreationRatePerListener: [String: Int]
    /// `queued.max.request.bytes`; -1 for no bound of the operator's.
    public var queuedMaxRequestBytes: Int64
    public var fetchMaxBytes: Int
    public var maxIncrementalFetchSessionCacheSlots: Int
    public var maxRequestPartitionSizeLimit: Int
}

/// The data directories and the periodic work on logs; the keys `log.*` that are no topic defaults.
public struct StorageSettings: Sendable, Equatable {
    public var logDirectories: [String]
    /// `num.recovery.threads.per.data.dir`.
    public var recoveryThreadsPerDirectory: Int
    /// `log.retention.check.interval.ms`.
    public var retentionCheckIntervalMilliseconds: Int64
    /// `log.flush.scheduler.interval.ms`.
    public var flushSchedulerIntervalMilliseconds: Int64
    /// `log.flush.offset.checkpoint.interval.ms`.
    public var flushOffsetCheckpointIntervalMilliseconds: Int64
    /// `log.flush.start.offset.checkpoint.interval.ms`.
    public var flushStartOffsetCheckpointIntervalMilliseconds: Int64
    /// `replica.high.watermark.checkpoint.interval.ms`.
    public var highWatermarkCheckpointIntervalMilliseconds: Int64
    /// `log.initial.task.delay.ms`.
    public var initialTaskDelayMilliseconds: Int64
    /// `producer.id.expiration.ms`.
    public var producerIDExpirationMilliseconds: Int64
    /// `producer.id.expiration.check.interval.ms`.
    public var producerIDExpirationCheckIntervalMilliseconds: Int64
    /// `martlet.disk.headroom.bytes`.
    public var headroomBytes: Int
}

/// The metadata log; the keys `metadata.*`.
public struct MetadataLogSettings: Sendable, Equatable {
    /// `metadata.log.dir`, or the first of `log.dirs`.
    public var directory: String
    public var maxRecordBytesBetweenSnapshots: Int64
    /// 0 for never.
    public var maxSnapshotIntervalMilliseconds: Int64
    public var segmentBytes: Int
    public var segmentMilliseconds: Int64
    public var maxRetentionBytes: Int64
    public var maxRetentionMilliseconds: Int64
}

/// How topics come to be and go.
public struct TopicSettings: Sendable, Equatable {
    public var autoCreateTopicsEnable: Bool
    public var deleteTopicEnable: Bool
    public var numPartitions: Int32
    public var defaultReplicationFactor: Int16
    /// The values in force for topics without overrides.
    public var defaults: TopicConfiguration
}

/// Groups; the keys `group.*` and `offset.metadata.max.bytes`.
public struct GroupSettings: Sendable, Equatable {
    public var initialRebalanceDelayMilliseconds: Int64
    public var minSessionTimeoutMilliseconds: Int64
    public var maxSessionTimeoutMilliseconds: Int64
    public var maxSize: Int
    public var offsetMetadataMaxBytes: Int
    /// Whether `group.coordinator.rebalance.protocols` names the protocol of KIP-848.
    public var servesConsumerProtocol: Bool
    public var consumer: ConsumerGroupSettings
    /// Whether it names the protocol of KIP-1071.
    public var servesStreamsProtocol: Bool
    public var streams: StreamsGroupSettings
}

/// Consumer groups (KIP-848); the keys `group.consumer.*`.
public struct ConsumerGroupSettings: Sendable, Equatable {
    public var sessionTimeoutMilliseconds: Int64
    public var heartbeatIntervalMilliseconds: Int64
    public var assignmentIntervalMilliseconds: Int64
    public var maxSize: Int
    public var assignors: [String]
    /// In lower case.
    public var migrationPolicy: String
    public var expressionRefreshIntervalMilliseconds: Int64
}

/// Streams groups (KIP-1071); the keys `group.streams.*`.
public struct StreamsGroupSettings: Sendable, Equatable {
    public var sessionTimeoutMilliseconds: Int64
    public var heartbeatIntervalMilliseconds: Int64
    public var assignmentIntervalMilliseconds: Int64
    public var initialRebalanceDelayMilliseconds: Int64
    public var maxSize: Int
    public var numStandbyReplicas: Int64
    public var taskOffsetIntervalMilliseconds: Int64
    public var acceptableRecoveryLag: Int64
    public var rackAwareAssignmentTags: [String]
}

/// Committed offsets; the keys `offsets.*`.
public struct OffsetsSettings: Sendable, Equatable {
    public var topicPartitions: Int32
    public var topicReplicationFactor: Int16
    public var topicSegmentBytes: Int
    /// `offsets.topic.compression.codec`: the codec's number in record batches.
    public var topicCompressionCodec: UInt8
    public var retentionMilliseconds: Int64
    public var retentionCheckIntervalMilliseconds: Int64
    public var commitTimeoutMilliseconds: Int64
}
