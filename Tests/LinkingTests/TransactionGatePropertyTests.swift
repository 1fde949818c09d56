// Random runs of a source, its mirrors and their coordinators, by seed: whatever is recorded at any point shows each transaction whole or not
// at all, and in the end everything is shown.
import Collections
import Primitives
import Testing

@testable import Linking

struct TransactionGatePropertyTests {
    /// - Note: clocks of brokers are seconds apart, and producers keep their epochs in every other run.
    @Test(arguments: 0..<120)
    func whatIsRecordedIsWhole(_ seed: UInt64) throws {
        var world = GateWorld(seed: seed)
        for _ in 0..<600 { try world.step() }
        try world.finish()
        #expect(world.committed > 0)
    }

    /// Mirrors that come later find their place by time, for which the clocks have to agree.
    @Test(arguments: 1_000..<1_030)
    func mirrorsThatComeLaterFindTheirPlace(_ seed: UInt64) throws {
        var world = GateWorld(seed: seed, hasNewMirrors: true)
        for _ in 0..<600 { try world.step() }
        try world.finish()
    }
}

private struct Generator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

private struct Broken: Error, CustomStringConvertible {
    var description: String
}

/// A source with producers, the mirrors of its partitions, and the coordinator of their link.
private struct GateWorld {
    struct Transaction {
        var producer: TransactionProducer
        var partitions: [TopicPartition]
        /// First offset and marker by partition, as they come to be.
        var begins: [TopicPartition: Offset] = [:]
        var markers: [TopicPartition: Offset] = [:]
        var startedAt: Timestamp
        var decision: (id: DecisionID, isCommit: Bool)?
        /// What it commits for the producer's group, if it does.
        var groupOffset: Offset?
        var isComplete = false
    }

    enum LogEntry {
        case decided(TransactionDecision)
        case completed(String, Timestamp)
    }

    static let offsets = TopicPartition(OffsetsLog.topic, 0)
    static let partitions = [TopicPartition("a", 0), TopicPartition("a", 1), TopicPartition("b", 0), TopicPartition("c", 0)]

    var generator: Generator
    let keepsEpochs: Bool
    let hasNewMirrors: Bool
    var now: Int64 = 1_000
    var skews: [TopicPartition: Int64] = [:]
    // The source.
    var transactions: [Transaction] = []
    var current: [ProducerID: Int] = [:]
    var epochs: [ProducerID: Int16] = [:]
    var logs: [TopicPartition: [MirroredMarker]] = [:]
    var ends: [TopicPartition: Offset] = [:]
    var decisions: [Int32: [LogEntry]] = [0: [], 1: []]
    // The mirrors.
    var fetched: [TopicPartition: Offset] = [:]
    var fetchedAt: [TopicPartition: Int64] = [:]
    var leaderEpochs: [TopicPartition: LeaderEpoch] = [:]
    var reported: [TopicPartition: Offset] = [:]
    var told: [TopicPartition: SettledMirror] = [:]
    var isFirst = true
    /// A broker that has heard nothing yet shows nothing.
    var hasListened = false
    /// How far readers of committed transactions have seen them.
    var shown: [TopicPartition: Offset] = [:]
    // What is read of the source's offsets, and what groups have here.
    var offsetsLog: OffsetsLog?
    var given: GroupOffsets = [:]
    // The coordinator.
    var coordinator = LinkCoordinator()
    var gate: TransactionGate
    var news = MirrorNews([:])
    var goal: (time: Int64, ends: [Int32: Offset])?
    var committed = 0
    var isFinishing = false

    init(seed: UInt64, hasNewMirrors: Bool = false) {
        generator = Generator(state: seed)
        self.hasNewMirrors = hasNewMirrors
        keepsEpochs = seed % 2 == 0
        coordinator.replay(.link(LinkDefinition(name: "l", id: .zero, configuration: [:], sourceClusterID: "", createdAt: 0)))
        for name in ["a", "b", "c"] {
            coordinator.replay(.mirror(MirrorTopic(name: name, link: "l", sourceName: name, sourceID: .zero, state: .active, since: 0)))
        }
        if !hasNewMirrors {
            let start = SettledMirror(end: 0, stable: 0)
            coordinator.replay(.settledMirror("l", "a", [start, start]))
            coordinator.replay(.settledMirror("l", "b", [start]))
            coordinator.replay(.settledMirror("l", "c", [start]))
            var decisions = SettledDecisions()
            decisions.positions = [0: 0, 1: 0]
            coordinator.replay(.settledDecisions("l", decisions))
        }
        for partition in Self.partitions {
            skews[partition] = hasNewMirrors ? 0 : Int64.random(in: -5_000...5_000, using: &generator)
            (ends[partition], fetched[partition], leaderEpochs[partition]) = (0, 0, 0)
        }
        (skews[Self.offsets], ends[Self.offsets], fetched[Self.offsets]) = (0, 0, 0)
        gate = TransactionGate(coordinator.transactions["l"] ?? SettledTransactions(), maximumHoldMilliseconds: .max)
        begin()
    }

