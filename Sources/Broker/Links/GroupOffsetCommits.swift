// Offsets of groups that links put here, on the broker that coordinates the groups: those that are copied now and then, and those that the
// source's transactions have committed. A group that has members here has its own offsets.
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import Linking
import Primitives
import Runtime
import Synchronization

/// When groups were given what transactions committed: what was copied from the source before is older.
final class GivenOffsets: Sendable {
    private struct Key: Hashable {
        var link: String
        var group: String
        var partition: TopicPartition
    }

    /// Copying takes no longer.
    private static let kept: Int64 = 300_000
    private static let maximumCount = 100_000

    /// Monotonic milliseconds.
    private let times = Mutex<[Key: Int64]>([:])

    /// Gives a group what transactions committed.
    func give(_ offsets: [TopicPartition: GroupOffset], link: String, group: String, now: Int64, _ commit: () -> Void) {
        times.withLock { times in
            if times.count >= Self.maximumCount { times = times.filter { now - $0.value < Self.kept } }
            for partition in offsets.keys { times[Key(link: link, group: group, partition: partition)] = now }
            commit()
        }
    }

    /// Gives a group what the source had at a time, but for what transactions have brought since.
    func copy(
        _ offsets: [TopicPartition: GroupOffset], link: String, group: String, askedAt: Int64,
        _ commit: ([TopicPartition: GroupOffset]) -> Void
    ) {
        times.withLock { times in
            commit(offsets.filter { times[Key(link: link, group: group, partition: $0.key)] ?? .min < askedAt })
        }
    }
}

extension LinkServices {
    /// Gives a group the offsets that it had at the source at a time, as far as its topics are still mirrored.
    ///
    /// - Parameter askedAt: monotonic milliseconds.
    func putCopied(
        _ offsets: [TopicPartition: GroupOffset], group: String, link: LinkDefinition, askedAt: Int64, _ services: BrokerServices
    ) async throws(SynchronizationFailure) -> CopyOutcome.Result {
        let image = image
        let followed = offsets.filter { image.mirrors[$0.key.topic]?.state.fetches ?? false }
        let response = await withCheckedContinuation { (continuation: CheckedContinuation<OffsetCommitResponse?, Never>) in
            givenOffsets.copy(followed, link: link.name, group: group, askedAt: askedAt) { offsets in
                let changed = services.changes(offsets, group: group)
                guard !changed.isEmpty else { return continuation.resume(returning: nil) }
                services.commit(changed, group: group, link: link.name) { continuation.resume(returning: $0) }
            }
        }
        guard let response else { return .same }
        return try CopyOutcome.Result(response, group: group)
    }

    /// Gives groups what transactions committed, and takes back what lies behind the ends of mirrors that become writable.
    ///
    /// - Returns: the groups that have it, as far as this broker coordinates them: `{"done":[…]}`.
    func putOffsets(_ body: JSONValue) async -> JSONValue {
        guard let services, let name = body["link"]?.stringValue, let link = image.links[name] else { return ["done": []] }
        let ends = MirrorEnds(body["ends"])
        let offsets = GroupOffsets(body["offsets"]).filter { services.coordinates(group: $0.key) }
        do {
            var done: [JSONValue] = []
            try await claimNew(offsets.keys.sorted(), link, services)
            for (group, wanted) in offsets.sorted(by: { $0.key < $1.key }) {
                _ = try await give(ends.bound(wanted), group: group, link: link, services)
                done.append(.string(group))
            }
            for (group, beyond) in try services.offsetsBeyond(ends).sorted(by: { $0.key < $1.key }) {
                let result = try await give(beyond, group: group, link: link, services)
                guard result == .changed else { continue }
                let partitions = beyond.keys.sorted().map(\.description).joined(separator: ", ")
                logger.notice(
                    "a group's offsets are brought back to the ends of mirrors: what it had read behind them is cut off",
                    metadata: ["link": "\(name)", "group": "\(group)", "partitions": "\(partitions)"])
            }
            return ["done": .array(done)]
        } catch {
            return ["done": [], "problem": .string("\(error)")]
        }
    }

