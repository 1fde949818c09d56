// One partition's place in the cluster: who holds it, who leads it, and under which epochs.
import KafkaRecords
import Primitives

/// State of a partition as the metadata log tells it (`PartitionRecord` and the changes after it).
public struct PartitionImage: Hashable, Sendable {
    /// -1 where a partition has no leader.
    public static let noLeader: NodeID = -1

    /// The partition's number within its topic.
    public var index: Int32
    /// All replicas; the first is the preferred leader.
    public var replicas: [NodeID]
    /// The log directory of each replica, in the order of `replicas` (KIP-858); `DirectoryID.migrating` before that.
    public var directories: [KafkaUUID]
    /// The in-sync replicas.
    public var isr: [NodeID]
    /// Replicas that a reassignment takes away.
    public var removingReplicas: [NodeID]
    /// Replicas that a reassignment adds.
    public var addingReplicas: [NodeID]
    /// Replicas that hold everything up to the high watermark though they left the ISR (KIP-966).
    public var eligibleLeaderReplicas: [NodeID]
    /// The last leader, kept while nobody is eligible (KIP-966).
    public var lastKnownElr: [NodeID]
    /// `noLeader` when there is none.
    public var leader: NodeID
    /// True after an unclean election until the new leader has confirmed it.
    public var isRecovering: Bool
    /// Grows with every change of leader.
    public var leaderEpoch: LeaderEpoch
    /// Grows with every change of the partition.
    public var partitionEpoch: Int32

    public init(
        index: Int32, replicas: [NodeID], directories: [KafkaUUID], isr: [NodeID], leader: NodeID, leaderEpoch: LeaderEpoch = 0,
        partitionEpoch: Int32 = 0
    ) {
        self.index = index
        self.replicas = replicas
        self.directories = directories
        self.isr = isr == replicas ? replicas : isr
        self.leader = leader
        self.leaderEpoch = leaderEpoch
        self.partitionEpoch = partitionEpoch
        removingReplicas = []
        addingReplicas = []
        eligibleLeaderReplicas = []
        lastKnownElr = []
        isRecovering = false
    }

    public var hasLeader: Bool { leader != Self.noLeader }

    public var preferredLeader: NodeID { replicas.first ?? Self.noLeader }

    /// Replicas are being added or taken away.
    public var isReassigning: Bool { !addingReplicas.isEmpty || !removingReplicas.isEmpty }

    /// The directory of `replica`; nil when it is not a replica.
    public func directory(of replica: NodeID) -> KafkaUUID? {
        guard let position = replicas.firstIndex(of: replica), position < directories.count else { return nil }
        return directories[position]
    }
}

/// Directory ids with a meaning of their own (KIP-858).
public enum DirectoryID {
    /// Written before directories were assigned through metadata; the replica has one that nobody told.
    public static let migrating = KafkaUUID.zero
    /// The replica's directory is not known yet.
    public static let unassigned = KafkaUUID.one
    /// In a directory that went offline.
    public static let lost = KafkaUUID(mostSignificantBits: 0, leastSignificantBits: 2)

    /// Ids below 100 are kept back by Kafka and never name a directory.
    public static func isReserved(_ id: KafkaUUID) -> Bool {
        id.mostSignificantBits == 0 && id.leastSignificantBits < 100
    }
}

extension PartitionImage {
    /// The state that a `PartitionRecord` sets.
    init(_ record: PartitionRecord) throws(MetadataError) {
        if !record.directories.isEmpty && record.directories.count != record.replicas.count {
            throw .contradiction("PartitionRecord of \(record.topicId)-\(record.partitionId) has directories for other replicas")
        }
        self.init(
            index: record.partitionId, replicas: record.replicas,
            directories: Self.orMigrating(record.directories, count: record.replicas.count), isr: record.isr, leader: record.leader,
            leaderEpoch: record.leaderEpoch, partitionEpoch: record.partitionEpoch)
        removingReplicas = record.removingReplicas
        addingReplicas = record.addingReplicas
        eligibleLeaderReplicas = record.eligibleLeaderReplicas ?? []
        lastKnownElr = record.lastKnownElr ?? []
        isRecovering = try Self.recovering(record.leaderRecoveryState, current: false)
    }

