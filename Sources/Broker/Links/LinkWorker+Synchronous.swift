// The coordinator's part of synchronous mirrors at the destination: it tells the source which there are, and which have caught up.
import ClusterMetadata
import Linking
import Logging
import MartletClient
import Primitives

extension LinkWorker {
    /// A mirror that had everything so short a time ago has caught up.
    private static let freshMilliseconds: Int64 = 2_000

    func synchronizeMirrors(_ settings: LinkSettings, _ round: inout SynchronizationRound) async {
        let now = SystemClock.monotonicMilliseconds()
        let candidates = mirrors.filter { mirror in
            settings.isSynchronous && !settings.isPaused && mirror.state.fetches && settings.synchronousFilter.admits(mirror.sourceName)
        }
        let wanted = Set(candidates.map(\.sourceName))
        guard round.mayLook(wanted, now: now) else { return }
        let ready = wanted.isEmpty ? [] : await caughtUp(candidates)
        guard round.mustTell(wanted, ready: ready, now: now) else { return }
        if let problem = await tell(wanted, ready, settings) {
            guard round.failed(problem) else { return }
            logger.warning(
                "the source cannot be told which mirrors are synchronous", metadata: ["link": "\(link.name)", "reason": "\(problem)"])
        } else {
            round.told(wanted, ready: ready, now: now)
        }
    }

    /// The names, at the source, of mirrors that have what it has.
    private func caughtUp(_ candidates: [MirrorTopic]) async -> Set<String> {
        let topics = links.services?.image.linkedTopics(candidates.map(\.name)) ?? [:]
        let survey = await links.gatherProgress()
        let found = candidates.filter { mirror in
            guard mirror.state == .active, let topic = topics[mirror.name] else { return false }
            return survey.holds(topic) { $0.caughtUpAgoMilliseconds.map { $0 <= Self.freshMilliseconds } ?? false }
        }
        return Set(found.map(\.sourceName))
    }

    /// - Returns: why the source was not told; nil when it was.
    private func tell(_ wanted: Set<String>, _ ready: Set<String>, _ settings: LinkSettings) async -> String? {
        guard let source, let cluster = links.services?.clusterID else { return "this broker stops" }
        let body: JSONValue = [
            "cluster": .string(cluster), "link": .string(link.name), "topics": .array(wanted.sorted().map { .string($0) }),
            "ready": .array(ready.sorted().map { .string($0) }), "timeoutMs": .integer(settings.synchronousTimeoutMilliseconds),
        ]
        do throws(KafkaError) {
            _ = try await source.admin.manageLinks(.synchronize, body)
            return nil
        } catch {
            // Nobody asked for it, and a source that is no Martlet's, or does not let the link, has nothing to forget.
            if wanted.isEmpty, error.kind == .unsupportedVersion || error.kind == .broker { return nil }
            return error.explanation
        }
    }
}
