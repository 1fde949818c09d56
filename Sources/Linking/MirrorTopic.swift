// A mirror topic: what it mirrors, in which state it is and why. The states are those of Cluster Linking, so that runbooks carry over.
import Primitives

/// The state of a mirror topic.
public enum MirrorState: String, Sendable, Hashable, CaseIterable {
    /// Recorded, but the topic is not there yet.
    case pendingMirror = "PENDING_MIRROR"
    case active = "ACTIVE"
    case paused = "PAUSED"
    /// Has become writable for good.
    case stopped = "STOPPED"
    /// Is being promoted: the source is fenced, what is left is fetched.
    case pendingStopped = "PENDING_STOPPED"
    /// Is being promoted and has all records; what the source's transactions and groups have come to is brought over.
    case pendingSynchronize = "PENDING_SYNCHRONIZE"
    /// Nothing is fetched any more; leaders end what the source's transactions left open, before anybody may write.
    case stopping = "STOPPING"
    /// A topic that was written to here is being cut back to where it agrees with its source.
    case pendingRestore = "PENDING_RESTORE_MIRROR"
    /// Cannot go on; the reason says why, and what helps.
    case failed = "FAILED"
    /// Fetching goes on being tried.
    case sourceUnavailable = "SOURCE_UNAVAILABLE"
    /// The source answers, and refuses the link; it goes on being tried.
    case linkFailed = "LINK_FAILED"

    /// Whether leaders fetch from the source.
    public var fetches: Bool {
        switch self {
        case .active, .pendingStopped, .pendingSynchronize, .pendingRestore, .sourceUnavailable, .linkFailed: true
        case .pendingMirror, .paused, .stopping, .stopped, .failed: false
        }
    }

    /// Whether clients may write.
    public var isWritable: Bool { self == .stopped }

    /// Whether it is being promoted, and follows its source still.
    public var isPromoting: Bool { self == .pendingStopped || self == .pendingSynchronize }

    /// Whether something is under way that ends by itself.
    public var isPassing: Bool { isPromoting || self == .pendingMirror || self == .stopping || self == .pendingRestore }

    /// Whether it follows its source as soon as that lets it.
    public var isCutOff: Bool { self == .sourceUnavailable || self == .linkFailed }
}

/// A mirror topic of this cluster.
public struct MirrorTopic: Sendable, Hashable {
    public var name: String
    /// Of the mirror topic here; zero until it is there.
    public var topicID: TopicID
    public var link: String
    public var sourceName: String
    /// What the source's topic had when mirroring began: another id means another topic.
    public var sourceID: TopicID
    /// Clusters from which the source's topic comes, where that is a mirror itself.
    public var origins: [String] = []
    public var state: MirrorState
    /// Why it is in that state, for people.
    public var reason: String
    /// When it came into that state.
    public var since: Timestamp
    /// Of the topic when it is created; -1 for this cluster's default.
    public var replicationFactor: Int16 = -1
    /// Whether it was being restored when it failed or was paused: not all brokers may know that it is a mirror again.
    public var isRestoring = false
    /// Whether the source's topic is to follow this one once it is writable.
    public var reversal = MirrorReversal.none

    public init(
        name: String, topicID: TopicID = .zero, link: String, sourceName: String, sourceID: TopicID, state: MirrorState,
        reason: String = "", since: Timestamp
    ) {
        self.name = name
        self.topicID = topicID
        self.link = link
        self.sourceName = sourceName
        self.sourceID = sourceID
        self.state = state
        self.reason = reason
        self.since = since
    }

    /// In a state at a time.
    public func entering(_ state: MirrorState, _ reason: String = "", at now: Timestamp) -> MirrorTopic {
        var changed = self
        changed.state = state
        changed.reason = reason
        changed.since = now
        changed.isRestoring = (self.state == .pendingRestore || isRestoring) && (state == .failed || state == .paused)
        return changed
    }
}

/// What an operator tells a mirror topic to do.
public enum MirrorVerb: String, Sendable, Hashable, CaseIterable {
    case pause
    case resume
    /// Planned: fence the source where it can be, fetch what is left, become writable.
    case promote
    /// Unplanned: become writable at once.
    case failover
    /// As promote; then the source's topic becomes a mirror of this one.
    case reverse
    /// As reverse, but the new mirror fetches nothing before it is resumed.
    case reverseAndPause = "reverse-and-pause"

    var isReversal: Bool { self == .reverse || self == .reverseAndPause }

    /// The state that the verb leads to first; nil when it does not fit the state that a mirror is in.
    public func target(from state: MirrorState) -> MirrorState? {
        if self == .reverseAndPause { return MirrorVerb.reverse.target(from: state) }
        return switch (self, state) {
        case (.pause, .active), (.pause, .sourceUnavailable), (.pause, .linkFailed), (.pause, .paused): .paused
        case (.resume, .paused), (.resume, .failed), (.resume, .active): .active
        case (.resume, .pendingRestore): .pendingRestore
        case (.promote, .active), (.promote, .sourceUnavailable), (.promote, .linkFailed), (.promote, .pendingStopped), (.reverse, .active),
            (.reverse, .sourceUnavailable), (.reverse, .linkFailed), (.reverse, .pendingStopped):
            .pendingStopped
        // Said again, a verb changes nothing.
        case (.promote, .pendingSynchronize), (.reverse, .pendingSynchronize): .pendingSynchronize
        case (.promote, .stopped), (.failover, .stopped), (.reverse, .stopped): .stopped
        case (.promote, .stopping), (.failover, .stopping), (.reverse, .stopping): .stopping
        case (.failover, .active), (.failover, .paused), (.failover, .pendingStopped), (.failover, .pendingSynchronize),
            (.failover, .failed), (.failover, .sourceUnavailable), (.failover, .linkFailed), (.failover, .pendingRestore):
            .stopping
        default: nil
        }
    }
}

/// A topic that was handed over to another cluster.
public struct TopicFence: Sendable, Hashable {
    public var topic: String
    /// Who took over, for people.
    public var by: String
    public var since: Timestamp

    public init(topic: String, by: String, since: Timestamp) {
        self.topic = topic
        self.by = by
        self.since = since
    }
}
