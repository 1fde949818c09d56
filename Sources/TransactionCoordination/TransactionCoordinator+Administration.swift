// DescribeTransactions and ListTransactions; transactions whose time is over, and ids that nobody uses any more.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

/// What ListTransactions lets pass. Empty filters let everything pass.
public struct TransactionFilter: Sendable {
    public var states: Set<TransactionState>
    /// Whether states were asked for at all: names that nobody knows let nothing pass.
    public var filtersStates: Bool
    public var producerIDs: Set<ProducerID>
    /// Only transactions that have been open for longer; -1 for all (KIP-994).
    public var durationMilliseconds: Int64

    public init(states: Set<TransactionState>, filtersStates: Bool, producerIDs: Set<ProducerID>, durationMilliseconds: Int64) {
        self.states = states
        self.filtersStates = filtersStates
        self.producerIDs = producerIDs
        self.durationMilliseconds = durationMilliseconds
    }
}

extension TransactionCoordinator {
    /// DescribeTransactions for one id.
    public func describe(_ id: String) -> DescribeTransactionsResponse.TransactionState {
        var description = DescribeTransactionsResponse.TransactionState()
        description.transactionalId = id
        guard !id.isEmpty else {
            description.errorCode = .invalidRequest
            return description
        }
        guard let entry = entries[id] else {
            description.errorCode = .transactionalIdNotFound
            return description
        }
        let metadata = entry.metadata
        description.transactionState = metadata.state.name
        description.transactionTimeoutMs = metadata.timeoutMilliseconds
        description.transactionStartTimeMs = metadata.startTimestamp
        description.producerId = metadata.producerID
        description.producerEpoch = metadata.producerEpoch
        let partitions = metadata.state.isPrepared ? entry.unmarked : metadata.partitions
        description.topics = partitions.byTopic.map { topic, indexes in
            var data = DescribeTransactionsResponse.TopicData()
            data.topic = topic
            data.partitions = indexes
            return data
        }
        return description
    }

    /// ListTransactions, but for the pattern over ids, which is `matches`'s part.
    public func list(
        _ filter: TransactionFilter, now: Timestamp, matches: (String) -> Bool
    ) -> [ListTransactionsResponse.TransactionState] {
        var found: [ListTransactionsResponse.TransactionState] = []
        for (id, entry) in entries {
            let metadata = entry.metadata
            if filter.filtersStates, !filter.states.contains(metadata.state) { continue }
            if !filter.producerIDs.isEmpty, !filter.producerIDs.contains(metadata.producerID) { continue }
            if filter.durationMilliseconds >= 0, now &- metadata.startTimestamp <= filter.durationMilliseconds { continue }
            guard matches(id) else { continue }
            var listed = ListTransactionsResponse.TransactionState()
            listed.transactionalId = id
            listed.producerId = metadata.producerID
            listed.transactionState = metadata.state.name
            found.append(listed)
        }
        return found
    }

    /// How many ids are in each state, in the order of the states, for metrics.
    public var counts: [(state: TransactionState, count: Int)] {
        var counts = TransactionState.allCases.map { (state: $0, count: 0) }
        for entry in entries.values { counts[Int(entry.metadata.state.rawValue)].count += 1 }
        return counts.filter { $0.count > 0 }
    }

    /// Transactions whose last record was lost for the moment and is written again, for metrics.
    public var failedCompletionCount: Int { hasFailedCompletions ? entries.values.count { $0.mustRetryCompletion } : 0 }

    /// What is known of an id, for inspection.
    public func metadata(of id: String) -> TransactionMetadata? { entries[id]?.metadata }

    // MARK: Time

    /// The ids whose transaction is open for longer than its producer asked for.
    public func timedOut(now: Timestamp) -> [String] {
        var ids: [String] = []
        for (id, entry) in entries where entry.transition == nil && entry.metadata.state == .ongoing && !entry.metadata.hasNoTimeout {
            if entry.metadata.startTimestamp &+ Int64(entry.metadata.timeoutMilliseconds) < now { ids.append(id) }
        }
        return ids
    }

    /// Fences the producer of a transaction whose time is over, and aborts it.
    ///
    /// - Returns: false when that needs a producer id, and nothing has happened.
    public mutating func abortTimedOut(_ id: String, newProducerID: ProducerID?, moment: TransactionMoment) -> TransactionResult<Bool> {
        guard let entry = entries[id], !entry.isInTransition, entry.metadata.state == .ongoing,
            entry.metadata.startTimestamp &+ Int64(entry.metadata.timeoutMilliseconds) < moment.now
        else { return TransactionResult(true) }
        guard let transition = fencing(id, newProducerID: newProducerID, moment: moment) else { return TransactionResult(false) }
        return TransactionResult(true, write: begin(transition, of: id))
    }

    /// Forgets ids that nobody has used for `transactional.id.expiration.ms`, at most `maximum` at once.
    ///
    /// - Returns: whether there may be more.
    public mutating func removeExpired(maximum: Int, moment: TransactionMoment) -> TransactionResult<Bool> {
        var records: [TransactionRecord] = []
        for index in entries.values.indices {
            let entry = entries.values[index]
            guard !entry.isInTransition, entry.metadata.state.mayExpire,
                entry.metadata.lastUpdateTimestamp <= moment.now - configuration.expirationMilliseconds
            else { continue }
            if records.count == maximum { break }
            var metadata = entry.metadata
            metadata.state = .dead
            entries.values[index].transition = Transition(metadata: metadata)
            records.append(TransactionRecord(transactionalID: entries.keys[index], metadata: nil))
        }
        return TransactionResult(records.count == maximum, write: records.isEmpty ? nil : TransactionWrite(records: records))
    }
}
