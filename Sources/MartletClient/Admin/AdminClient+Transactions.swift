// Transactions: who has one open, where, and ending those that nobody ends (KIP-664).
import KafkaMessages
import KafkaWire
import Primitives

/// A transactional id as its coordinator lists it.
public struct TransactionListing: Hashable, Sendable {
    public var transactionalID: String
    public var producerID: Int64
    /// Such as `Ongoing`.
    public var state: String
    /// The broker that coordinates it.
    public var coordinator: Int32
}

/// A transactional id with its transaction.
public struct TransactionDescription: Hashable, Sendable {
    public var transactionalID: String
    public var coordinator: Int32
    public var state: String
    public var producerID: Int64
    public var producerEpoch: Int16
    public var timeoutMilliseconds: Int32
    /// When the transaction began, in milliseconds since 1970; nil without one.
    public var startTimestamp: Int64?
    public var partitions: [TopicPartition]
}

/// Which transactional ids to list; empty and nil let everything pass.
public struct TransactionListingFilter: Hashable, Sendable {
    public var states: [String] = []
    public var producerIDs: [Int64] = []
    /// Only those whose transaction has been open for longer, in milliseconds (KIP-994).
    public var longerThanMilliseconds: Int64?
    /// A regular expression over the ids, of RE2's syntax (KIP-1152).
    public var pattern: String?

    public init() {}

    /// The versions of ListTransactions that know of what is asked.
    var versions: ClosedRange<Int16> { (pattern != nil ? 2 : longerThanMilliseconds != nil ? 1 : 0)...2 }
}

/// A transaction that is open in a partition.
public struct OpenTransaction: Hashable, Sendable {
    public var partition: TopicPartition
    public var producer: ProducerDescription
}

extension AdminClient {
    /// The transactional ids of all brokers, by id.
    public func listTransactions(_ filter: TransactionListingFilter = .init()) async throws(KafkaError) -> [TransactionListing] {
        var request = ListTransactionsRequest()
        request.stateFilters = filter.states
        request.producerIdFilters = filter.producerIDs
        if let milliseconds = filter.longerThanMilliseconds { request.durationFilter = milliseconds }
        request.transactionalIdPattern = filter.pattern
        var found: [TransactionListing] = []
        for broker in try await describeCluster().brokers {
            let response = try await cluster.retrying { [request] () throws(KafkaError) in
                let response = try await self.cluster.send(request, to: .node(broker.id), allowed: filter.versions)
                try response.errorCode.check(about: "ListTransactions")
                return response
            }
            if let unknown = response.unknownStateFilters.first {
                throw KafkaError(.invalidArgument, "'\(unknown)' is no state of a transaction")
            }
            found += response.transactionStates.map {
                TransactionListing(
                    transactionalID: $0.transactionalId, producerID: $0.producerId, state: $0.transactionState, coordinator: broker.id)
            }
        }
        return found.sorted { $0.transactionalID < $1.transactionalID }
    }

    /// What the coordinator of a transactional id knows of it.
    public func describeTransaction(_ id: String) async throws(KafkaError) -> TransactionDescription {
        var request = DescribeTransactionsRequest()
        request.transactionalIds = [id]
        let target = RequestTarget.transactionCoordinator(id)
        return try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let coordinator = try await self.cluster.coordinator(id, type: 1)
            let response = try await self.cluster.send(request, to: target)
            guard let state = response.transactionStates.first else {
                throw KafkaError(.protocolViolation, "the answer to DescribeTransactions is empty")
            }
            try state.errorCode.check(about: "transactional id '\(id)'")
            return TransactionDescription(
                transactionalID: id, coordinator: coordinator, state: state.transactionState, producerID: state.producerId,
                producerEpoch: state.producerEpoch, timeoutMilliseconds: state.transactionTimeoutMs,
                startTimestamp: state.transactionStartTimeMs >= 0 ? state.transactionStartTimeMs : nil,
                partitions: state.topics.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } })
        }
    }

    /// The transactions that are open in these partitions, by what their leaders remember.
    public func openTransactions(in partitions: [TopicPartition]) async throws(KafkaError) -> [OpenTransaction] {
        var open: [OpenTransaction] = []
        for partition in partitions {
            for producer in try await describeProducers(partition) where producer.transactionStartOffset != nil {
                open.append(OpenTransaction(partition: partition, producer: producer))
            }
        }
        return open
    }

    /// Those of the open transactions whose coordinator does not know of them: nobody will ever end them.
    public func hanging(_ open: [OpenTransaction]) async throws(KafkaError) -> [OpenTransaction] {
        guard !open.isEmpty else { return [] }
        var filter = TransactionListingFilter()
        filter.producerIDs = Array(Set(open.map(\.producer.producerID))).sorted()
        var descriptions: [Int64: TransactionDescription] = [:]
        for listing in try await listTransactions(filter) {
            do throws(KafkaError) {
                descriptions[listing.producerID] = try await describeTransaction(listing.transactionalID)
            } catch {
                // Forgotten meanwhile.
                guard error.errorCode == .transactionalIdNotFound else { throw error }
            }
        }
        return open.filter { transaction in
            guard let known = descriptions[transaction.producer.producerID] else { return true }
            let isOpen = ["Ongoing", "PrepareCommit", "PrepareAbort"].contains(known.state)
            return !isOpen || !known.partitions.contains(transaction.partition)
        }
    }

    /// Aborts a transaction in one partition without its coordinator: for transactions that hang.
    ///
    /// - Parameter coordinatorEpoch: the latest that the partition has seen, 0 for none.
    public func abortTransaction(
        in partition: TopicPartition, producerID: Int64, producerEpoch: Int16, coordinatorEpoch: Int32
    ) async throws(KafkaError) {
        var topic = WriteTxnMarkersRequest.WritableTxnMarkerTopic()
        topic.name = partition.topic
        topic.partitionIndexes = [partition.partition]
        var marker = WriteTxnMarkersRequest.WritableTxnMarker()
        marker.producerId = producerID
        marker.producerEpoch = producerEpoch
        marker.coordinatorEpoch = max(0, coordinatorEpoch)
        marker.transactionResult = false
        marker.topics = [topic]
        var request = WriteTxnMarkersRequest()
        request.markers = [marker]
        try await cluster.retrying { [request] () throws(KafkaError) in
            let leader = try await self.cluster.leader(of: partition)
            let response = try await self.cluster.send(request, to: .node(leader))
            guard let outcome = response.markers.first?.topics.first?.partitions.first else {
                throw KafkaError(.protocolViolation, "the answer to WriteTxnMarkers is empty")
            }
            try outcome.errorCode.check(about: "\(partition)")
        }
    }

    /// Fences the producer of a transactional id and aborts its transaction, through the coordinator.
    public func terminateTransaction(_ id: String) async throws(KafkaError) {
        var request = InitProducerIdRequest()
        request.transactionalId = id
        // Nobody writes under what this brings: the shortest that every broker allows will do.
        request.transactionTimeoutMs = 1
        let target = RequestTarget.transactionCoordinator(id)
        try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target, allowed: 0...5)
            try response.errorCode.check(about: "transactional id '\(id)'")
        }
    }
}
