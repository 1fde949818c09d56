// A whole cluster in its world: controllers and brokers on machines in data centres, clients that write and read, faults by the plan, and
// the judge of all of it.
import ClusterMetadata
import Consensus
import Controlling
import KafkaMessages
import KafkaWire
import OrderedCollections
import Primitives

/// One run of one seed.
final class ClusterWorld {
    static let clusterID = "simulated"
    static let safeTopic = "safe"
    static let looseTopic = "loose"
    static let offsetsTopic = "offsets"

    let plan: ClusterPlan
    let mutation: ClusterMutation?
    let quorum: QuorumWorld
    private(set) var programs: [ClusterNode] = []
    private(set) lazy var ledger = ClusterLedger(self)
    private(set) var clients: [SimulatedClient] = []
    private(set) var faultsEnded = false
    let bootstrap: BootstrapMetadata
    private var random: SeededRandom
    private var recoveryBegan: VirtualTime = 0
    /// When some controller heard of each broker last.
    private var heard: [NodeID: VirtualTime] = [:]

    init(seed: UInt64, mutation: ClusterMutation?, isBrief: Bool, isTracing: Bool, plan given: ClusterPlan? = nil) {
        random = SeededRandom(seed: seed)
        let drawn = ClusterPlan(seed: random.next(), isBrief: isBrief)
        plan = given ?? drawn
        self.mutation = mutation
        quorum = QuorumWorld(plan: plan.quorum, seed: random.next(), mutation: nil, isTracing: isTracing)
        bootstrap = BootstrapMetadata(
            version: plan.version, features: plan.hasEligibleLeaderReplicas ? [FeatureName.eligibleLeaderReplicas: 1] : [:])
        for node in quorum.nodes {
            let isBroker = plan.isCombined || node.id > plan.controllerCount
            let program = ClusterNode(world: self, node: node, isBroker: isBroker)
            node.program = program
            programs.append(program)
        }
    }

    var scheduler: Scheduler { quorum.scheduler }
    var network: SimulatedNetwork { quorum.network }
    var violation: Violation? { quorum.violation }
    var brokers: [SimulatedBroker] { programs.compactMap(\.broker) }

    func broker(_ id: NodeID) -> SimulatedBroker? { programs.first { $0.node.id == id }?.broker }

    func fail(_ invariant: Invariant, _ detail: @autoclosure () -> String) { quorum.fail(invariant, detail()) }

    func note(_ text: @autoclosure () -> String) { quorum.trace.note(scheduler.now, "world", text()) }

    func controllerConfiguration(_ id: NodeID) -> ControllerConfiguration {
        ControllerConfiguration(
            nodeID: id, clusterID: Self.clusterID,
            fixed: [
                "broker.session.timeout.ms": String(plan.sessionTimeout), "leader.imbalance.check.interval.seconds": "3",
                "unclean.leader.election.interval.ms": "2000", "default.replication.factor": "3",
            ])
    }

    func minimumInSync(of topic: String) -> Int { topic == Self.looseTopic ? 1 : 2 }

    func isSafe(_ topic: String) -> Bool { topic != Self.looseTopic }

    // MARK: The run

    func run() {
        quorum.trace.note(0, "plan", plan.description)
        for node in quorum.nodes { scheduler.after(random.between(0...500_000)) { node.boot() } }
        for name in [Self.safeTopic, Self.offsetsTopic] + (plan.loosePartitions > 0 ? [Self.looseTopic] : []) { create(name) }
        startClients()
        watchSilence()
        let faults = ClusterFaults(self, seed: random.next())
        // Nothing to lose before there is something.
        scheduler.after(.seconds(3)) { faults.scheduleNext() }
        scheduler.at(.seconds(3) + plan.duration) { [self] in
            faults.end()
            faultsEnded = true
            quorum.faultsEnded = true
            recoveryBegan = scheduler.now
            for client in clients { client.faultsEnded() }
            watchRecovery(until: scheduler.now + plan.recoveryLimit)
        }
        while violation == nil, !quorum.isDone, scheduler.step() {}
        if violation == nil { ledger.checkAtEnd() }
    }

    /// Lets whoever believes to be the active controller decide.
    func askController<Response>(
        _ body: @escaping (inout Controller, Offset) throws(RequestFailure) -> ControllerResult<Response>,
        completion: @escaping (Result<Response, RequestFailure>) -> Void
    ) {
        let active = programs.filter { $0.isActive && !$0.node.isPaused }
        guard !active.isEmpty else { return completion(.failure(RequestFailure(.notController))) }
        random.pick(active).decide(body, completion: completion)
    }

    private func create(_ name: String) {
        guard ledger.newestImage.topics.topic(named: name) == nil else { return }
        var request = CreateTopicsRequest()
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions =
            name == Self.safeTopic ? Int32(plan.safePartitions) : name == Self.looseTopic ? Int32(plan.loosePartitions) : 1
        topic.replicationFactor = 3
        var settings: OrderedDictionary<String, String> = ["min.insync.replicas": String(minimumInSync(of: name))]
        if !isSafe(name) { settings["unclean.leader.election.enable"] = "true" }
        topic.configs = settings.map { name, value in
            var config = CreateTopicsRequest.CreatableTopicConfig()
            config.name = name
            config.value = value
            return config
        }
        request.topics = [topic]
        askController { (controller, _) throws(RequestFailure) in
            try controller.createTopics(request)
        } completion: { _ in
        }
        scheduler.after(.milliseconds(300)) { [self] in create(name) }
    }

