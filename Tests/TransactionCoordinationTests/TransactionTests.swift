// Partitions join a transaction, it ends, its partitions get their markers: state by state, by the rules of each transaction.version.
import KafkaWire
import Primitives
import Testing

@testable import TransactionCoordination

@Suite("Transactions")
struct TransactionTests {
    @Test("A whole transaction", arguments: [0 as Int16, 1, 2], [TransactionOutcome.commit, .abort])
    func whole(version: Int16, outcome: TransactionOutcome) {
        var harness = CoordinatorHarness(version: version)
        let producer = harness.producer()
        #expect(harness.add(["a-0"], producer) == .none)
        harness.now += 5
        #expect(harness.add(["a-1", "b-0"], producer) == .none)
        #expect(harness.coordinator.metadata(of: "t")?.startTimestamp == 1_000)
        #expect(harness.coordinator.metadata(of: "t")?.partitions == ["a-0", "a-1", "b-0"])
        let next = ProducerIdentity(id: producer.id, epoch: producer.epoch + (version >= 2 ? 1 : 0))
        #expect(harness.end("t", producer, outcome) == .ended(version >= 2 ? next : .none))
        #expect(harness.state() == (outcome == .commit ? .prepareCommit : .prepareAbort))
        #expect(harness.markers.map(\.outcome) == [outcome] && harness.markers.map(\.producer) == [next])
        #expect(harness.markers.map(\.version) == [version >= 2 ? 2 : 0])
        // Some partitions are done.
        harness.take(harness.coordinator.markersWritten(harness.markers[0], partitions: ["a-0", "b-0"], moment: harness.moment))
        #expect(harness.state()?.isPrepared == true)
        #expect(harness.coordinator.describe("t").topics.map(\.topic) == ["a"])
        harness.take(harness.coordinator.markersWritten(harness.markers[0], partitions: ["a-1"], moment: harness.moment))
        #expect(harness.state() == (outcome == .commit ? .completeCommit : .completeAbort))
        #expect(harness.coordinator.metadata(of: "t")?.partitions.isEmpty == true)
        // The same once more does nothing.
        let records = harness.log.count
        harness.take(harness.coordinator.markersWritten(harness.markers[0], partitions: ["a-1"], moment: harness.moment))
        #expect(harness.log.count == records)
        #expect(harness.add(["a-0"], next) == .none)
        #expect(harness.state() == .ongoing)
    }

    @Test("Partitions that are part of the transaction already are not written again")
    func known() {
        var harness = CoordinatorHarness()
        let producer = harness.producer()
        _ = harness.add(["a-0", "a-1"], producer)
        let records = harness.log.count
        #expect(harness.add(["a-1"], producer) == .none)
        #expect(harness.log.count == records)
    }

    @Test("Who may not add partitions")
    func adding() {
        var harness = CoordinatorHarness()
        #expect(harness.add(["a-0"], to: "", .none) == .invalidRequest)
        #expect(harness.add(["a-0"], ProducerIdentity(id: 1, epoch: 0)) == .invalidProducerIdMapping)
        let producer = harness.producer()
        #expect(harness.add(["a-0"], ProducerIdentity(id: 1, epoch: 0)) == .invalidProducerIdMapping)
        #expect(harness.add(["a-0"], ProducerIdentity(id: producer.id, epoch: 3)) == .producerFenced)
        harness.holdsWrites = true
        #expect(harness.add(["a-0"], producer) == .none)
        #expect(harness.add(["a-1"], producer) == .concurrentTransactions)
        #expect(harness.end("t", producer, .commit) == .refused(.concurrentTransactions))
        harness.releaseWrites()
        _ = harness.end("t", producer, .commit)
        #expect(harness.add(["a-0"], producer) == .concurrentTransactions)
    }

    @Test("Leaders that ask whether a partition belongs to a transaction")
    func verification() {
        var harness = CoordinatorHarness(version: 0)
        let asked: [TopicPartition] = ["a-0", "a-1"]
        func verify(_ id: String, _ producer: ProducerIdentity) -> [ErrorCode] {
            harness.coordinator.verifyPartitions(asked, in: id, producer: producer)
        }
        #expect(verify("", .none) == [.invalidRequest, .invalidRequest])
        #expect(verify("t", .none) == [.invalidProducerIdMapping, .invalidProducerIdMapping])
        let producer = harness.producer()
        #expect(verify("t", ProducerIdentity(id: 5, epoch: 0)) == [.invalidProducerIdMapping, .invalidProducerIdMapping])
        #expect(verify("t", ProducerIdentity(id: producer.id, epoch: 1)) == [.producerFenced, .producerFenced])
        #expect(verify("t", producer) == [.transactionAbortable, .transactionAbortable])
        _ = harness.add(["a-1"], producer)
        #expect(verify("t", producer) == [.transactionAbortable, .none])
        _ = harness.end("t", producer, .abort)
        #expect(verify("t", producer) == [.concurrentTransactions, .concurrentTransactions])
        harness.writeMarkers()
        #expect(verify("t", producer) == [.transactionAbortable, .transactionAbortable])
    }

