// Which of the source's topics a link mirrors by itself, and where topics come from: what has come from this cluster is not mirrored back, or
// two clusters would mirror each other's mirrors without end.
import Primitives

/// A topic of a link's source that is a mirror itself.
public struct SourceMirror: Sendable, Equatable {
    /// The clusters from which it comes, the nearest first.
    public var origins: [String]
    /// Whether it has become an ordinary topic.
    public var isWritable: Bool

    public init(origins: [String], isWritable: Bool) {
        self.origins = origins
        self.isWritable = isWritable
    }
}

extension LinkImage {
    /// This cluster's mirrors, as those have to know who mirror them on.
    public var sourceMirrors: [String: SourceMirror] {
        var found: [String: SourceMirror] = [:]
        for mirror in mirrors.values {
            guard let link = links[mirror.link] else { continue }
            found[mirror.name] = SourceMirror(
                origins: [link.sourceClusterID] + mirror.origins, isWritable: mirror.state.isWritable)
        }
        return found
    }
}

/// Which mirrors are made.
public enum NewMirrors {
    /// Those that a link makes by itself: for topics that there is nothing of here yet.
    ///
    /// - Parameters:
    ///   - topics: the source's, without internal ones.
    ///   - own: the names of all topics here.
    ///   - sources: those of the source's topics that are mirrors there.
    ///   - clusterID: of this cluster.
    public static func found(
        _ topics: [LinkedTopic], _ link: LinkDefinition, _ settings: LinkSettings, _ image: LinkImage, own: Set<String>,
        sources: [String: SourceMirror], clusterID: String, now: Timestamp
    ) -> [MirrorTopic] {
        topics.compactMap { topic in
            let name = settings.topicPrefix + topic.name
            let origins = sources[topic.name]?.origins ?? []
            guard settings.autoCreateFilter.admits(topic.name), image.mirrors[name] == nil, !own.contains(name),
                !origins.contains(clusterID)
            else { return nil }
            var mirror = MirrorTopic(
                name: name, link: link.name, sourceName: topic.name, sourceID: topic.id, state: .pendingMirror, since: now)
            mirror.origins = origins
            return mirror
        }
    }

    /// Why a topic cannot be restored; nil when it can. Two clusters that follow each other would cut each other's records.
    public static func problem(withRestoring name: String, _ source: SourceMirror?, clusterID: String) -> String? {
        guard let source, !source.isWritable, source.origins.contains(clusterID) else { return nil }
        return "'\(name)' mirrors this cluster's topic; it has to be promoted or failed over before this cluster can follow it"
    }
}
