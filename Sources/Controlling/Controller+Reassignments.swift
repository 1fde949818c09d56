// AlterPartitionReassignments and ListPartitionReassignments (KIP-455): partitions move to other brokers, or back.
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides an AlterPartitionReassignments request. Partitions that succeed are changed together; each failure is in its result.
    public func alterPartitionReassignments(
        _ request: AlterPartitionReassignmentsRequest
    ) throws(RequestFailure) -> ControllerResult<AlterPartitionReassignmentsResponse> {
        var response = AlterPartitionReassignmentsResponse()
        response.errorMessage = nil
        response.allowReplicationFactorChange = request.allowReplicationFactorChange
        var records: [VersionedRecord] = []
        let inherited = TopicConfiguration(layers: layers)
        for topic in request.topics {
            let settings = topicConfiguration(topic.name, inherited: inherited)
            var answer = AlterPartitionReassignmentsResponse.ReassignableTopicResponse()
            answer.name = topic.name
            for target in topic.partitions {
                var result = AlterPartitionReassignmentsResponse.ReassignablePartitionResponse()
                result.partitionIndex = target.partitionIndex
                result.errorMessage = nil
                do throws(RequestFailure) {
                    let record = try reassign(
                        topic.name, settings, target, allowsFactorChange: request.allowReplicationFactorChange)
                    if let record { records.append(record) }
                } catch {
                    result.errorCode = error.code
                    result.errorMessage = error.description
                }
                answer.partitions.append(result)
            }
            response.responses.append(answer)
            try ControllerConfiguration.checkRecordCount(records.count)
        }
        return ControllerResult(response, records: records)
    }

    private func reassign(
        _ name: String, _ settings: TopicConfiguration, _ target: AlterPartitionReassignmentsRequest.ReassignablePartition,
        allowsFactorChange: Bool
    ) throws(RequestFailure) -> VersionedRecord? {
        guard let topic = image.topics.topic(named: name) else {
            throw RequestFailure(.unknownTopicOrPartition, "Unable to find a topic named \(name).")
        }
        guard let partition = topic.partition(target.partitionIndex) else {
            throw RequestFailure(.unknownTopicOrPartition, "Unable to find partition \(name):\(target.partitionIndex).")
        }
        guard let replicas = target.replicas else { return try cancelReassignment(of: partition, topic, settings) }
        try checkManualAssignment(replicas, replicationFactor: nil)
        if !allowsFactorChange {
            // While one reassignment is under way, the factor is that of its target.
            let current = partition.replicas.count { !partition.removingReplicas.contains($0) }
            if current != replicas.count {
                throw RequestFailure(
                    .invalidReplicationFactor, "The replication factor is changed from \(current) to \(replicas.count)")
            }
        }
        let reassignment = PartitionReassignment(from: partition.replicas, to: replicas)
        var builder = makeBuilder(partition, of: topic, settings)
        builder.targetReplicas = reassignment.replicas
        builder.targetRemoving = reassignment.removing
        // What an earlier reassignment wanted counts only as far as this one wants it, too. Kafka keeps an earlier list where the new one
        // is empty: a replica that is then to be added and removed keeps the reassignment from ever ending.
        builder.targetAdding = replicas.filter {
            partition.addingReplicas.contains($0) || reassignment.adding.contains($0)
        }.sorted()
        return builder.build()
    }

    private func cancelReassignment(
        of partition: PartitionImage, _ topic: TopicImage, _ settings: TopicConfiguration
    ) throws(RequestFailure) -> VersionedRecord? {
        guard partition.isReassigning else { throw RequestFailure(.noReassignmentInProgress) }
        let reversal = try ReassignmentReversal(partition)
        if reversal.isUnclean && !settings.uncleanLeaderElectionEnable {
            throw RequestFailure(
                .invalidReplicaAssignment,
                "Unable to revert partition assignment for \(topic.name):\(partition.index) because it would require an unclean leader "
                    + "election.")
        }
        var builder = makeBuilder(partition, of: topic, settings)
        if settings.uncleanLeaderElectionEnable { builder.election = .unclean }
        builder.targetIsr = reversal.isr
        builder.targetReplicas = reversal.replicas
        builder.targetRemoving = []
        builder.targetAdding = []
        return builder.build()
    }

    /// Answers a ListPartitionReassignments request.
    public func listPartitionReassignments(_ request: ListPartitionReassignmentsRequest) -> ListPartitionReassignmentsResponse {
        var response = ListPartitionReassignmentsResponse()
        response.errorMessage = nil
        func list(_ topic: TopicImage, _ indices: [Int32]) {
            var ongoing = ListPartitionReassignmentsResponse.OngoingTopicReassignment()
            ongoing.name = topic.name
            for index in indices {
                guard let partition = topic.partition(index), partition.isReassigning else { continue }
                var entry = ListPartitionReassignmentsResponse.OngoingPartitionReassignment()
                entry.partitionIndex = index
                entry.replicas = partition.replicas
                entry.addingReplicas = partition.addingReplicas
                entry.removingReplicas = partition.removingReplicas
                ongoing.partitions.append(entry)
            }
            if !ongoing.partitions.isEmpty { response.topics.append(ongoing) }
        }
        if let topics = request.topics {
            for topic in topics {
                if let found = image.topics.topic(named: topic.name) { list(found, topic.partitionIndexes) }
            }
        } else {
            for (topic, indices) in partitions.reassigning.ordered(by: image.topics) { list(topic, indices) }
        }
        return response
    }
}
