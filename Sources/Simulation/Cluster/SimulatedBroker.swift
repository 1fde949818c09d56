// A broker's process: its life with the controller as `BrokerLifecycle` leads it, its partitions as the metadata place them, its fetchers.
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives
import Replication

/// One broker.
final class SimulatedBroker {
    enum Phase {
        case idle
        case starting
        case recovery
        case running
        case controlledShutdown
    }

    unowned let world: ClusterWorld
    unowned let node: QuorumNode
    let channel: ControllerChannelModel
    /// What its disk holds; logs stay when the process ends.
    private(set) var disk: [TopicIDPartition: ReplicaLog] = [:]
    private let directory: KafkaUUID
    /// The epoch that the last clean stop left on the disk.
    private var cleanShutdownEpoch: Int64 = -1
    /// Of the last registration, however it ended.
    private var lastEpoch: Int64 = -1

    private(set) var phase = Phase.idle
    private(set) var epoch: Int64 = -1
    private var registration = BrokerRegistrationRequest()
    private var isRegistered = false
    private var wantsUnfenced = false
    private var isInFlight = false
    private var mustRepeat = false
    private var failures: Int64 = 0
    private var shutdownAnswers = 0
    private var schedule = 0
    private var hasPublished = false

    private(set) var image = MetadataImage.empty
    /// In the order in which they were placed.
    private(set) var replicas: [SimulatedReplica] = []
    private var fetchers: [SimulatedFetcher] = []
    private var sources: [TopicIDPartition: NodeID] = [:]
    private(set) var live = LiveBrokers()
    private(set) lazy var proposals = ProposalSender(broker: self)
    var sessions = FetchSessionCache(slots: 1000, seed: 0)
    private var lastWaiter = 0
    var coordinators: [TopicIDPartition: SimulatedCoordinator] = [:]

    init(world: ClusterWorld, node: QuorumNode, channel: ControllerChannelModel) {
        self.world = world
        self.node = node
        self.channel = channel
        directory = KafkaUUID.random(using: &node.random)
    }

    var id: NodeID { node.id }
    private var interval: Int64 { world.plan.heartbeatInterval }

    func replica(_ partition: TopicIDPartition) -> SimulatedReplica? { replicas.first { $0.partition == partition } }

    func nextWaiter() -> Int {
        lastWaiter += 1
        return lastWaiter
    }

    /// Runs the action after that many milliseconds unless the process ends before.
    func later(_ milliseconds: Int64, _ action: @escaping () -> Void) {
        node.after(.milliseconds(milliseconds)) { [node] in node.perform(action) }
    }

    func send(
        _ call: BrokerCall, to host: Host, purpose: Int, timeout: Int64, completion: @escaping (BrokerAnswer?) -> Void
    ) {
        let incarnation = node.host.incarnation
        world.network.send(.broker(call), from: node.host, to: host, purpose: purpose, timeout: .milliseconds(timeout)) { [node] result in
            guard node.host.isRunning, node.host.incarnation == incarnation else { return }
            node.perform {
                if case .success(.broker(let answer)) = result { completion(answer) } else { completion(nil) }
            }
        }
    }

    // MARK: The process

    func start() {
        sessions = FetchSessionCache(slots: 1000, seed: node.random.next())
        registration = BrokerRegistrationRequest()
        registration.brokerId = id
        registration.clusterId = ClusterWorld.clusterID
        registration.incarnationId = KafkaUUID.random(using: &node.random)
        var listener = BrokerRegistrationRequest.Listener()
        listener.name = "PLAINTEXT"
        listener.host = "n\(id)"
        listener.port = 9092
        registration.listeners = [listener]
        registration.features = Feature.supportedByThisSoftware.map { supported in
            var feature = BrokerRegistrationRequest.Feature()
            feature.name = supported.name
            feature.minSupportedVersion = supported.minimum
            feature.maxSupportedVersion = supported.maximum
            return feature
        }
        registration.rack = "\(node.host.dataCenter)"
        registration.logDirs = [directory]
        registration.previousBrokerEpoch = cleanShutdownEpoch
        if world.mutation == .claimCleanStop { registration.previousBrokerEpoch = lastEpoch }
        // The marker of a clean stop is gone as soon as the logs may change.
        cleanShutdownEpoch = -1
        phase = .starting
        communicate(after: 0)
    }

    func processEnded() {
        phase = .idle
        (epoch, isRegistered, wantsUnfenced, isInFlight, mustRepeat, hasPublished) = (-1, false, false, false, false, false)
        (failures, shutdownAnswers) = (0, 0)
        schedule += 1
        image = .empty
        replicas = []
        fetchers = []
        sources = [:]
        coordinators = [:]
        live = LiveBrokers()
        proposals = ProposalSender(broker: self)
    }

