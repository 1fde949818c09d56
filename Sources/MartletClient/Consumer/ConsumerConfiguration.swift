// What a consumer can be told to do differently.

/// Where to begin in a partition without a usable position.
public enum OffsetResetPolicy: Hashable, Sendable {
    case earliest
    case latest
    /// Not at all: reading fails with ``KafkaError/Kind/noOffset``.
    case none
}

/// Told about changes of a group's assignment. While a function runs, nothing of the rebalance goes on, so offsets can be committed
/// or positions set.
public struct RebalanceListener: Sendable {
    /// Partitions that are read from now on.
    public var onAssigned: @Sendable ([TopicPartition]) async -> Void = { _ in }
    /// Partitions that are about to be given up.
    public var onRevoked: @Sendable ([TopicPartition]) async -> Void = { _ in }
    /// Partitions that others may read already, after the group forgot this member.
    public var onLost: @Sendable ([TopicPartition]) async -> Void = { _ in }

    public init() {}

    public init(
        onAssigned: @escaping @Sendable ([TopicPartition]) async -> Void, onRevoked: @escaping @Sendable ([TopicPartition]) async -> Void
    ) {
        self.onAssigned = onAssigned
        self.onRevoked = onRevoked
        onLost = onRevoked
    }
}

/// Settings of a consumer. The defaults are those of Apache Kafka.
public struct ConsumerConfiguration: Sendable {
    public var client: ClientConfiguration
    /// Needed to subscribe and to commit.
    public var group: String?
    /// Makes the member static (KIP-345): it keeps its partitions over a restart shorter than the session timeout.
    public var groupInstanceID: String?
    /// In order of preference. The group rebalances cooperatively (KIP-429) when all of these can.
    public var assignors: [ConsumerAssignor] = [.range, .cooperativeSticky]
    /// Without a heartbeat for this long the group goes on without this member.
    public var sessionTimeout: Duration = .seconds(45)
    public var heartbeatInterval: Duration = .seconds(3)
    /// The longest time between two calls for records before the consumer leaves its group, and the time a rebalance waits for it
    /// (`max.poll.interval.ms`).
    public var maximumPollInterval: Duration = .seconds(300)
    /// Commits what was read, now and then and at the end. A record counts as read when the next one is asked for.
    public var commitsAutomatically = true
    public var automaticCommitInterval: Duration = .seconds(5)
    public var offsetReset = OffsetResetPolicy.latest
    public var isolation = IsolationLevel.readUncommitted
    /// A broker waits for this many bytes, or for ``fetchMaximumWait``.
    public var fetchMinimumBytes = 1
    public var fetchMaximumWait: Duration = .milliseconds(500)
    /// Bytes of one response; the first batch always comes whole.
    public var fetchMaximumBytes = 50 << 20
    public var partitionMaximumBytes = 1 << 20
    /// Bytes fetched and not yet read, over all partitions; fetching pauses beyond that.
    public var bufferMemory = 64 << 20
    /// Bounds what one compressed batch may unfold to.
    public var maximumDecompressedBatchSize = 128 << 20
    /// Whether batches' checksums are verified.
    public var verifiesChecksums = true
    /// Whether batches are handed out that hold a transaction's end, for those who follow transactions themselves.
    package var handsOutControlBatches = false

    public init(_ client: ClientConfiguration, group: String? = nil) {
        self.client = client
        self.group = group
    }

    public init(bootstrapServers: String, group: String? = nil) throws(KafkaError) {
        self.init(try ClientConfiguration(bootstrapServers: bootstrapServers), group: group)
    }

    func validate() throws(KafkaError) {
        guard !assignors.isEmpty else { throw KafkaError(.invalidArgument, "a consumer needs at least one assignor") }
        guard heartbeatInterval < sessionTimeout else {
            throw KafkaError(.invalidArgument, "heartbeatInterval must be less than sessionTimeout")
        }
        guard partitionMaximumBytes > 0, fetchMaximumBytes > 0, bufferMemory > 0 else {
            throw KafkaError(.invalidArgument, "partitionMaximumBytes, fetchMaximumBytes and bufferMemory are positive")
        }
        if group == nil, groupInstanceID != nil { throw KafkaError(.invalidArgument, "groupInstanceID needs a group") }
    }
}