    // MARK: Running

    mutating func step() throws {
        now += Int64.random(in: 1...20, using: &generator)
        switch Int.random(in: 0..<100, using: &generator) {
        case 0..<35: produce(Int64.random(in: 0..<3, using: &generator))
        case 35..<60: fetch()
        case 60..<72: read()
        case 72..<80: readOffsets(Int.random(in: 1...6, using: &generator))
        case 80..<88: report(Self.partitions.randomElement(using: &generator)!)
        case 88..<91: changeLeader()
        case 91..<94: try record(dies: true)
        default: try record(dies: false)
        }
    }

    /// All goes on until nothing is left to do.
    mutating func finish() throws {
        isFinishing = true
        for _ in 0..<400 {
            now += 3_000
            for producer in current.keys.sorted() { produce(producer) }
            for partition in Self.partitions { fetch(partition, to: ends[partition]!) }
            for _ in 0..<20 { read() }
            for partition in Self.partitions { report(partition) }
            readOffsets(.max)
            try record(dies: false)
        }
        for (partition, settled) in coordinator.transactions["l"]?.mirrors ?? [:] {
            let last = logs[partition]?.last?.offset ?? -1
            guard settled.end > last else { throw Broken(description: "\(partition) is settled to \(settled.end), and ends with \(last)") }
        }
        guard coordinator.transactions["l"]?.mirrors.count == Self.partitions.count + (offsetsLog == nil ? 0 : 1) else {
            throw Broken(description: "not all mirrors are waited for")
        }
        guard !gate.isBusy else { throw Broken(description: "something waits for ever") }
    }

    // MARK: The source

    private mutating func append(_ partition: TopicPartition) -> Offset {
        let offset = ends[partition]!
        ends[partition] = offset + 1
        return offset
    }

    /// A producer's next step: it begins a transaction, writes to its partitions, decides, ends it in one after the other.
    private mutating func produce(_ producer: ProducerID) {
        guard let index = current[producer] else {
            guard !isFinishing else { return }
            var partitions = Self.partitions.shuffled(using: &generator)
            partitions.removeLast(Int.random(in: 0...2, using: &generator))
            let epoch = epochs[producer, default: 0]
            if !keepsEpochs { epochs[producer] = epoch + 1 }
            current[producer] = transactions.count
            var transaction = Transaction(
                producer: TransactionProducer(id: producer, epoch: epoch), partitions: partitions, startedAt: now)
            if Int.random(in: 0..<3, using: &generator) > 0 {
                transaction.groupOffset = Offset(transactions.count)
                transaction.partitions.append(Self.offsets)
            }
            transactions.append(transaction)
            return
        }
        let transaction = transactions[index]
        let log = Int32(producer % 2)
        if transaction.decision == nil {
            if let partition = transaction.partitions.first(where: { transaction.begins[$0] == nil }) {
                transactions[index].begins[partition] = append(partition)
                return
            }
            let id = DecisionID(partition: log, offset: Offset(decisions[log]!.count))
            let isCommit = Int.random(in: 0..<4, using: &generator) > 0
            transactions[index].decision = (id, isCommit)
            decisions[log]?.append(
                .decided(
                    TransactionDecision(
                        id: id, transactionalID: "t\(producer)", producer: transaction.producer, isCommit: isCommit,
                        partitions: transaction.partitions, startedAt: transaction.startedAt, decidedAt: now)))
        } else if let partition = transaction.partitions.shuffled(using: &generator).first(where: { transaction.markers[$0] == nil }) {
            let offset = append(partition)
            transactions[index].markers[partition] = offset
            logs[partition, default: []].append(
                MirroredMarker(
                    offset: offset, producer: transaction.producer, isCommit: transaction.decision!.isCommit,
                    timestamp: now + skews[partition]!))
        } else {
            transactions[index].isComplete = true
            current[producer] = nil
            decisions[log]?.append(.completed("t\(producer)", now))
        }
    }

