// What a controller writes when it becomes active: the first records of an empty log, or the end of what a predecessor left open.
import ClusterMetadata
import KafkaRecords
import KafkaWire
import OrderedCollections

/// The records that a new cluster starts with, as formatting wrote them.
public struct BootstrapMetadata: Sendable, Hashable {
    public var records: [VersionedRecord]

    public init(records: [VersionedRecord]) {
        self.records = records
    }

    /// Feature levels alone: metadata.version first, the others by name; levels of 0 are not written.
    public init(version: MetadataVersion, features: OrderedDictionary<String, Int16>) {
        records = [Controller.featureRecord(MetadataVersion.featureName, version.rawValue)]
        for name in features.keys.sorted() where name != MetadataVersion.featureName && name != FeatureName.kraft {
            if let level = features[name], level > 0 { records.append(Controller.featureRecord(name, level)) }
        }
    }

    /// What an empty log begins with where formatting left nothing: as in Kafka, the default metadata.version and no other feature.
    public static let fallback = BootstrapMetadata(version: .defaultForNewClusters, features: [:])

    /// The level of a feature among the records, 0 when there is none.
    public func level(of feature: String) -> Int16 {
        for record in records.reversed() {
            if case .featureLevel(let level) = record.record, level.name == feature { return level.featureLevel }
        }
        return 0
    }

    /// Nil when the records do not say, or name a level that is not known.
    public var metadataVersion: MetadataVersion? { MetadataVersion(rawValue: level(of: MetadataVersion.featureName)) }
}

extension Controller {
    /// The records that open this controller's term.
    ///
    /// - Parameter bootstrap: for an empty log.
    /// - Throws: `RequestFailure` where the log is empty and there is nothing to start with.
    public func activationRecords(bootstrap: BootstrapMetadata?) throws(RequestFailure) -> ControllerResult<Void> {
        var records: [VersionedRecord] = []
        if transactionStart != nil {
            // Whoever began it is gone; nobody else can know how it was to end.
            var abort = AbortTransactionRecord()
            abort.reason = "Controller failover"
            records.append(VersionedRecord(.abortTransaction(abort)))
        }
        if image.features.metadataVersion != nil { return ControllerResult((), records: records) }
        guard let bootstrap, let version = bootstrap.metadataVersion else {
            throw RequestFailure(
                .unknownServerError, "the metadata log is empty and there is no bootstrap.checkpoint with a metadata.version to start from")
        }
        let usesTransaction = version.supportsTransactions
        if usesTransaction {
            var begin = BeginTransactionRecord()
            begin.name = "Bootstrap records"
            records.append(VersionedRecord(.beginTransaction(begin)))
        }
        records += bootstrap.records
        if bootstrap.level(of: FeatureName.eligibleLeaderReplicas) > 0 {
            // Eligible leader replicas need one min ISR for the whole cluster (KIP-966).
            var record = ConfigRecord()
            record.resourceType = ConfigResource.Kind.broker.rawValue
            record.name = "min.insync.replicas"
            record.value = String(staticMinInSyncReplicas)
            records.append(VersionedRecord(.config(record)))
        }
        if usesTransaction { records.append(VersionedRecord(.endTransaction(EndTransactionRecord()))) }
        return ControllerResult((), records: records, isAtomic: !usesTransaction)
    }
}
