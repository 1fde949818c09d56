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
    let security: NodeSecurity
    let quotas: ClientQuotas
    private let liveness: BrokerLiveness?
    private let configuration: BrokerConfiguration
    private struct State {
        var isActive = false
        var isRegistering = false
    }

    private let state = Mutex(State())
    private let logger: Logger

    /// - Parameter loops: for the controller's listeners, its connections and timers.
    init(
        configuration: BrokerConfiguration, clusterID: String, metadata: MetadataRuntime, security: NodeSecurity, loops: any EventLoopGroup,
        log: StructuredLog
    ) {
        self.security = security
        quotas = ClientQuotas(configuration.quotas)
        quotas.follow(metadata)
        self.configuration = configuration
        self.metadata = metadata
        logger = log.logger("cluster")
        let eventLoop = loops.next()
        if configuration.processRoles.contains(.controller) {
            let liveness = BrokerLiveness(metadataRuntime: metadata, eventLoop: eventLoop, logger: log.logger("controller"))
            self.liveness = liveness
            controller = ControllerServices(
                configuration: configuration, clusterID: clusterID, metadataRuntime: metadata, security: security, quotas: quotas,
                liveness: liveness,
                logger: log.logger("controller"))
        } else {
            liveness = nil
            controller = nil
        }
        let clientID = "broker-\(configuration.nodeID)"
        connections = PeerConnections(
            options: security.peerOptions(clientID: clientID, listener: configuration.controllerListenerNames.first ?? ""),
            eventLoopGroup: loops)
        channel = ControllerChannel(
            local: controller, connections: connections, eventLoop: eventLoop, clientID: clientID, logger: log.logger("cluster"))
    }

    /// Follows who leads, once the metadata runtime has started.
    ///
    /// - Parameter registration: of this node's controller, to be kept in the metadata; nil on a node that is only a broker.
    func begin(registering registration: ControllerRegistrationRequest?) {
        metadata.onLeadershipChange { [weak self] leadership in self?.follow(leadership) }
        guard let registration else { return }
        metadata.subscribe { [weak self] publication in self?.registerController(registration, publication.image) }
    }

    /// The quorum has another leader, or none, or this node has become or ceased to be the active controller.
    private func follow(_ leadership: MetadataLeadership) {
        let location: ControllerLocation
        if leadership.isActive {
            location = .here
        } else if let address = leadership.controllerAddress, address.id != configuration.nodeID {
            location = .elsewhere(address)
        } else {
            location = .unknown
        }
        let mustBegin = state.withLock { state in
            defer { state.isActive = leadership.isActive }
            return leadership.isActive && !state.isActive
        }
        if mustBegin { liveness?.begin() }
        if !leadership.isActive { liveness?.end() }
        channel.controllerMoved(to: location)
    }

    /// Registers this node's controller wherever the metadata do not show it as it is (KIP-919).
    private func registerController(_ registration: ControllerRegistrationRequest, _ image: MetadataImage) {
        let known = image.cluster.controllers[configuration.nodeID]?.incarnationID
        guard image.features.metadataVersion?.supportsControllerRegistration == true, known != registration.incarnationId else { return }
        let mustAsk = state.withLock { state in
            defer { state.isRegistering = true }
            return !state.isRegistering
        }
        guard mustAsk else { return }
        channel.send(registration, timeoutMilliseconds: 30_000, attemptTimeoutMilliseconds: 4000) { [weak self] outcome in
            guard let self else { return }
            let isDone = (try? outcome.get())?.errorCode == ErrorCode.none
            if case .failure(.closed) = outcome { return }
            if !isDone { logger.warning("this controller is not registered", metadata: ["reason": "\(outcome)"]) }
            channel.eventLoop.scheduleTask(in: .seconds(1)) { [weak self] in
                guard let self else { return }
                state.withLock { $0.isRegistering = false }
                registerController(registration, metadata.image)
            }
        }
    }

    func close() {
        liveness?.end()
        channel.close()
        connections.close()
    }
}
