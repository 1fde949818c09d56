// What the coordinator does for one link, again and again: creates mirror topics, follows the source's topics and their settings, brings
// mirrors from state to state. Everything is recorded before it counts and can be begun anew at any step.
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime

/// The work of one link.
struct LinkWorker: Sendable {
    /// While mirrors change their state, and while nothing happens.
    private static let busyPause = Duration.milliseconds(20)
    private static let idlePause = Duration.milliseconds(250)
    private static let surveyMilliseconds: Int64 = 2_000

    let link: LinkDefinition
    let links: LinkServices
    let logger: Logger

    func run() async {
        guard let settings = try? LinkSettings(link.configuration), settings.mirrors else { return }
        var rounds = LinkRounds(settings)
        let dealings = links.tasks.begin { await runDealings(settings) }
        defer { dealings.cancel() }
        while !Task.isCancelled, links.runtime.isActive {
            let now = SystemClock.monotonicMilliseconds()
            do {
                try await createPending()
                try await advancePending(&rounds)
                if !settings.isPaused, rounds.topicsAreDue(now) { await followTopics(settings, &rounds) }
                if rounds.surveyIsDue(now, every: Self.surveyMilliseconds) { try await takeFailures() }
            } catch {
                logger.warning("work on a link is put off", metadata: ["link": "\(link.name)", "reason": "\(error)"])
                try? await Task.sleep(for: Self.idlePause)
            }
            let isBusy = mirrors.contains { [.pendingMirror, .pendingStopped, .stopping, .pendingRestore].contains($0.state) }
            try? await Task.sleep(for: isBusy ? Self.busyPause : Self.idlePause)
        }
    }

    var mirrors: [MirrorTopic] { links.runtime.image?.mirrors(of: link.name) ?? [] }

    var source: LinkSource? { links.source(of: link.name) }

    // MARK: States

    func move(
        _ mirrors: [String], from states: Set<MirrorState>, to state: MirrorState, _ reason: String = "", ids: [String: TopicID] = [:]
    ) async throws {
        guard !mirrors.isEmpty else { return }
        let now = SystemClock.now()
        try await links.change { coordinator in
            ((), mirrors.flatMap { coordinator.advance($0, from: states, to: state, reason, topicID: ids[$0], now: now) })
        }
    }

    /// Mirrors on their way to being writable, or back to being mirrors.
    private func advancePending(_ rounds: inout LinkRounds) async throws {
        let promoted = mirrors.filter { $0.state == .pendingStopped }
        let stopping = mirrors.filter { $0.state == .stopping }
        let restored = mirrors.filter { $0.state == .pendingRestore }
        guard !promoted.isEmpty || !stopping.isEmpty || !restored.isEmpty, let image = links.services?.image else { return }
        if !promoted.isEmpty { await fence(promoted, &rounds) }
        let askedAt = SystemClock.monotonicMilliseconds()
        let revision = links.runtime.revision
        let survey = await links.gatherProgress()
        func topics(_ mirrors: [MirrorTopic]) -> [TopicImage] { mirrors.compactMap { image.topics.topic(named: $0.name) } }
        // What was caught up with before the source was fenced says nothing.
        let drained = topics(promoted).filter { topic in
            guard let fencedAt = rounds.fencedAt[topic.name] else { return false }
            return survey.holds(topic) { $0.caughtUpAgoMilliseconds.map { askedAt - $0 > fencedAt } ?? false }
        }
        if !drained.isEmpty {
            await synchronizeOffsets()
            try await move(drained.map(\.name), from: [.pendingStopped], to: .stopping, "promoted")
        }
        let ended = topics(stopping).filter { topic in survey.holds(topic) { $0.revision >= revision && $0.isEnded } }
        try await move(ended.map(\.name), from: [.stopping], to: .stopped, stopping.first?.reason ?? "")
        let followed = topics(restored).filter { topic in survey.holds(topic) { $0.revision >= revision && $0.sourceEndOffset >= 0 } }
        try await move(followed.map(\.name), from: [.pendingRestore], to: .active)
        for mirror in stopping where image.topics.topic(named: mirror.name) == nil {
            try await links.change { coordinator in ((), coordinator.removeMirror(mirror.name)) }
        }
    }

    /// Has the source refuse further writes, where it is Martlet's and lets us.
    private func fence(_ mirrors: [MirrorTopic], _ rounds: inout LinkRounds) async {
        let open = mirrors.filter { rounds.fencedAt[$0.name] == nil }
        guard !open.isEmpty, let source else { return }
        let body: JSONValue = [
            "topics": .array(open.map { .string($0.sourceName) }),
            "by": .string("cluster \(links.services?.clusterID ?? "") by link \(link.name)"),
        ]
        do throws(KafkaError) {
            _ = try await source.admin.manageLinks(.fence, body)
        } catch {
            // Of a cluster that is no Martlet's writes cannot be refused: what counts is what is there from now on.
            guard error.kind == .unsupportedVersion || error.errorCode == .unsupportedVersion else {
                for mirror in open {
                    try? await move(
                        [mirror.name], from: [.pendingStopped], to: .pendingStopped,
                        "the source cannot be fenced: \(error.explanation); fail over if it does not come back")
                }
                return
            }
        }
        let now = SystemClock.monotonicMilliseconds()
        for mirror in open { rounds.fencedAt[mirror.name] = now }
    }

    /// Has every broker that coordinates groups copy their offsets once more.
    private func synchronizeOffsets() async {
        await withTaskGroup(of: Void.self) { group in
            for broker in links.liveBrokers {
                group.addTask { _ = try? await links.ask(broker, .syncOffsets, ["link": .string(link.name)]) }
            }
        }
    }

    /// Mirrors that their leaders cannot go on with.
    private func takeFailures() async throws {
        guard mirrors.contains(where: \.state.fetches) else { return }
        let survey = await links.gatherProgress()
        for (partition, entry) in survey.entries {
            guard let failure = entry.failure else { continue }
            try await move(
                [partition.topic], from: [.active, .sourceUnavailable, .pendingRestore], to: .failed,
                "partition \(partition.partition): \(failure)")
        }
    }
}

/// When what was done last for a link.
struct LinkRounds: Sendable {
    /// Monotonic milliseconds at which a mirror's source was fenced, or found not to be fenceable.
    var fencedAt: [String: Int64] = [:]
    var failuresOfSource: Int64 = 0
    private var nextTopics: Int64 = 0
    private var nextSurvey: Int64 = 0
    private let topicsMilliseconds: Int64

    init(_ settings: LinkSettings) {
        topicsMilliseconds = min(settings.topicConfigSyncMilliseconds, settings.availabilityCheckMilliseconds)
    }

    mutating func topicsAreDue(_ now: Int64) -> Bool {
        guard now >= nextTopics else { return false }
        nextTopics = now + topicsMilliseconds
        return true
    }

    mutating func surveyIsDue(_ now: Int64, every milliseconds: Int64) -> Bool {
        guard now >= nextSurvey else { return false }
        nextSurvey = now + milliseconds
        return true
    }
}
