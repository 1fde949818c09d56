// The forms of OffsetFetch and OffsetDelete in their versions, brought to the one that the coordinator knows, and back.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension OffsetFetchRequest {
    /// The request's groups; before version 8 there is one, outside of the list.
    func normalizedGroups(for version: Int16) -> [OffsetFetchRequestGroup] {
        guard version < 8 else { return groups }
        var group = OffsetFetchRequestGroup()
        group.groupId = groupId
        group.topics = topics?.map { topic in
            var normalized = OffsetFetchRequestTopics()
            normalized.name = topic.name
            normalized.partitionIndexes = topic.partitionIndexes
            return normalized
        }
        return [group]
    }
}

extension OffsetFetchRequest.OffsetFetchRequestGroup {
    /// Gives every topic its name and takes out those whose id is unknown.
    ///
    /// - Returns: the answers for what was taken out.
    mutating func resolveTopics(_ lookup: some GroupTopicLookup) -> [OffsetFetchResponse.OffsetFetchResponseTopics] {
        guard let requested = topics else { return [] }
        var refused: [OffsetFetchResponse.OffsetFetchResponseTopics] = []
        var known: [OffsetFetchRequest.OffsetFetchRequestTopics] = []
        for var topic in requested {
            if let name = lookup.topicName(for: topic.topicId) {
                topic.name = name
                known.append(topic)
            } else {
                refused.append(topic.response(error: .unknownTopicId))
            }
        }
        topics = known
        return refused
    }

    /// An answer that only says what is wrong: of the group, or before version 2 of each partition.
    func response(error: ErrorCode, version: Int16) -> OffsetFetchResponse.OffsetFetchResponseGroup {
        var response = OffsetFetchResponse.OffsetFetchResponseGroup()
        response.groupId = groupId
        response.errorCode = error
        if version < 2 { response.topics = (topics ?? []).map { $0.response(error: error) } }
        return response
    }
}

extension OffsetFetchRequest.OffsetFetchRequestTopics {
    func response(error: ErrorCode) -> OffsetFetchResponse.OffsetFetchResponseTopics {
        var response = OffsetFetchResponse.OffsetFetchResponseTopics()
        response.name = name
        response.topicId = topicId
        response.partitions = partitionIndexes.map { partition in
            var outcome = OffsetFetchResponse.OffsetFetchResponsePartitions()
            outcome.partitionIndex = partition
            outcome.committedOffset = -1
            outcome.metadata = ""
            outcome.errorCode = error
            return outcome
        }
        return response
    }
}

extension OffsetFetchResponse {
    /// Before version 8 the one group's answer is the response itself.
    func normalized(for version: Int16) -> OffsetFetchResponse {
        guard version < 8, let group = groups.first else { return self }
        var response = OffsetFetchResponse()
        response.throttleTimeMs = throttleTimeMs
        // Version 1 has no place for it; its partitions say it.
        if version >= 2 { response.errorCode = group.errorCode }
        response.topics = group.topics.map { topic in
            var normalized = OffsetFetchResponseTopic()
            normalized.name = topic.name
            normalized.partitions = topic.partitions.map { partition in
                var outcome = OffsetFetchResponsePartition()
                outcome.partitionIndex = partition.partitionIndex
                outcome.committedOffset = partition.committedOffset
                outcome.committedLeaderEpoch = partition.committedLeaderEpoch
                outcome.metadata = partition.metadata
                outcome.errorCode = partition.errorCode
                return outcome
            }
            return normalized
        }
        return response
    }
}

extension OffsetDeleteRequest {
    /// Takes out topics and partitions that do not exist.
    ///
    /// - Returns: the answers for what was taken out.
    mutating func removeUnknownTopics(_ lookup: some GroupTopicLookup) -> [OffsetDeleteResponse.OffsetDeleteResponseTopic] {
        var refused: [OffsetDeleteResponse.OffsetDeleteResponseTopic] = []
        var known: [OffsetDeleteRequestTopic] = []
        for topic in topics {
            var existing = topic
            existing.partitions.removeAll { !lookup.hasPartition(topic: topic.name, partition: $0.partitionIndex) }
            if !existing.partitions.isEmpty { known.append(existing) }
            guard existing.partitions.count < topic.partitions.count || lookup.topicID(for: topic.name) == nil else { continue }
            var response = OffsetDeleteResponse.OffsetDeleteResponseTopic()
            response.name = topic.name
            for partition in topic.partitions where !lookup.hasPartition(topic: topic.name, partition: partition.partitionIndex) {
                var outcome = OffsetDeleteResponse.OffsetDeleteResponsePartition()
                outcome.partitionIndex = partition.partitionIndex
                outcome.errorCode = .unknownTopicOrPartition
                response.partitions.append(outcome)
            }
            refused.append(response)
        }
        topics = known
        return refused
    }
}
