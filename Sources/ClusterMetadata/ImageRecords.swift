// An image as records, the contents of a snapshot. The order is that of Kafka's own writer, and record versions follow the
// image's metadata.version, so that any node that may be in the cluster can read it.
import KafkaRecords

/// A record with the version that it is to be written in.
public struct VersionedRecord: Hashable, Sendable {
    public var record: MetadataRecord
    public var version: Int16

    public init(_ record: MetadataRecord, version: Int16 = 0) {
        self.record = record
        self.version = version
    }
}

extension MetadataImage {
    /// Hands every record of a snapshot of this image to `body`, one by one: a snapshot need not be in memory as a whole.
    ///
    /// - Throws: what `body` throws.
    public func forEachRecord<Failure: Error>(_ body: (VersionedRecord) throws(Failure) -> Void) throws(Failure) {
        // An image without a level is that of an empty log; Kafka writes the minimum there.
        let version = features.metadataVersion ?? .minimum
        try writeFeatures(version, body)
        try writeCluster(version, body)
        for topic in topics.all {
            var record = TopicRecord()
            record.name = topic.name
            record.topicId = topic.id
            try body(VersionedRecord(.topic(record)))
            for partition in topic.partitions {
                let record = partition.record(topicID: topic.id, version: version)
                try body(VersionedRecord(.partition(record), version: version.partitionRecordVersion))
            }
        }
        for (resource, values) in configurations.byResource {
            for (name, value) in values {
                var record = ConfigRecord()
                record.resourceType = resource.kind.rawValue
                record.resourceName = resource.name
                record.name = name
                record.value = value
                try body(VersionedRecord(.config(record)))
            }
        }
        for record in clientQuotas.records() { try body(VersionedRecord(.clientQuota(record))) }
        if let nextProducerID {
            var record = ProducerIdsRecord()
            record.brokerId = -1
            record.brokerEpoch = -1
            record.nextProducerId = nextProducerID
            try body(VersionedRecord(.producerIds(record)))
        }
        try writeSecurity(version, body)
    }

    /// All records of a snapshot of this image.
    public var records: [VersionedRecord] {
        var records: [VersionedRecord] = []
        forEachRecord { records.append($0) }
        return records
    }

    private func writeFeatures<Failure: Error>(
        _ version: MetadataVersion, _ body: (VersionedRecord) throws(Failure) -> Void
    ) throws(Failure) {
        // metadata.version comes first and in version 0: it decides how the rest is to be read.
        var record = FeatureLevelRecord()
        record.name = MetadataVersion.featureName
        record.featureLevel = version.rawValue
        try body(VersionedRecord(.featureLevel(record)))
        for (name, level) in features.levels {
            record.name = name
            record.featureLevel = level
            try body(VersionedRecord(.featureLevel(record)))
        }
    }

    private func writeCluster<Failure: Error>(
        _ version: MetadataVersion, _ body: (VersionedRecord) throws(Failure) -> Void
    ) throws(Failure) {
        for broker in cluster.brokers.values {
            try body(VersionedRecord(.registerBroker(broker.record(version: version)), version: version.registerBrokerRecordVersion))
        }
        guard version.supportsControllerRegistration else { return }
        for controller in cluster.controllers.values { try body(VersionedRecord(.registerController(controller.record()))) }
    }

    private func writeSecurity<Failure: Error>(
        _ version: MetadataVersion, _ body: (VersionedRecord) throws(Failure) -> Void
    ) throws(Failure) {
        for (id, entry) in security.accessControlEntries { try body(VersionedRecord(.accessControlEntry(entry.record(id: id)))) }
        if version.supportsScram {
            for (user, credential) in security.scramCredentials {
                try body(VersionedRecord(.userScramCredential(credential.record(user: user))))
            }
        }
        if version.supportsDelegationTokens {
            for token in security.delegationTokens.values { try body(VersionedRecord(.delegationToken(token.record()))) }
        }
    }
}