    @Test("Ending by the rules before transaction.version 2")
    func endingKeepingEpoch() {
        var harness = CoordinatorHarness(version: 0)
        #expect(harness.end("", .none, .commit) == .refused(.invalidRequest))
        #expect(harness.end("t", .none, .commit) == .refused(.invalidProducerIdMapping))
        let producer = harness.producer()
        for outcome in [TransactionOutcome.commit, .abort] { #expect(harness.end("t", producer, outcome) == .refused(.invalidTxnState)) }
        #expect(harness.end("t", ProducerIdentity(id: 5, epoch: 0), .commit) == .refused(.invalidProducerIdMapping))
        #expect(harness.end("t", ProducerIdentity(id: producer.id, epoch: 9), .commit) == .refused(.producerFenced))
        for (outcome, other) in [(TransactionOutcome.commit, TransactionOutcome.abort), (.abort, .commit)] {
            _ = harness.add(["a-0"], producer)
            #expect(harness.end("t", producer, outcome) == .ended(.none))
            #expect(harness.end("t", producer, outcome) == .refused(.concurrentTransactions))
            harness.writeMarkers()
            #expect(harness.end("t", producer, outcome) == .ended(.none))
            #expect(harness.end("t", producer, other) == .refused(.invalidTxnState))
        }
        #expect(harness.identity() == producer)
    }

    /// Kafka's table of what an EndTxn of version 5 gets in each state: with the present epoch, and as a retry with the one before.
    @Test(
        "Ending by the rules of transaction.version 2",
        arguments: [
            // state before, what is asked, retry?, answer: nil for a new epoch
            ("empty", TransactionOutcome.abort, false, nil), ("empty", .commit, false, ErrorCode.invalidTxnState),
            ("empty", .abort, true, .producerFenced), ("empty", .commit, true, .producerFenced),
            ("aborted", .abort, false, nil), ("aborted", .commit, false, .invalidTxnState), ("aborted", .abort, true, ErrorCode.none),
            ("aborted", .commit, true, .invalidTxnState), ("committed", .abort, false, nil),
            ("committed", .commit, false, .invalidTxnState),
            ("committed", .abort, true, .invalidTxnState), ("committed", .commit, true, ErrorCode.none),
        ] as [(String, TransactionOutcome, Bool, ErrorCode?)])
    func endingBumpingEpoch(before: String, outcome: TransactionOutcome, isRetry: Bool, error: ErrorCode?) {
        var harness = CoordinatorHarness()
        // Twice, so that there is an epoch before.
        _ = harness.producer()
        let producer = harness.producer()
        if before != "empty" {
            _ = harness.add(["a-0"], producer)
            _ = harness.end("t", producer, before == "committed" ? .commit : .abort)
            harness.writeMarkers()
        }
        let current = harness.identity()!
        let asking = isRetry ? ProducerIdentity(id: current.id, epoch: current.epoch - 1) : current
        let answer = harness.end("t", asking, outcome)
        switch error {
        case nil:
            #expect(answer == .ended(ProducerIdentity(id: current.id, epoch: current.epoch + 1)))
            // There was nothing to mark.
            #expect(harness.state() == .completeAbort && harness.markers.isEmpty)
        case ErrorCode.none?:
            #expect(answer == .ended(current) && harness.identity() == current)
        case let error?:
            #expect(answer == .refused(error) && harness.identity() == current)
        }
    }

    @Test("With the last epoch the producer goes on under a new id, and a retry is told so too")
    func overflow() {
        var harness = CoordinatorHarness()
        let first = harness.producer()
        harness.coordinator.entries["t"]!.metadata.producerEpoch = .max - 1
        let last = ProducerIdentity(id: first.id, epoch: .max - 1)
        #expect(harness.add(["a-0"], last) == .none)
        let next = ProducerIdentity(id: 101, epoch: 0)
        #expect(harness.end("t", last, .commit) == .ended(next))
        #expect(harness.markers.map(\.producer) == [ProducerIdentity(id: first.id, epoch: .max)])
        #expect(harness.coordinator.metadata(of: "t")?.nextProducerID == 101)
        #expect(harness.end("t", last, .commit) == .refused(.concurrentTransactions))
        harness.writeMarkers()
        #expect(harness.identity() == next)
        #expect(harness.coordinator.metadata(of: "t")?.previousProducerID == first.id)
        #expect(harness.end("t", last, .commit) == .ended(next))
        #expect(harness.end("t", last, .abort) == .refused(.invalidTxnState))
        #expect(harness.add(["a-0"], next) == .none)
    }

    @Test("A successor finishes what was decided, and only that", arguments: [0 as Int16, 2])
    func failover(version: Int16) {
        var harness = CoordinatorHarness(version: version)
        let decided = harness.producer("decided")
        let open = harness.producer("open")
        let undecided = harness.producer("undecided")
        for (id, producer) in [("decided", decided), ("open", open), ("undecided", undecided)] {
            #expect(harness.add(["a-0"], to: id, producer) == .none)
        }
        _ = harness.end("decided", decided, .commit)
        harness.holdsWrites = true
        _ = harness.end("undecided", undecided, .commit)
        var next = harness.successor(epoch: 8)
        next.holdsWrites = false
        #expect(next.markers.map(\.transactionalID) == ["decided"])
        #expect(next.markers.map(\.coordinatorEpoch) == [8])
        #expect(next.state("undecided") == .ongoing && next.state("open") == .ongoing)
        next.writeMarkers()
        #expect(next.state("decided") == .completeCommit)
        guard case .ended = next.end("undecided", undecided, .commit) else {
            Issue.record("the producer cannot go on")
            return
        }
    }

    @Test("A last record that was lost is written again")
    func completionRetry() {
        var harness = CoordinatorHarness()
        let producer = harness.producer()
        _ = harness.add(["a-0"], producer)
        _ = harness.end("t", producer, .commit)
        harness.holdsWrites = true
        harness.writeMarkers()
        harness.loseWrites()
        #expect(harness.state() == .prepareCommit && harness.coordinator.hasFailedCompletions)
        harness.take(harness.coordinator.retryCompletions(moment: harness.moment))
        #expect(harness.state() == .completeCommit && !harness.coordinator.hasFailedCompletions)
    }

    @Test("Transactions whose time is over are aborted and their producers fenced", arguments: [0 as Int16, 2])
    func timeout(version: Int16) {
        var harness = CoordinatorHarness(version: version)
        let producer = harness.producer(timeout: 100)
        _ = harness.add(["a-0"], producer)
        harness.now += 100
        harness.abortTimedOut()
        #expect(harness.state() == .ongoing)
        harness.now += 1
        harness.abortTimedOut()
        #expect(harness.state() == .prepareAbort)
        harness.writeMarkers()
        #expect(harness.state() == .completeAbort)
        // With transaction.version 2 a producer whose epoch was bumped once may ask how its transaction ended; it must not commit.
        #expect(harness.end("t", producer, .commit) == .refused(version >= 2 ? .invalidTxnState : .producerFenced))
        #expect(harness.add(["a-0"], producer) == .producerFenced)
    }

    @Test("Ids that nobody uses are forgotten, but none with an open transaction")
    func expiration() {
        var harness = CoordinatorHarness()
        for index in 0..<5 { _ = harness.producer("idle-\(index)") }
        let producer = harness.producer("busy")
        _ = harness.add(["a-0"], to: "busy", producer)
        harness.now += 604_800_000 - 1
        #expect(harness.removeExpired() == false)
        #expect(harness.coordinator.entries.count == 6)
        harness.now += 1
        #expect(harness.removeExpired() == true)
        #expect(harness.removeExpired() == false)
        #expect(Array(harness.coordinator.entries.keys) == ["busy"])
        #expect(harness.log.suffix(5).allSatisfy { $0.metadata == nil })
        let next = harness.successor(epoch: 9)
        #expect(Array(next.coordinator.entries.keys) == ["busy"])
        #expect(harness.add(["a-0"], to: "idle-0", ProducerIdentity(id: 100, epoch: 0)) == .invalidProducerIdMapping)
    }

    @Test("Listing and describing")
    func administration() {
        var harness = CoordinatorHarness()
        let producer = harness.producer("a")
        _ = harness.producer("b")
        _ = harness.add(["x-0", "y-1", "x-2"], to: "a", producer)
        harness.now += 1_000
        func list(
            states: [TransactionState] = [], unknown: Bool = false, producers: [ProducerID] = [], duration: Int64 = -1,
            matches: (String) -> Bool = { _ in true }
        ) -> [String] {
            let filter = TransactionFilter(
                states: Set(states), filtersStates: unknown || !states.isEmpty, producerIDs: Set(producers), durationMilliseconds: duration)
            return harness.coordinator.list(filter, now: harness.now, matches: matches).map(\.transactionalId)
        }
        #expect(list() == ["a", "b"])
        #expect(list(states: [.ongoing]) == ["a"])
        #expect(list(unknown: true) == [])
        #expect(list(producers: [101]) == ["b"])
        #expect(list(states: [.ongoing], duration: 999) == ["a"])
        #expect(list(states: [.ongoing], duration: 1_000) == [])
        #expect(list { $0 == "b" } == ["b"])
        let described = harness.coordinator.describe("a")
        #expect(described.transactionState == "Ongoing" && described.producerId == 100 && described.transactionTimeoutMs == 60_000)
        #expect(described.topics.map(\.topic) == ["x", "y"] && described.topics.map(\.partitions) == [[0, 2], [1]])
        #expect(harness.coordinator.describe("c").errorCode == .transactionalIdNotFound)
        #expect(harness.coordinator.describe("").errorCode == .invalidRequest)
    }
}
