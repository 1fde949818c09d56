// Copies where share groups stand (KIP-932): the first offset of each partition that is not done. What was acknowledged beyond it at the source
// is delivered once more here. Each broker does it for the groups that it coordinates and that have no members here.
import ClusterMetadata
import Controlling
import GroupCoordination
import KafkaWire
import Linking
import Logging
import MartletClient
import Primitives
import Runtime
import ShareCoordination

/// The share groups of one link, on one broker.
struct ShareOffsetSynchronizer: Sendable {
    let link: LinkDefinition
    let links: LinkServices
    let logger: Logger

    func run() async {
        guard let settings = try? LinkSettings(link.configuration), settings.synchronization.shareOffsets.isEnabled, !settings.isPaused
        else {
            return
        }
        let run = links.synchronizations.begin(link, [.shareOffsets])
        defer { links.synchronizations.end(run) }
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(settings.synchronization.shareOffsets.milliseconds))
            if Task.isCancelled { return }
            await synchronize(run)
        }
    }

    /// Copies once. Failures are tried again with the next round.
    func synchronize(_ run: UInt64 = 0) async {
        await links.noting(link, .shareOffsets, run, logger) { try await copy(run) }
    }

    private func copy(_ run: UInt64) async throws {
        guard let services = links.services, let image = links.publication?.image else { return }
        guard services.servesShareGroups else {
            throw SynchronizationFailure("share groups are not enabled here; share.version has to be 1 (docs/share-groups.md)")
        }
        for topic in [TopicName.consumerOffsets, TopicName.shareGroupState] where services.image.topics.topic(named: topic) == nil {
            await withCheckedContinuation { continuation in services.ensureInternalTopic(topic) { continuation.resume() } }
        }
        let source = try await links.checkedSource(of: link)
        let settings = source.settings.synchronization
        let listed = try await shareGroups(of: source)
        let groups = listed.filter { settings.shareGroupFilter.admits($0) && services.coordinates(group: $0) }
        var follower = try await GroupFollower(link, .shareOffsets, links, services, logger)
        let mirrors = image.mirrors(of: link.name).filter { $0.state.fetches }
        var outcome = CopyOutcome()
        if !groups.isEmpty, !mirrors.isEmpty {
            let survey = await links.gatherProgress()
            try await follower.copy(
                groups, &outcome,
                wanted: { group in
                    let offsets = wanted(try await source.admin.listShareGroupOffsets(group), mirrors, survey, services)
                    return offsets.isEmpty ? nil : offsets
                }, put: { group, offsets in try await put(offsets, group, services) })
        }
        let removed = try await follower.followDeletions(
            &outcome, listed: Set(listed), isEnabled: settings.deletesGroups, mirrors: Set(mirrors.map(\.name)),
            admits: { settings.shareGroupFilter.admits($0) }, isGone: { try await source.admin.isGone(shareGroup: $0) },
            topics: { group in
                let partitions = try services.groups.sharePartitions(of: group).get()
                return Set(partitions.compactMap { services.image.topics.topic(id: $0.topicID)?.name })
            })
        let own = follower.own.count
        links.synchronizations.update(link.name, .shareOffsets, run) { outcome.show(in: &$0, groups.count, own, removed) }
        try outcome.check()
    }

    private func shareGroups(of source: LinkSource) async throws -> [String] {
        do throws(KafkaError) {
            return try await source.admin.listGroups(types: ["share"]).map(\.group)
        } catch {
            guard error.kind == .unsupportedVersion || error.errorCode == .unsupportedVersion else { throw error }
            throw SynchronizationFailure("the source has no share groups: its brokers are too old for them")
        }
    }

    /// The offsets under the names of mirror topics, but for those that the mirrors have not come to yet.
    private func wanted(
        _ offsets: [ShareGroupOffset], _ mirrors: [MirrorTopic], _ survey: MirrorSurvey, _ services: BrokerServices
    ) -> [TopicIDPartition: Offset] {
        let names = Dictionary(mirrors.map { ($0.sourceName, $0.name) }, uniquingKeysWith: { first, _ in first })
        var wanted: [TopicIDPartition: Offset] = [:]
        for offset in offsets {
            guard let start = offset.startOffset, let name = names[offset.partition.topic],
                let topic = services.image.topics.topic(named: name),
                let entry = survey.entries[TopicPartition(name, offset.partition.partition)], start <= entry.logEndOffset
            else { continue }
            wanted[TopicIDPartition(topic.id, offset.partition.partition)] = start
        }
        return wanted
    }

    private func put(_ wanted: [TopicIDPartition: Offset], _ group: String, _ services: BrokerServices) async throws -> CopyOutcome.Result {
        var byTopic: [TopicID: [ShareStateInitialization.Partition]] = [:]
        for (partition, offset) in wanted where await services.shareStart(group, partition) != offset {
            byTopic[partition.topicID, default: []].append(.init(index: partition.partition, startOffset: offset))
        }
        guard !byTopic.isEmpty else { return .same }
        let topics = byTopic.compactMap { id, partitions -> ShareStateInitialization.Topic? in
            guard let topic = services.image.topics.topic(id: id) else { return nil }
            return .init(id: id, name: topic.name, partitions: partitions.sorted { $0.index < $1.index })
        }
        switch await services.alterShareOffsets(of: group, to: topics.sorted { $0.name < $1.name }) {
        case .none: return .changed
        case .nonEmptyGroup: return .hasMembers
        case let code: throw SynchronizationFailure("group '\(group)': \(code.name)")
        }
    }
}

extension BrokerServices {
    /// Where a share group stands in a partition; nil where it has not begun, or cannot be asked.
    fileprivate func shareStart(_ group: String, _ partition: TopicIDPartition) async -> Offset? {
        let result = await withCheckedContinuation { continuation in
            shareGroups.persister.summary(SharePartitionKey(group: group, partition: partition)) { continuation.resume(returning: $0) }
        }
        guard case .success(let state) = result, state.startOffset >= 0 else { return nil }
        return state.startOffset
    }

    /// Lets a share group that this broker coordinates, and that has no members, go on elsewhere.
    fileprivate func alterShareOffsets(of group: String, to topics: [ShareStateInitialization.Topic]) async -> ErrorCode {
        let begun = await withCheckedContinuation { continuation in
            groups.alterShareOffsets(of: group, to: topics) { continuation.resume(returning: $0) }
        }
        switch begun {
        case .failure(let refusal): return refusal.code
        case .success(let initialization):
            let refusals = await withCheckedContinuation { continuation in
                initializeShareState(initialization) { continuation.resume(returning: $0) }
            }
            groups.shareStateInitialized(initialization, succeeded: refusals.allSatisfy { $0 == nil })
            return refusals.compactMap { $0?.code }.first ?? .none
        }
    }
}
