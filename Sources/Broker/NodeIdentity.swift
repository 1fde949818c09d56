// Who this node is, as its data directories say, and how it introduces itself to the controller.
import Configuration
import Consensus
import Controlling
import KafkaMessages
import Network
import Primitives
import Storage

/// Cluster id and directory ids, read from `meta.properties` of every directory and checked against each other.
struct NodeIdentity {
    let clusterID: String
    let metadataDirectoryID: KafkaUUID
    /// Of all directories that are online.
    let directoryIDs: [KafkaUUID]
    /// The broker epoch before the last clean stop, -1 when there is none (KIP-966).
    let previousBrokerEpoch: Int64

    /// - Throws: `notFormatted`, or `foreignDirectory` when a directory belongs to another node or cluster.
    init(_ directories: LogDirectories, nodeID: NodeID, metadataDirectory: String) throws(StorageError) {
        var clusterID: String?
        var ids: [KafkaUUID] = []
        var metadataID: KafkaUUID?
        for directory in directories.online {
            guard var properties = directory.properties, let cluster = properties.clusterID else {
                throw StorageError.notFormatted(path: directory.path)
            }
            if let clusterID, clusterID != cluster {
                throw StorageError.foreignDirectory(
                    path: directory.path, reason: "its cluster is \(cluster), that of the other directories is \(clusterID)")
            }
            clusterID = cluster
            if let other = properties.nodeID, other != nodeID {
                throw StorageError.foreignDirectory(path: directory.path, reason: "it is node \(other)'s, and node.id is \(nodeID)")
            }
            if properties.directoryID == nil {
                // Written by a Kafka older than 3.7: the id is given now, once.
                properties.directoryID = KafkaUUID.random()
                try directory.write(properties)
            }
            if let id = properties.directoryID {
                ids.append(id)
                if directory.path == metadataDirectory { metadataID = id }
            }
        }
        guard let clusterID, let first = ids.first else { throw StorageError.notFormatted(path: metadataDirectory) }
        self.clusterID = clusterID
        directoryIDs = ids
        metadataDirectoryID = metadataID ?? first
        let epochs = directories.online.map { $0.hadCleanShutdown ? $0.previousBrokerEpoch : -1 }
        previousBrokerEpoch = epochs.min() ?? -1
    }
}

/// The requests with which a node registers as broker and as controller.
struct NodeRegistration {
    let brokerRequest: BrokerRegistrationRequest
    let controllerRequest: ControllerRegistrationRequest

    /// - Parameter bound: listeners whose port the system has chosen.
    init(configuration: BrokerConfiguration, identity: NodeIdentity, directories: LogDirectories, bound: [NetworkServer.BoundListener]) {
        let incarnation = KafkaUUID.random()
        var broker = BrokerRegistrationRequest()
        broker.brokerId = configuration.nodeID
        broker.clusterId = identity.clusterID
        broker.incarnationId = incarnation
        broker.listeners = configuration.advertisedListeners.map { listener in
            var entry = BrokerRegistrationRequest.Listener()
            entry.name = listener.name
            entry.host = listener.host
            entry.port = UInt16(clamping: listener.port == 0 ? bound.first { $0.name == listener.name }?.port ?? 0 : listener.port)
            entry.securityProtocol = listener.securityProtocol.id
            return entry
        }
        broker.features = Feature.supportedByThisSoftware.map { feature in
            var entry = BrokerRegistrationRequest.Feature()
            entry.name = feature.name
            entry.minSupportedVersion = feature.minimum
            entry.maxSupportedVersion = feature.maximum
            return entry
        }
        broker.rack = configuration.rack
        broker.logDirs = identity.directoryIDs
        broker.previousBrokerEpoch = identity.previousBrokerEpoch
        brokerRequest = broker

        var controller = ControllerRegistrationRequest()
        controller.controllerId = configuration.nodeID
        controller.incarnationId = incarnation
        controller.listeners = configuration.advertisedControllerListeners.map { listener in
            var entry = ControllerRegistrationRequest.Listener()
            entry.name = listener.name
            entry.host = listener.host
            entry.port = UInt16(clamping: listener.port)
            entry.securityProtocol = listener.securityProtocol.id
            return entry
        }
        controller.features = broker.features.map { feature in
            var entry = ControllerRegistrationRequest.Feature()
            entry.name = feature.name
            entry.minSupportedVersion = feature.minSupportedVersion
            entry.maxSupportedVersion = feature.maxSupportedVersion
            return entry
        }
        controllerRequest = controller
    }
}
