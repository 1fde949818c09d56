// Who belongs to the cluster: its brokers, fenced ones too, and the voters of the controllers' quorum (KIP-853).
import KafkaMessages
import KafkaWire
import Primitives

/// A broker that is registered, alive or not.
public struct RegisteredBroker: Hashable, Sendable {
    public var node: BrokerNode
    /// Whether the controller keeps clients away from it: it is down, starting or stopping. Nil where the cluster does not say.
    public var isFenced: Bool?
}

/// A voter to be.
public struct NewVoter: Hashable, Sendable {
    /// Where its controller listens.
    public struct Endpoint: Hashable, Sendable {
        public var listener: String
        public var host: String
        public var port: UInt16

        public init(listener: String, host: String, port: UInt16) {
            self.listener = listener
            self.host = host
            self.port = port
        }
    }

    public var nodeID: Int32
    /// The id of its metadata directory, from `meta.properties`.
    public var directoryID: KafkaUUID
    public var endpoints: [Endpoint]

    public init(nodeID: Int32, directoryID: KafkaUUID, endpoints: [Endpoint]) {
        self.nodeID = nodeID
        self.directoryID = directoryID
        self.endpoints = endpoints
    }
}

extension AdminClient {
    /// All brokers that are registered, with those that do not serve (KIP-1073); only those that serve where the cluster does not know
    /// the question.
    public func listRegisteredBrokers() async throws(KafkaError) -> [RegisteredBroker] {
        var request = DescribeClusterRequest()
        request.includeFencedBrokers = true
        let described = try await cluster.retrying { [request] () throws(KafkaError) -> [RegisteredBroker]? in
            let connection = try await self.cluster.connection(to: .any)
            guard connection.versions.supports(.describeCluster), try connection.versions.version(of: .describeCluster) >= 2 else {
                return nil
            }
            let response = try await connection.send(request, timeout: self.cluster.configuration.requestTimeout)
            try response.errorCode.check(response.errorMessage, about: "DescribeCluster")
            return response.brokers.map { broker in
                RegisteredBroker(
                    node: BrokerNode(id: broker.brokerId, host: broker.host, port: Int(broker.port), rack: broker.rack),
                    isFenced: broker.isFenced)
            }
        }
        if let described { return described.sorted { $0.node.id < $1.node.id } }
        return try await describeCluster().brokers.map { RegisteredBroker(node: $0, isFenced: nil) }.sorted { $0.node.id < $1.node.id }
    }

    /// Forgets a broker that is gone for good.
    public func unregisterBroker(_ id: Int32) async throws(KafkaError) {
        var request = UnregisterBrokerRequest()
        request.brokerId = id
        try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            try response.errorCode.check(response.errorMessage, about: "broker \(id)")
        }
    }

    /// Makes a controller that follows the metadata log a voter.
    public func addVoter(_ voter: NewVoter, clusterID: String? = nil) async throws(KafkaError) {
        var request = AddRaftVoterRequest()
        request.clusterId = clusterID
        request.timeoutMs = timeoutMilliseconds
        request.voterId = voter.nodeID
        request.voterDirectoryId = voter.directoryID
        request.listeners = voter.endpoints.map { endpoint in
            var listener = AddRaftVoterRequest.Listener()
            listener.name = endpoint.listener
            listener.host = endpoint.host
            listener.port = endpoint.port
            return listener
        }
        try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            try response.errorCode.check(response.errorMessage, about: "voter \(voter.nodeID)")
        }
    }

    /// Takes a voter's vote away; the node may go on following.
    public func removeVoter(_ nodeID: Int32, directoryID: KafkaUUID, clusterID: String? = nil) async throws(KafkaError) {
        var request = RemoveRaftVoterRequest()
        request.clusterId = clusterID
        request.voterId = nodeID
        request.voterDirectoryId = directoryID
        try await cluster.retrying { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            try response.errorCode.check(response.errorMessage, about: "voter \(nodeID)")
        }
    }
}