    // MARK: The offsets

    /// Reads on in the source's offsets, one place after the other, and reports.
    private mutating func readOffsets(_ count: Int) {
        for (_, since) in gate.offsetsToBegin {
            let last = transactions.filter { $0.startedAt >= since }.compactMap { $0.begins[Self.offsets] }.min()!
            // So far back that no transaction is open there.
            let places = (0...last).filter { place in
                transactions.allSatisfy { $0.begins[Self.offsets] ?? .max >= place || $0.markers[Self.offsets] ?? .max < place }
            }
            gate.beginOffsets(0, at: places.randomElement(using: &generator)!)
        }
        guard let settled = gate.offsetsLogs[0] else { return }
        var log = offsetsLog ?? OffsetsLog(settled)
        for _ in 0..<min(count, Int(ends[Self.offsets]! - log.next)) {
            if let marker = logs[Self.offsets]?.first(where: { $0.offset == log.next }) {
                log.end(marker)
            } else if let transaction = transactions.first(where: { $0.begins[Self.offsets] == log.next }) {
                log.commit(
                    [
                        SourceGroupOffset(
                            group: "g\(transaction.producer.id)", partition: Self.partitions[0],
                            offset: GroupOffset(transaction.groupOffset!))
                    ], by: transaction.producer.id, at: log.next)
            }
            log.pass(before: log.next + 1)
        }
        fetched[Self.offsets] = max(fetched[Self.offsets]!, log.next)
        let end = coordinator.transactions["l"]?.mirrors[Self.offsets]?.end ?? 0
        let coveredAt = log.next == ends[Self.offsets] ? now : nil
        let report = log.takeReport(settledEnd: end, coveredAt: coveredAt)
        offsetsLog = log
        if let report, !gate.report(report, of: Self.offsets, now: now) { offsetsLog = nil }
    }

    /// Transactions are settled exactly as far as groups have what they commit.
    private func checkOffsets(_ shown: [Int: Bool]) throws {
        var settled = given
        settled.merge(coordinator.transactions["l"]?.groupOffsets ?? [:])
        for producer in 0..<Int64(3) {
            let last = transactions.indices.last { index in
                transactions[index].producer.id == producer && transactions[index].groupOffset != nil && shown[index] == true
            }
            let expected = last.flatMap { transactions[$0].groupOffset }
            let found = settled["g\(producer)"]?[Self.partitions[0]]?.offset
            guard found == expected else {
                throw Broken(description: "group g\(producer) has \(found ?? -1), and what is settled says \(expected ?? -1)")
            }
        }
    }

    // MARK: The mirrors

    private mutating func fetch() {
        let partition = Self.partitions.randomElement(using: &generator)!
        fetch(partition, to: Offset.random(in: fetched[partition]!...ends[partition]!, using: &generator))
    }

    private mutating func fetch(_ partition: TopicPartition, to end: Offset) {
        fetched[partition] = end
        if end == ends[partition] { fetchedAt[partition] = now }
    }

    private mutating func changeLeader() {
        let partition = Self.partitions.randomElement(using: &generator)!
        leaderEpochs[partition]! += 1
        reported[partition] = nil
    }

    /// Up to where readers of committed transactions see the mirror, by what its leader has been told.
    private func stableOffset(_ partition: TopicPartition) -> Offset {
        guard hasListened else { return 0 }
        let limit = told[partition]?.end ?? .max
        let end = fetched[partition]!
        let begins = transactions.compactMap { transaction -> Offset? in
            guard let first = transaction.begins[partition], first < end else { return nil }
            let marker = transaction.markers[partition] ?? .max
            return marker < min(end, limit) ? nil : first
        }
        return begins.min() ?? end
    }

    /// The mirrors' brokers, of which there is one, hear the news.
    private mutating func listen() {
        let changes = news.tell(1, isFirst: isFirst)
        if isFirst { told = [:] }
        (isFirst, hasListened) = (false, true)
        for (partition, mirror) in changes { told[partition] = mirror }
        news.heard(changes, by: 1)
    }

