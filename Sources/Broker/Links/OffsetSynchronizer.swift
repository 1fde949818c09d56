// Copies committed offsets of groups over a link: offsets are the same on both sides, so they are taken as they are. Each broker does it for
// the groups that it coordinates, and only for those that have no members here.
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime
import Synchronization

/// The offsets of one link, on one broker.
struct OffsetSynchronizer: Sendable {
    let link: LinkDefinition
    let links: LinkServices
    let logger: Logger

    func run() async {
        guard let settings = try? LinkSettings(link.configuration), settings.syncsOffsets, !settings.isPaused else { return }
        let run = links.synchronizations.begin(link, [.offsets])
        defer { links.synchronizations.end(run) }
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(settings.offsetSyncMilliseconds))
            if Task.isCancelled { return }
            await synchronize(run)
        }
    }

    /// Copies once. Failures are tried again with the next round.
    func synchronize(_ run: UInt64 = 0) async {
        await links.noting(link, .offsets, run, logger) { try await copy(run) }
    }

    private func copy(_ run: UInt64) async throws {
        guard let services = links.services, let image = links.publication?.image else { return }
        if services.image.topics.topic(named: TopicName.consumerOffsets) == nil {
            // With the next round.
            return services.ensureInternalTopic(TopicName.consumerOffsets) {}
        }
        let source = try await links.checkedSource(of: link)
        let askedAt = SystemClock.monotonicMilliseconds()
        let filter = source.settings.groupFilter
        // Share groups have no committed offsets.
        let listed = try await source.admin.listGroups().filter { $0.type.lowercased() != "share" }.map(\.group)
        let groups = listed.filter { filter.admits($0) && services.coordinates(group: $0) }
        var follower = try await GroupFollower(link, .offsets, links, services, logger)
        let mirrors = image.mirrors(of: link.name).filter { $0.state.fetches }
        var outcome = CopyOutcome()
        if !groups.isEmpty, !mirrors.isEmpty {
            var found: [String: Result<[TopicPartition: MartletClient.CommittedOffset], KafkaError>] = [:]
            for group in groups {
                do throws(KafkaError) {
                    found[group] = .success(try await source.admin.listGroupOffsets(group))
                } catch {
                    found[group] = .failure(error)
                }
            }
            // Offsets may have been committed in transactions: whoever went on from them here would miss what those wrote.
            guard await links.awaitTransactions(link: link.name) else {
                throw LinkCallFailure(description: "transactions that the source has committed have not arrived at all mirrors yet")
            }
            let ends = await links.gatherProgress()
            let offsets = found
            try await follower.copy(
                groups, &outcome,
                wanted: { group in
                    let offsets = translated(try offsets[group]?.get() ?? [:], mirrors, ends)
                    return offsets.isEmpty ? nil : offsets
                },
                put: { group, offsets in
                    try await links.putCopied(offsets, group: group, link: link, askedAt: askedAt, services)
                })
        }
        let removed = try await follower.followDeletions(
            &outcome, listed: Set(listed), isEnabled: source.settings.synchronization.deletesGroups, mirrors: Set(mirrors.map(\.name)),
            admits: { filter.admits($0) }, isGone: { try await source.admin.isGone(group: $0) },
            topics: { group in Set(services.committedOffsets(group: group).keys.map(\.topic)) })
        let own = follower.own.count
        links.synchronizations.update(link.name, .offsets, run) { outcome.show(in: &$0, groups.count, own, removed) }
        try outcome.check()
    }

    /// The offsets under the names of mirror topics, but for those that the mirrors have not come to yet: a group that went on from there
    /// would be told that its offset is out of range.
    private func translated(
        _ offsets: [TopicPartition: MartletClient.CommittedOffset], _ mirrors: [MirrorTopic], _ survey: MirrorSurvey
    ) -> [TopicPartition: GroupOffset] {
        MirrorOffsets.admitted(offsets.mapValues(\.offset), mirrors, survey).compactMapValues { partition in
            offsets[partition].map { GroupOffset($0.offset, metadata: $0.metadata) }
        }
    }
}

extension LinkServices {
    /// Copies a link's offsets now, as far as this broker coordinates their groups.
    func syncOffsetsNow(_ body: JSONValue) async -> JSONValue {
        guard let name = body["link"]?.stringValue, let link = image.links[name], let settings = try? LinkSettings(link.configuration)
        else { return .object([]) }
        if settings.syncsOffsets { await OffsetSynchronizer(link: link, links: self, logger: logger).synchronize() }
        if settings.synchronization.shareOffsets.isEnabled {
            await ShareOffsetSynchronizer(link: link, links: self, logger: logger).synchronize()
        }
        return .object([])
    }
}
