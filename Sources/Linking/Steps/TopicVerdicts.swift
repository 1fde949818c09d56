// How mirrors stand to the topics of both sides: some are gone, some are others by now, some have to grow.
import Primitives

/// A mirror topic that needs as many partitions as its source.
public struct TopicGrowth: Sendable, Equatable {
    public var topic: String
    public var partitions: Int
}

/// What follows from comparing mirrors with their topics here and at the source.
public struct TopicVerdicts: Sendable, Equatable {
    public private(set) var steps: [MirrorStep] = []
    public private(set) var growing: [TopicGrowth] = []
    /// Mirrors whose settings follow the source's.
    public private(set) var living: [MirrorTopic] = []

    /// - Parameters:
    ///   - own: the topics here, by name.
    ///   - source: the source's topics, by name.
    public init(_ mirrors: [MirrorTopic], own: [String: LinkedTopic], source: [String: LinkedTopic], now: Timestamp) {
        for mirror in mirrors where mirror.state != .pendingMirror {
            guard let topic = own[mirror.name], topic.id == mirror.topicID else {
                // Somebody deleted the mirror topic here. Not by looking at metadata that may be behind what has just been created.
                if now - mirror.since > LinkSteps.announcementMilliseconds { steps.append(MirrorStep(mirror, .removed)) }
                continue
            }
            guard [.active, .pendingRestore].contains(mirror.state) || mirror.state.isPromoting else { continue }
            guard let theirs = source[mirror.sourceName] else {
                fail(mirror, "the source topic '\(mirror.sourceName)' is gone")
                continue
            }
            // Of a source without topic ids its leaders' epochs and its records tell, which fetchers compare.
            guard theirs.id == mirror.sourceID || mirror.sourceID == .zero else {
                fail(
                    mirror,
                    "the source topic '\(mirror.sourceName)' was deleted and created anew; its records have nothing to do with those "
                        + "mirrored so far: delete the mirror topic and mirror it anew, or fail over to keep what is here")
                continue
            }
            // Not by what one of the source's brokers has not heard yet.
            let isLate = now - mirror.since > LinkSteps.announcementMilliseconds
            if mirror.state == .pendingRestore, topic.partitions > theirs.partitions, isLate {
                fail(
                    mirror,
                    "it has \(topic.partitions) partitions here and \(theirs.partitions) at the source: add partitions there and resume, or "
                        + "fail over to keep what is here")
                continue
            }
            guard mirror.state == .active else { continue }
            living.append(mirror)
            if theirs.partitions > topic.partitions { growing.append(TopicGrowth(topic: mirror.name, partitions: theirs.partitions)) }
        }
    }

    private mutating func fail(_ mirror: MirrorTopic, _ reason: String) {
        // What is being promoted is ended by failing over alone, which is for people to say.
        let isPromoted = mirror.state.isPromoting
        steps.append(
            MirrorStep(mirror, isPromoted ? .enter(.pendingStopped, reason: reason + "; fail over") : .enter(.failed, reason: reason)))
    }
}
