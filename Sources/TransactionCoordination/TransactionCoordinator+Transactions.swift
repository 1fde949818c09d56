// AddPartitionsToTxn, AddOffsetsToTxn and EndTxn: what belongs to a transaction, and how it ends.
import KafkaWire
import Primitives

extension TransactionCoordinator {
    /// AddPartitionsToTxn, or AddOffsetsToTxn with the partition of __consumer_offsets.
    ///
    /// - Parameter clientVersion: transaction.version that the request shows: 2 when a partition's leader adds on a producer's behalf.
    public mutating func addPartitions(
        _ partitions: [TopicPartition], to id: String, producer: ProducerIdentity, clientVersion: Int16, moment: TransactionMoment
    ) -> TransactionResult<ErrorCode> {
        if id.isEmpty { return TransactionResult(.invalidRequest) }
        guard let entry = entries[id] else { return TransactionResult(.invalidProducerIdMapping) }
        let metadata = entry.metadata
        // First of all: what is on its way may bring the very id and epoch that the producer names.
        if entry.isInTransition { return TransactionResult(.concurrentTransactions) }
        if let error = Self.mismatch(producer, metadata) { return TransactionResult(error) }
        if metadata.state == .ongoing, partitions.allSatisfy({ metadata.partitions.contains($0) }) { return TransactionResult(.none) }
        let next = metadata.adding(partitions, clientVersion: clientVersion, now: moment.now)
        return TransactionResult(.none, write: begin(Transition(metadata: next), of: id))
    }

    /// AddPartitionsToTxn that only asks (KIP-890): a partition's leader is about to take records.
    ///
    /// - Returns: one error for all partitions, or one for each in the order asked.
    public func verifyPartitions(_ partitions: [TopicPartition], in id: String, producer: ProducerIdentity) -> [ErrorCode] {
        func all(_ error: ErrorCode) -> [ErrorCode] { partitions.map { _ in error } }
        if id.isEmpty { return all(.invalidRequest) }
        guard let metadata = entries[id]?.metadata else { return all(.invalidProducerIdMapping) }
        if let error = Self.mismatch(producer, metadata) { return all(error) }
        if metadata.state.isPrepared { return all(.concurrentTransactions) }
        return partitions.map { metadata.partitions.contains($0) ? .none : .transactionAbortable }
    }

    private static func mismatch(_ producer: ProducerIdentity, _ metadata: TransactionMetadata) -> ErrorCode? {
        if producer.id != metadata.producerID { return .invalidProducerIdMapping }
        return producer.epoch == metadata.producerEpoch ? nil : .producerFenced
    }

    /// EndTxn.
    ///
    /// - Parameters:
    ///   - clientVersion: 2 from version 5 of the request on: the producer gets a new epoch with each transaction.
    ///   - newProducerID: an id that nobody has, if the caller was asked for one.
    public mutating func endTransaction(
        _ id: String, producer: ProducerIdentity, outcome: TransactionOutcome, clientVersion: Int16, newProducerID: ProducerID?,
        moment: TransactionMoment
    ) -> TransactionResult<EndTransactionOutcome> {
        if id.isEmpty { return TransactionResult(.refused(.invalidRequest)) }
        guard let entry = entries[id] else { return TransactionResult(.refused(.invalidProducerIdMapping)) }
        return clientVersion >= 2
            ? endBumpingEpoch(id, entry, producer, outcome, newProducerID: newProducerID, moment: moment)
            : endKeepingEpoch(id, entry, producer, outcome, moment: moment)
    }

    private mutating func endKeepingEpoch(
        _ id: String, _ entry: Entry, _ producer: ProducerIdentity, _ outcome: TransactionOutcome, moment: TransactionMoment
    ) -> TransactionResult<EndTransactionOutcome> {
        let metadata = entry.metadata
        if let error = Self.mismatch(producer, metadata) { return TransactionResult(.refused(error)) }
        if entry.isInTransition { return TransactionResult(.refused(.concurrentTransactions)) }
        switch metadata.state {
        case .ongoing:
            let next = metadata.preparing(outcome, clientVersion: 0, nextProducerID: -1, now: moment.now)
            return TransactionResult(.ended(.none), write: begin(Transition(metadata: next), of: id))
        case outcome.completed:
            // The answer was lost: the producer asks again.
            return TransactionResult(.ended(.none))
        default:
            return TransactionResult(.refused(.invalidTxnState))
        }
    }

    /// With transaction.version 2 the same epoch means the next transaction, and the epoch before the last bump means a retry.
    private mutating func endBumpingEpoch(
        _ id: String, _ entry: Entry, _ producer: ProducerIdentity, _ outcome: TransactionOutcome, newProducerID: ProducerID?,
        moment: TransactionMoment
    ) -> TransactionResult<EndTransactionOutcome> {
        let metadata = entry.metadata
        // First of all: what is on its way may bring the very id and epoch that the producer names.
        if entry.isInTransition { return TransactionResult(.refused(.concurrentTransactions)) }
        let isRetryOverOverflow =
            producer.id == metadata.previousProducerID && producer.epoch == .max - 1 && metadata.producerEpoch == 0
        let isRetryOverBump = metadata.producerEpoch > 0 && producer.epoch == metadata.producerEpoch - 1
        if producer.id != metadata.producerID, !isRetryOverOverflow { return TransactionResult(.refused(.invalidProducerIdMapping)) }
        let isComplete = metadata.state == .completeCommit || metadata.state == .completeAbort
        let isRetry = isComplete && (isRetryOverBump || isRetryOverOverflow)
        guard isRetry || producer.epoch == metadata.producerEpoch else { return TransactionResult(.refused(.producerFenced)) }
        if isRetry {
            return TransactionResult(metadata.state == outcome.completed ? .ended(metadata.identity) : .refused(.invalidTxnState))
        }
        // A producer that does not know whether it had written anything may abort; nothing can be committed.
        guard metadata.state == .ongoing || outcome == .abort else { return TransactionResult(.refused(.invalidTxnState)) }
        if metadata.isEpochExhausted, newProducerID == nil { return TransactionResult(.needsProducerID) }
        let next = metadata.preparing(
            outcome, clientVersion: 2, nextProducerID: metadata.isEpochExhausted ? newProducerID ?? -1 : -1, now: moment.now)
        return TransactionResult(.ended(next.completing(now: moment.now).identity), write: begin(Transition(metadata: next), of: id))
    }
}
