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

/// One node: broker and controller in one process.
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

    private struct Parts {
        var admin: AdminServer?
        var metadata: MetadataRuntime?
        var services: BrokerServices?
        var network: NetworkServer?
        var maintenance: Maintenance?
        var directories: LogDirectories?
        var registration: NodeRegistration?
    }

    private let configuration: BrokerConfiguration
    private let log: StructuredLog
    private let logger: Logger
    private let health = NodeHealth()
    private let metrics: KafkaMetrics
    private let loops: MultiThreadedEventLoopGroup
    /// Timers and the admin endpoint: nothing there may delay a client.
    private let housekeeping = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    private let backgroundWork = BackgroundWork(threads: 2)
    private let parts = Mutex(Parts())

    public init(configuration: BrokerConfiguration, log: StructuredLog, version: String) {
        self.configuration = configuration
        self.log = log
        logger = log.logger("broker")
        loops = MultiThreadedEventLoopGroup(numberOfThreads: max(1, configuration.network.networkThreads))
        metrics = KafkaMetrics(
            requestKinds: BrokerServices.servedApis.map {
                RequestKind(apiKey: $0.rawValue, name: $0.name, highestVersion: $0.validVersions.upperBound)
            }, version: version)
    }
}
