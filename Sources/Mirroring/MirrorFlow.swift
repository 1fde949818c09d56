// One direction of replication, `A->B`, with everything that was decided about it.
import OrderedCollections

/// What one kind of client of a flow is configured with, by Kafka's names.
public typealias ClientProperties = OrderedDictionary<String, String>

/// Where the offset-syncs topic is (`offset-syncs.topic.location`).
public enum OffsetSyncsLocation: String, Hashable, Sendable, CaseIterable {
    case source
    case target
}

/// A setting of a remote topic.
public struct TopicSetting: Hashable, Sendable {
    public var name: String
    public var value: String
}

/// How several processes with the same file share its work (`dedicated.mode.enable.internal.rest`).
public struct SharingSettings: Hashable, Sendable {
    /// Where members and shares are written down, on the target.
    public var topic: String
    /// Shares of the work to a target.
    public var shares: Int
    /// Milliseconds without a sign of life after which a process's shares are taken over (`session.timeout.ms`).
    public var sessionTimeout: Int64
    /// Milliseconds between two signs of life (`heartbeat.interval.ms`).
    public var heartbeatInterval: Int64
}

/// A flow from one cluster to another and its settings.
public struct MirrorFlow: Sendable {
    public var source: String
    public var target: String
    /// Whether records are replicated (`A->B.enabled`). A flow that is not may still emit heartbeats, as MirrorMaker 2 does.
    public var isEnabled = false
    public var policy: ReplicationPolicy

    // MARK: Topics

    public var topics: NameFilter
    /// Topic settings that are not replicated.
    public var excludedConfigProperties: NamePatterns
    /// Whether settings that the source has by default are set on the target too (`use.defaults.from=source`).
    public var usesSourceDefaults = false
    /// Seconds; nil for off.
    public var refreshTopicsInterval: Int64? = 600
    public var syncTopicConfigsInterval: Int64? = 600
    public var syncTopicACLsInterval: Int64? = 600
    public var replicationFactor: Int16 = 2
    /// How many workers copy at the same time (`tasks.max`).
    public var workers = 1

    // MARK: Groups

    public var groups: NameFilter
    public var refreshGroupsInterval: Int64? = 600
    public var emitCheckpointsInterval: Int64? = 60
    public var syncGroupOffsetsInterval: Int64?
    public var checkpointsReplicationFactor: Int16 = 3

    // MARK: Heartbeats

    public var emitHeartbeatsInterval: Int64? = 1
    public var heartbeatsReplicationFactor: Int16 = 3
    /// Whether heartbeats are replicated although no filter names them.
    public var replicatesHeartbeats = true

    // MARK: Offsets

    public var emitsOffsetSyncs = true
    public var offsetSyncsLocation = OffsetSyncsLocation.source
    public var offsetSyncsReplicationFactor: Int16 = 3
    /// Records between two pairs of offsets (`offset.lag.max`).
    public var maximumOffsetLag: Int64 = 100
    /// Where positions are kept on the target (`offset.storage.*`).
    public var positionsTopic: String
    public var positionsPartitions: Int32 = 25
    public var positionsReplicationFactor: Int16 = 3
    /// Milliseconds between two times that positions are stored, without exactly-once (`offset.flush.interval.ms`).
    public var positionsInterval: Int64 = 5_000

    // MARK: Records

    /// Whether every record is given a header that tells where it comes from (`replication.provenance.headers.enable`).
    public var addsProvenance = false
    /// Offsets at the end of a partition of the target that are looked at for provenance at a start, at least.
    public var provenanceLookback: Int64 = 2_000
    /// What is done to records, in this order.
    public var transforms: [TransformSettings] = []
    /// Settings that remote topics have whatever their sources say (`topic.config.*`).
    public var topicSettings: [TopicSetting] = []

    // MARK: Exactly once

    /// Records and positions in one transaction (`exactly.once.source.support=enabled`).
    public var isExactlyOnce = false
    /// What transactional ids begin with (`group.id` of MirrorMaker's Connect workers).
    public var workerGroup: String

    // MARK: Several processes

    /// Nil when one process does all of the work.
    public var sharing: SharingSettings?

    // MARK: Clients

    public var sourceConsumer: ClientProperties = [:]
    public var sourceProducer: ClientProperties = [:]
    public var sourceAdmin: ClientProperties = [:]
    public var targetConsumer: ClientProperties = [:]
    public var targetProducer: ClientProperties = [:]
    public var targetAdmin: ClientProperties = [:]

    /// What the file says about the flow and its clusters, by the names that MirrorMaker's connectors and workers know it by; without defaults.
    public var entries: OrderedDictionary<String, MirrorEntry> = [:]

    public var name: String { "\(source)->\(target)" }

    /// The topic's name depends on where it is: it names the cluster at the other end.
    public var offsetSyncsTopic: String { policy.offsetSyncsTopic(offsetSyncsLocation == .source ? target : source) }
    public var checkpointsTopic: String { policy.checkpointsTopic(source) }
    /// Where topics that were added and blocked at run time are kept, on the target.
    public var topicRulesTopic: String { "mm2-topics.\(source).internal" }

    /// Whether a topic of the source is replicated.
    public func replicates(_ topic: String) -> Bool { replicates(topic, TopicRules()) }

    /// The transactional id of a worker, as Connect names those of tasks.
    public func transactionalID(worker: Int) -> String { "\(workerGroup)-\(SourcePosition.connector)-\(worker)" }
}

extension MirrorFlow {
    /// Whether records of a topic are told where they come from: heartbeats are each flow's own.
    public func addsProvenance(to topic: String) -> Bool { addsProvenance && !ReplicationPolicy.isHeartbeats(topic) }
}
