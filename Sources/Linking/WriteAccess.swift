// Whether clients may write to a partition, as far as links to other clusters are concerned.
import Primitives

/// Who may write to a partition.
public enum WriteAccess: Sendable, Hashable {
    /// Every client that is permitted to.
    case open
    /// Nobody yet: this broker has not heard of all mirror topics. Passes within moments.
    case undecided
    /// Only the link: the topic mirrors one of another cluster.
    case mirror
    /// Nobody any more, not even the link: what the source left open in a mirror is being ended.
    case ending
    /// Nobody: another cluster has taken over.
    case fenced
}

extension LinkImage {
    /// Who may write to a topic of this cluster.
    public func access(toTopic name: String, id: TopicID) -> WriteAccess {
        if let mirror = mirrors[name], mirror.topicID == id || mirror.topicID == .zero, !mirror.state.isWritable {
            return mirror.state == .stopping ? .ending : .mirror
        }
        return fences[name] == nil ? .open : .fenced
    }
}
