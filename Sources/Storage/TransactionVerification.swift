// What keeps transactional records out of a log while the transaction coordinator does not know of them (KIP-890): the first records of a
// transaction are let in only after the coordinator was asked, and only if nothing ended the transaction meanwhile.
import Primitives
import RecordBatches

/// Stands for one question to the transaction coordinator about a producer and this partition.
public struct VerificationGuard: Sendable, Hashable {
    fileprivate let number: UInt64
}

/// What an append of transactional records has to show.
public enum TransactionVerification: Sendable, Hashable {
    /// Nothing: `transaction.partition.verification.enable` is off.
    case notRequired
    /// Only records of a transaction that is open in this partition already are let in.
    case ongoing
    /// As `ongoing`, or the first records of a transaction after the coordinator has said yes.
    case verified(VerificationGuard)
}

/// What is known of an append's transaction besides its bytes.
public struct TransactionTerms: Sendable, Hashable {
    public var verification: TransactionVerification
    /// transaction.version under which the transaction that a marker ends was run. From 2 on every transaction has an epoch of its own,
    /// so a marker must be of a later epoch than the records.
    public var version: Int8

    public init(verification: TransactionVerification = .notRequired, version: Int8 = 0) {
        self.verification = verification
        self.version = version
    }
}

/// The questions that are open, by producer. In memory only: after a restart producers ask again.
struct TransactionVerifications {
    struct Entry {
        let guardian: VerificationGuard
        let since: Timestamp
        let bumpsEpoch: Bool
        /// The lowest sequence seen while the question was open: later ones must not overtake it.
        var lowestSequence: Int32
        var epoch: Int16
    }

    private var entries: [ProducerID: Entry] = [:]
    private var nextNumber: UInt64 = 0

    subscript(producer: ProducerID) -> Entry? { entries[producer] }
    var isEmpty: Bool { entries.isEmpty }

    mutating func begin(_ producer: ProducerID, epoch: Int16, sequence: Int32, bumpsEpoch: Bool, now: Timestamp) -> VerificationGuard {
        var entry: Entry
        if let known = entries[producer] {
            entry = known
            if epoch == entry.epoch { entry.lowestSequence = min(entry.lowestSequence, sequence) }
            if epoch > entry.epoch {
                entry.epoch = epoch
                entry.lowestSequence = sequence
            }
        } else {
            nextNumber += 1
            entry = Entry(
                guardian: VerificationGuard(number: nextNumber), since: now, bumpsEpoch: bumpsEpoch, lowestSequence: sequence, epoch: epoch)
        }
        entries[producer] = entry
        return entry.guardian
    }

    /// A transactional batch of the producer is in the log: the transaction is open, or over.
    mutating func end(_ header: RecordBatchHeader) {
        guard let entry = entries[header.producerId] else { return }
        // A marker of the epoch in question ended the transaction before: what the producer asks for is its next one.
        if entry.bumpsEpoch, header.isControl, header.producerEpoch == entry.epoch { return }
        entries[header.producerId] = nil
    }

    mutating func removeExpired(now: Timestamp, after milliseconds: Int64) {
        if entries.isEmpty { return }
        entries = entries.filter { now - $0.value.since < milliseconds }
    }
}

extension PartitionLog {
    /// Begins to find out whether the producer's transaction may write here.
    ///
    /// - Parameters:
    ///   - sequence: of the first record, -1 for a coordinator's records.
    ///   - bumpsEpoch: whether the producer has a new epoch for every transaction (transaction.version 2).
    /// - Returns: nil when the transaction is open here already and nobody has to be asked.
    /// - Throws: `fencedProducerEpoch`.
    public func beginVerification(
        producerID: ProducerID, epoch: Int16, sequence: Int32, bumpsEpoch: Bool, now: Timestamp
    ) throws(StorageError) -> VerificationGuard? {
        if let known = producers.entries[producerID] {
            if epoch < known.epoch { throw .fencedProducerEpoch(producerID: producerID, epoch: epoch, currentEpoch: known.epoch) }
            if known.hasOngoingTransaction(epoch: epoch) { return nil }
        }
        return verifications.begin(producerID, epoch: epoch, sequence: sequence, bumpsEpoch: bumpsEpoch, now: now)
    }

    /// Whether a transactional batch may be appended; markers always may.
    func checkVerification(of header: RecordBatchHeader, _ verification: TransactionVerification, origin: AppendOrigin) throws(StorageError)
    {
        guard header.isTransactional, !header.isControl, origin != .replica else { return }
        let known = producers.entries[header.producerId]
        if known?.hasOngoingTransaction(epoch: header.producerEpoch) == true { return }
        if let known, header.producerEpoch < known.epoch {
            throw .fencedProducerEpoch(producerID: header.producerId, epoch: header.producerEpoch, currentEpoch: known.epoch)
        }
        let entry = verifications[header.producerId]
        switch verification {
        case .notRequired: break
        case .ongoing: throw .unverifiedTransaction(producerID: header.producerId)
        case .verified(let guardian):
            guard entry?.guardian == guardian else { throw .unverifiedTransaction(producerID: header.producerId) }
        }
        guard let entry, origin == .client else { return }
        let mustBeginAtZero = entry.bumpsEpoch && (known?.hasBatches ?? false) == false
        if header.baseSequence > entry.lowestSequence || (mustBeginAtZero && header.baseSequence != 0) {
            throw .outOfOrderSequence(
                producerID: header.producerId, epoch: header.producerEpoch, sequence: header.baseSequence,
                lastSequence: mustBeginAtZero ? -1 : entry.lowestSequence)
        }
    }
}
