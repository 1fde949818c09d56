import Collections
import Primitives
import Testing

@testable import Linking

/// A transaction is shown by all mirrors that it touched or by none.
struct TransactionGateTests {
    private static let a0 = TopicPartition("a", 0)
    private static let b0 = TopicPartition("b", 0)
    private static let producer = TransactionProducer(id: 7, epoch: 3)

    private static func gate(_ recorded: RecordedTransactions = RecordedTransactions()) -> TransactionGate {
        var gate = TransactionGate(recorded, maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "a", "b": "b"])
        return gate
    }

    /// By the source's clock it began a hundred milliseconds before it was decided, at a thousand for each offset.
    private static func decision(_ offset: Offset, _ partitions: [TopicPartition] = [a0, b0], id: String = "t") -> CommitDecision {
        CommitDecision(
            id: DecisionID(partition: 1, offset: offset), transactionalID: id, producer: producer, partitions: partitions,
            startedAt: offset * 1_000 - 100, decidedAt: offset * 1_000)
    }

    /// - Parameter time: of the source's clock; the default fits every decision that is not complete.
    private static func marker(_ partition: TopicPartition, _ offset: Offset, at time: Timestamp = 1_000_000) -> HeldMarker {
        HeldMarker(partition: partition, producer: producer, offset: offset, timestamp: time)
    }

    private static func complete(_ gate: inout TransactionGate, at offset: Offset, now: Int64, id: String = "t") {
        gate.observeCompletion(id, at: DecisionID(partition: 1, offset: offset), timestamp: offset * 1_000, now: now)
    }

    @Test func markersWaitForEachOther() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        gate.report([Self.marker(Self.a0, 10)], now: 1)
        #expect(gate.evaluate(now: 1) == TransactionGate.Outcome())
        gate.report([Self.marker(Self.b0, 20)], now: 2)
        let outcome = gate.evaluate(now: 2)
        let id = DecisionID(partition: 1, offset: 5)
        #expect(outcome.candidates == [TransactionRelease(id: id, producer: Self.producer, markers: [Self.a0: 10, Self.b0: 20])])
        #expect(outcome.permitted.isEmpty, "nothing is shown before it is recorded")
        #expect(gate.evaluate(now: 3).candidates.isEmpty, "it is handed out once")
        gate.notReleased([id])
        #expect(gate.evaluate(now: 3).candidates.count == 1)
        #expect(Set(gate.released([id])) == [Self.marker(Self.a0, 10), Self.marker(Self.b0, 20)])
        #expect(gate.isPermitted(Self.marker(Self.a0, 10)))
    }

    @Test func aMarkerWaitsForItsDecision() {
        var gate = Self.gate()
        gate.report([Self.marker(Self.a0, 10)], now: 5)
        #expect(gate.evaluate(now: 5).permitted.isEmpty)
        #expect(gate.awaitsDecisions(since: 5) && !gate.awaitsDecisions(since: 4))
        gate.observe(Self.decision(1, [Self.a0]))
        #expect(gate.evaluate(now: 6).candidates.map(\.id.offset) == [1])
    }

    @Test func markersOfForgottenDecisionsPassOnceTheLogHasBeenRead() {
        var gate = Self.gate()
        gate.report([Self.marker(Self.a0, 10)], now: 5)
        gate.readThrough(4)
        #expect(gate.evaluate(now: 6).permitted.isEmpty)
        gate.readThrough(5)
        #expect(gate.evaluate(now: 6).permitted == [Self.marker(Self.a0, 10)])
        // The source's decisions cannot be read: nothing waits for them for ever.
        gate.report([Self.marker(Self.a0, 20)], now: 100)
        #expect(gate.evaluate(now: 10_100).permitted.isEmpty && gate.incompleteReleases == 0)
        #expect(gate.evaluate(now: 10_101).permitted == [Self.marker(Self.a0, 20)])
        #expect(gate.incompleteReleases == 1)
    }

    /// Before transactions of version 2 a producer keeps its epoch: the order tells its transactions apart.
    @Test func transactionsOfOneEpochAreTakenInOrder() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 1)
        gate.observe(Self.decision(7))
        gate.report([Self.marker(Self.a0, 10, at: 5_001), Self.marker(Self.a0, 12), Self.marker(Self.b0, 20, at: 5_200)], now: 2)
        #expect(gate.evaluate(now: 2).candidates.map(\.markers) == [[Self.a0: 10, Self.b0: 20]])
        gate.report([Self.marker(Self.b0, 22)], now: 3)
        #expect(gate.evaluate(now: 3).candidates.map(\.markers) == [[Self.a0: 12, Self.b0: 22]])
    }

    /// The first marker that is seen of a producer may be of a transaction from before.
    @Test func theFirstMarkerIsTakenByItsTime() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 1)
        gate.observe(Self.decision(7))
        Self.complete(&gate, at: 8, now: 1)
        gate.observe(Self.decision(9))
        // Clocks of brokers differ a little.
        gate.report([Self.marker(Self.a0, 10, at: 4_850), Self.marker(Self.b0, 20, at: 6_997)], now: 2)
        let outcome = gate.evaluate(now: 2)
        #expect(outcome.permitted == [Self.marker(Self.a0, 10, at: 4_850)], "of a transaction that nobody knows")
        #expect(outcome.candidates.isEmpty)
        gate.report([Self.marker(Self.a0, 12, at: 8_005)], now: 3)
        #expect(gate.evaluate(now: 3).candidates.map(\.markers) == [[Self.a0: 12, Self.b0: 20]])
        #expect(gate.released([DecisionID(partition: 1, offset: 7)]).count == 2)
        // From here on the order tells, whatever the clocks say.
        gate.report([Self.marker(Self.a0, 14, at: 5_000), Self.marker(Self.b0, 22, at: 1)], now: 4)
        #expect(gate.evaluate(now: 4).candidates.map(\.id.offset) == [9])
    }

    /// Markers of two transactions in different orders: they go together, and none before the other of its mirror.
    @Test func transactionsThatCrossGoTogether() {
        var gate = Self.gate()
        let other = TransactionProducer(id: 8, epoch: 0)
        let crossing = CommitDecision(
            id: DecisionID(partition: 2, offset: 1), transactionalID: "u", producer: other, partitions: [Self.a0, Self.b0], startedAt: 0,
            decidedAt: 0)
        gate.observe(Self.decision(5))
        gate.observe(crossing)
        gate.report([Self.marker(Self.a0, 10), HeldMarker(partition: Self.a0, producer: other, offset: 12, timestamp: 1)], now: 1)
        gate.report([HeldMarker(partition: Self.b0, producer: other, offset: 20, timestamp: 1)], now: 2)
        #expect(gate.evaluate(now: 2).candidates.isEmpty, "the one would have to pass the other")
        gate.report([Self.marker(Self.b0, 22)], now: 3)
        #expect(gate.evaluate(now: 3).candidates.map(\.id.partition) == [1, 2])
    }

    @Test func topicsThatAreNotMirroredDoNotCount() {
        var gate = TransactionGate(RecordedTransactions(), maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "eu.a"])
        gate.observe(Self.decision(5))
        let own = Self.marker(TopicPartition("eu.a", 0), 10)
        gate.report([own, Self.marker(Self.b0, 9)], now: 1)
        #expect(gate.evaluate(now: 1).candidates.map(\.markers) == [[own.partition: 10]])
        #expect(gate.released([DecisionID(partition: 1, offset: 5)]) == [own])
    }

    @Test func aMirrorThatDoesNotComeIsLeftBehind() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        gate.report([Self.marker(Self.a0, 10)], now: 1)
        #expect(gate.evaluate(now: 10_001).candidates.isEmpty)
        let outcome = gate.evaluate(now: 10_002)
        #expect(outcome.leftBehind == [Self.b0])
        #expect(outcome.candidates.map(\.markers) == [[Self.a0: 10]])
        #expect(gate.incompleteReleases == 1)
        // Its markers pass, and nobody waits for it, until it has caught up.
        gate.report([Self.marker(Self.b0, 20)], now: 10_003)
        #expect(gate.evaluate(now: 10_003).permitted == [Self.marker(Self.b0, 20)])
        gate.observe(Self.decision(7))
        gate.report([Self.marker(Self.a0, 30)], now: 10_004)
        #expect(gate.evaluate(now: 10_004).candidates.count == 1)
        gate.progressed([Self.b0: MirrorStanding(highWatermark: 21, caughtUpAt: 10_001)])
        gate.observe(Self.decision(9, id: "other"))
        gate.report([Self.marker(Self.a0, 40)], now: 10_005)
        #expect(gate.evaluate(now: 10_005).candidates.count == 1, "it had not caught up since")
        gate.progressed([Self.b0: MirrorStanding(highWatermark: 21, caughtUpAt: 10_006)])
        gate.observe(Self.decision(11, id: "third"))
        gate.report([Self.marker(Self.a0, 50)], now: 10_007)
        #expect(gate.evaluate(now: 10_007).candidates.isEmpty)
    }

    @Test func newMirrorsAreNotWaitedForUntilTheyHaveCaughtUp() {
        var gate = Self.gate()
        gate.setMirrors(["a": "a", "b": "b", "c": "c"])
        let c0 = TopicPartition("c", 0)
        gate.observe(Self.decision(5, [Self.a0, c0]))
        gate.report([Self.marker(Self.a0, 10), Self.marker(c0, 3)], now: 1)
        let outcome = gate.evaluate(now: 1)
        #expect(outcome.permitted == [Self.marker(c0, 3)])
        #expect(outcome.candidates.map(\.markers) == [[Self.a0: 10, c0: 3]])
        #expect(gate.laggingMirrors == 1)
        gate.observe(Self.decision(7, [Self.a0, c0], id: "other"))
        gate.progressed([c0: MirrorStanding(highWatermark: 4, caughtUpAt: 2)])
        #expect(gate.laggingMirrors == 0)
        gate.report([Self.marker(Self.a0, 12)], now: 3)
        #expect(gate.evaluate(now: 3).candidates.map(\.id.offset) == [7], "it may have passed the marker before it had caught up")
        gate.observe(Self.decision(9, [Self.a0, c0], id: "third"))
        gate.report([Self.marker(Self.a0, 14)], now: 4)
        #expect(gate.evaluate(now: 4).candidates.isEmpty)
    }

    /// A mirror that had the marker before anybody looked.
    @Test func aMirrorThatHasPassedTheMarkerIsNotWaitedFor() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 100)
        gate.report([Self.marker(Self.a0, 10)], now: 101)
        #expect(gate.evaluate(now: 101).candidates.isEmpty)
        gate.progressed([Self.b0: MirrorStanding(highWatermark: 50, caughtUpAt: 99)])
        #expect(gate.evaluate(now: 102).candidates.isEmpty)
        gate.progressed([Self.b0: MirrorStanding(highWatermark: 50, caughtUpAt: 101)])
        #expect(gate.evaluate(now: 103).candidates.map(\.markers) == [[Self.a0: 10]])
    }

    @Test func whatHasArrivedEverywhereIsForgotten() {
        var gate = Self.gate()
        gate.begin(1, at: 3)
        gate.observe(Self.decision(5))
        gate.report([Self.marker(Self.a0, 10), Self.marker(Self.b0, 20)], now: 1)
        _ = gate.evaluate(now: 1)
        _ = gate.released([DecisionID(partition: 1, offset: 5)])
        Self.complete(&gate, at: 6, now: 2)
        gate.progressed([
            Self.a0: MirrorStanding(highWatermark: 11, caughtUpAt: nil), Self.b0: MirrorStanding(highWatermark: 20, caughtUpAt: nil),
        ])
        #expect(gate.settledPositions == [1: 5])
        gate.progressed([
            Self.a0: MirrorStanding(highWatermark: 11, caughtUpAt: nil), Self.b0: MirrorStanding(highWatermark: 21, caughtUpAt: nil),
        ])
        #expect(gate.settledPositions == [1: 7])
    }

    /// Another coordinator goes on where one died: what was recorded as released stays so, what was not is decided anew.
    @Test func anotherCoordinatorGoesOn() {
        var recorded = RecordedTransactions()
        recorded.positions = [1: 5]
        let id = DecisionID(partition: 1, offset: 5)
        recorded.releases[0] = [TransactionRelease(id: id, producer: Self.producer, markers: [Self.a0: 10, Self.b0: 20])]
        var gate = Self.gate(recorded)
        #expect(gate.position(of: 1) == 5)
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 1)
        gate.observe(Self.decision(7))
        // The marker of the second transaction is not taken for that of the first, which this mirror has appended already.
        gate.report([Self.marker(Self.a0, 12), Self.marker(Self.b0, 20, at: 5_500)], now: 2)
        let outcome = gate.evaluate(now: 2)
        #expect(outcome.permitted == [Self.marker(Self.b0, 20, at: 5_500)])
        #expect(outcome.candidates.isEmpty)
    }

    @Test func nothingIsReleasedOnceAMirrorHasStopped() throws {
        var coordinator = LinkCoordinator()
        let link = LinkDefinition(
            name: "dr", id: .random(), configuration: ["bootstrap.servers": "a:1"], sourceClusterID: "source", createdAt: 1)
        coordinator.replay(.link(link))
        for name in ["a", "b"] {
            coordinator.replay(
                .mirror(MirrorTopic(name: name, link: "dr", sourceName: name, sourceID: .random(), state: .active, since: 1)))
        }
        let release = TransactionRelease(
            id: DecisionID(partition: 1, offset: 5), producer: Self.producer, markers: [Self.a0: 10, Self.b0: 20])
        let (released, records) = coordinator.release([release], link: "dr")
        #expect(released == [release.id])
        var active = coordinator
        for record in records { active.replay(try #require(try Self.reread(record))) }
        #expect(active.transactions["dr"]?.markers(in: Self.b0, from: 20).map(\.offset) == [20])
        #expect(active.transactions["dr"]?.markers(in: Self.b0, from: 21).isEmpty == true, "its marker is there")
        #expect(active.image == coordinator.image, "other brokers need not know")
        #expect(active.settle([1: 5], link: "dr") == [.transactionPositions("dr", [1: 5])])
        for record in active.settle([1: 6], link: "dr") { active.replay(try #require(try Self.reread(record))) }
        #expect(active.transactions["dr"]?.releases.isEmpty == true && active.transactions["dr"]?.positions == [1: 6])
        let plan = try coordinator.plan(.failover, link: "dr", topics: ["b"])
        for record in coordinator.records(.failover, plan, reason: "", now: 2) { coordinator.replay(record) }
        #expect(coordinator.release([release], link: "dr").released.isEmpty)
        for record in try active.deleteLink("dr", force: true) { active.replay(record) }
        #expect(active.transactions.isEmpty)
    }

    /// As it comes back from the log.
    private static func reread(_ record: LinkRecord) throws -> LinkRecord? {
        let (key, value) = record.encoded
        return LinkRecord(
            key: try JSONValue(parsing: Array(key.description.utf8)),
            value: try value.map { try JSONValue(parsing: Array($0.description.utf8)) })
    }
}
