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
        while !Task.isCancelled {
            try? await Task.sleep(for: .milliseconds(settings.offsetSyncMilliseconds))
            if Task.isCancelled { return }
            await synchronize()
        }
    }

    /// Copies once. Failures are tried again with the next round.
    func synchronize() async {
        guard let source = links.source(of: link.name), let services = links.services, let image = links.publication?.image else { return }
        let mirrors = image.mirrors(of: link.name).filter { $0.state.fetches }
        guard !mirrors.isEmpty else { return }
        if services.image.topics.topic(named: TopicName.consumerOffsets) == nil {
            // With the next round.
            return services.ensureInternalTopic(TopicName.consumerOffsets) {}
        }
        do {
            let own = try await source.admin.listGroups().map(\.group).filter { group in
                source.settings.groupFilter.admits(group) && services.coordinates(group: group)
            }
            guard !own.isEmpty else { return }
            let ends = await links.gatherProgress()
            for group in own {
                if Task.isCancelled { return }
                let offsets = try await source.admin.listGroupOffsets(group)
                await commit(translated(offsets, mirrors, ends), group: group, services)
            }
        } catch {
            logger.debug("committed offsets cannot be copied", metadata: ["link": "\(link.name)", "reason": "\(error)"])
        }
    }

    /// The offsets under the names of mirror topics, but for those that the mirrors have not come to yet: a group that went on from there
    /// would be told that its offset is out of range.
    private func translated(
        _ offsets: [TopicPartition: MartletClient.CommittedOffset], _ mirrors: [MirrorTopic], _ survey: MirrorSurvey
    ) -> [TopicPartition: MartletClient.CommittedOffset] {
        MirrorOffsets.admitted(offsets.mapValues(\.offset), mirrors, survey).compactMapValues { offsets[$0] }
    }

    private func commit(_ offsets: [TopicPartition: MartletClient.CommittedOffset], group: String, _ services: BrokerServices) async {
        let present = services.committedOffsets(group: group)
        let changed = offsets.filter { present[$0.key] != $0.value.offset }
        guard !changed.isEmpty else { return }
        var request = OffsetCommitRequest()
        request.groupId = group
        request.generationIdOrMemberEpoch = -1
        for (topic, partitions) in Dictionary(grouping: changed, by: \.key.topic).sorted(by: { $0.key < $1.key }) {
            var entry = OffsetCommitRequest.OffsetCommitRequestTopic()
            entry.name = topic
            entry.partitions = partitions.sorted { $0.key < $1.key }.map { name, offset in
                var partition = OffsetCommitRequest.OffsetCommitRequestPartition()
                partition.partitionIndex = name.partition
                partition.committedOffset = offset.offset
                // Epochs of another cluster mean nothing here.
                partition.committedLeaderEpoch = -1
                partition.committedMetadata = offset.metadata
                return partition
            }
            request.topics.append(entry)
        }
        let context = GroupRequestContext(apiVersion: 9, clientID: "link-\(link.name)", clientHost: "/127.0.0.1")
        let commit = request
        // A group with members here refuses: it has its own offsets.
        await withCheckedContinuation { continuation in
            services.groups.commitOffsets(commit, context: context, topics: services.topicLookup) { _ in continuation.resume() }
        }
    }
}

extension LinkServices {
    /// Copies a link's offsets now, as far as this broker coordinates their groups.
    func syncOffsetsNow(_ body: JSONValue) async -> JSONValue {
        guard let name = body["link"]?.stringValue, let link = image.links[name], let settings = try? LinkSettings(link.configuration),
            settings.syncsOffsets
        else { return .object([]) }
        await OffsetSynchronizer(link: link, links: self, logger: logger).synchronize()
        return .object([])
    }
}

extension BrokerServices {
    fileprivate func coordinates(group: String) -> Bool {
        image.topics.partition(TopicPartition(TopicName.consumerOffsets, groups.partition(for: group)))?.leader == nodeID
    }

    /// A group's committed offsets on this broker, which coordinates it.
    fileprivate func committedOffsets(group: String) -> [TopicPartition: Offset] {
        var request = OffsetFetchRequest()
        var wanted = OffsetFetchRequest.OffsetFetchRequestGroup()
        wanted.groupId = group
        request.groups = [wanted]
        let found = Mutex<[TopicPartition: Offset]>([:])
        let context = GroupRequestContext(apiVersion: 9, clientID: "links", clientHost: "/127.0.0.1")
        // Answered on this thread: nothing is written.
        groups.fetchOffsets(request, context: context, topics: topicLookup) { response in
            for topic in response.groups.first?.topics ?? [] {
                found.withLock { found in
                    for partition in topic.partitions {
                        found[TopicPartition(topic.name, partition.partitionIndex)] = partition.committedOffset
                    }
                }
            }
        }
        return found.withLock { $0 }
    }
}
