// Transactional records stay out of a log that their coordinator does not know of, and markers that come too late stay out as well (KIP-890).
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Transaction verification")
struct VerificationTests {
    private let fixture: LogFixture
    private let producer = Producer(id: 5, isTransactional: true)

    init() throws { fixture = try LogFixture() }

    private var log: PartitionLog { fixture.log }

    @discardableResult
    private func append(
        _ producer: Producer, _ verification: TransactionVerification = .ongoing, origin: AppendOrigin = .client
    ) throws -> LogAppendResult {
        try log.append(
            try Make.batch(producer: producer), origin: origin, leaderEpoch: 0, now: fixture.now,
            transaction: TransactionTerms(verification: verification))
    }

    private func begin(_ producer: Producer, bumpsEpoch: Bool = false) throws -> VerificationGuard? {
        try log.beginVerification(
            producerID: producer.id, epoch: producer.epoch, sequence: producer.sequence, bumpsEpoch: bumpsEpoch, now: fixture.now)
    }

    private func end(_ producer: Producer, epoch: Int16, version: Int8 = 0, coordinatorEpoch: Int32 = 0) throws {
        let marker = Make.marker(
            .commit, producer: Producer(id: producer.id, epoch: epoch, isTransactional: true), coordinatorEpoch: coordinatorEpoch)
        _ = try log.append(marker, origin: .coordinator, leaderEpoch: 0, now: fixture.now, transaction: TransactionTerms(version: version))
    }

    @Test("Without having asked nothing gets in; once the transaction is open its records do")
    func first() throws {
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(producer) }
        #expect(log.logEndOffset == 0)
        let guardian = try #require(try begin(producer))
        #expect(try begin(producer) == guardian)
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(producer) }
        try append(producer, .verified(guardian))
        #expect(try begin(Producer(id: 5, sequence: 1, isTransactional: true)) == nil)
        try append(Producer(id: 5, sequence: 1, isTransactional: true))
        #expect(log.logEndOffset == 2)
    }

    @Test("Where verification is off everything gets in, and plain records always do")
    func off() throws {
        try append(producer, .notRequired)
        try append(Producer(id: 6))
        #expect(log.logEndOffset == 2)
    }

    @Test("An answer that is older than the transaction's end is worth nothing")
    func stale() throws {
        let guardian = try #require(try begin(producer))
        try end(producer, epoch: 0)
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(producer, .verified(guardian)) }
        let fresh = try #require(try begin(producer))
        #expect(fresh != guardian)
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(producer, .verified(guardian)) }
        try append(producer, .verified(fresh))
    }

    @Test("The marker of the epoch in question leaves a question about the next transaction open")
    func nextTransaction() throws {
        let next = Producer(id: 5, epoch: 1, isTransactional: true)
        let guardian = try #require(try begin(next, bumpsEpoch: true))
        try end(producer, epoch: 1, version: 2)
        try append(next, .verified(guardian))
        #expect(log.logEndOffset == 2)
    }

    @Test("Later sequences must not overtake the lowest that has been asked for")
    func order() throws {
        let later = Producer(id: 5, sequence: 3, isTransactional: true)
        _ = try begin(producer)
        let guardian = try #require(try begin(later))
        #expect(throws: StorageError.outOfOrderSequence(producerID: 5, epoch: 0, sequence: 3, lastSequence: 0)) {
            try append(later, .verified(guardian))
        }
        try append(producer, .verified(guardian))
    }

    @Test("With an epoch for each transaction the first record has sequence 0")
    func beginsAtZero() throws {
        let later = Producer(id: 5, sequence: 3, isTransactional: true)
        let guardian = try #require(try begin(later, bumpsEpoch: true))
        #expect(throws: StorageError.self) { try append(later, .verified(guardian)) }
        #expect(log.logEndOffset == 0)
    }

    @Test("Old epochs are told so before anybody is asked")
    func fenced() throws {
        try append(Producer(id: 5, epoch: 3, isTransactional: true), .notRequired)
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 2, currentEpoch: 3)) {
            try begin(Producer(id: 5, epoch: 2, isTransactional: true))
        }
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 2, currentEpoch: 3)) {
            try append(Producer(id: 5, epoch: 2, isTransactional: true), .ongoing)
        }
    }

    @Test("A duplicate is a duplicate, whatever has become of its transaction")
    func duplicate() throws {
        try append(producer, .notRequired)
        try end(producer, epoch: 0)
        #expect(try append(producer).isDuplicate)
    }

    @Test("A coordinator's records need the same, without sequences")
    func coordinator() throws {
        let offsets = Producer(id: 5, sequence: -1, isTransactional: true)
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(offsets, .ongoing, origin: .coordinator) }
        let guardian = try #require(try begin(offsets))
        try append(offsets, .verified(guardian), origin: .coordinator)
        try append(offsets, .ongoing, origin: .coordinator)
        #expect(log.logEndOffset == 2)
    }

    @Test("Questions that nobody answered expire")
    func expiry() throws {
        let guardian = try #require(try begin(producer))
        log.removeExpiredProducers(now: fixture.now + 86_400_000)
        #expect(throws: StorageError.unverifiedTransaction(producerID: 5)) { try append(producer, .verified(guardian)) }
    }

    @Test("Markers of transaction.version 2 have a later epoch than the records, or say the same once more")
    func markers() throws {
        try append(producer, .notRequired)
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 0, currentEpoch: 0)) {
            try end(producer, epoch: 0, version: 2)
        }
        try end(producer, epoch: 1, version: 2)
        // The answer was lost, or the coordinator moved: the marker comes again.
        try end(producer, epoch: 1, version: 2, coordinatorEpoch: 1)
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 0, currentEpoch: 1)) {
            try end(producer, epoch: 0, version: 2, coordinatorEpoch: 1)
        }
        try append(Producer(id: 5, epoch: 1, isTransactional: true), .notRequired)
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 1, currentEpoch: 1)) {
            try end(producer, epoch: 1, version: 2, coordinatorEpoch: 1)
        }
        // Before that version the marker has the records' epoch.
        try end(producer, epoch: 1, version: 0, coordinatorEpoch: 1)
        #expect(throws: StorageError.fencedTransactionCoordinator(producerID: 5, epoch: 0, currentEpoch: 1)) {
            try end(producer, epoch: 1, version: 0, coordinatorEpoch: 0)
        }
    }
}
