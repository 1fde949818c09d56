import Collections
import Primitives
import Testing

@testable import Linking

/// A transaction is shown by all mirrors that it touched or by none.
struct TransactionGateTests {
    private static let a0 = TopicPartition("a", 0)
    private static let b0 = TopicPartition("b", 0)
    private static let producer = TransactionProducer(id: 7, epoch: 3)

    /// With mirrors of a and b that are waited for from offset 10 and 20 on.
    private static func gate(_ recorded: SettledTransactions? = nil, topics: [String: String] = ["a": "a", "b": "b"]) -> TransactionGate {
        var settled = SettledTransactions()
        settled.mirrors = [a0: SettledMirror(end: 10, stable: 8), b0: SettledMirror(end: 20, stable: 20)]
        settled.decisions.positions = [1: 0]
        var gate = TransactionGate(recorded ?? settled, maximumHoldMilliseconds: 10_000)
        gate.setMirrors(topics, now: 0)
        return gate
    }

    /// By the source's clock it began a hundred milliseconds before it was decided, at a thousand for each offset.
    private static func decision(
        _ offset: Offset, _ partitions: [TopicPartition] = [a0, b0], by producer: TransactionProducer = producer, commits: Bool = true,
        partition: Int32 = 1
    ) -> TransactionDecision {
        TransactionDecision(
            id: DecisionID(partition: partition, offset: offset), transactionalID: "t\(producer.id)", producer: producer, isCommit: commits,
            partitions: partitions, startedAt: offset * 1_000 - 100, decidedAt: offset * 1_000)
    }

    private static func marker(
        _ offset: Offset, by producer: TransactionProducer = producer, commits: Bool = true, at time: Timestamp = 1_000_000
    ) -> MirroredMarker {
        MirroredMarker(offset: offset, producer: producer, isCommit: commits, timestamp: time)
    }

    private static func complete(_ gate: inout TransactionGate, at offset: Offset, now: Int64) {
        gate.observeCompletion("t7", at: DecisionID(partition: 1, offset: offset), timestamp: offset * 1_000, now: now)
    }

    /// All there is of a mirror from an offset on, up to another.
    private static func report(
        _ gate: inout TransactionGate, _ partition: TopicPartition, from: Offset, upTo: Offset, _ markers: [MirroredMarker] = [],
        now: Int64 = 1, stable: Offset? = nil, coveredAt: Int64? = nil, epoch: LeaderEpoch = 1
    ) {
        let fits = gate.report(
            MirrorReport(
                leaderEpoch: epoch, from: from, upTo: upTo, markers: markers, stableOffset: stable ?? from, coveredAt: coveredAt),
            of: partition, now: now)
        #expect(fits)
    }

    /// Decides, with brokers that hold mirrors at once.
    @discardableResult
    private static func evaluate(_ gate: inout TransactionGate, now: Int64) -> [TopicPartition] {
        let left = gate.evaluate(now: now)
        let holds = gate.takeHolds().filter { $0.value != nil }
        guard !holds.isEmpty else { return left }
        gate.areHeldByAll(Array(holds.keys))
        return left + gate.evaluate(now: now)
    }

    /// The settled offsets that a step brings; nil for a mirror that is not waited for any longer.
    private static func expect(
        _ gate: inout TransactionGate, now: Int64 = 1, _ expected: [TopicPartition: Offset?], _ comment: Comment? = nil,
        at location: SourceLocation = #_sourceLocation
    ) {
        Self.evaluate(&gate, now: now)
        let ends = gate.hasStep ? gate.takeStep().mirrors.mapValues { $0?.end } : [:]
        #expect(ends == expected, comment, sourceLocation: location)
    }

