// What the log remembers of one producer: its epoch, its last batches, its open transaction (KIP-98).
import Primitives
import RecordBatches

/// A batch of an idempotent producer, as far as a retry can be told by it.
struct ProducerBatch: Equatable {
    var lastSequence: Int32
    var lastOffset: Offset
    var offsetDelta: Int32
    var timestamp: Timestamp

    /// Sequences wrap from the largest Int32 to 0.
    var firstSequence: Int32 { Int32(truncatingIfNeeded: (Int64(lastSequence) - Int64(offsetDelta)) & 0x7fff_ffff) }
    var firstOffset: Offset { lastOffset - Offset(offsetDelta) }
}

/// A transaction that a marker ended.
struct CompletedTransaction: Equatable {
    var producerID: ProducerID
    var firstOffset: Offset
    /// The marker's.
    var lastOffset: Offset
    var isAborted: Bool
}

/// An end transaction marker.
struct TransactionMarker: Equatable {
    var isAborted: Bool
    var coordinatorEpoch: Int32
}

struct ProducerEntry: Equatable {
    /// Batches remembered per producer, as many as a producer may have in flight.
    static let retainedBatches = 5

    let producerID: ProducerID
    var epoch: Int16 = -1
    var coordinatorEpoch: Int32 = -1
    var lastTimestamp: Timestamp = -1
    /// -1 without an open transaction.
    var currentTransactionFirstOffset: Offset = -1
    private(set) var batches: [ProducerBatch] = []

    init(producerID: ProducerID) {
        self.producerID = producerID
    }

    var lastSequence: Int32 { batches.last?.lastSequence ?? -1 }
    var lastDataOffset: Offset { batches.last?.lastOffset ?? -1 }
    var lastOffsetDelta: Int32 { batches.last?.offsetDelta ?? 0 }
    var hasBatches: Bool { !batches.isEmpty }

    func hasOngoingTransaction(epoch: Int16) -> Bool { currentTransactionFirstOffset >= 0 && epoch == self.epoch }

    /// A remembered batch with the same epoch and sequence numbers.
    func duplicate(of header: RecordBatchHeader) -> ProducerBatch? {
        guard header.producerEpoch == epoch else { return nil }
        let last = header.lastSequence
        return batches.first { $0.lastSequence == last && $0.firstSequence == header.baseSequence }
    }

    mutating func remember(_ batch: ProducerBatch, epoch newEpoch: Int16) {
        setEpoch(newEpoch)
        if batches.count == Self.retainedBatches { batches.removeFirst() }
        batches.append(batch)
        lastTimestamp = batch.timestamp
    }

    private mutating func setEpoch(_ newEpoch: Int16) {
        guard newEpoch != epoch else { return }
        batches.removeAll(keepingCapacity: true)
        epoch = newEpoch
    }

    // MARK: Appending

    /// Checks a data batch against what is known of the producer, and notes it.
    ///
    /// - Returns: whether the batch opens a transaction.
    mutating func append(_ header: RecordBatchHeader, origin: AppendOrigin) throws(StorageError) -> Bool {
        if origin != .replica, header.producerEpoch < epoch {
            throw .fencedProducerEpoch(producerID: producerID, epoch: header.producerEpoch, currentEpoch: epoch)
        }
        if origin == .client { try checkSequence(header) }
        if currentTransactionFirstOffset >= 0, !header.isTransactional, origin != .replica {
            throw .invalidTransactionState(producerID: producerID)
        }
        remember(
            ProducerBatch(
                lastSequence: header.lastSequence, lastOffset: header.lastOffset, offsetDelta: header.lastOffsetDelta,
                timestamp: header.maxTimestamp),
            epoch: header.producerEpoch)
        guard header.isTransactional, currentTransactionFirstOffset < 0 else { return false }
        currentTransactionFirstOffset = header.baseOffset
        return true
    }

    private func checkSequence(_ header: RecordBatchHeader) throws(StorageError) {
        // A producer that is new here, or was forgotten, may begin anywhere; one with a new epoch begins at 0.
        if epoch < 0 { return }
        let expectsZero = header.producerEpoch != epoch
        let last = expectsZero ? -1 : lastSequence
        let next = header.baseSequence
        guard Int64(next) == Int64(last) + 1 || (next == 0 && last == .max) else {
            throw .outOfOrderSequence(producerID: producerID, epoch: header.producerEpoch, sequence: next, lastSequence: last)
        }
    }

    /// Checks a marker and notes it. Returns the transaction that it ends, if one was open.
    mutating func append(
        _ marker: TransactionMarker, header: RecordBatchHeader, origin: AppendOrigin, version: Int8
    ) throws(StorageError) -> CompletedTransaction? {
        if origin != .replica {
            if isFenced(header.producerEpoch, version: version) {
                throw .fencedProducerEpoch(producerID: producerID, epoch: header.producerEpoch, currentEpoch: epoch)
            }
            if marker.coordinatorEpoch < coordinatorEpoch {
                throw .fencedTransactionCoordinator(
                    producerID: producerID, epoch: marker.coordinatorEpoch, currentEpoch: coordinatorEpoch)
            }
        }
        var completed: CompletedTransaction?
        if currentTransactionFirstOffset >= 0 {
            completed = CompletedTransaction(
                producerID: producerID, firstOffset: currentTransactionFirstOffset, lastOffset: header.baseOffset,
                isAborted: marker.isAborted)
        }
        setEpoch(header.producerEpoch)
        coordinatorEpoch = marker.coordinatorEpoch
        currentTransactionFirstOffset = -1
        lastTimestamp = header.maxTimestamp
        return completed
    }

    /// Whether a marker of that epoch comes too late.
    ///
    /// Where each transaction has an epoch of its own, a marker has a later one than the records that it ends. One of the same epoch is
    /// the same marker once more while no transaction is open, and else a late one of an earlier transaction (KAFKA-19999).
    private func isFenced(_ markerEpoch: Int16, version: Int8) -> Bool {
        if markerEpoch != epoch || version < 2 { return markerEpoch < epoch }
        return currentTransactionFirstOffset >= 0 && markerEpoch != .max
    }

    func isExpired(now: Timestamp, after milliseconds: Int64) -> Bool {
        currentTransactionFirstOffset < 0 && now - lastTimestamp >= milliseconds
    }
}
