// The node's replication as a whole: the environment of its partitions, its fetchers and its proposals to the controller. Exists from the
// start, so that partitions can be opened; works from the moment that it is told how to reach other nodes.
import ClusterMetadata
import Configuration
import KafkaMessages
import Logging
import NIOCore
import Network
import Observability
import Primitives
import Replication
import Synchronization

/// Replication of one node.
final class ReplicationServices: Sendable {
    private struct State {
        var fetchers: ReplicaFetchers?
        var proposals: AlterPartitionSender?
        var addresses: [NodeID: PeerAddress] = [:]
        /// Partitions that were to be fetched before there were fetchers.
        var early: [Partition] = []
        var isClosed = false
        /// Of all high watermarks together, at their last checkpoint.
        var checkpointed: Offset = -1
    }

    let environment: ReplicationEnvironment
    /// Of moves between the directories of this broker.
    let moveThrottle: ReplicationThrottle
    private let interBrokerListener: String
    private let fetcherOptions: PeerOptions
    private let logger: Logger
    private let state = Mutex(State())

    /// - Parameter security: what followers show of themselves to leaders.
    init(configuration: BrokerConfiguration, security: NodeSecurity, metrics: KafkaMetrics, logger: Logger) {
        let layers = configuration.layers
        environment = ReplicationEnvironment(
            nodeID: configuration.nodeID, settings: ReplicationSettings { key in layers.fixed[key] }, metrics: metrics)
        func number(_ key: String) -> Int64 { layers.value(key)?.integer ?? 1 }
        moveThrottle = ReplicationThrottle(
            samples: Int(number("alter.log.dirs.replication.quota.window.num")),
            milliseconds: number("alter.log.dirs.replication.quota.window.size.seconds") * 1000)
        interBrokerListener = configuration.interBrokerListenerName
        fetcherOptions = security.peerOptions(
            clientID: "broker-\(configuration.nodeID)-fetcher", listener: configuration.interBrokerListenerName)
        self.logger = logger
    }

    /// Begins to fetch, and to ask the controller for changes of in-sync replicas.
    ///
    /// - Parameters:
    ///   - eventLoopGroup: where fetched records are appended.
    ///   - brokerEpoch: of the registration in force, -1 before there is one.
    ///   - channel: sends AlterPartition (version 3) to the active controller.
    func start(
        eventLoopGroup: any EventLoopGroup, brokerEpoch: @escaping @Sendable () -> Int64, channel: @escaping AlterPartitionSender.Channel
    ) {
        let fetchers = ReplicaFetchers(
            environment: environment, options: fetcherOptions, eventLoopGroup: eventLoopGroup, brokerEpoch: brokerEpoch, logger: logger)
        let proposals = AlterPartitionSender(
            nodeID: environment.nodeID, brokerEpoch: brokerEpoch, eventLoop: eventLoopGroup.next(), metrics: environment.metrics,
            logger: logger, channel: channel)
        environment.onProposal { partition, proposal in proposals.submit(proposal, of: partition) }
        let early = state.withLock { state -> [Partition] in
            state.fetchers = fetchers
            state.proposals = proposals
            fetchers.update(addresses: state.addresses)
            defer { state.early = [] }
            return state.early
        }
        for partition in early { fetchers.follow(partition) }
    }

    /// Ends fetching and proposing; before logs are closed.
    func close() {
        let (fetchers, proposals) = state.withLock { state in
            state.isClosed = true
            return (state.fetchers, state.proposals)
        }
        fetchers?.close()
        proposals?.close()
    }

    /// Takes over which brokers are alive, and where they listen.
    func update(brokers image: MetadataImage) {
        var brokers = ReplicationEnvironment.Brokers()
        var addresses: [NodeID: PeerAddress] = [:]
        for broker in image.cluster.brokers.values {
            if !broker.isFenced, !broker.isInControlledShutdown { brokers.live[broker.id] = broker.epoch }
            if let rack = broker.rack { brokers.racks[broker.id] = rack }
            if let endpoint = broker.endpoint(listener: interBrokerListener) {
                addresses[broker.id] = PeerAddress(id: broker.id, host: endpoint.host, port: Int(endpoint.port))
            }
        }
        environment.update(brokers)
        let fetchers = state.withLock { state in
            state.addresses = addresses
            return state.fetchers
        }
        fetchers?.update(addresses: addresses)
    }

    /// Where a broker's listener for brokers is, by the newest metadata.
    func address(of broker: NodeID) -> PeerAddress? { state.withLock { $0.addresses[broker] } }

    /// Whether high watermarks have moved since the last call, by their sum.
    func noteHighWatermarks(_ total: Offset) -> Bool {
        state.withLock { state in
            defer { state.checkpointed = total }
            return state.checkpointed != total
        }
    }

    /// Fetches the partition from its leader.
    func fetch(_ partition: Partition) {
        let fetchers = state.withLock { state -> ReplicaFetchers? in
            if state.fetchers == nil { state.early.append(partition) }
            return state.fetchers
        }
        fetchers?.follow(partition)
    }

    func stopFetching(_ partition: Partition) {
        let fetchers = state.withLock { state -> ReplicaFetchers? in
            state.early.removeAll { $0 === partition }
            return state.fetchers
        }
        fetchers?.stop(partition)
    }
}