    @Test func markersWaitForEachOther() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)])
        Self.expect(&gate, [:])
        #expect(gate.heldTransactions == 1 && gate.isBusy)
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        Self.expect(&gate, [Self.a0: 13, Self.b0: 26])
        #expect(gate.heldTransactions == 0 && !gate.isBusy)
        Self.expect(&gate, [:], "it is handed out once")
        do {
            let step = gate.takeStep()
            #expect(step.decisions.positions == [1: 6])
        }
    }

    @Test func aMarkerWaitsForItsDecision() {
        var gate = Self.gate()
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)], now: 5)
        Self.expect(&gate, now: 5, [:])
        #expect(gate.awaitsDecisions(since: 5) && !gate.awaitsDecisions(since: 4))
        gate.observe(Self.decision(1, [Self.a0]))
        Self.expect(&gate, now: 6, [Self.a0: 13])
    }

    @Test func markersOfForgottenDecisionsPassOnceTheLogHasBeenRead() {
        var gate = Self.gate()
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)], now: 5)
        gate.readThrough(4)
        Self.expect(&gate, now: 6, [:])
        gate.readThrough(5)
        Self.expect(&gate, now: 6, [Self.a0: 13])
        // The source's decisions cannot be read: nothing waits for them for ever.
        Self.report(&gate, Self.a0, from: 13, upTo: 21, [Self.marker(20)], now: 100)
        Self.expect(&gate, now: 10_100, [:])
        #expect(gate.incompleteTransactions == 0)
        #expect(Self.evaluate(&gate, now: 10_101) == [Self.a0], "what comes next in the mirror is not known any longer")
        #expect(gate.takeStep().mirrors == [Self.a0: nil] as [TopicPartition: SettledMirror?])
        #expect(gate.incompleteTransactions == 1)
    }

    /// The decision that is read at last counts as carried out there, and the next marker is of the next one.
    @Test func aMarkerThatCouldNotWaitLeavesItsMirrorBehind() {
        var gate = Self.gate()
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12, at: 5_010)], now: 5)
        Self.expect(&gate, now: 10_006, [Self.a0: nil])
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 10_010)
        gate.readThrough(10_006)
        Self.report(&gate, Self.b0, from: 20, upTo: 26, [Self.marker(25, at: 5_020)], now: 10_011)
        Self.expect(&gate, now: 10_011, [Self.b0: 26])
        Self.report(&gate, Self.a0, from: 13, upTo: 13, now: 10_012, coveredAt: 12_010)
        Self.expect(&gate, now: 12_011, [:], "whether that decision's marker is still to come is not known")
        Self.report(&gate, Self.a0, from: 13, upTo: 13, now: 12_012, coveredAt: 12_011)
        Self.evaluate(&gate, now: 12_012)
        let step = gate.takeStep()
        #expect(step.mirrors[Self.a0]??.end == 13)
        #expect(step.decisions.isDone(DecisionID(partition: 1, offset: 5)))
        gate.observe(Self.decision(7))
        Self.report(&gate, Self.a0, from: 13, upTo: 17, [Self.marker(16, at: 7_010)], now: 12_020)
        gate.readThrough(12_020)
        Self.expect(&gate, now: 12_020, [:])
        Self.report(&gate, Self.b0, from: 26, upTo: 31, [Self.marker(30, at: 7_010)], now: 12_021)
        gate.readThrough(12_021)
        Self.expect(&gate, now: 12_021, [Self.a0: 17, Self.b0: 31])
    }

    /// Before transactions of version 2 a producer keeps its epoch: the order tells its transactions apart.
    @Test func transactionsOfOneEpochAreTakenInOrder() {
        var gate = Self.gate()
        for offset in [5, 6, 7] as [Offset] { gate.observe(Self.decision(offset, commits: offset != 6)) }
        // Whatever the clocks say.
        Self.report(
            &gate, Self.a0, from: 10, upTo: 19, [Self.marker(12, at: 9_000), Self.marker(14, commits: false), Self.marker(18, at: 1)])
        Self.expect(&gate, [:])
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        // The second was aborted, which shows nothing.
        Self.expect(&gate, [Self.a0: 18, Self.b0: 26])
        Self.report(&gate, Self.b0, from: 30, upTo: 40, [Self.marker(31, commits: false), Self.marker(35)])
        Self.expect(&gate, [Self.a0: 19, Self.b0: 36])
    }

    /// A coordinator that takes over matches the same markers with the same decisions, wherever the last one stopped.
    @Test func orderOutlivesTheCoordinator() {
        var gate = Self.gate()
        for offset in [5, 6, 7] as [Offset] { gate.observe(Self.decision(offset, commits: offset != 6)) }
        gate.observe(Self.decision(3, [Self.a0], by: TransactionProducer(id: 9, epoch: 0), partition: 2))
        let other = Self.marker(11, by: TransactionProducer(id: 9, epoch: 0))
        Self.report(&gate, Self.a0, from: 10, upTo: 15, [other, Self.marker(12), Self.marker(14, commits: false)])
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        Self.evaluate(&gate, now: 1)
        let step = gate.takeStep()
        #expect(step.decisions.positions == [1: 6, 2: 4])
        #expect(step.decisions.partial == [DecisionID(partition: 1, offset: 6): [Self.a0]])
        var coordinator = LinkCoordinator()
        coordinator.replay(.link(LinkDefinition(name: "l", id: .zero, configuration: [:], sourceClusterID: "", createdAt: 0)))
        for name in ["a", "b"] {
            coordinator.replay(.mirror(MirrorTopic(name: name, link: "l", sourceName: name, sourceID: .zero, state: .active, since: 0)))
        }
        let records = coordinator.settle(step, link: "l") ?? []
        #expect(records.count == 3)
        for record in records {
            let (key, value) = record.encoded
            guard let same = LinkRecord(key: key, value: value) else {
                Issue.record("\(key)")
                continue
            }
            #expect(same == record && same.isPartOfStep)
            coordinator.replay(same)
        }
        var next = Self.gate(coordinator.transactions["l"])
        #expect(next.position(of: 1) == 6)
        for offset in [6, 7] as [Offset] { next.observe(Self.decision(offset, commits: offset != 6)) }
        Self.report(&next, Self.b0, from: 26, upTo: 40, [Self.marker(31, commits: false), Self.marker(35)])
        Self.expect(&next, [Self.b0: 35])
        Self.report(&next, Self.a0, from: 15, upTo: 19, [Self.marker(18)])
        Self.expect(&next, [Self.a0: 19, Self.b0: 36])
    }

    /// A mirror that stops is cut where it was settled to: nothing is shown by others that it has to cut off.
    @Test func nothingIsSettledOnceAMirrorStops() {
        var coordinator = LinkCoordinator()
        coordinator.replay(.link(LinkDefinition(name: "l", id: .zero, configuration: [:], sourceClusterID: "", createdAt: 0)))
        for (name, state) in [("a", MirrorState.active), ("b", .stopping), ("c", .stopped)] {
            coordinator.replay(.mirror(MirrorTopic(name: name, link: "l", sourceName: name, sourceID: .zero, state: state, since: 0)))
        }
        let settled = SettledMirror(end: 30, stable: 20)
        coordinator.replay(.settledMirror("l", "b", [settled]))
        coordinator.replay(.settledMirror("l", "c", [nil, settled]))
        var step = SettlingStep()
        step.mirrors = [Self.a0: settled]
        #expect(coordinator.settle(step, link: "l")?.count == 1)
        step.mirrors[Self.b0] = SettledMirror(end: 31, stable: 20)
        #expect(coordinator.settle(step, link: "l") == nil)
        step.mirrors[Self.b0] = .some(nil)
        #expect(coordinator.settle(step, link: "l") == nil)
        #expect(coordinator.settle(SettlingStep(), link: "other") == nil)
        #expect(coordinator.forgetStoppedMirrors(link: "l") == [.settledMirrorRemoved("l", "c")])
        coordinator.replay(.settledMirrorRemoved("l", "c"))
        #expect(coordinator.transactions["l"]?.mirrors == [Self.b0: settled])
    }

    /// Markers of two transactions in different orders: they go together, and none before the other of its mirror.
    @Test func transactionsThatCrossGoTogether() {
        var gate = Self.gate()
        let other = TransactionProducer(id: 8, epoch: 0)
        gate.observe(Self.decision(5))
        gate.observe(Self.decision(6, by: other))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(11), Self.marker(12, by: other)])
        Self.report(&gate, Self.b0, from: 20, upTo: 21, [Self.marker(20, by: other)])
        Self.expect(&gate, [:], "the one would have to pass the other")
        Self.report(&gate, Self.b0, from: 21, upTo: 22, [Self.marker(21)])
        Self.expect(&gate, [Self.a0: 13, Self.b0: 22])
    }

    /// What waits in one mirror keeps back what is behind it there, and that in all others.
    @Test func whatIsBehindWaitsEverywhere() {
        var gate = Self.gate()
        let other = TransactionProducer(id: 8, epoch: 0)
        gate.observe(Self.decision(5))
        gate.observe(Self.decision(6, by: other))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(11), Self.marker(12, by: other)])
        Self.report(&gate, Self.b0, from: 20, upTo: 21, [Self.marker(20, by: other)])
        Self.evaluate(&gate, now: 1)
        #expect(!gate.hasStep)
        do {
            let step = gate.takeStep()
            #expect(step.decisions.positions == [1: 5])
        }
    }

    @Test func topicsThatAreNotMirroredDoNotCount() {
        var recorded = SettledTransactions()
        recorded.mirrors = [TopicPartition("eu.a", 0): SettledMirror(end: 10, stable: 8)]
        var gate = Self.gate(recorded, topics: ["a": "eu.a"])
        gate.observe(Self.decision(5))
        Self.report(&gate, TopicPartition("eu.a", 0), from: 10, upTo: 11, [Self.marker(10)])
        let own = gate.report(MirrorReport(leaderEpoch: 1, from: 0, upTo: 9, markers: [Self.marker(5)]), of: Self.b0, now: 1)
        #expect(own)
        Self.expect(&gate, [TopicPartition("eu.a", 0): 11])
    }

    @Test func aMirrorThatDoesNotComeIsLeftBehind() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)])
        Self.report(&gate, Self.b0, from: 20, upTo: 21, coveredAt: 1)
        let early = Self.evaluate(&gate, now: 10_001)
        let left = Self.evaluate(&gate, now: 10_002)
        #expect(early == [] && left == [Self.b0])
        do {
            let step = gate.takeStep()
            #expect(step.mirrors == [Self.a0: SettledMirror(end: 13, stable: 10), Self.b0: nil] as [TopicPartition: SettledMirror?])
        }
        #expect(gate.incompleteTransactions == 1 && gate.freeMirrors == 1)
        // It gets its marker late, and is waited for again once it has what the source had when it was left behind.
        Self.report(&gate, Self.b0, from: 21, upTo: 26, [Self.marker(25)], now: 11_000, coveredAt: 10_002)
        Self.expect(&gate, now: 11_000, [:])
        gate.observe(Self.decision(6))
        Self.report(&gate, Self.b0, from: 26, upTo: 30, now: 11_001, stable: 28, coveredAt: 10_003)
        Self.evaluate(&gate, now: 11_001)
        do {
            let step = gate.takeStep()
            #expect(step.mirrors == [Self.b0: SettledMirror(end: 30, stable: 28)])
        }
        Self.report(&gate, Self.a0, from: 13, upTo: 15, [Self.marker(14)], now: 11_002)
        Self.expect(&gate, now: 11_002, [:])
        Self.report(&gate, Self.b0, from: 30, upTo: 34, [Self.marker(33)], now: 11_003)
        Self.expect(&gate, now: 11_003, [Self.a0: 15, Self.b0: 34])
    }

    /// The first marker that is seen of a producer in a new mirror may be of a transaction from before.
    @Test func newMirrorsTakeTheFirstMarkerByItsTime() {
        var gate = TransactionGate(SettledTransactions(), maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "a", "b": "b"], now: 10)
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 20)
        // Nobody waits for mirrors that have everything to fetch yet.
        Self.report(&gate, Self.a0, from: 0, upTo: 10, [Self.marker(3, at: 4_850), Self.marker(9, at: 5_001)], coveredAt: 11)
        Self.report(&gate, Self.b0, from: 0, upTo: 10)
        gate.readThrough(1)
        gate.observe(Self.decision(7))
        Self.expect(&gate, [Self.a0: 10])
        Self.report(&gate, Self.b0, from: 10, upTo: 20, [Self.marker(15, at: 5_200)], coveredAt: 21)
        Self.expect(&gate, [Self.b0: 20])
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25, at: 5_200)], coveredAt: 30)
        Self.expect(&gate, [:])
        Self.report(&gate, Self.a0, from: 10, upTo: 20, [Self.marker(12, at: 2)], coveredAt: 30)
        Self.expect(&gate, [Self.a0: 13, Self.b0: 26])
    }

    /// Whose marker it is is told by its time only once everything is known that it may be of.
    @Test func aMarkerInANewMirrorWaitsForDecisionsThatMayFitBetter() {
        var gate = TransactionGate(SettledTransactions(), maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "a", "b": "b"], now: 10)
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 0, upTo: 10, coveredAt: 11)
        Self.report(&gate, Self.b0, from: 0, upTo: 20, coveredAt: 11)
        #expect(gate.awaitsDecisions(since: 1), "mirrors are waited for once all is known that had been decided")
        gate.readThrough(1)
        #expect(!gate.awaitsDecisions(since: 1))
        Self.expect(&gate, [:], "whether the transaction has ended in the mirrors already is not known")
        gate.observeCompletion("t7", at: DecisionID(partition: 1, offset: 6), timestamp: 6_000, now: 20)
        Self.report(&gate, Self.a0, from: 10, upTo: 10, now: 25, coveredAt: 2_020)
        Self.report(&gate, Self.b0, from: 20, upTo: 20, now: 25, coveredAt: 2_021)
        Self.expect(&gate, now: 25, [Self.b0: 20])
        Self.report(&gate, Self.a0, from: 10, upTo: 10, now: 26, coveredAt: 2_021)
        Self.expect(&gate, now: 26, [Self.a0: 10])
        // Of the producer's next transaction, which the link has not read of yet.
        Self.report(&gate, Self.a0, from: 10, upTo: 20, [Self.marker(15, at: 7_010)], now: 30, coveredAt: 30)
        Self.expect(&gate, now: 30, [:])
        gate.observe(Self.decision(7))
        gate.readThrough(30)
        Self.expect(&gate, now: 32, [:])
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25, at: 7_020)], now: 33, coveredAt: 33)
        gate.readThrough(33)
        Self.expect(&gate, now: 34, [Self.a0: 16, Self.b0: 26])
    }

    /// A new mirror has had what the source carried out before; whoever coordinates next goes by the order, and has to know.
    @Test func whatANewMirrorHadCarriedOutIsRecorded() {
        var settled = SettledTransactions()
        settled.mirrors = [Self.b0: SettledMirror(end: 20, stable: 20)]
        settled.decisions.positions = [1: 0]
        var gate = Self.gate(settled)
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        Self.expect(&gate, [Self.b0: 26])
        Self.complete(&gate, at: 6, now: 20)
        Self.report(&gate, Self.a0, from: 10, upTo: 10, now: 22)
        gate.readThrough(22)
        Self.report(&gate, Self.a0, from: 10, upTo: 10, now: 30, coveredAt: 2_021)
        Self.evaluate(&gate, now: 30)
        let step = gate.takeStep()
        #expect(step.mirrors[Self.a0] == SettledMirror(end: 10, stable: 10))
        #expect(step.decisions.isDone(DecisionID(partition: 1, offset: 5)))
        var recorded = SettledTransactions()
        recorded.mirrors = [Self.a0: SettledMirror(end: 10, stable: 10), Self.b0: SettledMirror(end: 26, stable: 26)]
        recorded.decisions = step.decisions
        var next = Self.gate(recorded)
        for offset in [5, 7] as [Offset] { next.observe(Self.decision(offset)) }
        Self.report(&next, Self.a0, from: 10, upTo: 15, [Self.marker(12)])
        Self.expect(&next, [:], "it is of the second, which the other mirror has not")
        Self.report(&next, Self.b0, from: 26, upTo: 30, [Self.marker(28)])
        Self.expect(&next, [Self.a0: 13, Self.b0: 29])
    }

    /// Brokers show no more of a mirror first; what its leader has then is its end, so that nobody has seen more.
    @Test func mirrorsAreHeldBeforeTheyAreWaitedFor() {
        var settled = SettledTransactions()
        settled.decisions.positions = [1: 0]
        var gate = TransactionGate(settled, maximumHoldMilliseconds: 10_000)
        var news = MirrorNews([:])
        #expect(news.tell(1, isFirst: true).isEmpty && news.tell(2, isFirst: true).isEmpty)
        gate.setMirrors(["a": "a"], now: 0)
        gate.readThrough(10)
        func report(upTo: Offset, isHeld: Bool, now: Int64) {
            var report = MirrorReport(leaderEpoch: 1, from: 10, upTo: upTo, stableOffset: upTo, coveredAt: now + 1)
            report.isHeld = isHeld
            let fits = gate.report(report, of: Self.a0, now: now)
            #expect(fits)
        }
        func advance(now: Int64) -> [TopicPartition: SettledMirror?] {
            gate.areHeldByAll(news.takeHeld(by: [1, 2]))
            _ = gate.evaluate(now: now)
            news.hold(gate.takeHolds(), by: [1, 2])
            return gate.hasStep ? gate.takeStep().mirrors : [:]
        }
        report(upTo: 10, isHeld: false, now: 5)
        gate.readThrough(11)
        #expect(advance(now: 12).isEmpty && gate.isBusy)
        for broker in [1, 2] as [NodeID] {
            report(upTo: Offset(10 + broker), isHeld: false, now: 12)
            #expect(advance(now: 13).isEmpty, "not all brokers have heard")
            #expect(news.hasNews(for: broker))
            let told = news.tell(broker, isFirst: false)
            #expect(told == [Self.a0: SettledMirror(end: 10, stable: 10)] as [TopicPartition: SettledMirror?])
            news.heard(told, by: broker)
        }
        #expect(advance(now: 14).isEmpty, "its leader has not said since how far it had shown it")
        report(upTo: 15, isHeld: true, now: 15)
        let joined = advance(now: 15)
        #expect(joined == [Self.a0: SettledMirror(end: 15, stable: 15)] as [TopicPartition: SettledMirror?])
        news.recorded(joined)
        #expect(news.settled == [Self.a0: SettledMirror(end: 15, stable: 15)])
        #expect(news.tell(3, isFirst: true) == joined && news.tell(1, isFirst: false) == joined)
    }

    /// A broker that does not hear keeps readers waiting for a while, not for ever.
    @Test func mirrorsAreNotHeldForEver() {
        var gate = TransactionGate(SettledTransactions(), maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "a"], now: 0)
        Self.report(&gate, Self.a0, from: 10, upTo: 10, now: 5, coveredAt: 6)
        gate.readThrough(6)
        #expect(gate.evaluate(now: 7) == [])
        #expect(gate.takeHolds() == [Self.a0: SettledMirror(end: 10, stable: 10)] as [TopicPartition: SettledMirror?])
        #expect(gate.evaluate(now: 10_007) == [])
        #expect(gate.takeHolds().isEmpty)
        #expect(gate.evaluate(now: 10_008) == [])
        #expect(gate.takeHolds() == [Self.a0: nil] as [TopicPartition: SettledMirror?])
        Self.report(&gate, Self.a0, from: 10, upTo: 12, now: 10_009, coveredAt: 10_009)
        Self.expect(&gate, now: 10_010, [Self.a0: 12], "it is tried again")
    }

    /// Mirrors that were held are told again to whoever begins anew, and not to those who are told that they are not any longer.
    @Test func newsIsToldOnce() {
        var news = MirrorNews([Self.b0: SettledMirror(end: 20, stable: 20)])
        #expect(news.tell(1, isFirst: true).keys.sorted() == [Self.b0])
        let hold = SettledMirror(end: 5, stable: 5)
        news.hold([Self.a0: hold], by: [1])
        let told = news.tell(1, isFirst: false)
        #expect(told == [Self.a0: hold] as [TopicPartition: SettledMirror?] && !news.hasNews(for: 1))
        news.hold([Self.a0: nil], by: [1])
        news.hold([Self.a0: hold], by: [1])
        news.heard([Self.a0: nil], by: 1)
        #expect(news.takeHeld(by: [1]).isEmpty, "what it heard is that it is not held")
        #expect(news.tell(1, isFirst: true).count == 2)
        news.heard(told, by: 1)
        #expect(news.takeHeld(by: [1]) == [Self.a0] && news.takeHeld(by: [1]).isEmpty)
        news.hold([Self.a0: hold], by: [1, 2])
        #expect(news.takeHeld(by: [3]) == [Self.a0], "those that are gone are not waited for")
    }

    /// A mirror that comes back has been written to and cut meanwhile: where it was settled to before says nothing about it.
    @Test func whatAMirrorWasSettledToEndsWithIt() {
        var gate = Self.gate(topics: ["a": "a"])
        gate.setMirrors(["a": "a", "b": "b"], now: 5)
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)])
        Self.expect(&gate, [Self.a0: 13, Self.b0: nil], "nobody waits for the other before it has caught up")

        var coordinator = LinkCoordinator()
        let configuration: OrderedDictionary<String, String> = ["bootstrap.servers": "a:9092"]
        coordinator.replay(.link(LinkDefinition(name: "l", id: .zero, configuration: configuration, sourceClusterID: "", createdAt: 0)))
        let stopped = MirrorTopic(name: "b", link: "l", sourceName: "b", sourceID: .zero, state: .stopped, since: 0)
        let paused = MirrorTopic(name: "a", link: "l", sourceName: "a", sourceID: .zero, state: .paused, since: 0)
        for record in [LinkRecord.mirror(stopped), .mirror(paused)] { coordinator.replay(record) }
        for topic in ["a", "b"] { coordinator.replay(.settledMirror("l", topic, [SettledMirror(end: 10, stable: 8)])) }
        var (beginning, records) = coordinator.beginSettling(link: "l")
        #expect(beginning.recorded.mirrors.isEmpty && beginning.news.settled.isEmpty && records.count == 2, "neither fetches")
        coordinator.replay(.mirror(paused.entering(.stopping, at: 1)))
        (beginning, records) = coordinator.beginSettling(link: "l")
        #expect(beginning.recorded.mirrors.isEmpty && records.count == 1, "what stops is not settled further")
        #expect(beginning.news.tell(1, isFirst: true).keys.sorted() == [Self.a0], "nor shown further")
        coordinator.replay(.mirror(paused))
        let restored = stopped.entering(.pendingRestore, at: 1)
        #expect(throws: Never.self) {
            let records = try coordinator.addMirror(restored)
            #expect(records == [.mirror(restored), .settledMirrorRemoved("l", "b")])
        }
        #expect(coordinator.forgetStoppedMirrors(link: "l") == [.settledMirrorRemoved("l", "a"), .settledMirrorRemoved("l", "b")])
    }

    /// A mirror that is promoted has what was decided before, even if the source carries it out late.
    @Test func decisionsAreWaitedForInSomeMirrors() {
        var gate = Self.gate()
        gate.observe(Self.decision(5, [Self.b0]))
        #expect(gate.hasSettled(before: [1: 6], in: ["a"]))
        #expect(!gate.hasSettled(before: [1: 6], in: ["b"]) && !gate.hasSettled(before: [1: 6]))
        #expect(!gate.hasSettled(before: [1: 7], in: ["a"]), "not all has been read")
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        Self.expect(&gate, [Self.b0: 26])
        #expect(gate.hasSettled(before: [1: 6], in: ["b"]))
        // What is waited for no longer may still come.
        gate.observe(Self.decision(7))
        Self.report(&gate, Self.a0, from: 10, upTo: 20, [Self.marker(12)], now: 50)
        let left = Self.evaluate(&gate, now: 20_000)
        #expect(left == [Self.b0] && gate.hasSettled(before: [1: 8]))
        #expect(!gate.hasSettled(before: [1: 8], in: ["b"]))
        Self.report(&gate, Self.b0, from: 30, upTo: 40, [Self.marker(35)], now: 20_001)
        Self.evaluate(&gate, now: 20_001)
        #expect(gate.hasSettled(before: [1: 8], in: ["b"]))
    }

    /// A source may lose a marker in an unclean election: those that come after are not taken for it, though the order says so.
    @Test func markersThatNeverComeDoNotShiftTheOthers() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 10)
        Self.report(&gate, Self.b0, from: 20, upTo: 26, [Self.marker(25, at: 5_100)], now: 20)
        Self.expect(&gate, now: 20, [:])
        gate.observe(Self.decision(17))
        // Clocks may differ, so one that comes soon after may be of the first.
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12, at: 15_999)], now: 30)
        Self.expect(&gate, now: 30, [Self.a0: 13, Self.b0: 26])
        Self.complete(&gate, at: 18, now: 35)
        gate.observe(Self.decision(28))
        Self.report(&gate, Self.b0, from: 26, upTo: 30, [Self.marker(28, at: 28_010)], now: 40)
        Self.expect(&gate, now: 40, [:])
        Self.report(&gate, Self.a0, from: 13, upTo: 17, [Self.marker(16, at: 28_020)], now: 50)
        Self.expect(&gate, now: 50, [Self.a0: 17, Self.b0: 29])
        #expect(gate.takeStep().decisions.positions == [1: 29], "the second has passed with the third")
    }

    /// A mirror that had everything for a while, and knows of no marker, had it before it was looked at.
    @Test func aMirrorThatCoversADecisionHasCarriedItOut() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.complete(&gate, at: 6, now: 100)
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12, at: 5_100)], now: 100)
        Self.report(&gate, Self.b0, from: 20, upTo: 20, now: 100, coveredAt: 2_100)
        Self.expect(&gate, now: 100, [:])
        Self.report(&gate, Self.b0, from: 20, upTo: 20, now: 100, coveredAt: 2_101)
        Self.expect(&gate, now: 101, [Self.a0: 13])
    }

    @Test func aNewLeaderSaysAllOfIt() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)])
        Self.evaluate(&gate, now: 1)
        let late = MirrorReport(leaderEpoch: 2, from: 13, upTo: 15)
        let fits = gate.report(late, of: Self.a0, now: 2)
        #expect(!fits, "what lies before may be another one here")
        Self.report(&gate, Self.a0, from: 10, upTo: 16, [Self.marker(15)], now: 2, epoch: 2)
        let old = MirrorReport(leaderEpoch: 1, from: 13, upTo: 20, markers: [Self.marker(14)])
        let isIgnored = gate.report(old, of: Self.a0, now: 2)
        #expect(isIgnored, "of who led before nothing counts")
        Self.report(&gate, Self.b0, from: 20, upTo: 30, [Self.marker(25)])
        Self.expect(&gate, [Self.a0: 16, Self.b0: 26])
    }

    /// Which transactions a mirror shows after its leader died is found from there on.
    @Test func whereHeldTransactionsBeginIsKnownOnlyWhileTheyAreHeld() {
        var gate = Self.gate()
        gate.observe(Self.decision(5, [Self.a0]))
        gate.observe(Self.decision(6))
        let open = MirrorReport(
            leaderEpoch: 1, from: 10, upTo: 19, markers: [Self.marker(12), Self.marker(18)], stableOffset: 19, isHeld: false)
        let fits = gate.report(open, of: Self.a0, now: 1)
        #expect(fits)
        Self.evaluate(&gate, now: 1)
        do {
            let step = gate.takeStep()
            #expect(step.mirrors == [Self.a0: SettledMirror(end: 18, stable: 8)])
        }
    }

    @Test func mirrorsThatLeaveAreNotWaitedFor() {
        var gate = Self.gate()
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)])
        gate.setMirrors(["a": "a"], now: 2)
        Self.expect(&gate, now: 2, [Self.a0: 13, Self.b0: nil] as [TopicPartition: Offset?])
        #expect(gate.isSettled("a", before: [13]) && !gate.isSettled("a", before: [14]) && gate.isSettled("b", before: [0]))
    }

    @Test func mirrorsThatHaveNotBeenHeardOfAreNotWaitedFor() {
        var gate = TransactionGate(SettledTransactions(), maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "a", "b": "b"], partitions: 2, now: 0)
        #expect(gate.freeMirrors == 2)
        Self.report(&gate, Self.a0, from: 0, upTo: 5, coveredAt: 2)
        gate.readThrough(1)
        Self.expect(&gate, [Self.a0: 5])
        #expect(gate.freeMirrors == 1)
    }

    @Test func withoutDecisionsNothingWaits() {
        var gate = Self.gate()
        Self.report(&gate, Self.a0, from: 10, upTo: 13, [Self.marker(12)], now: 5)
        gate.setOpen(true, now: 5)
        Self.expect(&gate, now: 5, [Self.a0: nil, Self.b0: nil] as [TopicPartition: Offset?])
        Self.report(&gate, Self.a0, from: 13, upTo: 13, now: 6, coveredAt: 6)
        Self.expect(&gate, now: 6, [:])
    }

    /// A mirror that was cut, or has a gap, may lack markers that its leader has told of: it is waited for anew.
    @Test func aMirrorThatWasCutIsWaitedForAnew() {
        var gate = Self.gate()
        Self.report(&gate, Self.a0, from: 10, upTo: 40, coveredAt: 1)
        Self.report(&gate, Self.b0, from: 20, upTo: 40, coveredAt: 1)
        Self.expect(&gate, [:])
        var broken = MirrorReport(leaderEpoch: 1, from: 12, upTo: 12, stableOffset: 12, coveredAt: 5)
        broken.isBroken = true
        let fits = gate.report(broken, of: Self.a0, now: 5)
        #expect(fits)
        Self.expect(&gate, now: 5, [Self.a0: nil] as [TopicPartition: Offset?])
        gate.readThrough(5)
        Self.report(&gate, Self.a0, from: 12, upTo: 14, now: 6, coveredAt: 5)
        Self.expect(&gate, now: 6, [:], "what it covered before counts for nothing")
        gate.observe(Self.decision(5))
        Self.report(&gate, Self.a0, from: 14, upTo: 16, now: 7, coveredAt: 7)
        Self.expect(&gate, now: 7, [Self.a0: 16])
        Self.report(&gate, Self.a0, from: 16, upTo: 20, [Self.marker(18)], now: 8)
        Self.expect(&gate, now: 8, [:], "the other has not got it")
        Self.report(&gate, Self.b0, from: 40, upTo: 50, [Self.marker(45)], now: 9)
        gate.readThrough(9)
        Self.expect(&gate, now: 9, [Self.a0: 19, Self.b0: 46])
    }

    // MARK: Offsets of groups

    private static let offsets = TopicPartition(OffsetsLog.topic, 5)

    private static func commit(_ offset: Offset, of topic: String = "a") -> SourceGroupOffset {
        SourceGroupOffset(group: "g", partition: TopicPartition(topic, 0), offset: GroupOffset(offset, metadata: "m"))
    }

    /// A gate that waits for offsets, too; the mirror of the source's a is called x.a.
    private static func gateWithOffsets(_ recorded: SettledTransactions? = nil) -> TransactionGate {
        var settled = SettledTransactions()
        settled.mirrors = [TopicPartition("x.a", 0): SettledMirror(end: 10, stable: 8)]
        settled.decisions.positions = [1: 0]
        var gate = TransactionGate(recorded ?? settled, maximumHoldMilliseconds: 10_000)
        gate.setMirrors(["a": "x.a"], withOffsets: true, now: 0)
        return gate
    }

    @Test func offsetsGoWithTheirTransaction() {
        var gate = Self.gateWithOffsets()
        let mirror = TopicPartition("x.a", 0)
        gate.observe(Self.decision(1, [Self.a0, Self.offsets]))
        gate.readThrough(10)
        #expect(gate.offsetsToBegin == [5: 900] && gate.offsetsLogs.isEmpty)
        Self.report(&gate, mirror, from: 10, upTo: 20, [Self.marker(15)])
        Self.expect(&gate, [:], "the source's offsets are not read yet")

        gate.beginOffsets(5, at: 100)
        #expect(gate.offsetsToBegin.isEmpty && gate.offsetsLogs == [5: SettledMirror(end: 100, stable: 100)])
        var log = OffsetsLog(gate.offsetsLogs[5]!)
        log.commit([Self.commit(7), Self.commit(9, of: "unknown")], by: 7, at: 101)
        log.commit([Self.commit(8)], by: 7, at: 102)
        log.pass(before: 103)
        let open = log.takeReport(settledEnd: 100, coveredAt: nil)
        #expect(open?.markers.isEmpty == true && open?.stableOffset == 101)
        _ = gate.report(open!, of: Self.offsets, now: 1)
        Self.evaluate(&gate, now: 1)
        #expect(gate.takeStep().groupOffsets.isEmpty, "its end has not come")

        log.end(Self.marker(103))
        log.pass(before: 104)
        _ = gate.report(log.takeReport(settledEnd: 100, coveredAt: nil)!, of: Self.offsets, now: 2)
        Self.evaluate(&gate, now: 2)
        let step = gate.takeStep()
        #expect(step.groupOffsets == ["g": [mirror: GroupOffset(8, metadata: "m")]], "by the mirror's name, and of mirrors only")
        #expect(step.mirrors[mirror]??.end == 16 && step.mirrors[Self.offsets]??.end == 104 && step.committed == 1)
    }

    @Test func whatIsAbortedCommitsNothing() {
        var gate = Self.gateWithOffsets()
        gate.observe(Self.decision(1, [Self.a0, Self.offsets], commits: false))
        gate.readThrough(10)
        gate.beginOffsets(5, at: 100)
        var log = OffsetsLog(gate.offsetsLogs[5]!)
        log.commit([Self.commit(7)], by: 7, at: 100)
        log.end(Self.marker(101, commits: false))
        log.pass(before: 102)
        _ = gate.report(log.takeReport(settledEnd: 100, coveredAt: nil)!, of: Self.offsets, now: 1)
        Self.report(&gate, TopicPartition("x.a", 0), from: 10, upTo: 20, [Self.marker(15, commits: false)])
        Self.evaluate(&gate, now: 1)
        let step = gate.takeStep()
        #expect(step.groupOffsets.isEmpty && step.mirrors[Self.offsets]??.end == 102)
    }

    /// Whoever reads on finds what open transactions have committed before.
    @Test func anOffsetsLogGoesOnWhereItsTransactionsBegin() {
        var log = OffsetsLog(SettledMirror(end: 50, stable: 40))
        #expect(log.next == 40)
        log.commit([Self.commit(1)], by: 7, at: 41)
        log.commit([Self.commit(2)], by: 8, at: 42)
        log.pass(before: 43)
        #expect(log.takeReport(settledEnd: 50, coveredAt: nil) == nil, "what is known has not been come to")
        log.end(Self.marker(45, by: TransactionProducer(id: 8, epoch: 0)))
        log.pass(before: 52)
        let report = log.takeReport(settledEnd: 50, coveredAt: 3)
        #expect(report?.from == 50 && report?.upTo == 52 && report?.markers.isEmpty == true && report?.stableOffset == 41)
        log.end(Self.marker(52))
        log.pass(before: 53)
        let last = log.takeReport(settledEnd: 50, coveredAt: nil)
        #expect(last?.from == 52 && last?.markers.map(\.groupOffsets) == [[Self.commit(1)]] && last?.stableOffset == 41)
        #expect(log.takeReport(settledEnd: 53, coveredAt: nil)?.stableOffset == 53, "once it is settled nothing holds it back")
    }

    @Test func groupsGetWhatIsRecordedUntilTheyHaveIt() throws {
        var coordinator = LinkCoordinator()
        let mirror = TopicPartition("a", 0)
        coordinator.replay(.link(LinkDefinition(name: "l", id: .zero, configuration: [:], sourceClusterID: "", createdAt: 0)))
        coordinator.replay(.mirror(MirrorTopic(name: "a", link: "l", sourceName: "a", sourceID: .zero, state: .active, since: 0)))
        func take(_ change: (inout SettlingStep) -> Void) throws {
            var step = SettlingStep()
            change(&step)
            for record in try #require(coordinator.settle(step, link: "l")) {
                // As it comes back from the log.
                let (key, value) = record.encoded
                coordinator.replay(try #require(LinkRecord(key: key, value: value)))
            }
        }
        let (first, second) = (GroupOffset(1, metadata: "m"), GroupOffset(2))
        try take {
            $0.mirrors = [Self.offsets: SettledMirror(end: 9, stable: 8)]
            $0.groupOffsets = ["g": [mirror: first], "other": [TopicPartition("none", 0): first]]
        }
        #expect(coordinator.transactions["l"]?.groupOffsets == ["g": [mirror: first]], "of mirrors alone")
        #expect(coordinator.transactions["l"]?.mirrors[Self.offsets] == SettledMirror(end: 9, stable: 8))
        #expect(coordinator.forgetStoppedMirrors(link: "l").isEmpty)
        try take { $0.groupOffsets = ["g": [mirror: second]] }
        try take { $0.givenOffsets = ["g": [mirror: first]] }
        #expect(coordinator.transactions["l"]?.groupOffsets == ["g": [mirror: second]], "what it got is old by now")
        let stopping = MirrorTopic(name: "a", link: "l", sourceName: "a", sourceID: .zero, state: .stopping, since: 0)
        coordinator.replay(.mirror(stopping))
        try take { $0.groupOffsets = ["g": [mirror: GroupOffset(3)]] }
        #expect(coordinator.transactions["l"]?.groupOffsets == ["g": [mirror: second]], "nothing more comes to a mirror that stops")
        let records = coordinator.records(of: [MirrorStep(stopping, .enter(.stopped, reason: ""))], now: 1)
        for record in records { coordinator.replay(record) }
        #expect(coordinator.transactions["l"]?.groupOffsets.isEmpty == true, "and nothing is left to do once it is writable")
    }

    @Test func offsetsAreBoundByTheEndsOfMirrors() {
        let ends = MirrorEnds(MirrorEnds([Self.a0: 5]).json)
        let bound = ends.bound([Self.a0: GroupOffset(7, metadata: "m"), Self.b0: GroupOffset(7)])
        #expect(bound == [Self.a0: GroupOffset(5, metadata: "m"), Self.b0: GroupOffset(7)])
    }
}
