// What has to be told to other brokers, one request on its way to each: whatever comes meanwhile goes together in the next. A broker that is
// fenced, perhaps a process that hangs and keeps its connections, holds nothing up: what waits for it comes back at once.
import Collections
import KafkaWire
import NIOCore
import Network
import Primitives
import Runtime
import Synchronization

/// Says how items become requests, and what becomes of them.
protocol BrokerQueueOwner: AnyObject, Sendable {
    associatedtype Item: Sendable
    associatedtype Request: KafkaRequest & Sendable where Request.Response: Sendable

    /// Takes the next batch off a queue that is not empty. Called under the queues' lock.
    func take(from waiting: inout Deque<Item>) -> [Item]
    func request(_ items: [Item]) -> Request
    /// Does the work of a request to this very broker.
    func perform(_ request: Request, _ services: BrokerServices, answer: @escaping @Sendable (Request.Response) -> Void)
    func finished(_ result: Result<Request.Response, PeerFailure>, _ items: [Item], _ broker: NodeID)
    /// The broker has left, or nobody knows its address.
    func unreachable(_ items: [Item])
}

/// Queues of items, one for each broker, that are sent in batches. Thread-safe.
final class BrokerQueues<Owner: BrokerQueueOwner>: Sendable {
    typealias Item = Owner.Item

    private struct State {
        weak var owner: Owner?
        weak var services: BrokerServices?
        var connections: PeerConnections?
        var waiting: OrderedDictionary<NodeID, Deque<Item>> = [:]
        /// Brokers that have a request to answer, and where they were asked; nil for this one.
        var inFlight: [NodeID: PeerAddress?] = [:]
        var isClosed = false
    }

    private let state = Mutex(State())
    private let nodeID: NodeID
    /// Versions of the request that will do; nil for all.
    private let versions: ClosedRange<Int16>?
    private let timeoutMilliseconds: Int64

    init(nodeID: NodeID, versions: ClosedRange<Int16>? = nil, timeoutMilliseconds: Int64) {
        self.nodeID = nodeID
        self.versions = versions
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// - Parameter name: what the connections are for, part of their client id.
    func start(_ owner: Owner, name: String, _ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        var options = services.security.peerOptions(
            clientID: "broker-\(nodeID)-\(name)", listener: services.configuration.interBrokerListenerName)
        options.maximumInFlight = 1
        let connections = PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        state.withLock { state in
            state.owner = owner
            state.services = services
            state.connections = connections
        }
    }

    /// - Returns: what had not been sent.
    func close() -> [Item] {
        let (connections, waiting) = state.withLock { state in
            state.isClosed = true
            defer { state.waiting = [:] }
            return (state.connections, state.waiting.values.flatMap { Array($0) })
        }
        connections?.close()
        return waiting
    }

    /// Nil before the start and after the end.
    var services: BrokerServices? { state.withLock { $0.isClosed ? nil : $0.services } }

    /// Appends an item to the broker's queue.
    ///
    /// - Parameter limit: of items that wait for one broker.
    /// - Returns: false when there are that many.
    func add(_ item: Item, for broker: NodeID, limit: Int = .max) -> Bool {
        state.withLock { state in
            guard state.waiting[broker, default: []].count < limit else { return false }
            state.waiting[broker, default: []].append(item)
            return true
        }
    }

    private struct Batch {
        var items: [Item]
        var owner: Owner
        var services: BrokerServices
        var connections: PeerConnections
    }

    /// Sends what waits for the broker, unless a request is on its way there.
    func flush(_ broker: NodeID) {
        let batch = state.withLock { state -> Batch? in
            guard !state.isClosed, state.inFlight[broker] == nil, let owner = state.owner, let services = state.services,
                let connections = state.connections, var waiting = state.waiting[broker], !waiting.isEmpty
            else { return nil }
            let items = owner.take(from: &waiting)
            state.waiting[broker] = waiting.isEmpty ? nil : waiting
            state.inFlight[broker] = .some(nil)
            return Batch(items: items, owner: owner, services: services, connections: connections)
        }
        guard let batch else { return }
        guard !batch.items.isEmpty else { return next(broker) }
        let request = batch.owner.request(batch.items)
        if broker == nodeID {
            return batch.owner.perform(request, batch.services) { [self] response in finish(.success(response), batch, broker) }
        }
        // Under one lock, so that either this sees that the broker has left, or `brokersLeft(_:)` sees the request.
        let isSent = state.withLock { state in
            guard !batch.services.hasLeft(broker), let address = batch.services.replication.address(of: broker) else { return false }
            state.inFlight[broker] = address
            batch.connections.send(request, to: address, versions: versions, timeoutMilliseconds: timeoutMilliseconds) { [self] result in
                finish(result, batch, broker)
            }
            return true
        }
        if !isSent {
            batch.owner.unreachable(batch.items)
            next(broker)
        }
    }

    private func finish(_ result: Result<Owner.Request.Response, PeerFailure>, _ batch: Batch, _ broker: NodeID) {
        batch.owner.finished(result, batch.items, broker)
        next(broker)
    }

    private func next(_ broker: NodeID) {
        state.withLock { _ = $0.inFlight.removeValue(forKey: broker) }
        flush(broker)
    }

    /// Clients may not use these brokers any longer: others lead what they led. To be called when the metadata that says so is in force.
    func brokersLeft(_ brokers: [NodeID]) {
        for broker in brokers where broker != nodeID {
            let (waiting, owner, connections, asked) = state.withLock { state in
                (state.waiting.removeValue(forKey: broker), state.owner, state.connections, state.inFlight[broker] ?? nil)
            }
            if let waiting { owner?.unreachable(Array(waiting)) }
            // The request fails, and its owner decides anew.
            if let asked { connections?.disconnect(from: asked) }
        }
    }
}
