// How remote topics are named, and what a name says of where its records come from: MirrorMaker 2's two policies.

/// Names of remote and internal topics (`replication.policy.class`).
public struct ReplicationPolicy: Hashable, Sendable {
    public enum Kind: Hashable, Sendable {
        /// `alias.topic` (`DefaultReplicationPolicy`).
        case prefixed
        /// The same name on both sides (`IdentityReplicationPolicy`): nothing in a name tells where its records come from.
        case identity
    }

    public var kind: Kind
    /// Between alias and topic.
    public var separator: String
    /// Whether the separator also stands in the names of internal topics; a dot otherwise.
    public var separatesInternalTopics: Bool
    /// The flow's source, which the identity policy takes every topic to come from.
    public var sourceAlias: String

    public init(kind: Kind = .prefixed, separator: String = ".", separatesInternalTopics: Bool = true, sourceAlias: String) {
        self.kind = kind
        self.separator = separator
        self.separatesInternalTopics = separatesInternalTopics
        self.sourceAlias = sourceAlias
    }

    public static let heartbeatsTopic = "heartbeats"

    // MARK: Remote topics

    /// The name on the target of a topic of the source.
    public func remoteTopic(_ topic: String) -> String {
        if kind == .identity, !topic.hasSuffix(Self.heartbeatsTopic) { return topic }
        return sourceAlias + separator + topic
    }

    /// The alias of the cluster that a topic was replicated from; nil for one that was not.
    public func source(of topic: String) -> String? {
        if kind == .identity, !topic.hasSuffix(Self.heartbeatsTopic) { return sourceAlias }
        return split(topic)?.source
    }

    /// The name that a remote topic has on the cluster it was replicated from; nil for a topic that is not remote.
    public func upstreamTopic(_ topic: String) -> String? {
        if kind == .identity, !topic.hasSuffix(Self.heartbeatsTopic) { return topic }
        return split(topic)?.topic
    }

    /// The name at the far end of the chain of clusters.
    public func originalTopic(_ topic: String) -> String {
        var current = topic
        while let upstream = upstreamTopic(current), upstream != current { current = upstream }
        return current
    }

    /// As Java splits: a name that ends with its only separator has no second part.
    private func split(_ topic: String) -> (source: String, topic: String)? {
        guard !separator.isEmpty else { return nil }
        let bytes = Array(topic.utf8)
        let wanted = Array(separator.utf8)
        var start = 0
        while start + wanted.count <= bytes.count {
            if bytes[start..<start + wanted.count].elementsEqual(wanted) {
                let rest = bytes[(start + wanted.count)...]
                guard !rest.isEmpty else { return nil }
                return (String(decoding: bytes[..<start], as: UTF8.self), String(decoding: rest, as: UTF8.self))
            }
            start += 1
        }
        return nil
    }

    /// Whether replicating the topic to `target` would bring records back to a cluster that they have been to.
    ///
    /// With the identity policy this cannot be seen in a name, except for heartbeats.
    public func isCycle(_ topic: String, target: String) -> Bool {
        var current = topic
        while let source = source(of: current) {
            if source == target || (kind == .prefixed && source == sourceAlias) { return true }
            guard let upstream = upstreamTopic(current), upstream != current else { return false }
            current = upstream
        }
        return false
    }

    // MARK: Internal topics

    private var internalSeparator: String { separatesInternalTopics ? separator : "." }
    private var internalSuffix: String { internalSeparator + "internal" }
    private var checkpointsSuffix: String { internalSeparator + "checkpoints" + internalSuffix }

    /// Heartbeats are MirrorMaker's own records, whatever cluster they come from.
    public static func isHeartbeats(_ topic: String) -> Bool { topic.hasSuffix(heartbeatsTopic) }

    public func isHeartbeatsTopic(_ topic: String) -> Bool { originalTopic(topic) == Self.heartbeatsTopic }

    /// Where the pairs of offsets are kept. `alias` is the other cluster's: the target's for a topic on the source.
    public func offsetSyncsTopic(_ alias: String) -> String { "mm2-offset-syncs" + internalSeparator + alias + internalSuffix }

    /// Where the groups' translated offsets are kept, on the target.
    public func checkpointsTopic(_ alias: String) -> String { alias + checkpointsSuffix }

    /// Topics that are never replicated: MirrorMaker's own and Kafka's.
    public func isInternalTopic(_ topic: String) -> Bool {
        topic.hasPrefix("mm2") && topic.hasSuffix(internalSuffix) || topic.hasSuffix(checkpointsSuffix) || topic.hasPrefix("__")
            || topic.hasPrefix(".")
    }
}
