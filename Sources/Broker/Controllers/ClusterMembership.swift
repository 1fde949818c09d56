// What makes a node part of a cluster whatever its roles are: the metadata it follows, its controller if it has one, and the way to the
// active controller. Beneath the broker: it starts first and stops last.
import ClusterMetadata
import Configuration
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import NIOPosix
import Network
import Observability
import Primitives
import Runtime
import Synchronization

/// A node's membership in its cluster.
final class ClusterMembership: Sendable {
    let metadata: MetadataRuntime
    /// Nil on a node that is only a broker.
    let controller: ControllerServices?
    let channel: ControllerChannel
    let connections: PeerConnections
    private let liveness: BrokerLiveness?
    private let configuration: BrokerConfiguration
    private let logger: Logger

    /// - Parameter loops: for the controller's listeners, its connections and timers.
    init(
        configuration: BrokerConfiguration, clusterID: String, metadata: MetadataRuntime, loops: any EventLoopGroup, log: StructuredLog
    ) {
        self.configuration = configuration
        self.metadata = metadata
        logger = log.logger("cluster")
        let eventLoop = loops.next()
        if configuration.processRoles.contains(.controller) {
            let liveness = BrokerLiveness(metadataRuntime: metadata, eventLoop: eventLoop, logger: log.logger("controller"))
            self.liveness = liveness
            controller = ControllerServices(
                configuration: configuration, clusterID: clusterID, metadataRuntime: metadata, liveness: liveness,
                logger: log.logger("controller"))
        } else {
            liveness = nil
            controller = nil
        }
        let clientID = "broker-\(configuration.nodeID)"
        connections = PeerConnections(options: PeerOptions(clientID: clientID), eventLoopGroup: loops)
        channel = ControllerChannel(
            local: controller, connections: connections, eventLoop: eventLoop, clientID: clientID, logger: log.logger("cluster"))
    }

    /// The quorum has another leader, or none, or this node has become or ceased to be the active controller.
    func leadershipChanged(to location: ControllerLocation) {
        if location == .here { liveness?.begin() } else { liveness?.end() }
        channel.controllerMoved(to: location)
    }

    func close() {
        liveness?.end()
        channel.close()
        connections.close()
    }
}