    func powerLost() {
        for (partition, log) in disk.sorted(by: { ($0.key.topicID, $0.key.partition) < ($1.key.topicID, $1.key.partition) }) {
            if let end = log.powerLost(&node.random) { world.ledger.lostTail(partition, broker: id, from: end) }
        }
    }

    /// Wants to stop; `done` is called once the controller let it go, or nobody answers.
    func leave(done: @escaping () -> Void) {
        guard phase == .running || phase == .recovery, isRegistered else { return done() }
        phase = .controlledShutdown
        node.note("begins its controlled shutdown")
        onLeave = done
        communicate(after: 0)
        // As after 10 s of silence; shorter, so that a run sees it happen.
        later(5_000) { [self] in if phase == .controlledShutdown { leaveNow() } }
    }

    private var onLeave: (() -> Void)?

    private func leaveNow() {
        // No more clients, no more fetching. Logs are flushed and closed, and marked clean under the broker's epoch.
        phase = .idle
        schedule += 1
        for fetcher in fetchers { fetcher.close() }
        for log in disk.values {
            log.flush()
            log.checkpointHighWatermark()
        }
        cleanShutdownEpoch = epoch
        node.note("has stopped cleanly under epoch \(epoch)")
        let done = onLeave
        onLeave = nil
        done?()
    }

    // MARK: Registration and heartbeats

    private func communicate(after milliseconds: Int64) {
        guard phase != .idle else { return }
        schedule += 1
        let current = schedule
        later(milliseconds) { [self] in
            guard schedule == current else { return }
            if isInFlight {
                mustRepeat = true
                return
            }
            isInFlight = true
            isRegistered ? sendHeartbeat() : sendRegistration()
        }
    }

    private func sendRegistration() {
        channel.send(.register(registration), timeout: .seconds(60), attemptTimeout: .seconds(4)) { [self] answer in
            switch answer {
            case .register(let response): registered(response.brokerEpoch)
            default: refused()
            }
        }
    }

    private func registered(_ newEpoch: Int64) {
        (isInFlight, mustRepeat, isRegistered, failures) = (false, false, true, 0)
        if epoch != newEpoch { node.note("is registered under epoch \(newEpoch)") }
        epoch = newEpoch
        lastEpoch = newEpoch
        replayed(node.program?.committedImage ?? .empty)
        communicate(after: wantsUnfenced ? 0 : 10)
    }

    private func refused() {
        (isInFlight, mustRepeat) = (false, false)
        failures += 1
        communicate(after: min(2000, 50 << min(failures - 1, 10)))
    }

    private func sendHeartbeat() {
        var request = BrokerHeartbeatRequest()
        request.brokerId = id
        request.brokerEpoch = epoch
        request.currentMetadataOffset = node.program?.committedImage.provenance.offset ?? -1
        request.wantFence = !wantsUnfenced
        request.wantShutDown = phase == .controlledShutdown
        channel.send(
            .heartbeat(request), timeout: .milliseconds(max(4000, world.plan.sessionTimeout)), attemptTimeout: .seconds(4)
        ) { [self] answer in
            switch answer {
            case .heartbeat(let response): answered(response)
            case .failed(.staleBrokerEpoch):
                forgetDisplacedRegistration()
                refused()
            default: refused()
            }
        }
    }

    /// A registration that the former process had sent may arrive after this one's, and take its place.
    private func forgetDisplacedRegistration() {
        guard let known = node.program?.committedImage.cluster.broker(id), phase != .controlledShutdown, known.epoch > epoch,
            known.incarnationID != registration.incarnationId
        else { return }
        isRegistered = false
    }

    private func answered(_ response: BrokerHeartbeatResponse) {
        (isInFlight, failures) = (false, 0)
        let pause: Int64
        switch phase {
        case .starting: pause = 10
        case .recovery where wantsUnfenced && response.isFenced: pause = 50
        case .idle, .recovery, .running: pause = interval
        case .controlledShutdown:
            if response.shouldShutDown { return leaveNow() }
            shutdownAnswers += 1
            pause = shutdownAnswers < 40 ? 50 : 500
        }
        let again = mustRepeat ? 0 : pause
        mustRepeat = false
        communicate(after: again)
    }

    /// The node has replayed newer metadata.
    func replayed(_ image: MetadataImage) {
        guard let registered = image.cluster.broker(id), isRegistered, registered.epoch == epoch, phase == .starting else { return }
        phase = .recovery
        openLogs(image)
    }

