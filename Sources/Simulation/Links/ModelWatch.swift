// The coordinator's eye on the transactions of one link's source: feeds the real gate with what the source decides and what the mirrors have,
// has its steps recorded, and tells all brokers what is settled, as `TransactionWatch`, `TransactionLogReader` and `MirrorTeller` do.
import Linking
import Primitives

/// One link's transactions, as long as what is recorded is what this one knows of.
final class ModelWatch {
    private static let recordMilliseconds: Int64 = 5_000
    private static let idleMilliseconds: Int64 = 250
    private static let patienceMilliseconds: Int64 = 50
    private static let backMilliseconds: Int64 = 60_000

    private let link: LinkDefinition
    private let coordinator: ModelCoordinator
    private let isStopped: () -> Bool
    private var gate: TransactionGate
    private var news: MirrorNews
    private var isRecording = false
    private var nextRecord: Int64 = 0
    private var hasFailed = false
    private var ended: (() -> Void)?
    private var goal: (time: Int64, ends: [Int32: Offset]?)?
    private var topics: [String: String] = [:]
    /// Mirrors that were not waited for some time since the last step, for the judge.
    private var left: Set<TopicPartition> = []
    private var incomplete = 0

    init(_ link: LinkDefinition, _ coordinator: ModelCoordinator, _ beginning: SettlingBeginning, isStopped: @escaping () -> Bool) {
        self.link = link
        self.coordinator = coordinator
        self.isStopped = isStopped
        gate = TransactionGate(beginning.recorded, maximumHoldMilliseconds: coordinator.broker.world.plan.transactionHold)
        news = beginning.news
    }

    private var broker: ModelBroker { coordinator.broker }
    private var cluster: ModelCluster { broker.cluster }
    private var world: LinkWorld { broker.world }
    private var source: ModelCluster? { world.cluster(link.sourceClusterID) }
    private var isOver: Bool { hasFailed || isStopped() }

    /// - Parameter ended: called when what is recorded has become something else.
    func run(_ ended: @escaping () -> Void) {
        self.ended = ended
        for broker in cluster.brokers { converse(with: broker, nil, lastAt: .min) }
        if !ModelWorker.isPaused(link) { begin() }
    }

    private func later(_ range: ClosedRange<Int64>, _ action: @escaping () -> Void) {
        broker.later(range) { [self] in if !isOver { action() } }
    }

    // MARK: Telling

    private func converse(with other: ModelBroker, _ session: UInt64?, lastAt: Int64) {
        guard cluster.liveBrokers.contains(other.id) else {
            news.forget(other.id)
            return later(100...250) { [self] in converse(with: other, nil, lastAt: .min) }
        }
        let isDue = gate.isBusy || news.hasNews(for: other.id) || world.now - Self.idleMilliseconds >= lastAt
        guard isDue || session == nil else {
            return later(20...80) { [self] in converse(with: other, session, lastAt: lastAt) }
        }
        let isFirst = session == nil
        let number = session ?? world.fresh()
        let askedAt = world.now
        let told = news.tell(other.id, isFirst: isFirst)
        let message = ModelNews(link: link.name, epoch: coordinator.epoch, session: number, isFirst: isFirst, settled: told)
        world.ask(broker, cluster) { () -> [(partition: TopicPartition, report: MirrorReport)]?? in
            other.isRunning ? .some(other.settle(message)) : nil
        } _: { [self] answer in
            guard !isOver else { return }
            var next: UInt64? = number
            if let answer {
                if let reports = answer {
                    news.heard(told, by: other.id)
                    next = take(reports, askedAt) ? number : nil
                } else {
                    next = nil
                }
                later(20...25) { [self] in converse(with: other, next, lastAt: askedAt) }
            } else {
                later(100...105) { [self] in converse(with: other, nil, lastAt: askedAt) }
            }
        }
    }

    /// - Returns: whether all of it fits what is known.
    private func take(_ reports: [(partition: TopicPartition, report: MirrorReport)], _ askedAt: Int64) -> Bool {
        var fits = true
        for (partition, report) in reports {
            // Clocks are not compared: what was so long ago when it was said was longer ago than that.
            if !gate.report(report, of: partition, now: world.now) { fits = false }
        }
        advance()
        return fits
    }

    // MARK: Reading

    private func begin() {
        let unknown = source?.transactions.log.indices.filter { gate.position(of: Int32($0)) == nil } ?? []
        let time = world.now - Self.backMilliseconds
        ask {
            $0.places(since: time)
        } _: { [self] places in
            guard let places else { return later(200...300) { [self] in begin() } }
            if !unknown.isEmpty { world.ledger.transactions.begins(cluster, link.name, at: time) }
            for partition in unknown { gate.begin(Int32(partition), at: places[Int32(partition)] ?? 0) }
            read()
        }
    }

    private func ask<Answer>(_ work: @escaping (ModelTransactions) -> Answer?, _ done: @escaping (Answer?) -> Void) {
        guard let source else { return later(1...1) { done(nil) } }
        world.ask(broker, source) {
            work(source.transactions)
        } _: { [self] answer in
            if !isOver { done(answer) }
        }
    }