    private func give(
        _ offsets: [TopicPartition: GroupOffset], group: String, link: LinkDefinition, _ services: BrokerServices
    ) async throws(SynchronizationFailure) -> CopyOutcome.Result {
        let now = SystemClock.monotonicMilliseconds()
        let response = await withCheckedContinuation { continuation in
            givenOffsets.give(offsets, link: link.name, group: group, now: now) {
                let changed = services.changes(offsets, group: group)
                guard !changed.isEmpty else { return continuation.resume(returning: OffsetCommitResponse()) }
                services.commit(changed, group: group, link: link.name) { continuation.resume(returning: $0) }
            }
        }
        return try CopyOutcome.Result(response, group: group)
    }

    /// Groups that are not here yet are recorded as the link's before they are made.
    private func claimNew(_ groups: [String], _ link: LinkDefinition, _ services: BrokerServices) async throws {
        let new = groups.filter { services.committedOffsets(group: $0).isEmpty }
        guard !new.isEmpty else { return }
        let present = Set(try services.groupsHere().map(\.groupId))
        let absent = new.filter { !present.contains($0) }
        if !absent.isEmpty { _ = try await claim(GroupClaims(link: link, kind: .offsets, claim: absent)) }
    }
}

extension CopyOutcome.Result {
    fileprivate init(_ response: OffsetCommitResponse, group: String) throws(SynchronizationFailure) {
        let errors = response.topics.flatMap(\.partitions).map(\.errorCode).filter { $0 != .none }
        switch errors.first {
        case nil: self = .changed
        case .unknownMemberId, .illegalGeneration, .staleMemberEpoch: self = .hasMembers
        // The topic may be gone.
        case .unknownTopicOrPartition: self = .same
        case let code?: throw SynchronizationFailure("group '\(group)': \(code.name)")
        }
    }
}

extension BrokerServices {
    /// A group's committed offsets on this broker, which coordinates it.
    func committedOffsets(group: String) -> [TopicPartition: Offset] {
        var request = OffsetFetchRequest()
        var wanted = OffsetFetchRequest.OffsetFetchRequestGroup()
        wanted.groupId = group
        // Of all topics.
        wanted.topics = nil
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

    /// The offsets that a group does not have.
    fileprivate func changes(_ offsets: [TopicPartition: GroupOffset], group: String) -> [TopicPartition: GroupOffset] {
        let present = committedOffsets(group: group)
        return offsets.filter { present[$0.key] != $0.value.offset }
    }

    /// What groups have committed behind the ends of topics, bounded by those.
    fileprivate func offsetsBeyond(_ ends: MirrorEnds) throws(SynchronizationFailure) -> GroupOffsets {
        guard !ends.isEmpty else { return [:] }
        var beyond: GroupOffsets = [:]
        for group in try groupsHere().map(\.groupId) where coordinates(group: group) {
            let offsets = committedOffsets(group: group).filter { $0.value > ends[$0.key] ?? .max }
            if !offsets.isEmpty { beyond[group] = ends.bound(offsets.mapValues { GroupOffset($0) }) }
        }
        return beyond
    }

    fileprivate func commit(
        _ offsets: [TopicPartition: GroupOffset], group: String, link: String, done: @escaping @Sendable (OffsetCommitResponse) -> Void
    ) {
        var request = OffsetCommitRequest()
        request.groupId = group
        request.generationIdOrMemberEpoch = -1
        for (topic, partitions) in Dictionary(grouping: offsets, by: \.key.topic).sorted(by: { $0.key < $1.key }) {
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
        let context = GroupRequestContext(apiVersion: 9, clientID: "link-\(link)", clientHost: "/127.0.0.1")
        groups.commitOffsets(request, context: context, topics: topicLookup) { done($0) }
    }
}
