// The nodes of the cluster as they registered: where they listen, what they can do, whether clients may use them.
import KafkaRecords
import OrderedCollections
import Primitives

/// Where a node listens under one listener's name.
public struct NodeEndpoint: Hashable, Sendable {
    /// The listener's name.
    public var name: String
    public var host: String
    public var port: UInt16
    /// Kafka's number: 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL.
    public var securityProtocol: Int16

    public init(name: String, host: String, port: UInt16, securityProtocol: Int16) {
        self.name = name
        self.host = host
        self.port = port
        self.securityProtocol = securityProtocol
    }
}

/// The levels of a feature that a node can work with.
public struct SupportedFeature: Hashable, Sendable {
    public var name: String
    public var minimum: Int16
    public var maximum: Int16

    public init(name: String, minimum: Int16, maximum: Int16) {
        self.name = name
        self.minimum = minimum
        self.maximum = maximum
    }
}

/// A broker's registration (`RegisterBrokerRecord` and the changes after it).
public struct BrokerRegistration: Hashable, Sendable {
    public var id: NodeID
    /// The offset of the registration in the metadata log; every later request of the broker must carry it.
    public var epoch: Int64
    /// New for every start of the process.
    public var incarnationID: KafkaUUID
    public var endpoints: [NodeEndpoint]
    public var features: [SupportedFeature]
    public var rack: String?
    /// No leader may be placed here and clients are not told about it.
    public var isFenced: Bool
    public var isInControlledShutdown: Bool
    public var isMigratingFromZooKeeper: Bool
    /// Ids of the log directories that are online.
    public var logDirectories: [KafkaUUID]
    /// Directories that take no new partitions (KIP-1066); nil before metadata.version 30.
    public var cordonedLogDirectories: [KafkaUUID]?

    /// May lead partitions and take new ones.
    public var isActive: Bool { !isFenced && !isInControlledShutdown }

    public func endpoint(listener name: String) -> NodeEndpoint? { endpoints.first { $0.name == name } }

    /// Whether some directory takes new partitions; a registration without directories is older than KIP-858.
    public var hasUncordonedDirectory: Bool {
        guard let cordoned = cordonedLogDirectories, !logDirectories.isEmpty else { return true }
        return logDirectories.contains { !cordoned.contains($0) }
    }

    init(_ record: RegisterBrokerRecord) {
        id = record.brokerId
        epoch = record.brokerEpoch
        incarnationID = record.incarnationId
        endpoints = record.endPoints.map {
            NodeEndpoint(name: $0.name, host: $0.host, port: $0.port, securityProtocol: $0.securityProtocol)
        }
        features = record.features.map {
            SupportedFeature(name: $0.name, minimum: $0.minSupportedVersion, maximum: $0.maxSupportedVersion)
        }
        rack = record.rack
        isFenced = record.fenced
        isInControlledShutdown = record.inControlledShutdown
        isMigratingFromZooKeeper = record.isMigratingZkBroker
        logDirectories = record.logDirs
        cordonedLogDirectories = record.cordonedLogDirs
    }

    /// The record that says all of this; what `version` cannot say is left out.
    public func record(version: MetadataVersion) -> RegisterBrokerRecord {
        var record = RegisterBrokerRecord()
        record.brokerId = id
        record.brokerEpoch = epoch
        record.incarnationId = incarnationID
        record.endPoints = endpoints.map { endpoint in
            var entry = RegisterBrokerRecord.BrokerEndpoint()
            entry.name = endpoint.name
            entry.host = endpoint.host
            entry.port = endpoint.port
            entry.securityProtocol = endpoint.securityProtocol
            return entry
        }
        record.features = features.map { feature in
            var entry = RegisterBrokerRecord.BrokerFeature()
            entry.name = feature.name
            entry.minSupportedVersion = feature.minimum
            entry.maxSupportedVersion = feature.maximum
            return entry
        }
        record.rack = rack
        record.fenced = isFenced
        record.inControlledShutdown = isInControlledShutdown
        if version.registerBrokerRecordVersion >= 2 { record.isMigratingZkBroker = isMigratingFromZooKeeper }
        if version.supportsDirectoryAssignment { record.logDirs = logDirectories }
        if version >= .cordonedDirectories { record.cordonedLogDirs = cordonedLogDirectories }
        return record
    }
}

/// A controller's registration (KIP-919).
public struct ControllerRegistration: Hashable, Sendable {
    public var id: NodeID
    public var incarnationID: KafkaUUID
    public var endpoints: [NodeEndpoint]
    public var features: [SupportedFeature]
    /// Left over from the migration off ZooKeeper; false ever since.
    public var isReadyToMigrate: Bool

    init(_ record: RegisterControllerRecord) {
        id = record.controllerId
        incarnationID = record.incarnationId
        endpoints = record.endPoints.map {
            NodeEndpoint(name: $0.name, host: $0.host, port: $0.port, securityProtocol: $0.securityProtocol)
        }
        features = record.features.map {
            SupportedFeature(name: $0.name, minimum: $0.minSupportedVersion, maximum: $0.maxSupportedVersion)
        }
        isReadyToMigrate = record.zkMigrationReady
    }

    /// The record that says all of this.
    public func record() -> RegisterControllerRecord {
        var record = RegisterControllerRecord()
        record.controllerId = id
        record.incarnationId = incarnationID
        record.zkMigrationReady = isReadyToMigrate
        record.endPoints = endpoints.map { endpoint in
            var entry = RegisterControllerRecord.ControllerEndpoint()
            entry.name = endpoint.name
            entry.host = endpoint.host
            entry.port = endpoint.port
            entry.securityProtocol = endpoint.securityProtocol
            return entry
        }
        record.features = features.map { feature in
            var entry = RegisterControllerRecord.ControllerFeature()
            entry.name = feature.name
            entry.minSupportedVersion = feature.minimum
            entry.maxSupportedVersion = feature.maximum
            return entry
        }
        return record
    }
}

/// Every registered node.
public struct ClusterImage: Hashable, Sendable {
    /// By node id, ascending.
    public private(set) var brokers: OrderedDictionary<NodeID, BrokerRegistration> = [:]
    /// By node id, ascending.
    public private(set) var controllers: OrderedDictionary<NodeID, ControllerRegistration> = [:]

    public init() {}

    public func broker(_ id: NodeID) -> BrokerRegistration? { brokers[id] }

    /// Whether that broker may lead partitions.
    public func isActive(_ id: NodeID) -> Bool { brokers[id]?.isActive ?? false }

    mutating func register(_ broker: BrokerRegistration) {
        let isNew = brokers.updateValue(broker, forKey: broker.id) == nil
        if isNew { brokers.sort { $0.key < $1.key } }
    }

    mutating func register(_ controller: ControllerRegistration) {
        let isNew = controllers.updateValue(controller, forKey: controller.id) == nil
        if isNew { controllers.sort { $0.key < $1.key } }
    }

    mutating func unregisterBroker(_ id: NodeID) { brokers.removeValue(forKey: id) }

    mutating func unregisterController(_ id: NodeID) { controllers.removeValue(forKey: id) }

    /// Changes a registration in place; the error says that nothing is registered under that epoch.
    mutating func updateBroker(
        _ id: NodeID, epoch: Int64, record: String, _ change: (inout BrokerRegistration) -> Void
    ) throws(MetadataError) {
        guard var broker = brokers[id], broker.epoch == epoch else { throw .unknownBroker(id, record: record) }
        change(&broker)
        brokers[id] = broker
    }
}
