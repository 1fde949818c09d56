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
        var eventLoop: (any EventLoop)?
        /// Without a leader at the moment, or failed.
        var later: [Entry] = []
        var isRetryScheduled = false
        var isClosed = false
    }

    /// Markers in one request.
    private static let maximumEntriesPerRequest = 500
    private static let retryMilliseconds: Int64 = 100

    private let state = Mutex(State())
    private let queues: BrokerQueues<MarkerSender>
    private let nodeID: NodeID
    private let logger: Logger

    init(nodeID: NodeID, timeoutMilliseconds: Int64, logger: Logger) {
        self.nodeID = nodeID
        self.logger = logger
        // The leader itself waits for its replicas as long as a request may take.
        queues = BrokerQueues(nodeID: nodeID, timeoutMilliseconds: timeoutMilliseconds + 5_000)
    }

    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        queues.start(self, name: "txn-marker-sender", services, on: eventLoopGroup)
        state.withLock { $0.eventLoop = eventLoopGroup.next() }
        retry()
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.later = []
        }
        _ = queues.close()
    }

    /// Markers whose partition has no leader that can be reached at the moment, for metrics.
    var unknownDestinationCount: Int { state.withLock { $0.later.reduce(0) { $0 + $1.partitions.count } } }

    /// Clients may not use these brokers any longer: the markers for them are looked up again.
    func brokersLeft(_ brokers: [NodeID]) { queues.brokersLeft(brokers) }

    /// Takes markers to be written. Returns at once.
    func submit(_ task: TransactionMarkerTask) { route([Entry(task: task, partitions: task.markers.partitions)]) }

    // MARK: Routing

    /// Puts each partition into the queue of its leader.
    private func route(_ entries: [Entry]) {
        guard let services = queues.services else { return postpone(entries) }
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
                _ = queues.add(part, for: leader)
                queued.append(leader)
            }
            if !gone.isEmpty { services.transactions.runtime.markersWritten(entry.task, partitions: gone) }
        }
        if !later.isEmpty { postpone(later) }
        for leader in queued { queues.flush(leader) }
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
}

// MARK: - Sending

extension MarkerSender: BrokerQueueOwner {
    func take(from waiting: inout Deque<Entry>) -> [Entry] {
        let entries = Array(waiting.prefix(Self.maximumEntriesPerRequest))
        waiting.removeFirst(entries.count)
        return entries
    }

    func unreachable(_ entries: [Entry]) { postpone(entries) }

    func perform(
        _ request: WriteTxnMarkersRequest, _ services: BrokerServices, answer: @escaping @Sendable (WriteTxnMarkersResponse) -> Void
    ) {
        guard let loop = state.withLock({ $0.eventLoop }) else { return answer(WriteTxnMarkersResponse()) }
        MarkerWriting.write(request, services: services, on: loop, completion: answer)
    }

    func finished(_ result: Result<WriteTxnMarkersResponse, PeerFailure>, _ entries: [Entry], _ broker: NodeID) {
        switch result {
        case .success(let response): received(response, entries, from: broker)
        case .failure(let failure):
            logger.info(
                "transaction markers did not arrive and are sent again",
                metadata: ["broker": "\(broker)", "transactions": "\(entries.count)", "reason": "\(failure)"])
            postpone(entries)
        }
    }

    func request(_ entries: [Entry]) -> WriteTxnMarkersRequest {
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
        if !done.isEmpty { queues.services?.transactions.runtime.markersWritten(entry.task, partitions: done) }
        return again.partitions.isEmpty ? nil : again
    }
}
