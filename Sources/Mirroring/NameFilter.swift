// Which topics, groups and topic settings are replicated: lists of names and regular expressions, as MirrorMaker 2 reads them.
import Primitives

/// A comma separated list of names and regular expressions, each of which has to match the whole name.
public struct NamePatterns: Sendable {
    /// Nil for an empty list, which matches nothing.
    private let pattern: LinearPattern?

    /// Reads a list as it stands in a properties file.
    ///
    /// - Throws: why it cannot be compiled: patterns that need backtracking (look-ahead, back references) are not taken.
    public init(_ list: String) throws(LinearPatternError) {
        let items = Self.items(list)
        pattern = items.isEmpty ? nil : try LinearPattern(items.joined(separator: "|"))
    }

    /// The items of a list, without the blanks around them; empty ones are left out.
    public static func items(_ list: String) -> [String] {
        list.split(separator: ",").compactMap { item in
            let text = item.drop(while: \.isWhitespace)
            guard let last = text.lastIndex(where: { !$0.isWhitespace }) else { return nil }
            return String(text[...last])
        }
    }

    public func matches(_ name: String) -> Bool { pattern?.matchesWhole(name) ?? false }
}

/// What is named and not excluded; what is excluded stays so whatever else names it.
public struct NameFilter: Sendable {
    private let included: NamePatterns
    private let excluded: NamePatterns

    public init(included: NamePatterns, excluded: NamePatterns) {
        self.included = included
        self.excluded = excluded
    }

    public func matches(_ name: String) -> Bool { included.matches(name) && !excluded.matches(name) }
}

/// Kafka's defaults of the lists (`DefaultTopicFilter`, `DefaultGroupFilter`, `DefaultConfigPropertyFilter`).
public enum NameFilterDefaults {
    public static let topics = ".*"
    public static let topicsExclude = #"mm2.*\.internal, .*\.replica, __.*"#
    public static let groups = ".*"
    public static let groupsExclude = "console-consumer-.*, connect-.*, __.*"
    public static let configPropertiesExclude =
        "follower.replication.throttled.replicas, leader.replication.throttled.replicas, message.timestamp.difference.max.ms, "
        + "log.message.timestamp.before.max.ms, log.message.timestamp.after.max.ms, message.timestamp.type, "
        + "unclean.leader.election.enable, min.insync.replicas"
}
