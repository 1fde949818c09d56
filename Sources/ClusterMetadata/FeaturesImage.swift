// The finalised features of the cluster (KIP-584), metadata.version apart because everything asks for it.
import OrderedCollections

/// Finalised feature levels. `kraft.version` is not among them: it belongs to the quorum and lives in control records.
public struct FeaturesImage: Hashable, Sendable {
    /// Nil until the first record of the cluster was replayed.
    public internal(set) var metadataVersion: MetadataVersion?
    /// Levels above 0 of every other feature.
    public internal(set) var levels: OrderedDictionary<String, Int16> = [:]

    public init() {}

    /// The finalised level of any feature, 0 when it is off.
    public func level(of feature: String) -> Int16 {
        feature == MetadataVersion.featureName ? metadataVersion?.rawValue ?? 0 : levels[feature] ?? 0
    }

    /// Every finalised feature, metadata.version first.
    public var all: [(name: String, level: Int16)] {
        (metadataVersion.map { [(MetadataVersion.featureName, $0.rawValue)] } ?? []) + levels.map { ($0.key, $0.value) }
    }

    /// KIP-966 is on.
    public var hasEligibleLeaderReplicas: Bool { level(of: FeatureName.eligibleLeaderReplicas) > 0 }
}

/// Names of features other than metadata.version.
public enum FeatureName {
    public static let kraft = "kraft.version"
    public static let group = "group.version"
    public static let transaction = "transaction.version"
    public static let eligibleLeaderReplicas = "eligible.leader.replicas.version"
    public static let share = "share.version"
    public static let streams = "streams.version"
}
