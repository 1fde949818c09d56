// Idempotent and transactional producers as the log sees them (KIP-98).
import Foundation
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Producers")
struct ProducerTests {
    private func batch(_ producer: Producer, count: Int = 1) throws -> ByteBuffer { try Make.batch(count: count, producer: producer) }

    @Test("Sequences must follow each other; the last five batches are told as duplicates")
    func sequences() throws {
        let fixture = try LogFixture()
        for index in 0..<8 { try fixture.append(try batch(Producer(id: 5, sequence: Int32(index * 2)), count: 2)) }
        for index in 3..<8 {
            let again = try fixture.append(try batch(Producer(id: 5, sequence: Int32(index * 2)), count: 2))
            #expect(again.isDuplicate && again.firstOffset == Offset(index * 2) && again.lastOffset == Offset(index * 2 + 1))
        }
        #expect(throws: StorageError.outOfOrderSequence(producerID: 5, epoch: 0, sequence: 4, lastSequence: 15)) {
            try fixture.append(try batch(Producer(id: 5, sequence: 4), count: 2))
        }
        #expect(throws: StorageError.self) { try fixture.append(try batch(Producer(id: 5, sequence: 17))) }
        #expect(fixture.log.logEndOffset == 16)
        try fixture.append(try batch(Producer(id: 5, sequence: 16)))
        // A producer that is not known may begin anywhere.
        try fixture.append(try batch(Producer(id: 6, sequence: 100)))
        #expect(fixture.log.activeProducers.map(\.lastSequence) == [16, 100])
    }

    @Test("Epochs fence, and a new epoch begins at sequence 0")
    func epochs() throws {
        let fixture = try LogFixture()
        try fixture.append(try batch(Producer(id: 5, epoch: 2, sequence: 0)))
        #expect(throws: StorageError.fencedProducerEpoch(producerID: 5, epoch: 1, currentEpoch: 2)) {
            try fixture.append(try batch(Producer(id: 5, epoch: 1, sequence: 1)))
        }
        #expect(throws: StorageError.self) { try fixture.append(try batch(Producer(id: 5, epoch: 3, sequence: 1))) }
        try fixture.append(try batch(Producer(id: 5, epoch: 3, sequence: 0)))
        #expect(fixture.log.logEndOffset == 2)
    }

    @Test("Sequences wrap behind the largest Int32")
    func wrapping() throws {
        let fixture = try LogFixture()
        try fixture.append(try batch(Producer(id: 5, sequence: .max - 1), count: 3))
        #expect(fixture.log.activeProducers[0].lastSequence == 0)
        #expect(try fixture.append(try batch(Producer(id: 5, sequence: .max - 1), count: 3)).isDuplicate)
        try fixture.append(try batch(Producer(id: 5, sequence: 1)))
    }

    @Test("Producers survive a clean stop, a kill and the loss of their snapshots")
    func survival() throws {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 600
        let fixture = try LogFixture(configuration)
        for index in 0..<20 { try fixture.append(try batch(Producer(id: 5, sequence: Int32(index)))) }
        let before = fixture.log.activeProducers
        try fixture.reopen()
        #expect(fixture.log.activeProducers == before)
        #expect(try fixture.append(try batch(Producer(id: 5, sequence: 19))).isDuplicate)
        try fixture.append(try batch(Producer(id: 5, sequence: 20)))
        try fixture.kill()
        #expect(fixture.log.activeProducers.map(\.lastSequence) == [20])
        #expect(try fixture.append(try batch(Producer(id: 5, sequence: 20))).isDuplicate)
        try fixture.kill { directory in
            let partition = directory + "/topic-0"
            for name in try FileManager.default.contentsOfDirectory(atPath: partition) where name.hasSuffix(".snapshot") {
                try FileManager.default.removeItem(atPath: partition + "/" + name)
            }
        }
        #expect(fixture.log.activeProducers.map(\.lastSequence) == [20])
        try fixture.append(try batch(Producer(id: 5, sequence: 21)))
    }

    @Test("Idle producers expire, those with an open transaction do not")
    func expiry() throws {
        let fixture = try LogFixture()
        try fixture.append(try batch(Producer(id: 5)))
        try fixture.append(try batch(Producer(id: 6, isTransactional: true)))
        fixture.log.removeExpiredProducers(now: 1000 + 86_400_000)
        #expect(fixture.log.activeProducers.map(\.producerID) == [6])
    }

    @Test("read_committed sees committed transactions only, up to the first open one")
    func transactions() throws {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 400
        let fixture = try LogFixture(configuration)
        let first = Producer(id: 1, isTransactional: true)
        let second = Producer(id: 2, isTransactional: true)
        try fixture.append(try batch(first))  // 0 aborted
        try fixture.append(try batch(second))  // 1 committed
        try fixture.append(try Make.batch())  // 2 plain
        #expect(fixture.log.lastStableOffset == 0)
        try fixture.append(Make.marker(.abort, producer: first), origin: .coordinator)  // 3
        #expect(fixture.log.lastStableOffset == 1)
        try fixture.append(Make.marker(.commit, producer: second), origin: .coordinator)  // 4
        #expect(fixture.log.lastStableOffset == 5)
        try fixture.append(try batch(Producer(id: 1, sequence: 1, isTransactional: true)))  // 5 open
        try fixture.append(try Make.batch())  // 6
        let wanted: [AbortedTransactionEntry] = [
            AbortedTransactionEntry(producerID: 1, firstOffset: 0, lastOffset: 3, lastStableOffset: 1)
        ]
        for _ in 0..<3 {
            #expect(fixture.log.lastStableOffset == 5)
            #expect(try fixture.log.allAbortedTransactions() == wanted)
            #expect(try ConsumerView(fixture.log, isolation: .lastStable).offsets == [1, 2])
            #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [0, 1, 2, 5, 6])
            try fixture.kill()
            fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        }
        try fixture.reopen()
        // Lost while it lay still: looked for in the log again.
        try fixture.kill { directory in
            let partition = directory + "/topic-0"
            for name in try FileManager.default.contentsOfDirectory(atPath: partition) where name.hasSuffix(".txnindex") {
                try FileManager.default.removeItem(atPath: partition + "/" + name)
            }
        }
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        #expect(try fixture.log.allAbortedTransactions() == wanted)
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).offsets == [1, 2])
    }

    @Test("What a mirror has not settled is as if it were open, also after a kill that left a snapshot behind the markers")
    func unsettledEnds() throws {
        var configuration = LogConfiguration()
        configuration.segmentBytes = 400
        let fixture = try LogFixture(configuration)
        let first = Producer(id: 1, isTransactional: true)
        let second = Producer(id: 2, isTransactional: true)
        try fixture.append(try batch(first))  // 0
        try fixture.append(try batch(second))  // 1
        try fixture.append(Make.marker(.commit, producer: first), origin: .coordinator)  // 2
        try fixture.append(try Make.batch())  // 3
        try fixture.append(Make.marker(.commit, producer: second), origin: .coordinator)  // 4
        #expect(fixture.log.lastStableOffset == 5)
        try fixture.log.limitStable(.unknown)
        #expect(fixture.log.lastStableOffset == 0)
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).offsets.isEmpty)
        try fixture.log.limitStable(.settled(end: 2, from: 0))
        #expect(fixture.log.lastStableOffset == 0)
        try fixture.log.limitStable(.settled(end: 3, from: 0))
        #expect(fixture.log.lastStableOffset == 1)
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).offsets == [0])
        try fixture.reopen()
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        #expect(fixture.log.lastStableOffset == 5, "nobody has said yet what counts")
        try fixture.log.limitStable(.settled(end: 3, from: 1))
        #expect(fixture.log.lastStableOffset == 1)
        // Cut to where nothing is held, and appended anew.
        try fixture.log.truncate(to: 4, now: 1_000)
        fixture.log.advanceHighWatermark(to: 4)
        #expect(fixture.log.lastStableOffset == 1)
        try fixture.append(Make.marker(.abort, producer: second), origin: .coordinator)  // 4
        #expect(fixture.log.lastStableOffset == 1)
        try fixture.log.limitStable(.none)
        #expect(fixture.log.lastStableOffset == 5)
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).offsets == [0, 3])
    }

    @Test("A transaction's end counts once it is replicated")
    func unreplicatedMarker() throws {
        let fixture = try LogFixture()
        let producer = Producer(id: 1, isTransactional: true)
        try fixture.append(try batch(producer))
        _ = try fixture.log.append(Make.marker(.commit, producer: producer), origin: .coordinator, leaderEpoch: 0, now: 1)
        #expect(fixture.log.lastStableOffset == 0)
        fixture.log.advanceHighWatermark(to: 2)
        #expect(fixture.log.lastStableOffset == 2)
    }

    @Test("Plain writes into an open transaction and stale markers are refused")
    func refusals() throws {
        let fixture = try LogFixture()
        let producer = Producer(id: 1, epoch: 1, isTransactional: true)
        try fixture.append(try batch(producer))
        #expect(throws: StorageError.invalidTransactionState(producerID: 1)) {
            try fixture.append(try batch(Producer(id: 1, epoch: 1, sequence: 1)))
        }
        try fixture.append(Make.marker(.commit, producer: producer, coordinatorEpoch: 3), origin: .coordinator)
        #expect(throws: StorageError.fencedTransactionCoordinator(producerID: 1, epoch: 2, currentEpoch: 3)) {
            try fixture.append(Make.marker(.abort, producer: producer, coordinatorEpoch: 2), origin: .coordinator)
        }
        #expect(throws: StorageError.self) {
            try fixture.append(Make.marker(.abort, producer: Producer(id: 1, epoch: 0), coordinatorEpoch: 3), origin: .coordinator)
        }
    }
}
