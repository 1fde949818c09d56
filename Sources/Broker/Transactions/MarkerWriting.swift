// Writes transaction markers into the partitions that this node leads, for a coordinator here or elsewhere, and waits until they are on
// the replicas in sync. Lives on one event loop.
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Runtime
import Storage

/// The markers of one WriteTxnMarkers request being written.
final class MarkerWriting {
    /// One partition's share of a marker.
    private struct Share {
        var marker: Int
        var partition: TopicPartition
        /// Nil until it is known.
        var error: ErrorCode?
    }

    private let services: BrokerServices
    private let request: WriteTxnMarkersRequest
    private let eventLoop: any EventLoop
    private let complete: (WriteTxnMarkersResponse) -> Void
    private var shares: [Share] = []
    private var waits: [ProduceWait] = []
    private var operation: ProduceOperation?
    private var deadline: Scheduled<Void>?
    private var isComplete = false

    /// - Parameter complete: called once on the loop.
    init(
        _ request: WriteTxnMarkersRequest, services: BrokerServices, eventLoop: any EventLoop,
        complete: @escaping (WriteTxnMarkersResponse) -> Void
    ) {
        self.request = request
        self.services = services
        self.eventLoop = eventLoop
        self.complete = complete
    }

    /// Writes on a loop, from anywhere.
    static func write(
        _ request: WriteTxnMarkersRequest, services: BrokerServices, on eventLoop: any EventLoop,
        completion: @escaping @Sendable (WriteTxnMarkersResponse) -> Void
    ) {
        eventLoop.execute {
            MarkerWriting(request, services: services, eventLoop: eventLoop) { completion($0) }.start()
        }
    }

    func start() {
        let timeout = services.configuration.cluster.requestTimeoutMilliseconds
        let now = SystemClock.now()
        for (index, marker) in request.markers.enumerated() {
            for topic in marker.topics {
                for partition in topic.partitionIndexes {
                    shares.append(Share(marker: index, partition: TopicPartition(topic.name, partition)))
                    write(marker.end, share: shares.count - 1, now: now)
                }
            }
        }
        if !waits.isEmpty { awaitReplicas(timeoutMilliseconds: Int32(clamping: timeout)) }
        finishIfSettled()
        guard !isComplete else { return }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        deadline = eventLoop.scheduleTask(in: .milliseconds(timeout)) { bound.value.expire() }
    }

    private func write(_ end: TransactionEnd, share: Int, now: Timestamp) {
        let name = shares[share].partition
        guard let partition = services.partitions.partition(name) else { return settle(share, .unknownTopicOrPartition) }
        if name.topic == TopicName.consumerOffsets { return endInGroups(end, share: share, partition: name.partition) }
        do throws(PartitionError) {
            let append = try partition.append(
                end.batch(now: now), origin: .coordinator, requireInSyncReplicas: true, now: now,
                transaction: TransactionTerms(version: end.version))
            guard !append.isCommitted else { return settle(share, .none) }
            waits.append(ProduceWait(index: share, partition: partition, offset: append.requiredOffset, term: append.term))
        } catch {
            settle(share, error.errorCode)
        }
    }

    /// The group coordinator writes the marker itself, since offsets come into force by it.
    private func endInGroups(_ end: TransactionEnd, share: Int, partition: Int32) {
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        services.groups.endTransaction(end, partition: partition) { [eventLoop] error in
            let settled: ErrorCode =
                switch error {
                // What a transaction coordinator understands as "not there yet, try again".
                case .notCoordinator, .coordinatorLoadInProgress, .coordinatorNotAvailable: .notLeaderOrFollower
                default: error
                }
            eventLoop.execute {
                bound.value.settle(share, settled)
                bound.value.finishIfSettled()
            }
        }
    }

    private func awaitReplicas(timeoutMilliseconds: Int32) {
        let waiting = waits
        waits = []
        let operation = ProduceOperation(waiting) { [self] share, error in
            settle(share, error)
        } complete: { [self] in
            for wait in waiting { settle(wait.index, .none) }
            finishIfSettled()
        }
        self.operation = operation
        operation.start(on: eventLoop, timeoutMilliseconds: timeoutMilliseconds)
    }

    private func settle(_ share: Int, _ error: ErrorCode) {
        if shares[share].error == nil { shares[share].error = error }
    }

    private func expire() {
        for share in shares.indices { settle(share, .requestTimedOut) }
        finishIfSettled()
    }

    private func finishIfSettled() {
        guard !isComplete, shares.allSatisfy({ $0.error != nil }) else { return }
        isComplete = true
        deadline?.cancel()
        operation?.cancel()
        operation = nil
        complete(response)
    }

    /// By producer, each once, as a coordinator looks for them.
    private var response: WriteTxnMarkersResponse {
        var response = WriteTxnMarkersResponse()
        for marker in request.markers where !response.markers.contains(where: { $0.producerId == marker.producerId }) {
            var result = WriteTxnMarkersResponse.WritableTxnMarkerResult()
            result.producerId = marker.producerId
            response.markers.append(result)
        }
        for share in shares {
            let producer = request.markers[share.marker].producerId
            guard let index = response.markers.firstIndex(where: { $0.producerId == producer }) else { continue }
            var outcome = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult()
            outcome.partitionIndex = share.partition.partition
            outcome.errorCode = share.error ?? .none
            if let topic = response.markers[index].topics.firstIndex(where: { $0.name == share.partition.topic }) {
                response.markers[index].topics[topic].partitions.append(outcome)
            } else {
                var topic = WriteTxnMarkersResponse.WritableTxnMarkerTopicResult()
                topic.name = share.partition.topic
                topic.partitions = [outcome]
                response.markers[index].topics.append(topic)
            }
        }
        return response
    }
}

extension WriteTxnMarkersRequest.WritableTxnMarker {
    var end: TransactionEnd {
        TransactionEnd(
            producer: TransactionalProducer(id: producerId, epoch: producerEpoch), coordinatorEpoch: coordinatorEpoch,
            isCommitted: transactionResult, version: transactionVersion)
    }
}
