// The groups of Kafka Streams applications (KIP-1071), described as the partitions that their members read.
import KafkaMessages
import KafkaWire
import Primitives

extension AdminClient {
    /// A streams group with its topology and tasks, and who coordinates it.
    package func streamsGroup(
        _ group: String
    ) async throws(KafkaError) -> (group: StreamsGroupDescribeResponse.DescribedGroup, coordinator: NodeID) {
        var request = StreamsGroupDescribeRequest()
        request.groupIds = [group]
        let target = RequestTarget.coordinator(group: group)
        return try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let coordinator = try await self.cluster.coordinator(group, type: 0)
            let response = try await self.cluster.send(request, to: target)
            guard let found = response.groups.first else {
                throw KafkaError(.protocolViolation, "the answer to StreamsGroupDescribe is empty")
            }
            try found.errorCode.check(found.errorMessage)
            return (found, coordinator)
        }
    }

    /// A streams group; nil when there is none of that name, or the broker does not know such groups.
    func describeStreamsGroup(_ group: String, coordinator: Int32) async throws(KafkaError) -> GroupDescription? {
        var request = StreamsGroupDescribeRequest()
        request.groupIds = [group]
        let response: StreamsGroupDescribeResponse
        do throws(KafkaError) {
            response = try await cluster.send(request, to: .coordinator(group: group))
        } catch {
            return nil
        }
        guard let found = response.groups.first, found.errorCode != .groupIdNotFound, found.errorCode != .unsupportedVersion else {
            return nil
        }
        try found.errorCode.check(found.errorMessage, about: "group '\(group)'")
        let sources = found.sourceTopics
        var counts: [String: Int32] = [:]
        for outcome in try await describeTopics(Set(sources.values.joined()).sorted()) {
            // What is missing has no partitions to read.
            if case .success(let topic) = outcome.result { counts[topic.name] = Int32(topic.partitions.count) }
        }
        let members = found.members.map { member in
            var partitions: [TopicPartition] = []
            for task in member.assignment.activeTasks {
                for topic in sources[task.subtopologyId] ?? [] {
                    partitions += task.partitions.filter { $0 < counts[topic] ?? 0 }.map { TopicPartition(topic, $0) }
                }
            }
            return GroupMember(
                memberID: member.memberId, groupInstanceID: member.instanceId, clientID: member.clientId, clientHost: member.clientHost,
                assignment: partitions.sorted())
        }
        return GroupDescription(
            group: group, state: found.groupState, protocolType: "streams", protocolName: found.assignorName ?? "",
            coordinator: coordinator, members: members)
    }
}

extension StreamsGroupDescribeResponse.DescribedGroup {
    /// The topics that each subtopology reads.
    fileprivate var sourceTopics: [String: [String]] {
        let pairs = (topology?.subtopologies ?? []).map { subtopology in
            (subtopology.subtopologyId, subtopology.sourceTopics + subtopology.repartitionSourceTopics.map(\.name))
        }
        return Dictionary(pairs, uniquingKeysWith: { first, _ in first })
    }
}
