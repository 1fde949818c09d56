// A whole node: opens what is on disk, follows the metadata, serves clients, and stops so that the next start finds all in order.
import ClusterMetadata
import Configuration
import GroupCoordination
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import NIOPosix
import Network
import Observability
import Primitives
import Runtime
import Storage
import Synchronization

/// Why a node does not start, for people: what is wrong, and what to do about it.
public struct BrokerStartFailure: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// One node: broker, controller, or both in one process.
public final class BrokerServer: Sendable {
    /// Where a started node listens.
    public struct Endpoints: Sendable {
        public var listeners: [(name: String, port: Int)]
        /// Nil when health and metrics are not served.
        public var adminPort: Int?
        public var clusterID: String
        /// From `start` until clients were served.
        public var startMilliseconds: Int64
    }

    struct Parts {
        var admins: [AdminServer] = []
        var metadata: MetadataRuntime?
        var cluster: ClusterMembership?
        var controllerNetwork: NetworkServer?
        var lifecycle: BrokerLifecycle?
        var services: BrokerServices?
        var loops: MultiThreadedEventLoopGroup?
        var network: NetworkServer?
        var maintenance: Maintenance?
        var directories: LogDirectories?
        /// `metadata.log.dir` where it is none of `log.dirs`.
        var metadataDirectories: LogDirectories?
    }

    let configuration: BrokerConfiguration
    let log: StructuredLog
    let logger: Logger
    let health = NodeHealth()
    let metrics: KafkaMetrics
    /// Timers and the admin endpoint: nothing there may delay a client.
    let housekeeping = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let backgroundWork = BackgroundWork(threads: 2)
    /// What nodes say to each other about the cluster: the controller's listeners, the way to the controller, heartbeats.
    let clusterLoops = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let parts = Mutex(Parts())
    private let fatalHandler = Mutex<(@Sendable (String) -> Void)?>(nil)

    public init(configuration: BrokerConfiguration, log: StructuredLog, version: String) {
        self.configuration = configuration
        self.log = log
        logger = log.logger("broker")
        metrics = KafkaMetrics(
            requestKinds: Self.servedApis(configuration.processRoles).map {
                RequestKind(apiKey: $0.rawValue, name: $0.name, highestVersion: $0.validVersions.upperBound)
            }, version: version)
    }

    /// Sets who ends the process when the node cannot go on; the reason is in the log already.
    public func onFatalFailure(_ handler: @escaping @Sendable (String) -> Void) { fatalHandler.withLock { $0 = handler } }

    /// The node cannot go on.
    func failFatally(_ reason: String) {
        logger.critical("this node cannot go on: \(reason)")
        fatalHandler.withLock { $0 }?(reason)
    }

    func update(_ change: (inout Parts) -> Void) { parts.withLock { change(&$0) } }

    var services: BrokerServices? { parts.withLock { $0.services } }
    var lifecycle: BrokerLifecycle? { parts.withLock { $0.lifecycle } }

    func takeParts() -> Parts {
        parts.withLock { parts in
            defer { parts = Parts() }
            return parts
        }
    }

    private static func servedApis(_ roles: ProcessRoles) -> [ApiKey] {
        let broker = roles.contains(.broker) ? BrokerServices.servedApis : []
        let controller = roles.contains(.controller) ? ControllerServices.servedApis : []
        return broker + controller.filter { !broker.contains($0) }
    }

    var housekeepingLoop: any EventLoop { housekeeping.any() }

    static func endpoints(_ listeners: [Listener]) -> [ListenerEndpoint] {
        listeners.map { ListenerEndpoint(name: $0.name, host: $0.host, port: $0.port) }
    }

    func networkLimits(_ network: NetworkSettings) -> NetworkLimits {
        var limits = NetworkLimits()
        limits.maximumRequestBytes = network.socketRequestMaxBytes
        limits.maximumQueuedRequestBytes = Int(network.queuedMaxRequestBytes)
        limits.maximumIdleMilliseconds = network.connectionsMaxIdleMilliseconds
        limits.connections = connectionLimits(network)
        limits.sendBufferBytes = network.socketSendBufferBytes
        limits.receiveBufferBytes = network.socketReceiveBufferBytes
        limits.listenBacklog = network.socketListenBacklogSize
        return limits
    }

    func connectionLimits(_ network: NetworkSettings) -> ConnectionLimits {
        var limits = ConnectionLimits()
        limits.maximumConnections = network.maxConnections
        limits.maximumConnectionsPerListener = network.maxConnectionsPerListener
        limits.maximumConnectionsPerAddress = network.maxConnectionsPerAddress
        limits.connectionsPerAddressOverrides = network.maxConnectionsPerAddressOverrides
        // 2^31 - 1 is Kafka's way to say that there is no bound.
        limits.connectionsPerSecond = network.maxConnectionCreationRate == Int(Int32.max) ? .max : network.maxConnectionCreationRate
        limits.connectionsPerSecondPerListener = network.maxConnectionCreationRatePerListener
        limits.rateSamples = configuration.quotas.windows
        limits.rateSampleMilliseconds = configuration.quotas.windowMilliseconds
        limits.protectedListener = configuration.interBrokerListenerName
        return limits
    }

    func observe(_ services: BrokerServices, _ network: NetworkServer) {
        metrics.observeState { [weak services] in services?.metricsState() ?? KafkaState() }
        metrics.observeConnections { [weak network] in
            network?.connectionCounts.map { .init(listener: $0.listener, networkProcessor: $0.eventLoop, count: $0.count) } ?? []
        }
        metrics.observeIdle { [weak network] in network?.averageIdleFraction() ?? 1 }
    }
}

extension BrokerServer {
    /// Keys, certificates and files of passwords are read again when they change.
    private static let securityRefresh = TimeAmount.seconds(5)

    func refreshRegularly(_ security: NodeSecurity) {
        security.start(on: housekeepingLoop, backgroundWork)
        housekeepingLoop.scheduleRepeatedTask(initialDelay: Self.securityRefresh, delay: Self.securityRefresh) {
            [weak security, backgroundWork] task in
            guard let security else { return task.cancel() }
            backgroundWork.run { security.refresh() }
        }
    }
}
