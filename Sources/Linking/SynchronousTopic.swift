// Topics of this cluster whose producers are answered only when a mirror in another cluster has their records too. Recorded here, at the source,
// so that a broker which comes to lead such a topic waits for the mirror from the first record on.
import Primitives

/// A topic that another cluster mirrors synchronously.
public struct SynchronousTopic: Sendable, Hashable {
    public var topic: String
    public var topicID: TopicID
    /// The cluster that mirrors, and its link.
    public var cluster: String
    public var link: String
    public var timeoutMilliseconds: Int64
    public var since: Timestamp

    public init(topic: String, topicID: TopicID, cluster: String, link: String, timeoutMilliseconds: Int64, since: Timestamp) {
        self.topic = topic
        self.topicID = topicID
        self.cluster = cluster
        self.link = link
        self.timeoutMilliseconds = timeoutMilliseconds
        self.since = since
    }

    /// What names it among the records; topics, links and ids of clusters have no slashes.
    public var key: String { Self.key(topic: topic, cluster: cluster, link: link) }

    public static func key(topic: String, cluster: String, link: String) -> String { "\(cluster)/\(link)/\(topic)" }

    public var json: JSONValue {
        [
            "version": 1, "topic": .string(topic), "topicId": .string("\(topicID)"), "cluster": .string(cluster), "link": .string(link),
            "timeoutMs": .integer(timeoutMilliseconds), "since": .integer(since),
        ]
    }

    init?(_ value: JSONValue) {
        guard let topic = value["topic"]?.stringValue, let id = value["topicId"]?.stringValue.flatMap({ KafkaUUID($0) }),
            let cluster = value["cluster"]?.stringValue, let link = value["link"]?.stringValue,
            let timeout = value["timeoutMs"]?.integerValue
        else { return nil }
        self.init(
            topic: topic, topicID: id, cluster: cluster, link: link, timeoutMilliseconds: timeout, since: value["since"]?.integerValue ?? 0)
    }
}

extension LinkCoordinator {
    /// What a link of another cluster wants of this one's topics.
    ///
    /// - Parameters:
    ///   - wanted: all topics that it mirrors synchronously, or is to; others that it had are let go.
    ///   - ready: those of them whose mirrors have caught up; only these are waited for from now on.
    public func synchronize(
        _ wanted: Set<String>, ready: [SynchronousTopic], cluster: String, link: String
    ) -> [LinkRecord] {
        let left = image.synchronous.values.filter { $0.cluster == cluster && $0.link == link && !wanted.contains($0.topic) }
        let added = ready.filter { topic in
            guard let known = image.synchronous[topic.key] else { return true }
            return known.topicID != topic.topicID || known.timeoutMilliseconds != topic.timeoutMilliseconds
        }
        return left.map { .synchronousRemoved($0.key) } + added.map { .synchronous($0) }
    }

    /// A topic is gone, or whoever mirrored it is: nobody waits for its mirrors any longer.
    public func endSynchronous(_ topics: [String]) -> [LinkRecord] {
        image.synchronous.values.filter { topics.contains($0.topic) }.map { .synchronousRemoved($0.key) }
    }
}