    private func read() {
        followMirrors()
        var positions: [Int32: Offset] = [:]
        for partition in source?.transactions.log.indices ?? 0..<0 {
            positions[Int32(partition)] = gate.position(of: Int32(partition)) ?? 0
        }
        let asked = positions
        ask {
            $0.entries(from: asked)
        } _: { [self] answer in
            guard let answer else { return later(200...300) { [self] in begin() } }
            followMirrors()
            for (id, entry) in answer {
                switch entry {
                case .decided(let decision): gate.observe(decision)
                case .completed(let name, let time): gate.observeCompletion(name, at: id, timestamp: time, now: world.now)
                }
            }
            readOn()
            advance()
            later(5...25) { [self] in read() }
        }
    }

    private func readOn() {
        if goal == nil, gate.awaitsDecisions(since: world.now - Self.patienceMilliseconds) {
            goal = (world.now, nil)
            let time = world.now
            ask {
                $0.ends()
            } _: { [self] ends in
                goal = ends.map { (time, $0) }
            }
        } else if let time = goal?.time, let ends = goal?.ends, ends.allSatisfy({ gate.position(of: $0.key) ?? 0 >= $0.value }) {
            goal = nil
            gate.readThrough(time)
        }
    }

    private func followMirrors() {
        var mirrors: [String: String] = [:]
        for mirror in coordinator.core.image.mirrors(of: link.name) where mirror.state.fetches { mirrors[mirror.sourceName] = mirror.name }
        let gone = Set(topics.values).subtracting(mirrors.values)
        left.formUnion(cluster.partitions.map(\.name).filter { gone.contains($0.topic) })
        topics = mirrors
        gate.setMirrors(mirrors, now: world.now)
    }

    // MARK: Steps

    private func advance() {
        guard !ModelWorker.isPaused(link), !isOver else { return }
        gate.areHeldByAll(news.takeHeld(by: cluster.liveBrokers))
        let behind = gate.evaluate(now: world.now)
        news.hold(gate.takeHolds(), by: cluster.liveBrokers)
        if !behind.isEmpty { broker.note("\(behind.map { "\($0)" }.joined(separator: " ")) of \(link.name) are left behind") }
        left.formUnion(behind)
        guard !isRecording, gate.hasStep || world.now >= nextRecord else { return }
        isRecording = true
        nextRecord = world.now + Self.recordMilliseconds
        let (step, gone) = (mutated(gate.takeStep()), left)
        left = []
        let hasIncomplete = gate.incompleteTransactions > incomplete
        incomplete = gate.incompleteTransactions
        var isTaken = true
        coordinator.change(left: gone, hasIncomplete: hasIncomplete) { [name = link.name] core in
            guard let records = core.settle(step, link: name) else {
                isTaken = false
                return []
            }
            return records
        } _: { [self] _ in
            guard !isOver else { return }
            guard isTaken else {
                hasFailed = true
                ended?()
                return
            }
            isRecording = false
            news.recorded(step.mirrors)
            later(0...1) { [self] in advance() }
        }
    }

    private func mutated(_ step: SettlingStep) -> SettlingStep {
        guard world.mutation == .settleOneByOne else { return step }
        var step = step
        for (partition, former) in news.settled where step.mirrors[partition] == nil {
            guard let topic = cluster.topics[partition.topic], Int(partition.partition) < topic.partitions.count else { continue }
            let end = topic.partitions[Int(partition.partition)].committed.end
            guard end > former.end else { continue }
            step.mirrors[partition] = SettledMirror(end: end, stable: former.stable)
        }
        return step
    }

    /// Whether nothing before the ends of a mirror topic's partitions is held back.
    func isSettled(_ topic: String, before ends: [Offset]) -> Bool { !isRecording && gate.isSettled(topic, before: ends) }

    /// Whether everything that was decided before some offsets is settled.
    func hasSettled(before ends: [Int32: Offset], in topics: Set<String>) -> Bool {
        !isRecording && gate.hasSettled(before: ends, in: topics)
    }
}

extension ModelTransactions {
    /// Nil while a partition's leader is away.
    func ends() -> [Int32: Offset]? {
        guard log.indices.allSatisfy({ isAvailable($0) }) else { return nil }
        return Dictionary(uniqueKeysWithValues: log.indices.map { (Int32($0), Offset(log[$0].count)) })
    }

    /// Where decisions since a time begin.
    fileprivate func places(since time: Timestamp) -> [Int32: Offset]? {
        guard let ends = ends() else { return nil }
        return Dictionary(
            uniqueKeysWithValues: ends.map { partition, end in
                (partition, log[Int(partition)].firstIndex { $0.timestamp >= time }.map { Offset($0) } ?? end)
            })
    }

    fileprivate func entries(from positions: [Int32: Offset]) -> [(DecisionID, Entry)] {
        var entries: [(DecisionID, Entry)] = []
        for (partition, position) in positions.sorted(by: { $0.key < $1.key }) where isAvailable(Int(partition)) {
            let log = log[Int(partition)]
            guard position < log.count else { continue }
            for offset in position..<min(Offset(log.count), position + 50) {
                entries.append((DecisionID(partition: partition, offset: offset), log[Int(offset)]))
            }
        }
        return entries
    }
}
