// The features this software knows, what each level needs, and what a new cluster starts with (KIP-584, KIP-1022).
import ClusterMetadata
import OrderedCollections

/// One level of a feature.
public struct FeatureLevel: Sendable {
    public var level: Int16
    /// New clusters of this metadata.version or a later one start with this level.
    public var defaultFrom: MetadataVersion
    /// Levels of other features without which this one cannot be set.
    public var needs: OrderedDictionary<String, Int16> = [:]
}

/// A feature besides metadata.version.
public struct Feature: Sendable {
    public var name: String
    /// Ascending, from 0.
    public var levels: [FeatureLevel]

    public var maximum: Int16 { levels.last?.level ?? 0 }

    /// Every feature but metadata.version, by name. Streams groups are known so that directories of clusters that have
    /// them on can be served.
    public static let all: [Feature] = [
        Feature(
            name: FeatureName.eligibleLeaderReplicas,
            levels: [
                FeatureLevel(level: 0, defaultFrom: .minimum),
                FeatureLevel(
                    level: 1, defaultFrom: .eligibleLeaderReplicasByDefault,
                    needs: [MetadataVersion.featureName: MetadataVersion.eligibleLeaderReplicas.rawValue]),
            ]),
        Feature(
            name: FeatureName.group,
            levels: [FeatureLevel(level: 0, defaultFrom: .minimum), FeatureLevel(level: 1, defaultFrom: .groupVersion1)]),
        Feature(
            name: FeatureName.kraft,
            levels: [FeatureLevel(level: 0, defaultFrom: .minimum), FeatureLevel(level: 1, defaultFrom: .version39)]),
        Feature(
            name: FeatureName.share,
            levels: [FeatureLevel(level: 0, defaultFrom: .minimum), FeatureLevel(level: 1, defaultFrom: .shareVersion1)]),
        Feature(
            name: FeatureName.streams,
            levels: [FeatureLevel(level: 0, defaultFrom: .minimum), FeatureLevel(level: 1, defaultFrom: .streamsVersion1)]),
        Feature(
            name: FeatureName.transaction,
            levels: [
                FeatureLevel(level: 0, defaultFrom: .minimum), FeatureLevel(level: 1, defaultFrom: .transactionVersion2),
                FeatureLevel(level: 2, defaultFrom: .transactionVersion2),
            ]),
    ]

    /// The feature of that name; nil when there is none.
    public static func named(_ name: String) -> Feature? { all.first { $0.name == name } }

    /// The level that a new cluster of that metadata.version starts with.
    public func defaultLevel(for version: MetadataVersion) -> Int16 {
        levels.last { version >= $0.defaultFrom }?.level ?? 0
    }

    /// Why that level cannot stand beside `others`; nil when it can.
    public func problem(settingLevel level: Int16, beside others: OrderedDictionary<String, Int16>) -> String? {
        guard let definition = levels.first(where: { $0.level == level }) else {
            return "No feature:\(name) with feature level \(level)"
        }
        for (feature, needed) in definition.needs where (others[feature] ?? 0) < needed {
            return "\(name) could not be set to \(level) because it depends on \(feature) level \(needed)"
        }
        return nil
    }

    /// What a node of this software says about itself when it registers: the levels that it can work with.
    public static let supportedByThisSoftware: [SupportedFeature] =
        [
            SupportedFeature(
                name: MetadataVersion.featureName, minimum: MetadataVersion.minimum.rawValue, maximum: MetadataVersion.latest.rawValue)
        ] + all.map { SupportedFeature(name: $0.name, minimum: 0, maximum: $0.maximum) }
}
