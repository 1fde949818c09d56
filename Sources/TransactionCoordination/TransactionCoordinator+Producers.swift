// InitProducerId with a transactional id: who may write under it from now on (KIP-98, KIP-360).
import KafkaMessages
import KafkaWire
import Primitives

extension TransactionCoordinator {
    /// InitProducerId.
    ///
    /// - Parameter newProducerID: an id that nobody has, if the caller was asked for one.
    public mutating func initProducerID(
        _ request: InitProducerIdRequest, newProducerID: ProducerID?, moment: TransactionMoment
    ) -> TransactionResult<InitProducerIDOutcome> {
        let id = request.transactionalId ?? ""
        if let error = refusal(of: request) { return TransactionResult(.refused(error)) }
        let timeout = request.enable2Pc ? Int32.max : request.transactionTimeoutMs
        let expected = request.producerId == -1 ? nil : ProducerIdentity(id: request.producerId, epoch: request.producerEpoch)
        if entries[id] == nil {
            guard let newProducerID else { return TransactionResult(.needsProducerID) }
            entries[id] = Entry(
                metadata: TransactionMetadata(
                    producerID: newProducerID, producerEpoch: -1, timeoutMilliseconds: timeout, state: .empty, now: moment.now))
        }
        guard let entry = entries[id] else { preconditionFailure("the entry was put there above") }
        if entry.isInTransition { return TransactionResult(.refused(.concurrentTransactions)) }
        let metadata = entry.metadata
        if let expected, !Self.mayContinue(expected, metadata) { return TransactionResult(.refused(.producerFenced)) }
        guard metadata.state != .ongoing else { return fence(id, newProducerID: newProducerID, moment: moment) }
        let next: TransactionMetadata
        if metadata.isEpochExhausted, expected.map({ $0.epoch == metadata.producerEpoch }) ?? true {
            guard let newProducerID else { return TransactionResult(.needsProducerID) }
            next = metadata.rotatingProducerID(
                to: newProducerID, timeoutMilliseconds: timeout, keepingLastEpoch: expected != nil, now: moment.now)
        } else if let bumped = metadata.incrementingEpoch(timeoutMilliseconds: timeout, expected: expected?.epoch, now: moment.now) {
            next = bumped
        } else {
            return TransactionResult(.refused(.producerFenced))
        }
        return TransactionResult(.initialized(next.identity), write: begin(Transition(metadata: next), of: id))
    }

    private func refusal(of request: InitProducerIdRequest) -> ErrorCode? {
        if request.transactionalId?.isEmpty != false { return .invalidRequest }
        if request.enable2Pc, !configuration.isTwoPhaseCommitEnabled { return .transactionalIdAuthorizationFailed }
        // As in Kafka, whose API has the field before the coordinator keeps prepared transactions.
        if request.keepPreparedTxn { return .unsupportedVersion }
        let isTimeoutValid =
            request.enable2Pc || (1...configuration.maximumTimeoutMilliseconds).contains(request.transactionTimeoutMs)
        return isTimeoutValid ? nil : .invalidTransactionTimeout
    }

    /// Whether a producer that names its id may go on: the id is unknown here yet, or is the present one, or was given up for want of
    /// epochs, in an answer that the producer may have missed. Its epoch is looked at later.
    private static func mayContinue(_ expected: ProducerIdentity, _ metadata: TransactionMetadata) -> Bool {
        metadata.producerEpoch == -1 || expected.id == metadata.producerID
            || (expected.id == metadata.previousProducerID && TransactionMetadata.isExhausted(expected.epoch))
    }

    /// Another producer comes while a transaction is open: the transaction is aborted, and the newcomer asked to try again.
    private mutating func fence(
        _ id: String, newProducerID: ProducerID?, moment: TransactionMoment
    ) -> TransactionResult<InitProducerIDOutcome> {
        guard let transition = fencing(id, newProducerID: newProducerID, moment: moment) else { return TransactionResult(.needsProducerID) }
        return TransactionResult(.refused(.concurrentTransactions), write: begin(transition, of: id))
    }

    /// The step that fences the producer and aborts its transaction; nil when that needs a producer id.
    func fencing(_ id: String, newProducerID: ProducerID?, moment: TransactionMoment) -> Transition? {
        guard let entry = entries[id] else { return nil }
        var metadata = entry.metadata
        if moment.serverVersion >= 2 {
            // The abort itself bumps the epoch.
            guard !metadata.isEpochExhausted || newProducerID != nil else { return nil }
            let next = metadata.isEpochExhausted ? newProducerID ?? -1 : -1
            return Transition(metadata: metadata.preparing(.abort, clientVersion: 2, nextProducerID: next, now: moment.now))
        }
        if !entry.hasFailedEpochFence, metadata.producerEpoch != .max { metadata.producerEpoch += 1 }
        metadata.lastProducerEpoch = -1
        return Transition(
            metadata: metadata.preparing(.abort, clientVersion: 0, nextProducerID: -1, now: moment.now), isEpochFence: true)
    }
}
