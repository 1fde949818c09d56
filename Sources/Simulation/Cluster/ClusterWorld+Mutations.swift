// Faults put into what the controller gets and decides, on purpose.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import Primitives

extension ClusterWorld {
    /// A proposal as a careless controller would read it.
    func mutate(alterPartition request: AlterPartitionRequest, at program: ClusterNode) -> AlterPartitionRequest {
        guard mutation == .acceptStaleProposals, let controller = program.term?.controller else { return request }
        var request = request
        for (topic, data) in request.topics.enumerated() {
            for (index, part) in data.partitions.enumerated() {
                guard let current = controller.image.topics.topic(id: data.topicId)?.partition(part.partitionIndex) else { continue }
                request.topics[topic].partitions[index].leaderEpoch = current.leaderEpoch
                request.topics[topic].partitions[index].partitionEpoch = current.partitionEpoch
                for member in part.newIsrWithEpochs.indices {
                    request.topics[topic].partitions[index].newIsrWithEpochs[member].brokerEpoch = -1
                }
            }
        }
        return request
    }

    /// A decision as a careless controller would make it.
    func mutate(_ records: [VersionedRecord], in image: MetadataImage) -> [VersionedRecord] {
        switch mutation {
        case .keepRestartedInSync:
            let registers = records.contains { if case .registerBroker = $0.record { true } else { false } }
            guard registers else { return records }
            return records.filter { if case .partitionChange = $0.record { false } else { true } }
        case .electOutsider: return records.map { outsider($0, in: image) }
        default: return records
        }
    }

    private func outsider(_ record: VersionedRecord, in image: MetadataImage) -> VersionedRecord {
        guard case .partitionChange(var change) = record.record, change.leader >= 0,
            let topic = image.topics.topic(id: change.topicId), isSafe(topic.name),
            let partition = topic.partition(change.partitionId), !partition.isReassigning,
            let outsider = partition.replicas.first(where: { !partition.isr.contains($0) && image.cluster.isActive($0) })
        else { return record }
        change.leader = outsider
        change.isr = [outsider]
        return VersionedRecord(.partitionChange(change), version: record.version)
    }
}
