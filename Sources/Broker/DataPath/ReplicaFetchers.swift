// All fetching that this node does as follower: which partition is fetched from which leader, over few connections.
import Logging
import NIOCore
import Network
import Primitives
import Replication
import Synchronization

/// The fetchers of one node. Partitions with one leader share `num.replica.fetchers` connections to it.
final class ReplicaFetchers: Sendable {
    private struct Source: Hashable {
        var leader: NodeID
        var number: Int
    }

    private struct State {
        var fetchers: [Source: ReplicaFetcher] = [:]
        var sources: [TopicIDPartition: Source] = [:]
        var addresses: [NodeID: PeerAddress] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())
    private let environment: ReplicationEnvironment
    private let connections: [PeerConnections]
    private let loops: [any EventLoop]
    private let brokerEpoch: @Sendable () -> Int64
    private let logger: Logger

    init(
        environment: ReplicationEnvironment, options: PeerOptions, eventLoopGroup: any EventLoopGroup,
        brokerEpoch: @escaping @Sendable () -> Int64,
        logger: Logger
    ) {
        self.environment = environment
        var options = options
        options.maximumInFlight = 2
        options.receiveBufferBytes = environment.settings.socketReceiveBufferBytes
        // One set of connections for each fetcher of a leader: a request on its way holds up those behind it.
        connections = (0..<max(1, environment.settings.fetchers)).map { _ in
            PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        }
        loops = Array(eventLoopGroup.makeIterator())
        self.brokerEpoch = brokerEpoch
        self.logger = logger
    }

    /// Where the brokers' listeners for brokers are, by the newest metadata.
    func update(addresses: [NodeID: PeerAddress]) {
        let moved = state.withLock { state in
            defer { state.addresses = addresses }
            return state.addresses.values.filter { addresses[$0.id] != $0 }
        }
        for address in moved {
            for connections in connections { connections.disconnect(from: address) }
        }
    }

    /// Fetches the partition from the leader that it follows now, or stops fetching if there is none.
    func follow(_ partition: Partition) {
        let key = TopicIDPartition(partition.topicID, partition.topicPartition.partition)
        let leader = partition.leadership.leader
        guard leader >= 0, leader != environment.nodeID else { return stop(partition) }
        let number = Int(UInt32(truncatingIfNeeded: partition.topicID.leastSignificantBits) &+ UInt32(bitPattern: key.partition))
        let source = Source(leader: leader, number: number % connections.count)
        let (former, fetcher) = state.withLock { state -> (ReplicaFetcher?, ReplicaFetcher?) in
            guard !state.isClosed else { return (nil, nil) }
            let former = state.sources[key].flatMap { $0 == source ? nil : state.fetchers[$0] }
            state.sources[key] = source
            if let known = state.fetchers[source] { return (former, known) }
            let fetcher = makeFetcher(source)
            state.fetchers[source] = fetcher
            return (former, fetcher)
        }
        former?.stop(partition)
        fetcher?.follow(partition)
    }

    /// Stops fetching the partition.
    func stop(_ partition: Partition) {
        let key = TopicIDPartition(partition.topicID, partition.topicPartition.partition)
        let fetcher = state.withLock { state in
            state.sources.removeValue(forKey: key).flatMap { state.fetchers[$0] }
        }
        fetcher?.stop(partition)
    }

    /// Ends all fetching.
    func close() {
        let fetchers = state.withLock { state in
            state.isClosed = true
            defer {
                state.fetchers = [:]
                state.sources = [:]
            }
            return Array(state.fetchers.values)
        }
        for fetcher in fetchers { fetcher.close() }
        for connections in connections { connections.close() }
    }

    private func makeFetcher(_ source: Source) -> ReplicaFetcher {
        let index = Int(source.leader.magnitude) &+ source.number
        return ReplicaFetcher(
            leader: source.leader, environment: environment, connections: connections[source.number], eventLoop: loops[index % loops.count],
            brokerEpoch: brokerEpoch, address: { [weak self] id in self?.state.withLock { $0.addresses[id] } }, logger: logger)
    }
}