    private func startClients() {
        var id: NodeID = 1000
        func add(_ make: (Host, UInt64) -> SimulatedClient) {
            let host = network.addHost(id: id, dataCenter: Int(random.below(Int64(plan.dataCenters))))
            host.isRunning = true
            host.incarnation = 1
            id += 1
            let client = make(host, random.next())
            clients.append(client)
            client.start()
        }
        for index in 0..<Int32(plan.safePartitions) {
            add { SimulatedProducer(self, $0, Self.safeTopic, index, isIdempotent: true, number: UInt64(index) + 1, seed: $1) }
            add { SimulatedConsumer(self, $0, Self.safeTopic, index, seed: $1) }
        }
        add { SimulatedProducer(self, $0, Self.safeTopic, 0, isIdempotent: false, number: 100, seed: $1) }
        for index in 0..<Int32(plan.loosePartitions) {
            add { SimulatedProducer(self, $0, Self.looseTopic, index, isIdempotent: false, number: 101, seed: $1) }
            add { SimulatedConsumer(self, $0, Self.looseTopic, index, seed: $1) }
        }
        add { SimulatedGroup(self, $0, Self.offsetsTopic, 0, seed: $1) }
    }

    // MARK: Silence

    /// The active controller has taken a heartbeat.
    func heard(of broker: NodeID) { heard[broker] = scheduler.now }

    /// A broker that is not heard of for longer than its session is fenced, by every controller that decides for as long.
    private func watchSilence() {
        let patience = VirtualTime.milliseconds(plan.sessionTimeout + 2_500)
        for program in programs where program.isActive && !program.node.isPaused && scheduler.now - program.node.lastResume > .seconds(2) {
            guard let controller = program.term?.controller, scheduler.now - program.termBegan > patience,
                scheduler.now - program.lastTick < .seconds(1), scheduler.now - program.tickingSince > .seconds(2)
            else { continue }
            for broker in controller.image.cluster.brokers.values where !broker.isFenced {
                let last = max(heard[broker.id] ?? 0, program.termBegan)
                guard scheduler.now - last > patience else { continue }
                fail(
                    .silentIsFenced,
                    "n\(program.node.id) has not fenced n\(broker.id), last heard of \((scheduler.now - last) / 1000) ms ago")
            }
        }
        scheduler.after(.milliseconds(500)) { [self] in watchSilence() }
    }

    // MARK: Recovery

    private func watchRecovery(until limit: VirtualTime) {
        if let problem = whatIsMissing() {
            guard scheduler.now < limit else {
                return fail(.clusterRecovers, "after \(plan.recoveryLimit / 1_000_000) s: \(problem)")
            }
            scheduler.after(.milliseconds(100)) { [self] in watchRecovery(until: limit) }
        } else {
            note("all is well again after \((scheduler.now - recoveryBegan) / 1000) ms")
            quorum.end()
        }
    }

    /// What keeps the cluster from being whole; nil when nothing does.
    private func whatIsMissing() -> String? {
        let active = programs.filter(\.isActive)
        guard active.count == 1, let leader = active.first else { return "\(active.count) active controllers" }
        let image = leader.committedImage
        for broker in brokers {
            guard broker.phase == .running, let registered = image.cluster.broker(broker.id), registered.isActive else {
                return "n\(broker.id) is \(broker.phase), \(image.cluster.broker(broker.id)?.isFenced ?? true ? "fenced" : "unfenced")"
            }
        }
        guard ledger.newestImage === image || ledger.newestImage.provenance.offset <= image.provenance.offset else {
            return "the controller is behind"
        }
        for name in [Self.safeTopic, Self.offsetsTopic] + (plan.loosePartitions > 0 ? [Self.looseTopic] : []) {
            guard let topic = image.topics.topic(named: name) else { return "there is no topic \(name)" }
            for entry in topic.partitions {
                if let problem = whatIsMissing(topic, entry) { return "\(name)-\(entry.index) \(problem)" }
            }
        }
        for client in clients {
            if let problem = client.whatIsMissing() { return problem }
        }
        return nil
    }

    private func whatIsMissing(_ topic: TopicImage, _ entry: PartitionImage) -> String? {
        let partition = TopicIDPartition(topic.id, entry.index)
        guard entry.hasLeader else { return "has no leader: \(entry)" }
        guard Set(entry.isr) == Set(entry.replicas), !entry.isReassigning else { return "lacks replicas in sync: \(entry)" }
        guard let leader = broker(entry.leader)?.replica(partition), leader.core.isLeader, leader.core.leaderEpoch == entry.leaderEpoch
        else {
            return "is not led by n\(entry.leader) yet"
        }
        for id in entry.replicas {
            guard let log = broker(id)?.replica(partition)?.log else { return "is not there on n\(id)" }
            guard log.endOffset == leader.log.endOffset, log.highWatermark == log.endOffset else {
                return "ends on n\(id) at \(log.endOffset), high watermark \(log.highWatermark), on its leader at \(leader.log.endOffset)"
            }
        }
        return nil
    }
}
