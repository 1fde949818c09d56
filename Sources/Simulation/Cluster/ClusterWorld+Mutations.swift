// Faults put into what the controller gets and decides, on purpose.
import ClusterMetadata
import Controlling
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
