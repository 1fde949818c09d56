// Turning a mirror and its source round in one step: the mirror is promoted, then the other cluster is told to mirror it. What is left to do is
// recorded with the mirror, so that another coordinator goes on with it.
import Primitives

/// How far a mirror's reversal is.
public enum MirrorReversal: String, Sendable, Hashable {
    /// Nobody asked for one.
    case none
    /// The other cluster is to mirror this topic once it is writable.
    case asked
    /// The same, but it is not to fetch before somebody resumes it there.
    case askedPaused = "asked-paused"
    /// It does.
    case done

    /// Whether the other cluster has still to be told.
    public var isAsked: Bool { self == .asked || self == .askedPaused }

    /// Why a verb does not fit a mirror that is about to be writable or is so already; nil when it does.
    static func refusal(_ verb: MirrorVerb, _ mirror: MirrorTopic) -> String? {
        guard verb.isReversal, mirror.reversal == .none, mirror.state == .stopped || mirror.state == .stopping else { return nil }
        return "'\(mirror.name)' is \(mirror.state.rawValue) without having been reversed; `martlet link restore` on the other cluster has "
            + "its topic follow this one, and cuts what only that one has"
    }

    /// What an operator's verb makes of it.
    func after(_ verb: MirrorVerb) -> MirrorReversal {
        switch (verb, self) {
        case (.reverse, .none), (.reverse, .askedPaused): .asked
        case (.reverseAndPause, .none), (.reverseAndPause, .asked): .askedPaused
        case (.reverse, _), (.reverseAndPause, _): self
        // Whoever takes over at once gives up what the other side had not sent: nobody has said that the other side's is to be cut.
        case (.failover, .asked), (.failover, .askedPaused): .none
        case (.failover, _), (.promote, _), (.pause, _), (.resume, _): self
        }
    }
}

extension LinkCoordinator {
    /// Why a link cannot be reversed; nil when nothing speaks against it here.
    public func problem(withReversing name: String) -> String? {
        guard let link = image.links[name], let settings = try? LinkSettings(link.configuration) else {
            return "there is no link '\(name)'"
        }
        guard settings.mode == .bidirectional else {
            return "link '\(name)' has link.mode=\(settings.mode.rawValue), and only BIDIRECTIONAL links can be reversed; `martlet link "
                + "promote` and `martlet link restore` do it over two links"
        }
        guard settings.topicPrefix.isEmpty else {
            return "link '\(name)' has a cluster.link.prefix, so the topics have different names on both sides and cannot be reversed"
        }
        return nil
    }

    /// The other cluster mirrors a topic that was reversed, or why not yet.
    public func reversed(_ name: String, problem: String?) -> [LinkRecord] {
        guard var mirror = image.mirrors[name], mirror.state == .stopped, mirror.reversal.isAsked else { return [] }
        let isPaused = mirror.reversal == .askedPaused
        let reason =
            problem ?? (isPaused ? "reversed: the other cluster's mirror of it is paused" : "reversed: the other cluster mirrors it")
        if problem == nil { mirror.reversal = .done }
        guard mirror.reason != reason || problem == nil else { return [] }
        mirror.reason = reason
        return [.mirror(mirror)]
    }

    /// The other cluster has reversed a topic, which is to follow now. It may ask again for what has been done, not having heard of it.
    ///
    /// - Parameter isPaused: whether it is not to fetch before somebody resumes it. Whoever resumes it has it compared with its source first,
    ///   as any mirror.
    public func follow(reversed mirror: MirrorTopic, isPaused: Bool = false) throws(LinkRefusal) -> [LinkRecord] {
        if let known = image.mirrors[mirror.name], known.link == mirror.link, known.sourceID == mirror.sourceID, known.state != .stopped {
            return []
        }
        // What was written after the fence was lifted would be cut off, and that is for somebody to say who knows of it.
        guard image.fences[mirror.name] != nil else {
            throw LinkRefusal(
                .wrongState,
                "'\(mirror.name)' takes writes there again, as its fence was lifted; `martlet link restore` on that cluster makes it follow, and "
                    + "cuts what only that one has")
        }
        let records = try addMirror(mirror)
        return isPaused ? records + [.mirror(mirror.entering(.paused, "reversed and paused", at: mirror.since))] : records
    }
}
