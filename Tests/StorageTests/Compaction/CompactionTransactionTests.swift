// Transactions under compaction: aborted records go, markers stay as long as they have something to say, producers are remembered.
import NIOCore
import Primitives
import RecordBatches
import Testing

@testable import Storage

@Suite("Compaction: transactions")
struct CompactionTransactionTests {
    private func transactional(_ id: ProducerID, _ sequence: Int32) -> Producer {
        Producer(id: id, sequence: sequence, isTransactional: true)
    }

    private func end(_ fixture: LogFixture, _ outcome: EndTransactionMarker.Outcome, _ id: ProducerID) throws {
        try fixture.append(Make.marker(outcome, producer: transactional(id, 0)), origin: .coordinator)
    }

    private func committed(_ fixture: LogFixture) throws -> [String] { try ConsumerView(fixture.log, isolation: .lastStable).lines }

    /// What is in the log: "0-1 data(2)", "2 abort(1)" and so on, with the number of records.
    private func outline(_ fixture: LogFixture) throws -> [String] {
        try fixture.batches().map { batch in
            let header = batch.header
            let offsets = header.lastOffsetDelta == 0 ? "\(header.baseOffset)" : "\(header.baseOffset)-\(header.lastOffset)"
            let marker = TransactionMarker(batch.bytes)
            let kind = header.isControl ? marker.map { $0.isAborted ? "abort" : "commit" } ?? "control" : "data"
            return "\(offsets) \(kind)(\(header.recordCount))"
        }
    }

    private func expect(_ found: [String], _ expected: [String], line: SourceLocation = #_sourceLocation) {
        #expect(found == expected, sourceLocation: line)
    }

    private func cleanAgain(_ fixture: LogFixture, after milliseconds: Int64 = 0) throws {
        fixture.now += milliseconds
        fixture.forgetCleaning()
        try fixture.clean()
    }

