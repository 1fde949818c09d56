// Share groups (KIP-932): what they are, and where they are in the partitions that they read.
import KafkaMessages
import KafkaWire
import Primitives

/// Where a share group is in one partition.
package struct ShareGroupOffset: Sendable {
    package var partition: TopicPartition
    /// The first record that is not done; nil where the group has not begun.
    package var startOffset: Offset?
    package var leaderEpoch: LeaderEpoch?
}

extension AdminClient {
    /// A share group, and who coordinates it.
    package func describeShareGroup(
        _ group: String
    ) async throws(KafkaError) -> (group: ShareGroupDescribeResponse.DescribedGroup, coordinator: NodeID) {
        var request = ShareGroupDescribeRequest()
        request.groupIds = [group]
        let target = RequestTarget.coordinator(group: group)
        return try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let coordinator = try await self.cluster.coordinator(group, type: 0)
            let response = try await self.cluster.send(request, to: target)
            guard let found = response.groups.first else {
                throw KafkaError(.protocolViolation, "the answer to ShareGroupDescribe is empty")
            }
            try found.errorCode.check(found.errorMessage)
            return (found, coordinator)
        }
    }

    /// Where a share group is, in every partition that it has begun to read.
    package func listShareGroupOffsets(_ group: String) async throws(KafkaError) -> [ShareGroupOffset] {
        var asked = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup()
        asked.groupId = group
        asked.topics = nil
        var request = DescribeShareGroupOffsetsRequest()
        request.groups = [asked]
        let target = RequestTarget.coordinator(group: group)
        return try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target)
            guard let found = response.groups.first else {
                throw KafkaError(.protocolViolation, "the answer to DescribeShareGroupOffsets is empty")
            }
            try found.errorCode.check(found.errorMessage)
            var offsets: [ShareGroupOffset] = []
            for topic in found.topics {
                for partition in topic.partitions {
                    let name = TopicPartition(topic.topicName, partition.partitionIndex)
                    try partition.errorCode.check(partition.errorMessage)
                    offsets.append(
                        ShareGroupOffset(
                            partition: name, startOffset: partition.startOffset >= 0 ? partition.startOffset : nil,
                            leaderEpoch: partition.startOffset >= 0 && partition.leaderEpoch >= 0 ? partition.leaderEpoch : nil))
                }
            }
            return offsets.sorted { $0.partition < $1.partition }
        }
    }

    /// Lets a share group without members begin elsewhere.
    package func alterShareGroupOffsets(_ group: String, _ offsets: [TopicPartition: Offset]) async throws(KafkaError) {
        var request = AlterShareGroupOffsetsRequest()
        request.groupId = group
        request.topics = Array(offsets.keys).byTopic().map { name, partitions in
            var topic = AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestTopic()
            topic.topicName = name
            topic.partitions = partitions.map { number in
                var partition = AlterShareGroupOffsetsRequest.AlterShareGroupOffsetsRequestPartition()
                partition.partitionIndex = number
                partition.startOffset = offsets[TopicPartition(name, number)] ?? 0
                return partition
            }
            return topic
        }
        let target = RequestTarget.coordinator(group: group)
        try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target)
            try response.errorCode.check(response.errorMessage)
            for topic in response.responses {
                for partition in topic.partitions { try partition.errorCode.check(partition.errorMessage) }
            }
        }
    }

    /// Forgets where a share group is in topics that none of its members reads.
    package func deleteShareGroupOffsets(_ group: String, topics: [String]) async throws(KafkaError) -> [Outcome<String, Void>] {
        var request = DeleteShareGroupOffsetsRequest()
        request.groupId = group
        request.topics = topics.map { name in
            var topic = DeleteShareGroupOffsetsRequest.DeleteShareGroupOffsetsRequestTopic()
            topic.topicName = name
            return topic
        }
        let target = RequestTarget.coordinator(group: group)
        let response = try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target)
            try response.errorCode.check(response.errorMessage)
            return response
        }
        return response.responses.map { Outcome(item: $0.topicName, result: $0.errorCode.result((), $0.errorMessage)) }
    }
}
