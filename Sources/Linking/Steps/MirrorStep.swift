// A mirror's step from state to state, as a link's worker decides it on what it saw, and as the coordinator records it on what is.
import Primitives

/// A change of a mirror that follows from how the mirror was.
public struct MirrorStep: Sendable, Hashable {
    public enum Outcome: Sendable, Hashable {
        case enter(MirrorState, reason: String)
        /// The mirror's topic is there now.
        case created(TopicID)
        /// The mirror topic is gone here.
        case removed
    }

    /// As it was when this was decided.
    public var mirror: MirrorTopic
    public var outcome: Outcome

    public init(_ mirror: MirrorTopic, _ outcome: Outcome) {
        self.mirror = mirror
        self.outcome = outcome
    }
}

extension LinkCoordinator {
    /// The records of steps. A step comes to nothing when its mirror has come into another state since, or into the same one anew.
    public func records(of steps: [MirrorStep], now: Timestamp) -> [LinkRecord] {
        var stopped: [String: Set<String>] = [:]
        let records = steps.compactMap { step -> LinkRecord? in
            guard let mirror = image.mirrors[step.mirror.name], mirror.isAs(step.mirror) else { return nil }
            switch step.outcome {
            case .removed: return .mirrorRemoved(mirror.name)
            case .created(let id):
                var created = mirror.entering(.active, at: now)
                created.topicID = id
                return .mirror(created)
            case .enter(let state, let reason):
                if state == mirror.state, reason == mirror.reason { return nil }
                if state == .stopped { stopped[mirror.link, default: []].insert(mirror.name) }
                // A state that only gets another reason goes on.
                return .mirror(mirror.entering(state, reason, at: state == mirror.state ? mirror.since : now))
            }
        }
        return records + stopped.sorted { $0.key < $1.key }.flatMap { forgetGroupOffsets(link: $0.key, topics: $0.value) }
    }
}

extension MirrorTopic {
    /// Whether nothing has happened to the mirror but that its reason was told otherwise.
    fileprivate func isAs(_ other: MirrorTopic) -> Bool {
        var other = other
        other.reason = reason
        return self == other
    }
}
