// The combined node's own way through the controller: it registers, takes up work, and leaves, with the records that Kafka writes
// for a broker that does the same over the network.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

/// What a node tells the controller about itself.
public struct LocalNode: Sendable {
    public var id: NodeID
    public var clusterID: String
    /// New for every start of the process.
    public var incarnationID: KafkaUUID
    /// As advertised.
    public var brokerEndpoints: [NodeEndpoint]
    public var controllerEndpoints: [NodeEndpoint]
    /// `broker.rack`.
    public var rack: String?
    /// Ids of the log directories that are online.
    public var logDirectories: [KafkaUUID]
    /// The epoch in `.kafka_cleanshutdown`; -1 when there was none.
    public var previousBrokerEpoch: Int64

    public init(
        id: NodeID, clusterID: String, incarnationID: KafkaUUID = .random(), brokerEndpoints: [NodeEndpoint],
        controllerEndpoints: [NodeEndpoint], rack: String? = nil, logDirectories: [KafkaUUID], previousBrokerEpoch: Int64 = -1
    ) {
        self.id = id
        self.clusterID = clusterID
        self.incarnationID = incarnationID
        self.brokerEndpoints = brokerEndpoints
        self.controllerEndpoints = controllerEndpoints
        self.rack = rack
        self.logDirectories = logDirectories
        self.previousBrokerEpoch = previousBrokerEpoch
    }

    /// The request that registers the controller.
    public var controllerRegistration: ControllerRegistrationRequest {
        var request = ControllerRegistrationRequest()
        request.controllerId = id
        request.incarnationId = incarnationID
        request.listeners = controllerEndpoints.map { endpoint in
            var listener = ControllerRegistrationRequest.Listener()
            listener.name = endpoint.name
            listener.host = endpoint.host
            listener.port = endpoint.port
            listener.securityProtocol = endpoint.securityProtocol
            return listener
        }
        request.features = Feature.supportedByThisSoftware.map { supported in
            var feature = ControllerRegistrationRequest.Feature()
            feature.name = supported.name
            feature.minSupportedVersion = supported.minimum
            feature.maxSupportedVersion = supported.maximum
            return feature
        }
        return request
    }

    /// The request that registers the broker.
    public var brokerRegistration: BrokerRegistrationRequest {
        var request = BrokerRegistrationRequest()
        request.brokerId = id
        request.clusterId = clusterID
        request.incarnationId = incarnationID
        request.listeners = brokerEndpoints.map { endpoint in
            var listener = BrokerRegistrationRequest.Listener()
            listener.name = endpoint.name
            listener.host = endpoint.host
            listener.port = endpoint.port
            listener.securityProtocol = endpoint.securityProtocol
            return listener
        }
        request.features = Feature.supportedByThisSoftware.map { supported in
            var feature = BrokerRegistrationRequest.Feature()
            feature.name = supported.name
            feature.minSupportedVersion = supported.minimum
            feature.maxSupportedVersion = supported.maximum
            return feature
        }
        request.rack = rack
        request.logDirs = logDirectories
        request.previousBrokerEpoch = previousBrokerEpoch
        return request
    }
}

extension MetadataRuntime {
    /// Registers the broker, fenced; blocks until committed. Partitions that an earlier run left led by it lose their leader.
    ///
    /// - Returns: the broker's epoch, for the calls below and for `.kafka_cleanshutdown`.
    public func registerBroker(_ node: LocalNode) throws(RequestFailure) -> Int64 {
        let request = node.brokerRegistration
        return try submitAndWait(at: { (controller, nextOffset) throws(RequestFailure) in
            try controller.registerBroker(request, nextOffset: nextOffset)
        }).brokerEpoch
    }

    /// The broker has its logs open and its listeners bound: it becomes leader of what waits for it. Blocks until committed and
    /// until subscribers have taken it over.
    public func unfenceBroker(_ id: NodeID, epoch: Int64) throws(RequestFailure) {
        try submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.unfenceBroker(id, epoch: epoch) })
        // With one replica there is no follower to mislead: the only log there is is the right one.
        try submitAndWait(at: { (controller, _) throws(RequestFailure) in controller.completeLeaderRecovery(of: id) })
    }

    /// The broker wants to stop: it gives up its leaderships and is fenced. Blocks until committed.
    public func stopBroker(_ id: NodeID, epoch: Int64) throws(RequestFailure) {
        try submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.beginControlledShutdown(id, epoch: epoch) })
        try submitAndWait(at: { (controller, _) throws(RequestFailure) in try controller.fenceBroker(id, epoch: epoch) })
    }
}
