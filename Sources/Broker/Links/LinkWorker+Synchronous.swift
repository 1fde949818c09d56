// The coordinator's part of synchronous mirrors at the destination: it tells the source which there are, and which have caught up.
import ClusterMetadata
import Linking
import Logging
import MartletClient
import Primitives

/// What the source was told last, and when.
struct SynchronizationRound: Sendable {
    /// Nil before the first time.
    var told: Set<String>?
    var toldReady: Set<String> = []
    /// Monotonic milliseconds before which nothing is looked at again.
    var next: Int64 = 0
    var problem = ""
}

extension LinkWorker {
    /// How often mirrors that are to become synchronous are looked at, and how often the source is told what it has heard already.
    private static let lookMilliseconds: Int64 = 500
    private static let repetitionMilliseconds: Int64 = 10_000
    /// A mirror that had everything so short a time ago has caught up.
    private static let freshMilliseconds: Int64 = 2_000

    func synchronizeMirrors(_ settings: LinkSettings, _ round: inout SynchronizationRound) async {
        let now = SystemClock.monotonicMilliseconds()
        let candidates = mirrors.filter { mirror in
            settings.isSynchronous && !settings.isPaused && mirror.state.fetches && settings.synchronousFilter.admits(mirror.sourceName)
        }
        let wanted = Set(candidates.map(\.sourceName))
        guard round.told != wanted || now >= round.next else { return }
        // Nothing to say to a source that has heard of nothing.
        if !settings.isSynchronous, round.told == [] { return }
        let ready = wanted.isEmpty ? [] : await caughtUp(candidates)
        let isNews = round.told != wanted || !ready.isSubset(of: round.toldReady)
        guard isNews || now >= round.next + Self.repetitionMilliseconds else {
            round.next = now + Self.lookMilliseconds
            return
        }
        round.next = now + Self.lookMilliseconds
        if await tell(wanted, ready, settings, &round) {
            round.told = wanted
            round.toldReady.formUnion(ready)
            round.toldReady.formIntersection(wanted)
        }
    }

    /// The names, at the source, of mirrors that have what it has.
    private func caughtUp(_ candidates: [MirrorTopic]) async -> Set<String> {
        guard let image = links.services?.image else { return [] }
        let survey = await links.gatherProgress()
        let found = candidates.filter { mirror in
            guard mirror.state == .active, let topic = image.topics.topic(named: mirror.name) else { return false }
            return survey.holds(topic) { $0.caughtUpAgoMilliseconds.map { $0 <= Self.freshMilliseconds } ?? false }
        }
        return Set(found.map(\.sourceName))
    }

    private func tell(
        _ wanted: Set<String>, _ ready: Set<String>, _ settings: LinkSettings, _ round: inout SynchronizationRound
    ) async -> Bool {
        guard let source, let cluster = links.services?.clusterID else { return false }
        let body: JSONValue = [
            "cluster": .string(cluster), "link": .string(link.name), "topics": .array(wanted.sorted().map { .string($0) }),
            "ready": .array(ready.sorted().map { .string($0) }), "timeoutMs": .integer(settings.synchronousTimeoutMilliseconds),
        ]
        do throws(KafkaError) {
            _ = try await source.admin.manageLinks(.synchronize, body)
            round.problem = ""
            return true
        } catch {
            // Nobody asked for it, and a source that is no Martlet's, or does not let the link, has nothing to forget.
            if wanted.isEmpty, error.kind == .unsupportedVersion || error.kind == .broker { return true }
            if round.problem != error.explanation {
                round.problem = error.explanation
                logger.warning(
                    "the source cannot be told which mirrors are synchronous",
                    metadata: ["link": "\(link.name)", "reason": "\(error.explanation)"])
            }
            return false
        }
    }
}
