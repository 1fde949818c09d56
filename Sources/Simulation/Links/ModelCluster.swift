// One cluster in small: topics and their leaders as the controller has them, replication between brokers, and the log of its links.
import Linking
import Primitives

/// A cluster of a world with links.
final class ModelCluster {
    let name: String
    unowned let world: LinkWorld
    private(set) var brokers: [ModelBroker] = []
    private(set) var topics: [String: ModelTopic] = [:]
    /// Committed offsets of groups: by group, then partition.
    var groups: [String: [TopicPartition: Offset]] = [:]
    private(set) lazy var transactions = ModelTransactions(self)
    // Links.
    /// Records that are committed.
    private(set) var linkLog: [LinkRecord] = []
    private(set) var committedLinks = LinkCoordinator()
    var committedImage: LinkImage { committedLinks.image }
    private(set) var coordinator: ModelCoordinator?
    private var coordinatorEpoch: LeaderEpoch = 0

    init(_ name: String, _ world: LinkWorld) {
        self.name = name
        self.world = world
        for id in 1...NodeID(world.plan.brokers) { brokers.append(ModelBroker(id, self)) }
    }

    func note(_ text: @autoclosure () -> String) { world.note(name, text()) }

    func start() {
        for broker in brokers { broker.start() }
        electCoordinator()
    }

    func broker(_ id: NodeID) -> ModelBroker? { brokers.first { $0.id == id } }

    /// Brokers that count: their sessions are not over.
    var liveBrokers: [NodeID] { brokers.filter { !$0.isFenced }.map(\.id) }

    var sortedTopics: [ModelTopic] { topics.values.sorted { $0.name < $1.name } }

    var partitions: [ModelPartition] { sortedTopics.flatMap(\.partitions) }

    func topic(id: TopicID) -> ModelTopic? { topics.values.first { $0.id == id } }

    func linkedTopics() -> [String: LinkedTopic] {
        topics.mapValues { LinkedTopic(name: $0.name, id: $0.id, partitions: $0.partitions.count) }
    }

    // MARK: Topics

    func create(_ name: String, partitions: Int) -> ModelTopic? {
        guard topics[name] == nil else { return nil }
        let topic = ModelTopic(name: name, id: world.freshID())
        topics[name] = topic
        note("topic \(name) is created")
        grow(topic, to: partitions)
        return topic
    }

    func grow(_ topic: ModelTopic, to count: Int) {
        note("topic \(topic.name) gets \(count) partitions")
        while topic.partitions.count < count {
            let index = topic.partitions.count
            let first = Int(world.random.below(Int64(brokers.count)))
            let placed = (0..<world.plan.replication).map { brokers[(first + $0) % brokers.count].id }
            let partition = ModelPartition(TopicPartition(topic.name, Int32(index)), topic.id, placed: placed)
            topic.partitions.append(partition)
            for broker in brokers { broker.place(partition) }
            partition.inSync = placed.filter { self.broker($0)?.isRunning == true }
            if partition.inSync.isEmpty { partition.inSync = placed }
            if let leader = partition.inSync.first(where: { self.broker($0)?.isRunning == true }) { partition.elect(leader) }
        }
        metadataChanged()
    }

    func delete(_ name: String) {
        guard let topic = topics.removeValue(forKey: name) else { return }
        note("topic \(name) is deleted")
        for group in groups.keys { groups[group] = groups[group]?.filter { $0.key.topic != name } }
        metadataChanged()
        // As `LinkServices.forget`.
        world.after(0...300) { [self] in
            coordinator?.change { core in
                let fenced = core.image.fences[name] != nil && self.topics[name] == nil ? core.unfence([name]) : []
                return fenced + (core.image.mirrors[name]?.topicID == topic.id ? core.removeMirror(name) : [])
            } _: { _ in
            }
        }
    }

    func metadataChanged() { for broker in brokers { broker.metadataChanged() } }

    // MARK: Brokers come and go

    func crashed(_ broker: ModelBroker) {
        let incarnation = broker.incarnation
        if coordinator?.broker === broker { endCoordinator() }
        world.after(300...2_000) { [self] in
            guard broker.incarnation == incarnation, !broker.isRunning else { return }
            broker.isFenced = true
            leave(broker)
        }
    }

    private func leave(_ broker: ModelBroker) {
        for partition in partitions where partition.placed.contains(broker.id) {
            if partition.inSync.count > 1 { partition.inSync.removeAll { $0 == broker.id } }
            guard partition.leader == broker.id else { continue }
            if let next = partition.inSync.first(where: { self.broker($0)?.isRunning == true }) {
                partition.elect(next)
            } else {
                partition.leader = -1
            }
        }
        metadataChanged()
    }

    func returned(_ broker: ModelBroker) {
        // A new incarnation has left what it was in sync with before.
        leave(broker)
        broker.isFenced = false
        for partition in partitions where partition.leader < 0 && partition.inSync.contains(broker.id) { partition.elect(broker.id) }
        metadataChanged()
    }

    func moveLeader(of partition: ModelPartition) {
        let others = partition.inSync.filter { $0 != partition.leader && broker($0)?.isRunning == true }
        guard let next = others.first else { return }
        partition.elect(next)
        note("\(partition.name) is led by \(next) in epoch \(partition.epoch)")
        metadataChanged()
    }

    /// The leader is gone and somebody who lacks records is elected.
    func electUnclean(_ partition: ModelPartition, _ node: NodeID) {
        partition.uncleanAt = world.now
        partition.inSync = [node]
        partition.elect(node)
        note("\(partition.name) is led by \(node) in epoch \(partition.epoch), which was not in sync")
        world.ledger.historyChanged(partition)
        metadataChanged()
    }

