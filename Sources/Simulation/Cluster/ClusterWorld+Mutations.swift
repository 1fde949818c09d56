// Faults put into what the controller gets and decides, on purpose.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaRecords
import Primitives

extension ClusterWorld {
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

    /// A proposal as it would have to be to be taken.
    func mutate(_ request: AlterPartitionRequest, in image: MetadataImage) -> AlterPartitionRequest {
        guard mutation == .acceptStaleProposals else { return request }
        var request = request
        for topic in request.topics.indices {
            guard let known = image.topics.topic(id: request.topics[topic].topicId) else { continue }
            for index in request.topics[topic].partitions.indices {
                guard let partition = known.partition(request.topics[topic].partitions[index].partitionIndex) else { continue }
                request.topics[topic].partitions[index].leaderEpoch = partition.leaderEpoch
                request.topics[topic].partitions[index].partitionEpoch = partition.partitionEpoch
            }
        }
        return request
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
