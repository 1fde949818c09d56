// Has the leaders of a transaction's partitions write its markers: one request on its way to each broker, everything else waits for its
// answer and goes together. What fails is looked up again, for leaders move; it ends when every partition has its marker or is deleted,
// or when this broker does not coordinate the transaction any more.
import Collections
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives
import Runtime
import Synchronization
import TransactionCoordination

/// The markers that this broker, as coordinator, has to have written. There is at most one task for each transactional id, and a
/// partition of it is in one place: a queue, a request, or among those to be looked up again.
final class MarkerSender: Sendable {
    struct Entry: Sendable {
        var task: TransactionMarkerTask
        var partitions: OrderedSet<TopicPartition>
    }

    private struct State {
        weak var services: BrokerServices?
        var connections: PeerConnections?
        var eventLoop: (any EventLoop)?
        var queues: OrderedDictionary<NodeID, Deque<Entry>> = [:]
        /// Brokers that have a request to answer, and where they were asked; nil for this one.
        var inFlight: [NodeID: PeerAddress?] = [:]
        /// Without a leader at the moment, or failed.
        var later: [Entry] = []
        var isRetryScheduled = false
        var isClosed = false
    }

    /// Markers in one request.
    private static let maximumEntriesPerRequest = 500
    private static let retryMilliseconds: Int64 = 100

    private let state = Mutex(State())
    private let nodeID: NodeID
    private let timeoutMilliseconds: Int64
    private let logger: Logger