    /// Gives the leader of a mirror a new epoch of its own, as the controller does.
    func beginEpoch(_ partition: ModelPartition, leader: NodeID, after epoch: LeaderEpoch) {
        guard partition.leader == leader, partition.epoch == epoch else { return }
        partition.elect(leader)
        metadataChanged()
    }

    func repair() {
        for broker in brokers {
            broker.isDeaf = false
            if !broker.isRunning { broker.start() }
        }
    }

    // MARK: Links

    private func electCoordinator() {
        guard coordinator == nil else { return }
        guard let broker = brokers.filter(\.isRunning).first else { return world.after(50...500) { [self] in electCoordinator() } }
        let chosen = world.random.pick(brokers.filter(\.isRunning))
        _ = broker
        coordinatorEpoch += 1
        coordinator = ModelCoordinator(chosen, linkLog, epoch: coordinatorEpoch)
        note("broker \(chosen.id) coordinates links")
    }

    /// The coordinator is gone; what it had not committed yet is there in part.
    func endCoordinator() {
        guard let ended = coordinator else { return }
        coordinator = nil
        ended.end()
        let tail = ended.uncommitted
        let kept = Int(world.random.below(Int64(tail.count + 1)))
        for batch in tail.prefix(kept) { commit(batch) }
        world.after(100...1_500) { [self] in electCoordinator() }
    }

    func commit(_ batch: ModelLinkBatch) {
        let before = committedLinks
        for record in batch.records {
            linkLog.append(record)
            let former = committedImage
            committedLinks.replay(record)
            note("recorded: \(LinkLedger.words(record))")
            world.ledger.recorded(self, record, former)
        }
        world.ledger.transactions.recorded(self, batch, before)
    }
}

/// Records that are written in one piece.
struct ModelLinkBatch {
    var records: [LinkRecord]
    /// Mirrors that were not waited for some time before this was decided, whatever it says of them.
    var left: Set<TopicPartition> = []
    /// Whether somebody had waited too long for a part of a transaction.
    var hasIncomplete = false
}

/// Who coordinates the links of a cluster for one term.
final class ModelCoordinator {
    let broker: ModelBroker
    let incarnation: Int
    let epoch: LeaderEpoch
    private(set) var core = LinkCoordinator()
    private var endOffset: Offset
    /// End of what the image is made of: other records concern nobody but the coordinator.
    private(set) var revision: Offset
    private var committed: Offset
    var acknowledged: [NodeID: Offset] = [:]
    private(set) var uncommitted: [ModelLinkBatch] = []
    private var hasEnded = false
    private var workers: [String: ModelWorker] = [:]
    private var lastCommit: VirtualTime = 0

    init(_ broker: ModelBroker, _ log: [LinkRecord], epoch: LeaderEpoch) {
        self.broker = broker
        self.epoch = epoch
        incarnation = broker.incarnation
        for record in log { core.replay(record) }
        endOffset = Offset(log.count)
        (committed, revision) = (endOffset, endOffset)
        adjustWorkers()
    }

    var isActive: Bool { !hasEnded && broker.isRunning && broker.incarnation == incarnation }

    /// The term is over.
    func end() {
        hasEnded = true
        for worker in workers.values { worker.isStopped = true }
        workers = [:]
    }

    /// What brokers are told; nil while something is not committed.
    var publication: (revision: Offset, image: LinkImage)? { committed >= revision ? (revision, core.image) : nil }

    func behind(_ brokers: [NodeID]) -> [NodeID] { brokers.filter { (acknowledged[$0] ?? -1) < revision } }

    func watch(of link: String) -> ModelWatch? { workers[link]?.watch }

    /// Decides, records, and calls back when that is committed; never when this coordinator's term ends before.
    func change(
        left: Set<TopicPartition> = [], hasIncomplete: Bool = false, _ step: (LinkCoordinator) throws(LinkRefusal) -> [LinkRecord],
        _ done: @escaping (Result<Void, LinkRefusal>) -> Void
    ) {
        guard isActive else { return }
        do throws(LinkRefusal) {
            let records = try step(core)
            for record in records { core.replay(record) }
            endOffset += Offset(records.count)
            if records.contains(where: \.concernsAllBrokers) { revision = endOffset }
            // A step is one batch; of other records some may get lost and others not.
            let isStep = records.contains(where: \.isPartOfStep)
            let batches =
                isStep
                ? [ModelLinkBatch(records: records, left: left, hasIncomplete: hasIncomplete)]
                : records.map { ModelLinkBatch(records: [$0]) }
            uncommitted += batches
            let world = broker.cluster.world
            let (count, length) = (batches.count, records.count)
            let time = max(lastCommit, world.scheduler.now + .milliseconds(world.random.pick([1, 1, 5, 5, 30, 300])))
            lastCommit = time + 1
            world.scheduler.at(time) { [self] in
                guard isActive else { return }
                for batch in uncommitted.prefix(count) { broker.cluster.commit(batch) }
                uncommitted.removeFirst(count)
                committed += Offset(length)
                adjustWorkers()
                done(.success(()))
            }
        } catch {
            done(.failure(error))
        }
    }

    private func adjustWorkers() {
        for (name, worker) in workers where core.image.links[name] != worker.link {
            worker.isStopped = true
            workers[name] = nil
        }
        for link in core.image.links.values where workers[link.name] == nil {
            let worker = ModelWorker(link, self)
            workers[link.name] = worker
            worker.start()
        }
    }
}
