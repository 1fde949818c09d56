// What a finalised metadata.version allows. Whoever writes a metadata record asks here which version of it older nodes can read.

/// A level of the `metadata.version` feature (KIP-778). Only the levels that Apache Kafka defined exist.
public struct MetadataVersion: RawRepresentable, Hashable, Comparable, Sendable {
    /// The feature level as it stands in a `FeatureLevelRecord`.
    public let rawValue: Int16

    /// Nil for a level that no Apache Kafka release defined.
    public init?(rawValue: Int16) {
        guard Self.minimum.rawValue...Self.latest.rawValue ~= rawValue else { return nil }
        self.rawValue = rawValue
    }

    private init(level: Int16) {
        rawValue = level
    }

    /// The feature's name in records and requests.
    public static let featureName = "metadata.version"

    /// 3.3-IV3, the oldest level that is still served.
    public static let minimum = MetadataVersion(level: 7)
    /// 3.5-IV2.
    public static let scram = MetadataVersion(level: 11)
    /// 3.6-IV0.
    public static let leaderEpochKeptOnShrink = MetadataVersion(level: 12)
    /// 3.6-IV1 (KIP-868).
    public static let transactions = MetadataVersion(level: 13)
    /// 3.6-IV2.
    public static let delegationTokens = MetadataVersion(level: 14)
    /// 3.7-IV0 (KIP-919).
    public static let controllerRegistration = MetadataVersion(level: 15)
    /// 3.7-IV2 (KIP-858).
    public static let directoryAssignment = MetadataVersion(level: 17)
    /// 3.9-IV0.
    public static let version39 = MetadataVersion(level: 21)
    /// 4.0-IV0, the first with group.version 1 (KIP-848).
    public static let groupVersion1 = MetadataVersion(level: 22)
    /// 4.0-IV1 (KIP-966).
    public static let eligibleLeaderReplicas = MetadataVersion(level: 23)
    /// 4.0-IV2 (KIP-890).
    public static let transactionVersion2 = MetadataVersion(level: 24)
    /// 4.1-IV0, from which new clusters have eligible leader replicas on.
    public static let eligibleLeaderReplicasByDefault = MetadataVersion(level: 26)
    /// 4.1-IV1.
    public static let version41 = MetadataVersion(level: 27)
    /// 4.2-IV0.
    public static let shareVersion1 = MetadataVersion(level: 28)
    /// 4.2-IV1.
    public static let streamsVersion1 = MetadataVersion(level: 29)
    /// 4.3-IV0 (KIP-1066).
    public static let cordonedDirectories = MetadataVersion(level: 30)
    /// 4.4-IV1: ranges of addresses as hosts of access control entries (KIP-1276).
    public static let hostRanges = MetadataVersion(level: 32)
    /// 4.4-IV2.
    public static let controllerUnregistration = MetadataVersion(level: 33)
    /// The newest level this software reads and writes.
    public static let latest = controllerUnregistration

    /// What a new cluster starts with unless told otherwise: the newest level that Apache Kafka 4.1 knows, so that nodes of
    /// every release from 4.1 on can join.
    public static let defaultForNewClusters = version41

    /// Every level, oldest first.
    public static let all = (minimum.rawValue...latest.rawValue).map { MetadataVersion(level: $0) }

    private static let names = [
        "3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2",
        "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0",
        "4.2-IV1", "4.3-IV0", "4.4-IV0", "4.4-IV1", "4.4-IV2",
    ]

    /// Levels whose records an older level could not read; going back across one would lose metadata.
    private static let levelsThatChangedRecords: [Int16] = [7, 8, 11, 13, 14, 15, 17, 23, 30, 32, 33]

    public static func < (left: MetadataVersion, right: MetadataVersion) -> Bool { left.rawValue < right.rawValue }

    /// Reads `4.1-IV1`, or a release such as `4.1` or `4.1.0`, which stands for that release's newest level.
    public init?(name: String) {
        if let index = Self.names.firstIndex(of: name) {
            self = Self.all[index]
            return
        }
        let release = name.split(separator: ".", omittingEmptySubsequences: false).prefix(2).joined(separator: ".")
        guard let index = Self.names.lastIndex(where: { $0.prefix(while: { $0 != "-" }) == release }) else { return nil }
        self = Self.all[index]
    }

    /// Whether records differ between two levels, so that a downgrade from one to the other would lose metadata.
    public static func metadataChanged(between one: MetadataVersion, and other: MetadataVersion) -> Bool {
        let (low, high) = one < other ? (one, other) : (other, one)
        return levelsThatChangedRecords.contains { $0 > low.rawValue && $0 <= high.rawValue }
    }

    public var registerBrokerRecordVersion: Int16 {
        if self >= .cordonedDirectories { return 4 }
        if self >= .directoryAssignment { return 3 }
        return rawValue >= 8 ? 2 : 1
    }

    public var brokerRegistrationChangeRecordVersion: Int16 {
        if self >= .cordonedDirectories { return 3 }
        return self >= .directoryAssignment ? 2 : 1
    }

    /// The version of `PartitionRecord` and of `PartitionChangeRecord`.
    public var partitionRecordVersion: Int16 {
        if self >= .eligibleLeaderReplicas { return 2 }
        return self >= .directoryAssignment ? 1 : 0
    }

    public var supportsDirectoryAssignment: Bool { self >= .directoryAssignment }
    public var supportsTransactions: Bool { self >= .transactions }
    public var supportsControllerRegistration: Bool { self >= .controllerRegistration }
    public var supportsHostRanges: Bool { self >= .hostRanges }
    public var supportsScram: Bool { self >= .scram }
    public var supportsDelegationTokens: Bool { self >= .delegationTokens }
    public var supportsEligibleLeaderReplicas: Bool { self >= .eligibleLeaderReplicas }
    public var bumpsLeaderEpochOnShrink: Bool { self < .leaderEpochKeptOnShrink }
}

extension MetadataVersion: CustomStringConvertible {
    /// Kafka's spelling, `4.1-IV1`.
    public var description: String { Self.names[Int(rawValue - Self.minimum.rawValue)] }
}