    private mutating func report(_ partition: TopicPartition) {
        shown[partition] = max(shown[partition] ?? 0, stableOffset(partition))
        if Bool.random(using: &generator) || isFinishing { listen() }
        let from = reported[partition] ?? coordinator.transactions["l"]?.mirrors[partition]?.end ?? fetched[partition]!
        let upTo = max(from, fetched[partition]!)
        let fits = gate.report(
            MirrorReport(
                leaderEpoch: leaderEpochs[partition]!, from: from, upTo: upTo,
                markers: (logs[partition] ?? []).filter { $0.offset >= from && $0.offset < upTo },
                stableOffset: stableOffset(partition), isHeld: !hasListened || told[partition] != nil, coveredAt: fetchedAt[partition]),
            of: partition, now: now)
        reported[partition] = fits ? upTo : nil
    }

    // MARK: The coordinator

    private mutating func begin() {
        gate.setMirrors(["a": "a", "b": "b", "c": "c"], withOffsets: true, now: now)
        for partition in decisions.keys.sorted() where gate.position(of: partition) == nil {
            gate.begin(partition, at: Offset(decisions[partition]!.count))
        }
        reported = [:]
        offsetsLog = nil
        goal = nil
        news = MirrorNews(coordinator.transactions["l"]?.mirrors ?? [:])
        isFirst = true
    }

    private mutating func read() {
        let partition = decisions.keys.sorted().randomElement(using: &generator)!
        let position = gate.position(of: partition)!
        if position < decisions[partition]!.count {
            switch decisions[partition]![Int(position)] {
            case .decided(let decision): gate.observe(decision)
            case .completed(let id, let time):
                gate.observeCompletion(id, at: DecisionID(partition: partition, offset: position), timestamp: time, now: now)
            }
        }
        if let goal, goal.ends.allSatisfy({ gate.position(of: $0.key)! >= $0.value }) {
            gate.readThrough(goal.time)
            self.goal = nil
        } else if goal == nil {
            goal = (now, decisions.mapValues { Offset($0.count) })
        }
    }

    /// - Parameter dies: before anything is recorded; or right after.
    private mutating func record(dies: Bool) throws {
        gate.areHeldByAll(news.takeHeld(by: [1]))
        _ = gate.evaluate(now: now)
        news.hold(gate.takeHolds(), by: [1])
        if gate.hasStep || dies, Bool.random(using: &generator) || !dies {
            var step = gate.takeStep()
            if Bool.random(using: &generator) {
                step.givenOffsets = coordinator.transactions["l"]?.groupOffsets ?? [:]
                given.merge(step.givenOffsets)
            }
            guard let records = coordinator.settle(step, link: "l") else { throw Broken(description: "a step is refused") }
            for record in records { coordinator.replay(record) }
            news.recorded(step.mirrors)
            committed += step.committed
            try check()
        }
        guard dies else { return }
        gate = TransactionGate(coordinator.transactions["l"] ?? SettledTransactions(), maximumHoldMilliseconds: .max)
        begin()
    }

    /// Every transaction is settled in all mirrors that are waited for, or in none; none that is not settled begins before what readers see.
    private func check() throws {
        let mirrors = coordinator.transactions["l"]?.mirrors ?? [:]
        for (partition, settled) in mirrors where settled.end > fetched[partition]! {
            throw Broken(description: "\(partition) is settled to \(settled.end) and has \(fetched[partition]!)")
        }
        var isShown: [Int: Bool] = [:]
        for (index, transaction) in transactions.enumerated() {
            var shown: [TopicPartition: Bool] = [:]
            for partition in transaction.partitions {
                guard let settled = mirrors[partition] else { continue }
                let marker = transaction.markers[partition] ?? .max
                shown[partition] = marker < settled.end
                if marker >= settled.end, marker < self.shown[partition] ?? 0, transaction.decision?.isCommit == true {
                    throw Broken(description: "\(partition) was read up to \(self.shown[partition]!), and is cut at \(marker)")
                }
                if marker >= settled.end, let first = transaction.begins[partition], first < settled.stable {
                    throw Broken(description: "\(transaction) is not settled, and begins before \(settled) in \(partition)")
                }
            }
            isShown[index] = transaction.decision?.isCommit == true && !shown.isEmpty && shown.values.allSatisfy(\.self)
            // A mirror that came later has shown what was there before it was waited for.
            if hasNewMirrors { continue }
            guard transaction.decision?.isCommit == true, Set(shown.values).count > 1 else { continue }
            throw Broken(description: "half of \(transaction) is settled: \(shown), \(mirrors)")
        }
        if !hasNewMirrors { try checkOffsets(isShown) }
    }
}
