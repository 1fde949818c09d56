// Who this node is, as its data directories say, and how it introduces itself to the controller.
import ClusterMetadata
import Configuration
import Consensus
import Network
import Primitives
import Runtime
import Storage

/// Cluster id and directory ids, read from `meta.properties` of every directory and checked against each other.
struct NodeIdentity {
    let clusterID: String
    let metadataDirectoryID: KafkaUUID
    /// Of all directories of `log.dirs` that are online.
    let directoryIDs: [KafkaUUID]
    /// The broker epoch before the last clean stop, -1 when there is none (KIP-966).
    let previousBrokerEpoch: Int64

    /// - Parameters:
    ///   - directories: those of `log.dirs`.
    ///   - metadataDirectories: the one of the metadata log where it is none of them. It holds no replicas, so that the controller is not
    ///     told of it.
    /// - Throws: `notFormatted`, or `foreignDirectory` when a directory belongs to another node or cluster.
    init(
        _ directories: LogDirectories, _ metadataDirectories: LogDirectories?, nodeID: NodeID, metadataDirectory: String
    ) throws(StorageError) {
        var clusterID: String?
        var ids: [KafkaUUID] = []
        var metadataID: KafkaUUID?
        for directory in directories.online + (metadataDirectories?.online ?? []) {
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
                if directory.path == metadataDirectory { metadataID = id }
                if directories.directories.contains(where: { $0 === directory }) { ids.append(id) }
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

extension LocalNode {
    /// - Parameter bound: listeners whose port the system has chosen.
    init(_ configuration: BrokerConfiguration, _ identity: NodeIdentity, bound: [NetworkServer.BoundListener]) {
        func endpoint(_ listener: Listener) -> NodeEndpoint {
            let port = listener.port == 0 ? bound.first { $0.name == listener.name }?.port ?? 0 : listener.port
            return NodeEndpoint(
                name: listener.name, host: listener.host, port: UInt16(clamping: port), securityProtocol: listener.securityProtocol.id)
        }
        self.init(
            id: configuration.nodeID, clusterID: identity.clusterID, brokerEndpoints: configuration.advertisedListeners.map(endpoint),
            controllerEndpoints: configuration.advertisedControllerListeners.map(endpoint), rack: configuration.rack,
            logDirectories: identity.directoryIDs, previousBrokerEpoch: identity.previousBrokerEpoch)
    }
}

extension BrokerConfiguration {
    /// `controller.quorum.voters`; nil when the voters are dynamic.
    var staticVoters: VoterSet? {
        guard !controllerQuorumVoters.isEmpty else { return nil }
        let name = controllerListenerNames.first ?? ""
        return VoterSet(
            controllerQuorumVoters.map { voter in
                Voter(
                    id: voter.id,
                    endpoints: [.init(name: name, host: voter.address.host, port: UInt16(clamping: voter.address.port))])
            })
    }
    /// What this node brings into the quorum.
    func quorumConfiguration(_ identity: NodeIdentity) -> QuorumConfiguration {
        var result = QuorumConfiguration(
            localID: nodeID, localDirectoryID: identity.metadataDirectoryID,
            localEndpoints: advertisedControllerListeners.map {
                Voter.Endpoint(name: $0.name, host: $0.host, port: UInt16(clamping: $0.port))
            }, staticVoters: staticVoters)
        result.bootstrapServers = controllerQuorumBootstrapServers.map { .init(host: $0.host, port: UInt16(clamping: $0.port)) }
        result.canBecomeVoter = processRoles.contains(.controller)
        result.joinsAutomatically = quorum.autoJoinEnable
        result.clusterID = identity.clusterID
        result.maximumFetchBytes = Int32(clamping: quorum.fetchMaxBytes)
        result.timing.electionTimeout = quorum.electionTimeoutMilliseconds
        result.timing.electionBackoffMaximum = quorum.electionBackoffMaxMilliseconds
        result.timing.fetchTimeout = quorum.fetchTimeoutMilliseconds
        result.timing.requestTimeout = quorum.requestTimeoutMilliseconds
        result.timing.retryBackoff = quorum.retryBackoffMilliseconds
        return result
    }
}