    @Test("Records of aborted transactions go at once, their marker when its horizon is over")
    func aborted() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1")])
        try fixture.put([Entry("a", "void"), Entry("b", "void")], producer: transactional(7, 0))
        try end(fixture, .abort, 7)
        // The producer's newest batch lies elsewhere, so that nothing has to be kept for it.
        try fixture.put([Entry("c", "1")], producer: transactional(7, 2))
        try end(fixture, .commit, 7)
        try fixture.roll()
        try fixture.put([Entry("d", "1")], producer: transactional(7, 3))
        try end(fixture, .commit, 7)
        expect(try committed(fixture), ["0 a=1", "4 c=1", "6 d=1"])
        try fixture.clean()
        // The void records did not count as newest; the marker was behind records when this cleaning began.
        expect(try outline(fixture), ["0 data(1)", "3 abort(1)", "4 data(1)", "5 commit(1)", "6 data(1)", "7 commit(1)"])
        expect(try committed(fixture), ["0 a=1", "4 c=1", "6 d=1"])
        #expect(try fixture.log.allAbortedTransactions().map(\.firstOffset) == [1])
        try cleanAgain(fixture)
        #expect(try fixture.batches()[1].header.deleteHorizon == fixture.now + 1000)
        #expect(try fixture.log.allAbortedTransactions().isEmpty, "nothing is left that would have to be skipped")
        try cleanAgain(fixture, after: 999)
        #expect(try outline(fixture).contains("3 abort(1)"))
        try cleanAgain(fixture, after: 1)
        expect(try outline(fixture), ["0 data(1)", "4 data(1)", "5 commit(1)", "6 data(1)", "7 commit(1)"])
        try fixture.reopen()
        expect(try committed(fixture), ["0 a=1", "4 c=1", "6 d=1"])
    }

    @Test("A commit marker goes once no batch of its transaction is left")
    func committedMarker() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1")], producer: transactional(7, 0))
        try end(fixture, .commit, 7)
        try fixture.put([Entry("a", "2")], producer: transactional(8, 0))
        try end(fixture, .commit, 8)
        try fixture.put([Entry("z", "1")], producer: transactional(7, 1))
        try end(fixture, .commit, 7)
        try fixture.roll()
        try fixture.clean()
        expect(try outline(fixture), ["1 commit(1)", "2 data(1)", "3 commit(1)", "4 data(1)", "5 commit(1)"])
        try cleanAgain(fixture)
        #expect(try fixture.batches()[0].header.deleteHorizon == fixture.now + 1000)
        try cleanAgain(fixture, after: 1000)
        expect(try outline(fixture), ["2 data(1)", "3 commit(1)", "4 data(1)", "5 commit(1)"])
        expect(try committed(fixture), ["2 a=2", "4 z=1"])
    }

    @Test("The last batch of a producer stays, empty if need be, so that its retries are recognized after a restart")
    func lastBatch() throws {
        let fixture = try LogFixture(.compacted)
        fixture.now = 2000
        try fixture.put([Entry("a", "1"), Entry("b", "1")], producer: Producer(id: 5, epoch: 2, sequence: 0), compression: .lz4)
        try fixture.put([Entry("a", "2"), Entry("b", "2")])
        try fixture.roll()
        try fixture.clean()
        let header = try #require(try fixture.batches().first).header
        #expect(header.recordCount == 0 && header.lastOffset == 1 && header.lastSequence == 1 && header.producerEpoch == 2)
        #expect(header.sizeInBytes == 61 && !header.isCompressed && header.baseTimestamp == -1 && header.maxTimestamp == 1000)
        let snapshots = try FileSystem.names(in: fixture.log.path).map(\.name).filter { $0.hasSuffix(".snapshot") }
        try fixture.kill { path in for name in snapshots { try FileSystem.remove(path + "/topic-0/" + name) } }
        let again = try fixture.put([Entry("a", "1"), Entry("b", "1")], producer: Producer(id: 5, epoch: 2, sequence: 0))
        #expect(again.isDuplicate && again.firstOffset == 0)
        #expect(throws: StorageError.self) { try fixture.put([Entry("a", "x")], producer: Producer(id: 5, epoch: 2, sequence: 9)) }
        #expect(try fixture.put([Entry("a", "3")], producer: Producer(id: 5, epoch: 2, sequence: 2)).firstOffset == 4)
        // Now another batch is its last one.
        try fixture.roll()
        try cleanAgain(fixture)
        #expect(try ConsumerView(fixture.log, isolation: .highWatermark).offsets == [3, 4])
        #expect(try fixture.batches().map(\.header.baseOffset) == [2, 4])
    }

    @Test("A producer that only wrote a marker is remembered by it")
    func lastMarker() throws {
        let fixture = try LogFixture(.compacted)
        // A fence: the coordinator aborts under a new epoch, in which no data was written.
        try fixture.put([Entry("a", "void")], producer: transactional(7, 0))
        try fixture.append(Make.marker(.abort, producer: Producer(id: 7, epoch: 1)), origin: .coordinator)
        try fixture.put([Entry("b", "1")])
        try fixture.roll()
        for _ in 0..<4 { try cleanAgain(fixture, after: 2000) }
        let marker = try #require(try fixture.batches().first { $0.header.isControl }).header
        #expect(marker.producerEpoch == 1 && marker.baseOffset == 1)
        #expect(throws: StorageError.self) {
            try fixture.put([Entry("a", "late")], producer: Producer(id: 7, epoch: 0, sequence: 1, isTransactional: true))
        }
    }

    @Test("Nothing beyond the last stable offset is cleaned")
    func lastStableOffset() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1")])
        try fixture.roll()
        try fixture.put([Entry("a", "open")], producer: transactional(7, 0))
        try fixture.put([Entry("a", "2")])
        try fixture.roll()
        try fixture.put([Entry("a", "3")])
        #expect(try #require(try fixture.clean()).endOffset == 1)
        #expect(try outline(fixture).count == 4)
        try end(fixture, .abort, 7)
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        try fixture.clean()
        #expect(try ConsumerView(fixture.log, isolation: .lastStable).lines == ["2 a=2", "3 a=3"])
    }

    @Test("A transaction across segments, its marker beyond what can be cleaned")
    func acrossSegments() throws {
        let fixture = try LogFixture(.compacted)
        try fixture.put([Entry("a", "1"), Entry("b", "1")])
        try fixture.put([Entry("a", "void")], producer: transactional(7, 0))
        try fixture.roll()
        try fixture.put([Entry("b", "void")], producer: transactional(7, 1))
        try fixture.put([Entry("c", "1")])
        try fixture.roll()
        try end(fixture, .abort, 7)
        try fixture.put([Entry("c", "2")])
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        try fixture.clean()
        expect(try committed(fixture), ["0 a=1", "1 b=1", "4 c=1", "6 c=2"])
        expect(try outline(fixture), ["0-1 data(2)", "3 data(0)", "4 data(1)", "5 abort(1)", "6 data(1)"])
        try fixture.roll()
        try fixture.clean()
        expect(try committed(fixture), ["0 a=1", "1 b=1", "6 c=2"])
        #expect(try fixture.log.allAbortedTransactions().map(\.producerID) == [7], "an empty batch of it is left")
        try fixture.kill()
        fixture.log.advanceHighWatermark(to: fixture.log.logEndOffset)
        expect(try committed(fixture), ["0 a=1", "1 b=1", "6 c=2"])
    }

    @Test("Two transactions of one producer, one after the other, do not get mixed")
    func oneProducer() throws {
        let fixture = try LogFixture(.compacted)
        for (index, outcome) in [EndTransactionMarker.Outcome.abort, .commit, .abort, .commit].enumerated() {
            try fixture.put([Entry("k\(index)", "\(outcome)")], producer: transactional(7, Int32(index)))
            try end(fixture, outcome, 7)
            if index == 1 { try fixture.roll() }
        }
        try fixture.roll()
        for round in 0..<4 {
            try cleanAgain(fixture, after: round == 0 ? 0 : 1000)
            expect(try committed(fixture), ["2 k1=commit", "6 k3=commit"])
        }
        expect(try outline(fixture), ["2 data(1)", "3 commit(1)", "6 data(1)", "7 commit(1)"])
    }
}