    /// The logs are opened as the metadata want them; then clients may come.
    private func openLogs(_ image: MetadataImage) {
        later(node.random.between(1...300)) { [self] in
            for log in disk.values { log.opened() }
            hasPublished = true
            let newest = node.program?.committedImage ?? .empty
            publish(newest, MetadataChanges(from: .empty, to: newest))
            wantsUnfenced = true
            communicate(after: 0)
            everyNowAndThen()
        }
    }

    private func everyNowAndThen() {
        func shrink() {
            for replica in replicas { replica.shrinkInSyncReplicas() }
            later(max(100, world.plan.lagTime / 2), shrink)
        }
        func checkpoint() {
            for replica in replicas { replica.log.checkpointHighWatermark() }
            later(2_000, checkpoint)
        }
        func flush() {
            for replica in replicas where node.random.chance(500) { replica.log.flush() }
            later(node.random.between(1_000...10_000), flush)
        }
        shrink()
        checkpoint()
        later(node.random.between(1_000...10_000), flush)
    }

    // MARK: Metadata

    func publish(_ new: MetadataImage, _ changes: MetadataChanges) {
        guard hasPublished else { return }
        for topic in changes.deletedTopics {
            for replica in replicas where replica.partition.topicID == topic.id { give(up: replica) }
        }
        if !changes.brokers.isEmpty { updateLive(new) }
        for topic in changes.createdTopics { place(topic, new) }
        for topic in changes.changedTopics { place(topic, new) }
        image = new
        for topic in changes.createdTopics + changes.changedTopics where topic.name == ClusterWorld.offsetsTopic { coordinate(topic) }
        published(new)
    }

    private func updateLive(_ image: MetadataImage) {
        var brokers = LiveBrokers()
        for broker in image.cluster.brokers.values where broker.isActive { brokers[broker.id] = broker.epoch }
        live = brokers
    }

    private func place(_ topic: TopicImage, _ image: MetadataImage) {
        let minimum = world.minimumInSync(of: topic.name)
        for entry in topic.partitions {
            let partition = TopicIDPartition(topic.id, entry.index)
            let known = replica(partition)
            guard entry.replicas.contains(id) else {
                if let known { give(up: known) }
                continue
            }
            let replica = known ?? open(partition)
            replica.update(minimumInSync: minimum)
            let assignment = PartitionAssignment(
                replicas: entry.replicas, isr: entry.isr, leader: entry.leader, leaderEpoch: entry.leaderEpoch,
                partitionEpoch: entry.partitionEpoch)
            switch replica.apply(assignment) {
            case .unchanged: break
            case .leads: stopFetching(replica)
            case .follows(let isNewEpoch): if isNewEpoch { fetch(replica) }
            }
        }
    }

    private func open(_ partition: TopicIDPartition) -> SimulatedReplica {
        let log = disk[partition] ?? ReplicaLog()
        disk[partition] = log
        let replica = SimulatedReplica(broker: self, partition: partition, log: log)
        replicas.append(replica)
        return replica
    }

    private func give(up replica: SimulatedReplica) {
        node.note("gives up \(replica.partition.short)")
        stopFetching(replica)
        replica.remove()
        replicas.removeAll { $0 === replica }
        disk[replica.partition] = nil
    }

    private func published(_ image: MetadataImage) {
        guard let registered = image.cluster.broker(id), registered.epoch == epoch else { return }
        if registered.isFenced {
            if phase == .running { communicate(after: 0) }
        } else if phase == .recovery, wantsUnfenced {
            phase = .running
            node.note("is unfenced")
        }
    }

    // MARK: Fetching

    func address(of leader: NodeID) -> Host? {
        image.cluster.broker(leader) == nil ? nil : world.network.host(leader)
    }

    private func fetch(_ replica: SimulatedReplica) {
        let leader = replica.core.assignment.leader
        guard leader >= 0, leader != id else { return stopFetching(replica) }
        let former = sources[replica.partition].flatMap { old in old == leader ? nil : fetchers.first { $0.leader == old } }
        sources[replica.partition] = leader
        let fetcher: SimulatedFetcher
        if let known = fetchers.first(where: { $0.leader == leader }) {
            fetcher = known
        } else {
            fetcher = SimulatedFetcher(leader: leader, broker: self)
            fetchers.append(fetcher)
        }
        former?.stop(replica)
        fetcher.follow(replica)
    }

    private func stopFetching(_ replica: SimulatedReplica) {
        guard let leader = sources.removeValue(forKey: replica.partition) else { return }
        fetchers.first { $0.leader == leader }?.stop(replica)
    }
}
