// Incremental fetch sessions (KIP-227): the client names its partitions once, and afterwards both sides speak only of changes.
import Collections
import Primitives

/// What a fetch asks of one partition.
public struct FetchPosition: Hashable, Sendable {
    public var fetchOffset: Offset
    /// Most bytes to return of this partition.
    public var maxBytes: Int32
    /// The leader epoch that the client believes in, -1 for none.
    public var currentLeaderEpoch: LeaderEpoch
    /// The epoch of the last record that the client has, -1 for none (KIP-595).
    public var lastFetchedEpoch: LeaderEpoch
    /// The follower's log start, -1 from consumers.
    public var logStartOffset: Offset

    public init(
        fetchOffset: Offset, maxBytes: Int32, currentLeaderEpoch: LeaderEpoch = -1, lastFetchedEpoch: LeaderEpoch = -1,
        logStartOffset: Offset = -1
    ) {
        self.fetchOffset = fetchOffset
        self.maxBytes = maxBytes
        self.currentLeaderEpoch = currentLeaderEpoch
        self.lastFetchedEpoch = lastFetchedEpoch
        self.logStartOffset = logStartOffset
    }
}

/// Names a partition within a session: by topic id from version 13 of Fetch, by topic name before (then the id is zero).
public struct FetchSessionKey: Hashable, Sendable {
    public var topicID: TopicID
    public var topicName: String
    public var partition: Int32

    public init(topicID: TopicID, topicName: String, partition: Int32) {
        self.topicID = topicID
        self.topicName = topicName
        self.partition = partition
    }
}

/// One client's session: the partitions it follows and what it was last told about each.
public struct FetchSession: Sendable {
    struct CachedPartition: Sendable {
        var position: FetchPosition
        var highWatermark: Offset = -1
        var logStartOffset: Offset = -1
        var failed = false
    }

    public let id: Int32
    /// Whether its requests name topics by id; a session cannot change that.
    public let usesTopicIDs: Bool
    /// The epoch that the next request must carry.
    public internal(set) var nextEpoch: Int32 = 1
    let createdAt: Int64
    var lastUsedAt: Int64
    var partitions: OrderedDictionary<FetchSessionKey, CachedPartition> = [:]

    init(id: Int32, usesTopicIDs: Bool, now: Int64) {
        self.id = id
        self.usesTopicIDs = usesTopicIDs
        createdAt = now
        lastUsedAt = now
    }

    /// How many partitions it follows.
    public var count: Int { partitions.count }

    /// Every partition with its position, in the order in which they should be served.
    public var requested: [(key: FetchSessionKey, position: FetchPosition)] {
        partitions.map { ($0.key, $0.value.position) }
    }

    mutating func update(_ changes: [(key: FetchSessionKey, position: FetchPosition)], forgotten: [FetchSessionKey]) {
        for key in forgotten { partitions.removeValue(forKey: key) }
        for (key, position) in changes {
            partitions[key, default: CachedPartition(position: position)].position = position
        }
    }

    /// Whether the client must hear of this partition, and from now on counts as having heard.
    mutating func mustReport(_ key: FetchSessionKey, _ outcome: FetchOutcome) -> Bool {
        guard var cached = partitions[key] else { return true }
        let changed =
            outcome.recordBytes > 0 || outcome.failed || cached.failed || cached.highWatermark != outcome.highWatermark
            || cached.logStartOffset != outcome.logStartOffset
        cached.highWatermark = outcome.highWatermark
        cached.logStartOffset = outcome.logStartOffset
        cached.failed = outcome.failed
        partitions[key] = cached
        return changed
    }

    /// Puts partitions that returned records at the end, so that a response's size limit starves none.
    mutating func moveToEnd(_ keys: [FetchSessionKey]) {
        for key in keys {
            if let cached = partitions.removeValue(forKey: key) { partitions[key] = cached }
        }
    }
}

/// What a partition's read came to, as far as the session cares.
public struct FetchOutcome: Sendable {
    public var recordBytes: Int
    public var highWatermark: Offset
    public var logStartOffset: Offset
    /// Whether an error or a diverging epoch is reported.
    public var failed: Bool

    public init(recordBytes: Int, highWatermark: Offset, logStartOffset: Offset, failed: Bool) {
        self.recordBytes = recordBytes
        self.highWatermark = highWatermark
        self.logStartOffset = logStartOffset
        self.failed = failed
    }
}
