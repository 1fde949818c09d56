// Several clusters with links in one world: brokers that crash between any two steps, a network that delays, reorders and loses, operators,
// clients, and the judge of all of it. The link cores decide unchanged; logs, elections and metadata are models (see docs/simulation.md).
import Linking
import Primitives

/// One run of one seed.
final class LinkWorld {
    let plan: LinkPlan
    let mutation: LinkMutation?
    let scheduler: Scheduler
    let trace: Trace
    var random: SeededRandom
    private(set) var clusters: [ModelCluster] = []
    private(set) lazy var ledger = LinkLedger(self)
    private(set) lazy var operators = LinkOperators(self)
    private(set) lazy var clients = LinkClients(self)
    private(set) var violation: Violation?
    private(set) var faultsEnded = false
    /// Pairs of clusters that nothing gets between.
    var cuts: Set<Set<String>> = []
    private var isDone = false
    private var nextID: UInt64 = 0
    private var deadline: VirtualTime = 0

    init(seed: UInt64, mutation: LinkMutation?, isBrief: Bool, isTracing: Bool) {
        random = SeededRandom(seed: seed)
        plan = LinkPlan(seed: random.next(), isBrief: isBrief)
        self.mutation = mutation
        scheduler = Scheduler(seed: random.next())
        trace = Trace(isRecording: isTracing)
        for name in plan.shape == .chain ? ["A", "B", "C"] : ["A", "B"] { clusters.append(ModelCluster(name, self)) }
    }

    /// Milliseconds, of clocks that all go alike.
    var now: Timestamp { scheduler.now / 1000 }

    func cluster(_ name: String) -> ModelCluster? { clusters.first { $0.name == name } }

    func fresh() -> UInt64 {
        nextID += 1
        return nextID
    }

    func freshID() -> KafkaUUID { KafkaUUID(mostSignificantBits: 0x4000, leastSignificantBits: 0x8000_0000_0000_0000 | fresh()) }

    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) {
        guard violation == nil else { return }
        violation = Violation(invariant: invariant, detail: detail(), time: scheduler.now)
        note("judge", "\(invariant.rawValue) is broken: \(detail())")
    }

    func note(_ actor: @autoclosure () -> String, _ text: @autoclosure () -> String) { trace.note(scheduler.now, actor(), text()) }

    // MARK: Time and network

    func after(_ range: ClosedRange<Int64>, _ action: @escaping () -> Void) {
        scheduler.after(.milliseconds(1) * random.between(range), action)
    }

    private var delay: VirtualTime {
        let isSlow = !faultsEnded && random.chance(20)
        return isSlow ? .milliseconds(random.between(50...2_000)) : random.between(300...15_000)
    }

    /// Asks a cluster from a broker: the answer is worked out when the question arrives. Nil when either was lost; nothing comes back to a
    /// process that has ended.
    func ask<Answer>(_ broker: ModelBroker, _ other: ModelCluster, _ work: @escaping () -> Answer?, _ reply: @escaping (Answer?) -> Void) {
        let incarnation = broker.incarnation
        func answer(_ value: Answer?, after delay: VirtualTime) {
            scheduler.after(delay) { if broker.isRunning, broker.incarnation == incarnation { reply(value) } }
        }
        func isLost() -> Bool {
            cuts.contains([broker.cluster.name, other.name]) && other !== broker.cluster || !faultsEnded && random.chance(plan.lost)
        }
        guard !isLost() else { return answer(nil, after: .milliseconds(random.between(200...1_500))) }
        scheduler.after(delay) { [self] in
            let value = work()
            guard !isLost() else { return answer(nil, after: .milliseconds(random.between(200...1_500))) }
            answer(value, after: delay)
        }
    }

    /// As `ask`, of what takes its time to answer.
    func call<Answer>(
        _ broker: ModelBroker, _ other: ModelCluster, _ work: @escaping (@escaping (Answer?) -> Void) -> Void,
        _ reply: @escaping (Answer?) -> Void
    ) {
        var isAnswered = false
        func answer(_ value: Answer?) {
            guard !isAnswered else { return }
            isAnswered = true
            reply(value)
        }
        let incarnation = broker.incarnation
        scheduler.after(.seconds(15)) { if broker.isRunning, broker.incarnation == incarnation { answer(nil) } }
        ask(broker, other) { () -> Bool? in
            work { value in
                // The way back of what was asked.
                self.ask(broker, other, { true }) { (arrived: Bool?) in if arrived == true { answer(value) } }
            }
            return true
        } _: { (arrived: Bool?) in
            if arrived == nil { answer(nil) }
        }
    }

    // MARK: The run

    func run() {
        note("plan", plan.description)
        for cluster in clusters { cluster.start() }
        operators.start()
        clients.start()
        let faults = LinkFaults(self)
        scheduler.after(.seconds(2)) { faults.scheduleNext() }
        scheduler.at(.seconds(2) + plan.duration) { [self] in
            faultsEnded = true
            cuts = []
            for cluster in clusters { cluster.repair() }
            note("world", "faults have ended")
            deadline = scheduler.now + .seconds(120)
            operators.windUp()
            watch()
        }
        while violation == nil, !isDone, scheduler.step() {}
        for cluster in clusters { cluster.coordinator?.end() }
    }

    /// Waits for everything to come to its end.
    private func watch() {
        scheduler.after(.milliseconds(250)) { [self] in
            // Logs that are about to be cut may end at the same offset for a moment.
            let isLate = scheduler.now >= deadline
            let open = ledger.unfinished()
            if let open, isLate { return fail(.linksComeToTheirEnd, open) }
            let difference = open == nil ? ledger.difference() : nil
            if let difference, isLate { return fail(.mirrorsEqualTheirSource, difference) }
            guard open == nil, difference == nil else { return watch() }
            ledger.checkAtEnd()
            isDone = true
        }
    }
}
