// Who may write under a transactional id: ids, epochs, fencing and retries (KIP-98, KIP-360).
import KafkaWire
import Primitives
import Testing

@testable import TransactionCoordination

@Suite("InitProducerId")
struct InitProducerIDTests {
    @Test("The first producer gets a new id and epoch 0, each later one the next epoch")
    func epochs() {
        var harness = CoordinatorHarness()
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 100, epoch: 0)))
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 100, epoch: 1)))
        #expect(harness.initialize("other") == .initialized(ProducerIdentity(id: 101, epoch: 0)))
        #expect(harness.state() == .empty)
        #expect(harness.log.map(\.transactionalID) == ["t", "t", "other"])
    }

    @Test("What a request must not ask for")
    func refusals() {
        var harness = CoordinatorHarness()
        #expect(harness.initialize("") == .refused(.invalidRequest))
        #expect(harness.initialize(timeout: 0) == .refused(.invalidTransactionTimeout))
        #expect(harness.initialize(timeout: -1) == .refused(.invalidTransactionTimeout))
        #expect(harness.initialize(timeout: 900_001) == .refused(.invalidTransactionTimeout))
        #expect(harness.initialize { $0.enable2Pc = true } == .refused(.transactionalIdAuthorizationFailed))
        #expect(harness.initialize { $0.keepPreparedTxn = true } == .refused(.unsupportedVersion))
        #expect(harness.log.isEmpty)
    }

    @Test("A transaction that an outside coordinator decides has no timeout")
    func twoPhaseCommit() {
        var configuration = TransactionCoordinatorConfiguration()
        configuration.isTwoPhaseCommitEnabled = true
        var harness = CoordinatorHarness(configuration: configuration)
        guard case .initialized(let producer) = harness.initialize(timeout: 0, change: { $0.enable2Pc = true }) else {
            Issue.record("not initialized")
            return
        }
        #expect(harness.coordinator.metadata(of: "t")?.timeoutMilliseconds == .max)
        #expect(harness.add(["a-0"], producer) == .none)
        harness.now = .max - 10
        #expect(harness.coordinator.timedOut(now: harness.now).isEmpty)
    }

    @Test("A producer that names its id goes on with the next epoch; a retry of that gets the same answer")
    func continuing() {
        var harness = CoordinatorHarness()
        let first = harness.producer()
        let second = ProducerIdentity(id: first.id, epoch: 1)
        #expect(harness.initialize(expecting: first) == .initialized(second))
        #expect(harness.initialize(expecting: first) == .initialized(second))
        #expect(harness.initialize(expecting: second) == .initialized(ProducerIdentity(id: first.id, epoch: 2)))
        #expect(harness.initialize(expecting: first) == .refused(.producerFenced))
        #expect(harness.initialize(expecting: ProducerIdentity(id: 999, epoch: 0)) == .refused(.producerFenced))
        // A new producer takes over: the former one's retry must not fence it.
        let taker = harness.producer()
        #expect(taker.epoch == 3)
        #expect(harness.initialize(expecting: ProducerIdentity(id: first.id, epoch: 2)) == .refused(.producerFenced))
    }

    @Test("Used up epochs lead to a new id, also for a producer that missed the answer")
    func exhaustion() {
        var harness = CoordinatorHarness()
        let first = harness.producer()
        var metadata = harness.coordinator.entries["t"]!.metadata
        metadata.producerEpoch = .max - 1
        harness.coordinator.entries["t"]!.metadata = metadata
        let last = ProducerIdentity(id: first.id, epoch: .max - 1)
        let next = ProducerIdentity(id: 101, epoch: 0)
        #expect(harness.initialize(expecting: last) == .initialized(next))
        #expect(harness.initialize(expecting: last) == .initialized(next))
        #expect(harness.coordinator.metadata(of: "t")?.previousProducerID == 101)
        // A new one does not name any.
        harness.coordinator.entries["t"]!.metadata.producerEpoch = .max - 1
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 102, epoch: 0)))
    }

    @Test("While a record is on its way others are told to try again", arguments: [0 as Int16, 2])
    func transition(version: Int16) {
        var harness = CoordinatorHarness(version: version)
        harness.holdsWrites = true
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 100, epoch: 0)))
        #expect(harness.identity()?.epoch == -1)
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        harness.releaseWrites()
        #expect(harness.identity() == ProducerIdentity(id: 100, epoch: 0))
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 100, epoch: 1)))
    }

    @Test("A lost record changes nothing")
    func loss() {
        var harness = CoordinatorHarness()
        let producer = harness.producer()
        harness.holdsWrites = true
        _ = harness.initialize()
        harness.loseWrites()
        #expect(harness.identity() == producer)
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: producer.id, epoch: 1)))
    }

    @Test("A newcomer fences the producer of an open transaction and aborts it", arguments: [0 as Int16, 1, 2])
    func fencing(version: Int16) {
        var harness = CoordinatorHarness(version: version)
        let zombie = harness.producer()
        #expect(harness.add(["a-0", "b-1"], zombie) == .none)
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        #expect(harness.state() == .prepareAbort)
        #expect(harness.markers.count == 1)
        let markers = harness.markers[0]
        #expect(markers.producer == ProducerIdentity(id: zombie.id, epoch: zombie.epoch + 1))
        #expect(markers.outcome == .abort && markers.coordinatorEpoch == 7 && markers.partitions == ["a-0", "b-1"])
        #expect(markers.version == (version >= 2 ? 2 : 0))
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        harness.writeMarkers()
        #expect(harness.state() == .completeAbort)
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: zombie.id, epoch: zombie.epoch + 2)))
        #expect(harness.add(["a-0"], zombie) == .producerFenced)
        #expect(harness.end("t", zombie, .commit) == .refused(.producerFenced))
    }

    @Test("An epoch that was bumped to fence, with the record lost, is not bumped again")
    func failedFence() {
        var harness = CoordinatorHarness(version: 1)
        let zombie = harness.producer()
        _ = harness.add(["a-0"], zombie)
        harness.holdsWrites = true
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        harness.loseWrites()
        #expect(harness.identity()?.epoch == zombie.epoch + 1 && harness.state() == .ongoing)
        #expect(harness.end("t", zombie, .commit) == .refused(.producerFenced))
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        #expect(harness.markers.map(\.producer.epoch) == [zombie.epoch + 1])
        harness.writeMarkers()
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: zombie.id, epoch: zombie.epoch + 2)))
    }

    @Test("Fencing a producer with the last epoch goes over to a new id")
    func fencingAtTheEnd() {
        var harness = CoordinatorHarness()
        let first = harness.producer()
        harness.coordinator.entries["t"]!.metadata.producerEpoch = .max - 1
        #expect(harness.add(["a-0"], ProducerIdentity(id: first.id, epoch: .max - 1)) == .none)
        #expect(harness.initialize() == .refused(.concurrentTransactions))
        #expect(harness.markers.map(\.producer) == [ProducerIdentity(id: first.id, epoch: .max)])
        harness.writeMarkers()
        #expect(harness.identity() == ProducerIdentity(id: 101, epoch: 0))
        #expect(harness.initialize() == .initialized(ProducerIdentity(id: 101, epoch: 1)))
    }
}