    init(nodeID: NodeID, timeoutMilliseconds: Int64, logger: Logger) {
        self.nodeID = nodeID
        self.timeoutMilliseconds = timeoutMilliseconds
        self.logger = logger
    }

    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        var options = services.security.peerOptions(
            clientID: "broker-\(nodeID)-txn-marker-sender", listener: services.configuration.interBrokerListenerName)
        options.maximumInFlight = 1
        let connections = PeerConnections(options: options, eventLoopGroup: eventLoopGroup)
        state.withLock { state in
            state.services = services
            state.connections = connections
            state.eventLoop = eventLoopGroup.next()
        }
        retry()
    }

    func close() {
        let connections = state.withLock { state in
            state.isClosed = true
            state.queues = [:]
            state.later = []
            return state.connections
        }
        connections?.close()
    }

    /// Markers that wait or are being written, for metrics.
    var pendingCount: Int {
        state.withLock { state in state.later.count + state.inFlight.count + state.queues.values.reduce(0) { $0 + $1.count } }
    }

    /// Takes markers to be written. Returns at once.
    func submit(_ task: TransactionMarkerTask) { route([Entry(task: task, partitions: task.markers.partitions)]) }

    /// Clients may not use these brokers any longer: others lead what they led. What waits for one of them, perhaps a process that hangs
    /// and keeps its connections, is looked up again at once. To be called when the metadata that says so is in force.
    func brokersLeft(_ brokers: [NodeID]) {
        for broker in brokers where broker != nodeID {
            let (waiting, connections, asked) = state.withLock { state in
                (state.queues.removeValue(forKey: broker), state.connections, state.inFlight[broker] ?? nil)
            }
            if let waiting { postpone(Array(waiting)) }
            // The request fails, and is made again with what it was for.
            if let asked { connections?.disconnect(from: asked) }
        }
    }

    // MARK: Routing

    /// Puts each partition into the queue of its leader.
    private func route(_ entries: [Entry]) {
        guard let services = state.withLock({ $0.services }) else { return postpone(entries) }
        let image = services.image
        var queued: OrderedSet<NodeID> = []
        var later: [Entry] = []
        for entry in entries {
            guard services.transactions.runtime.isCurrent(entry.task) else { continue }
            var byLeader: OrderedDictionary<NodeID, OrderedSet<TopicPartition>> = [:]
            var gone: [TopicPartition] = []
            for partition in entry.partitions {
                // Coordinators know every partition that was ever added, so one that they do not know has been deleted.
                guard let leader = image.topics.partition(partition)?.leader else {
                    gone.append(partition)
                    continue
                }
                byLeader[leader, default: []].append(partition)
            }
            for (leader, partitions) in byLeader {
                let part = Entry(task: entry.task, partitions: partitions)
                guard leader == nodeID || services.replication.address(of: leader) != nil else {
                    later.append(part)
                    continue
                }
                state.withLock { $0.queues[leader, default: []].append(part) }
                queued.append(leader)
            }
            if !gone.isEmpty { services.transactions.runtime.markersWritten(entry.task, partitions: gone) }
        }
        if !later.isEmpty { postpone(later) }
        for leader in queued { flush(leader) }
    }

    private func postpone(_ entries: [Entry]) {
        let loop = state.withLock { state -> (any EventLoop)? in
            guard !state.isClosed else { return nil }
            state.later += entries
            guard !state.isRetryScheduled, let loop = state.eventLoop else { return nil }
            state.isRetryScheduled = true
            return loop
        }
        _ = loop?.scheduleTask(in: .milliseconds(Self.retryMilliseconds)) { [weak self] in self?.retry() }
    }

    private func retry() {
        let entries = state.withLock { state in
            state.isRetryScheduled = false
            defer { state.later = [] }
            return state.later
        }
        if !entries.isEmpty { route(entries) }
    }

    // MARK: Sending

    private func flush(_ leader: NodeID) {
        let batch = state.withLock {
            state -> (entries: [Entry], services: BrokerServices, connections: PeerConnections, loop: any EventLoop)? in
            guard !state.isClosed, state.inFlight[leader] == nil, let services = state.services, let connections = state.connections,
                let loop = state.eventLoop, var queue = state.queues[leader], !queue.isEmpty
            else { return nil }
            let entries = Array(queue.prefix(Self.maximumEntriesPerRequest))
            queue.removeFirst(entries.count)
            state.queues[leader] = queue.isEmpty ? nil : queue
            state.inFlight[leader] = .some(nil)
            return (entries, services, connections, loop)
        }
        guard let batch else { return }
        let entries = batch.entries.filter { batch.services.transactions.runtime.isCurrent($0.task) }
        guard !entries.isEmpty else { return finished(leader) }
        let request = Self.request(entries)
        if leader == nodeID {
            return MarkerWriting.write(request, services: batch.services, on: batch.loop) { [self] response in
                received(response, entries, from: leader)
            }
        }
        // Under one lock, so that either this sees that the broker has left, or `brokersLeft(_:)` sees the request.
        let isSent = state.withLock { state in
            guard !batch.services.hasLeft(leader), let address = batch.services.replication.address(of: leader) else { return false }
            state.inFlight[leader] = address
            // The leader itself waits for its replicas as long as a request may take.
            batch.connections.send(request, to: address, timeoutMilliseconds: timeoutMilliseconds + 5_000) { [self] result in
                switch result {
                case .success(let response): received(response, entries, from: leader)
                case .failure(let failure):
                    logger.info(
                        "transaction markers did not arrive and are sent again",
                        metadata: ["broker": "\(leader)", "transactions": "\(entries.count)", "reason": "\(failure)"])
                    postpone(entries)
                    finished(leader)
                }
            }
            return true
        }
        if !isSent {
            postpone(entries)
            finished(leader)
        }
    }

    private func finished(_ leader: NodeID) {
        state.withLock { _ = $0.inFlight.removeValue(forKey: leader) }
        flush(leader)
    }

    private static func request(_ entries: [Entry]) -> WriteTxnMarkersRequest {
        var request = WriteTxnMarkersRequest()
        request.markers = entries.map { entry in
            let markers = entry.task.markers
            var marker = WriteTxnMarkersRequest.WritableTxnMarker()
            marker.producerId = markers.producer.id
            marker.producerEpoch = markers.producer.epoch
            marker.transactionResult = markers.outcome == .commit
            marker.coordinatorEpoch = markers.coordinatorEpoch
            marker.transactionVersion = Int8(clamping: markers.version)
            marker.topics = entry.partitions.byTopic.map { name, partitions in
                var topic = WriteTxnMarkersRequest.WritableTxnMarkerTopic()
                topic.name = name
                topic.partitionIndexes = partitions
                return topic
            }
            return marker
        }
        return request
    }

    // MARK: Answers

    private func received(_ response: WriteTxnMarkersResponse, _ entries: [Entry], from leader: NodeID) {
        var errors: [ProducerID: [TopicPartition: ErrorCode]] = [:]
        for marker in response.markers {
            for topic in marker.topics {
                for partition in topic.partitions {
                    errors[marker.producerId, default: [:]][TopicPartition(topic.name, partition.partitionIndex)] = partition.errorCode
                }
            }
        }
        var again: [Entry] = []
        for entry in entries {
            if let retry = settle(entry, errors[entry.task.markers.producer.id] ?? [:], leader) { again.append(retry) }
        }
        if !again.isEmpty { postpone(again) }
        finished(leader)
    }

    /// Notes what is done; returns what has to be tried again.
    private func settle(_ entry: Entry, _ errors: [TopicPartition: ErrorCode], _ leader: NodeID) -> Entry? {
        var done: [TopicPartition] = []
        var again = Entry(task: entry.task, partitions: [])
        for partition in entry.partitions {
            let error = errors[partition] ?? .unknownServerError
            switch error {
            case .none, .unsupportedForMessageFormat, .unsupportedVersion: done.append(partition)
            case .invalidProducerEpoch, .transactionCoordinatorFenced:
                // Somebody else has the transaction now: a newer coordinator will end it.
                logger.warning(
                    "a transaction marker was refused for good; this coordinator leaves the transaction alone",
                    metadata: [
                        "transactionalId": "\(entry.task.markers.transactionalID)", "partition": "\(partition)", "reason": "\(error)",
                    ])
                return nil
            default:
                logger.info(
                    "a transaction marker was not written and is tried again",
                    metadata: [
                        "transactionalId": "\(entry.task.markers.transactionalID)", "partition": "\(partition)", "broker": "\(leader)",
                        "reason": "\(error)",
                    ])
                again.partitions.append(partition)
            }
        }
        if !done.isEmpty { state.withLock({ $0.services })?.transactions.runtime.markersWritten(entry.task, partitions: done) }
        return again.partitions.isEmpty ? nil : again
    }
}
