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
        let following = links.tasks.begin { await runFollowing(settings) }
        defer {
            dealings.cancel()
            following.cancel()
        }
        while !Task.isCancelled, links.runtime.isActive {
            let now = SystemClock.monotonicMilliseconds()
            // Each by itself: a source that is gone must not keep mirrors from being failed over.
            await attempt { try await createPending(rounds.steps) }
            await attempt { try await advancePending(&rounds) }
            if rounds.surveyIsDue(now, every: Self.surveyMilliseconds) { await attempt { try await takeFailures(rounds.steps) } }
            let isBusy = mirrors.contains { $0.state.isPassing }
            try? await Task.sleep(for: isBusy ? Self.busyPause : Self.idlePause)
        }
    }

    /// Beside the rest: a source that does not answer would hold up a failover for as long as it is waited for.
    private func runFollowing(_ settings: LinkSettings) async {
        guard !settings.isPaused else { return }
        var rounds = LinkRounds(settings)
        while !Task.isCancelled, links.runtime.isActive {
            if rounds.topicsAreDue(SystemClock.monotonicMilliseconds()) { await followTopics(settings, &rounds) }
            try? await Task.sleep(for: Self.idlePause)
        }
    }

    private func attempt(_ part: () async throws -> Void) async {
        do {
            try await part()
        } catch {
            logger.warning("work on a link is put off", metadata: ["link": "\(link.name)", "reason": "\(error)"])
            try? await Task.sleep(for: Self.idlePause)
        }
    }

    var mirrors: [MirrorTopic] { links.runtime.image?.mirrors(of: link.name) ?? [] }

    var source: LinkSource? { links.source(of: link.name) }

    // MARK: States

    /// Has steps recorded, as far as mirrors are still as they were when that was decided.
    func record(_ steps: [MirrorStep]) async throws {
        guard !steps.isEmpty else { return }
        let now = SystemClock.now()
        try await links.change { coordinator in ((), coordinator.records(of: steps, now: now)) }
    }

    /// Mirrors on their way to being writable, or back to being mirrors.
    private func advancePending(_ rounds: inout LinkRounds) async throws {
        let mirrors = mirrors
        let unfenced = rounds.steps.toFence(mirrors, now: SystemClock.monotonicMilliseconds())
        guard mirrors.contains(where: { $0.state.isPassing && $0.state != .pendingMirror }),
            let image = links.services?.image
        else { return }
        if !unfenced.isEmpty { try await fence(unfenced, &rounds) }
        let revision = links.runtime.revision
        let isAnnounced = links.runtime.behind(links.liveBrokers)?.isEmpty ?? false
        let survey = await links.gatherProgress()
        let topics = image.linkedTopics(mirrors.map(\.name))
        for growth in rounds.steps.growing(topics) { await grow(growth.topic, to: Int32(growth.partitions)) }
        let caughtUp = rounds.steps.drained(mirrors, topics: topics, survey)
        try await record(caughtUp.filter { $0.mirror.state == .pendingStopped })
        let drained = caughtUp.filter { $0.mirror.state == .pendingSynchronize && isSettled($0.mirror.name, rounds.steps) }
        // What the source decided before it was fenced may still be carried out there: its markers come behind the ends that count.
        if !drained.isEmpty, await haveCarriedOutAll(drained.map(\.mirror.name)) {
            await synchronizeOffsets()
            try await record(drained)
        }
        let now = SystemClock.now()
        let settled = rounds.steps.settled(mirrors, topics: topics, survey, revision: revision, isAnnounced: isAnnounced, now: now)
        try await record(settleOffsets(settled, survey))
    }

    /// Whether nothing of a mirror that has everything would be cut off.
    private func isSettled(_ topic: String, _ steps: LinkSteps) -> Bool {
        guard (try? LinkSettings(link.configuration))?.keepsTransactionsWhole == true else { return true }
        return links.watches.withLock { $0[link.name] }?.isSettled(topic, before: steps.ends(of: topic)) ?? false
    }

    /// Whether everything that the source has committed by now is committed in mirrors.
    private func haveCarriedOutAll(_ topics: [String]) async -> Bool {
        guard (try? LinkSettings(link.configuration))?.keepsTransactionsWhole == true else { return true }
        return await links.awaitTransactions(link: link.name, in: topics)
    }

    /// Has the source refuse further writes, where it is Martlet's and lets us, and asks where it ends.
    private func fence(_ mirrors: [MirrorTopic], _ rounds: inout LinkRounds) async throws {
        guard let source else { return }
        let body: JSONValue = [
            "topics": .array(mirrors.map { .string($0.sourceName) }),
            "by": .string("cluster \(links.services?.clusterID ?? "") by link \(link.name)"),
        ]
        do throws(KafkaError) {
            do throws(KafkaError) {
                _ = try await source.admin.manageLinks(.fence, body)
            } catch {
                // Of a cluster that is no Martlet's writes cannot be refused: what counts is what is there from now on.
                guard error.kind == .unsupportedVersion || error.errorCode == .unsupportedVersion else { throw error }
            }
            let ends = try await ends(of: mirrors.map(\.sourceName), source)
            let now = SystemClock.monotonicMilliseconds()
            for mirror in mirrors { rounds.steps.fenced(mirror, ends: ends[mirror.sourceName] ?? [], at: now) }
        } catch {
            try await record(rounds.steps.fencingFailed(mirrors, error.explanation))
        }
    }

    /// Where the source's topics end.
    private func ends(of topics: [String], _ source: LinkSource) async throws(KafkaError) -> [String: [Offset]] {
        let described = try await source.admin.describeTopics(topics).values()
        let partitions = described.flatMap { topic in
            topic.partitions.indices.map { TopicPartition(topic.name, Int32($0)) }
        }
        let found = try await source.admin.listOffsets(partitions.map { ($0, .latest) })
        var ends: [String: [Offset]] = [:]
        for partition in partitions { ends[partition.topic, default: []].append(0) }
        for outcome in found { ends[outcome.item.topic]?[Int(outcome.item.partition)] = try outcome.result.get().offset }
        return ends
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
    private func takeFailures(_ steps: LinkSteps) async throws {
        let mirrors = mirrors
        guard mirrors.contains(where: \.state.fetches) else { return }
        let revision = links.runtime.revision
        try await record(steps.failures(mirrors, await links.gatherProgress(), revision: revision))
    }
}

extension MetadataImage {
    /// The topics of these names that there are, by name.
    func linkedTopics(_ names: [String]) -> [String: LinkedTopic] {
        var found: [String: LinkedTopic] = [:]
        for name in names {
            guard let topic = topics.topic(named: name) else { continue }
            found[name] = LinkedTopic(name: name, id: topic.id, partitions: topic.partitions.count)
        }
        return found
    }
}

/// When what was done last for a link.
struct LinkRounds: Sendable {
    var steps = LinkSteps()
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
