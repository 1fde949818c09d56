// What a link's coordinator decides in its rounds: an image, topics of both sides and a survey of the mirrors come in, steps go out. Asking
// and recording is the worker's. All of it may be begun anew by another broker at any step.
import Primitives

/// The decisions of one link's worker, with the little that it remembers between its rounds.
public struct LinkSteps: Sendable {
    /// How long brokers may take to hear of a mirror, or of a topic that was created.
    public static let announcementMilliseconds: Int64 = 10_000

    /// How long the ends of a fenced source hold: it may lose records in an unclean election, and partitions may be added to it.
    private static let fencingMilliseconds: Int64 = 5_000

    /// A mirror's source that takes no more writes, or cannot be made to.
    private struct Fencing {
        var mirror: TopicID
        /// Where the source's partitions ended then.
        var ends: [Offset]
        /// Monotonic milliseconds.
        var at: Int64
    }

    private var fencings: [String: Fencing] = [:]
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

    /// Mirrors that are being promoted and whose sources are to be fenced: first, or again because that was a while ago.
    public mutating func toFence(_ mirrors: [MirrorTopic], now: Int64) -> [MirrorTopic] {
        let promoted = mirrors.filter(\.state.isPromoting)
        // What was fenced for a take-over that is over may be open again by the next.
        fencings = fencings.filter { name, fencing in promoted.contains { $0.name == name && $0.topicID == fencing.mirror } }
        return promoted.filter { mirror in
            guard let fencing = fencings[mirror.name] else { return true }
            return now - fencing.at >= Self.fencingMilliseconds
        }
    }

    /// The source of a mirror takes no more writes, or cannot be made to.
    ///
    /// - Parameters:
    ///   - ends: of all of the source's partitions, asked for since.
    ///   - now: monotonic milliseconds.
    public mutating func fenced(_ mirror: MirrorTopic, ends: [Offset], at now: Int64) {
        fencings[mirror.name] = Fencing(mirror: mirror.topicID, ends: ends, at: now)
    }

    /// Where the partitions of a promoted mirror's source end.
    public func ends(of topic: String) -> [Offset] { fencings[topic]?.ends ?? [] }

    /// Promoted mirrors that have fewer partitions than their sources.
    public func growing(_ topics: [String: LinkedTopic]) -> [TopicGrowth] {
        topics.values.sorted { $0.name < $1.name }.compactMap { topic in
            guard let fencing = fencings[topic.name], fencing.ends.count > topic.partitions else { return nil }
            return TopicGrowth(topic: topic.name, partitions: fencing.ends.count)
        }
    }

    public func fencingFailed(_ mirrors: [MirrorTopic], _ explanation: String) -> [MirrorStep] {
        mirrors.map {
            MirrorStep(
                $0,
                .enter(
                    .pendingStopped, reason: "the source cannot be fenced: \(explanation); fail over if it does not come back"))
        }
    }

    /// Promoted mirrors that have all records, on all replicas that count: they are synchronised then, and stopped.
    public func drained(_ mirrors: [MirrorTopic], topics: [String: LinkedTopic], _ survey: MirrorSurvey) -> [MirrorStep] {
        mirrors.filter { mirror in
            guard mirror.state.isPromoting, let topic = topics[mirror.name], let fencing = fencings[mirror.name] else {
                return false
            }
            return topic.partitions >= fencing.ends.count
                && fencing.ends.indices.allSatisfy { index in
                    (survey.entries[TopicPartition(topic.name, Int32(index))]?.highWatermark ?? -1) >= fencing.ends[index]
                }
        }.map { mirror in
            if mirror.state == .pendingStopped { return MirrorStep(mirror, .enter(.pendingSynchronize, reason: mirror.reason)) }
            return MirrorStep(mirror, .enter(.stopping, reason: "promoted"))
        }
    }

    /// Mirrors that are done with stopping, or with going back to being mirrors.
    ///
    /// - Parameters:
    ///   - revision: of the image, read before the survey: what leaders say by an older one does not count.
    ///   - isAnnounced: whether all brokers go by that image: any of them may lead next.
    public func settled(
        _ mirrors: [MirrorTopic], topics: [String: LinkedTopic], _ survey: MirrorSurvey, revision: Offset, isAnnounced: Bool, now: Timestamp
    ) -> [MirrorStep] {
        mirrors.compactMap { mirror in
            switch mirror.state {
            case .stopping:
                guard let topic = topics[mirror.name] else {
                    // Not by looking at metadata that may be behind what has just been created.
                    let isGone = mirror.topicID == .zero || now - mirror.since > Self.announcementMilliseconds
                    return isGone ? MirrorStep(mirror, .removed) : nil
                }
                guard survey.holds(topic, { $0.revision >= revision && $0.isEnded }) else { return nil }
                return MirrorStep(mirror, .enter(.stopped, reason: mirror.reason))
            case .pendingRestore:
                guard isAnnounced, let topic = topics[mirror.name],
                    survey.holds(topic, { $0.revision >= revision && $0.sourceEndOffset >= 0 })
                else { return nil }
                return MirrorStep(mirror, .enter(.active, reason: ""))
            default: return nil
            }
        }
    }

    /// Mirrors that their leaders cannot go on with.
    ///
    /// - Parameter revision: of the image, read before the survey: by an older one a mirror may have failed that has been resumed since.
    public func failures(_ mirrors: [MirrorTopic], _ survey: MirrorSurvey, revision: Offset) -> [MirrorStep] {
        mirrors.compactMap { mirror in
            let failed = survey.entries.filter {
                $0.key.topic == mirror.name && $0.value.failure != nil && $0.value.revision >= revision
            }
            guard let (partition, entry) = failed.min(by: { $0.key < $1.key }) else { return nil }
            let reason = "partition \(partition.partition): \(entry.failure ?? "")"
            switch mirror.state {
            case .active, .sourceUnavailable, .linkFailed, .pendingRestore: return MirrorStep(mirror, .enter(.failed, reason: reason))
            // Only failing over ends that now, which is for people to say.
            case .pendingStopped, .pendingSynchronize:
                return MirrorStep(mirror, .enter(.pendingStopped, reason: reason + "; fail over"))
            case .pendingMirror, .paused, .stopping, .stopped, .failed: return nil
            }
        }
    }

    // MARK: The source's availability

    /// - Returns: what becomes of mirrors, now that the source answers.
    public mutating func sourceAnswered(_ mirrors: [MirrorTopic]) -> [MirrorStep] {
        failuresOfSource = 0
        return mirrors.filter(\.state.isCutOff).map { MirrorStep($0, .enter(.active, reason: "")) }
    }

    /// - Parameter isRefused: whether the source answers and refuses the link, which does not get better by being asked again.
    public mutating func sourceFailed(
        _ mirrors: [MirrorTopic], threshold: Int64, _ explanation: String, isRefused: Bool = false
    ) -> [MirrorStep] {
        failuresOfSource += 1
        if isRefused {
            let reason = "the source refuses the link: \(explanation)"
            return mirrors.filter { $0.state == .active || $0.state.isCutOff }.map { MirrorStep($0, .enter(.linkFailed, reason: reason)) }
        }
        guard failuresOfSource >= threshold else { return [] }
        let reason = "the source has not answered \(failuresOfSource) times in a row: \(explanation)"
        return mirrors.filter { $0.state == .active || $0.state == .linkFailed }.map {
            MirrorStep($0, .enter(.sourceUnavailable, reason: reason))
        }
    }
}
