// What a link's coordinator decides in its rounds: an image, topics of both sides and a survey of the mirrors come in, steps go out. Asking
// and recording is the worker's. All of it may be begun anew by another broker at any step.
import Primitives

/// The decisions of one link's worker, with the little that it remembers between its rounds.
public struct LinkSteps: Sendable {
    /// How long brokers may take to hear of a mirror, or of a topic that was created.
    public static let announcementMilliseconds: Int64 = 10_000

    /// Monotonic milliseconds at which a mirror's source was fenced, or found not to be fenceable.
    private var fencedAt: [String: Int64] = [:]
    /// How often in a row the source has not answered.
    public private(set) var failuresOfSource: Int64 = 0

    public init() {}

    // MARK: Creating

    /// Steps of mirrors whose topics the controller was asked to create.
    ///
    /// - Parameters:
    ///   - created: the ids of those that are there now.
    ///   - refused: why others are not, for people.
    public func created(_ mirrors: [MirrorTopic], _ created: [String: TopicID], refused: [String: String]) -> [MirrorStep] {
        mirrors.filter { $0.state == .pendingMirror }.compactMap { mirror in
            if let id = created[mirror.name] { return MirrorStep(mirror, .created(id)) }
            return refused[mirror.name].map { MirrorStep(mirror, .enter(.failed, reason: $0)) }
        }
    }

    // MARK: Promoting, stopping, restoring

    /// Mirrors that are being promoted and whose sources are not fenced yet.
    public mutating func toFence(_ mirrors: [MirrorTopic]) -> [MirrorTopic] {
        mirrors.filter { $0.state == .pendingStopped && fencedAt[$0.name] == nil }
    }

    /// The sources of mirrors take no more writes, or cannot be made to.
    public mutating func fenced(_ mirrors: [MirrorTopic], at now: Int64) {
        for mirror in mirrors { fencedAt[mirror.name] = now }
    }

    public func fencingFailed(_ mirrors: [MirrorTopic], _ explanation: String) -> [MirrorStep] {
        mirrors.map {
            MirrorStep(
                $0,
                .enter(
                    .pendingStopped, reason: "the source cannot be fenced: \(explanation); fail over if it does not come back"))
        }
    }

    /// Promoted mirrors that have everything.
    ///
    /// - Parameter askedAt: monotonic milliseconds, before the survey.
    public func drained(
        _ mirrors: [MirrorTopic], topics: [String: LinkedTopic], _ survey: MirrorSurvey, askedAt: Int64
    ) -> [MirrorStep] {
        mirrors.filter { mirror in
            guard mirror.state == .pendingStopped, let topic = topics[mirror.name], let fencedAt = fencedAt[mirror.name] else {
                return false
            }
            // What was caught up with before the source was fenced says nothing.
            return survey.holds(topic) { $0.caughtUpAgoMilliseconds.map { askedAt - $0 > fencedAt } ?? false }
        }.map { MirrorStep($0, .enter(.stopping, reason: "promoted")) }
    }

    /// Mirrors that are done with stopping, or with going back to being mirrors.
    ///
    /// - Parameter revision: of the image, read before the survey: what leaders say by an older one does not count.
    public func settled(
        _ mirrors: [MirrorTopic], topics: [String: LinkedTopic], _ survey: MirrorSurvey, revision: Offset
    ) -> [MirrorStep] {
        mirrors.compactMap { mirror in
            switch mirror.state {
            case .stopping:
                guard let topic = topics[mirror.name] else { return MirrorStep(mirror, .removed) }
                guard survey.holds(topic, { $0.revision >= revision && $0.isEnded }) else { return nil }
                return MirrorStep(mirror, .enter(.stopped, reason: mirror.reason))
            case .pendingRestore:
                guard let topic = topics[mirror.name], survey.holds(topic, { $0.revision >= revision && $0.sourceEndOffset >= 0 }) else {
                    return nil
                }
                return MirrorStep(mirror, .enter(.active, reason: ""))
            default: return nil
            }
        }
    }

    /// Mirrors that their leaders cannot go on with.
    public func failures(_ mirrors: [MirrorTopic], _ survey: MirrorSurvey) -> [MirrorStep] {
        mirrors.filter { [.active, .sourceUnavailable, .pendingRestore].contains($0.state) }.compactMap { mirror in
            let failed = survey.entries.filter { $0.key.topic == mirror.name && $0.value.failure != nil }
            guard let (partition, entry) = failed.min(by: { $0.key < $1.key }) else { return nil }
            return MirrorStep(mirror, .enter(.failed, reason: "partition \(partition.partition): \(entry.failure ?? "")"))
        }
    }

    // MARK: The source's availability

    /// - Returns: what becomes of mirrors, now that the source answers.
    public mutating func sourceAnswered(_ mirrors: [MirrorTopic]) -> [MirrorStep] {
        failuresOfSource = 0
        return mirrors.filter { $0.state == .sourceUnavailable }.map { MirrorStep($0, .enter(.active, reason: "")) }
    }

    public mutating func sourceFailed(_ mirrors: [MirrorTopic], threshold: Int64, _ explanation: String) -> [MirrorStep] {
        failuresOfSource += 1
        guard failuresOfSource >= threshold else { return [] }
        let reason = "the source has not answered \(failuresOfSource) times in a row: \(explanation)"
        return mirrors.filter { $0.state == .active }.map { MirrorStep($0, .enter(.sourceUnavailable, reason: reason)) }
    }
}