    /// Applies a `PartitionChangeRecord`; a change of leader, even to the same one, starts a new leader epoch.
    mutating func merge(_ record: PartitionChangeRecord) throws(MetadataError) {
        if let newReplicas = record.replicas {
            replicas = newReplicas
        }
        if let newDirectories = record.directories {
            if !newDirectories.isEmpty && newDirectories.count != replicas.count {
                throw .contradiction("PartitionChangeRecord of \(record.topicId)-\(record.partitionId) has directories for other replicas")
            }
            directories = newDirectories
        }
        if record.replicas != nil || record.directories != nil {
            directories = Self.orMigrating(directories, count: replicas.count)
        }
        if let newIsr = record.isr { isr = newIsr == replicas ? replicas : newIsr }
        if let removing = record.removingReplicas { removingReplicas = removing }
        if let adding = record.addingReplicas { addingReplicas = adding }
        if let eligible = record.eligibleLeaderReplicas { eligibleLeaderReplicas = eligible }
        if let lastKnown = record.lastKnownElr { lastKnownElr = lastKnown }
        isRecovering = try Self.recovering(record.leaderRecoveryState, current: isRecovering)
        guard leaderEpoch < .max, partitionEpoch < .max else {
            throw .contradiction("partition \(record.partitionId) of topic \(record.topicId) has used up its epochs")
        }
        if record.leader != Self.noLeaderChange {
            leader = record.leader
            leaderEpoch += 1
        }
        partitionEpoch += 1
    }

    /// The state after a change that is decided but not yet replayed.
    ///
    /// - Throws: `MetadataError` where the record contradicts this partition.
    public func merging(_ record: PartitionChangeRecord) throws(MetadataError) -> PartitionImage {
        var next = self
        try next.merge(record)
        return next
    }

    /// Forgets eligible leaders, as a `ClearElrRecord` asks.
    mutating func clearEligibleLeaders() {
        guard !eligibleLeaderReplicas.isEmpty || !lastKnownElr.isEmpty else { return }
        eligibleLeaderReplicas = []
        lastKnownElr = []
        partitionEpoch &+= 1
    }

    /// In a change record: the leader stays.
    public static let noLeaderChange: NodeID = -2

    private static func orMigrating(_ directories: [KafkaUUID], count: Int) -> [KafkaUUID] {
        if directories.isEmpty || directories.allSatisfy({ $0 == DirectoryID.migrating }) {
            return [KafkaUUID](repeating: DirectoryID.migrating, count: count)
        }
        return directories
    }

    private static func recovering(_ state: Int8, current: Bool) throws(MetadataError) -> Bool {
        switch state {
        case -1: current
        case 0: false
        case 1: true
        default: throw .unsupported(name: "leader recovery state \(state)")
        }
    }

    /// The record that says all of this.
    public func record(topicID: TopicID, version: MetadataVersion) -> PartitionRecord {
        var record = PartitionRecord()
        record.partitionId = index
        record.topicId = topicID
        record.replicas = replicas
        record.isr = isr
        record.removingReplicas = removingReplicas
        record.addingReplicas = addingReplicas
        record.leader = leader
        record.leaderRecoveryState = isRecovering ? 1 : 0
        record.leaderEpoch = leaderEpoch
        record.partitionEpoch = partitionEpoch
        if version.supportsDirectoryAssignment { record.directories = directories }
        if version.supportsEligibleLeaderReplicas {
            // Left out when empty: a tagged field costs nothing then.
            if !eligibleLeaderReplicas.isEmpty { record.eligibleLeaderReplicas = eligibleLeaderReplicas }
            if !lastKnownElr.isEmpty { record.lastKnownElr = lastKnownElr }
        }
        return record
    }
}
