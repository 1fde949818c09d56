// OffsetCommit, OffsetFetch and OffsetDelete as the wire has them: topics by name or by id, one group or several.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import Synchronization

/// What the coordinator asks about topics; the broker answers from its metadata.
public protocol GroupTopicLookup {
    func topicName(for id: TopicID) -> String?
    func topicID(for name: String) -> TopicID?
    func hasPartition(topic: String, partition: Int32) -> Bool
}

extension CoordinatorRuntime {
    /// OffsetCommit. Partitions that do not exist are refused without troubling the group.
    public func commitOffsets(
        _ request: OffsetCommitRequest, context: GroupRequestContext, topics: some GroupTopicLookup,
        completion: @escaping @Sendable (OffsetCommitResponse) -> Void
    ) {
        var admitted = request
        let refused = admitted.resolveTopics(topics, version: context.apiVersion)
        guard !admitted.topics.isEmpty else {
            var response = OffsetCommitResponse()
            response.topics = refused
            return completion(response)
        }
        let request = admitted
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.commitOffsets(request, context: context, now: now) },
            failed: { request.answer($0) },
            completion: { completion(OffsetCommitRequest.merge($0, with: refused, version: context.apiVersion)) })
    }

    /// OffsetFetch, for one group (to version 7) or several.
    public func fetchOffsets(
        _ request: OffsetFetchRequest, context: GroupRequestContext, topics: some GroupTopicLookup,
        completion: @escaping @Sendable (OffsetFetchResponse) -> Void
    ) {
        let version = context.apiVersion
        var response = OffsetFetchResponse()
        response.groups.reserveCapacity(max(1, request.groups.count))
        for group in request.normalizedGroups(for: version) {
            response.groups.append(fetch(group, requireStable: request.requireStable, version: version, topics: topics))
        }
        completion(response.normalized(for: version))
    }

    private func fetch(
        _ group: OffsetFetchRequest.OffsetFetchRequestGroup, requireStable: Bool, version: Int16,
        topics: some GroupTopicLookup
    ) -> OffsetFetchResponse.OffsetFetchResponseGroup {
        var group = group
        let refused = version >= 10 ? group.resolveTopics(topics) : []
        switch shard(for: group.groupId).read({ $0.fetchOffsets(group, requireStable: requireStable) }) {
        case .failure(let error):
            return group.response(error: error.code, version: version)
        case .success(var response):
            if response.errorCode != .none { return group.response(error: response.errorCode, version: version) }
            if group.topics == nil, version >= 10 {
                // Topics are named by id alone here: one that is gone cannot be named.
                response.topics = response.topics.compactMap { topic in
                    var topic = topic
                    guard let id = topics.topicID(for: topic.name) else { return nil }
                    topic.topicId = id
                    return topic
                }
            }
            response.topics += refused
            return response
        }
    }

    /// OffsetDelete.
    public func deleteOffsets(
        _ request: OffsetDeleteRequest, topics: some GroupTopicLookup,
        completion: @escaping @Sendable (OffsetDeleteResponse) -> Void
    ) {
        var admitted = request
        let refused = admitted.removeUnknownTopics(topics)
        let request = admitted
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.deleteOffsets(request, now: now) },
            failed: { error in
                var response = OffsetDeleteResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidGroupId : error
                return response
            },
            completion: { response in
                guard response.errorCode == .none else { return completion(response) }
                var response = response
                for topic in refused {
                    if let index = response.topics.firstIndex(where: { $0.name == topic.name }) {
                        response.topics[index].partitions += topic.partitions
                    } else {
                        response.topics.append(topic)
                    }
                }
                completion(response)
            })
    }

    /// Topics have been deleted: their offsets go too.
    public func topicsDeleted(_ topics: [(name: String, id: TopicID)]) {
        let now = now
        for shard in shards {
            shard.submit(now: now, step: { $0.topicsDeleted(topics, now: now) }, failed: { _ in }, completion: { _ in })
        }
    }
}
