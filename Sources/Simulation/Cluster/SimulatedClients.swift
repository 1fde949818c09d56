// Clients of a simulated cluster: one writes, one reads, one commits offsets. They do what careful clients do, and note every answer.
import KafkaWire
import Primitives
import Replication

/// What all clients have in common: they learn who leads, never going back to an older epoch, and try again.
class SimulatedClient {
    static let purpose = 3
    unowned let world: ClusterWorld
    let host: Host
    let topic: String
    let index: Int32
    var random: SeededRandom
    private(set) var partition: TopicIDPartition?
    private(set) var leader: KnownLeader?
    private(set) var areFaultsOver = false
    private var isAsking = false

    init(_ world: ClusterWorld, _ host: Host, _ topic: String, _ index: Int32, seed: UInt64) {
        self.world = world
        self.host = host
        self.topic = topic
        self.index = index
        random = SeededRandom(seed: seed)
    }

    var name: String { "\(topic)-\(index)" }
    var history: PartitionHistory? { partition.flatMap { world.ledger.partitions[$0] } }

    func start() {
        guard let found = world.ledger.newestImage.topics.topic(named: topic) else { return later(100) { [self] in start() } }
        partition = TopicIDPartition(found.id, index)
        learn { [self] in begin() }
    }

    func begin() {}

    func faultsEnded() { areFaultsOver = true }

    /// What keeps this client from being content; nil when nothing does.
    func whatIsMissing() -> String? { nil }

    func note(_ text: @autoclosure () -> String) { world.quorum.trace.note(world.scheduler.now, "c\(host.id)", text()) }

    func later(_ milliseconds: Int64, _ action: @escaping () -> Void) { world.scheduler.after(.milliseconds(milliseconds), action) }

    /// Asks some broker who leads.
    func learn(then: @escaping () -> Void) {
        let broker = random.pick(world.brokers)
        world.network.send(
            .broker(.metadata), from: host, to: broker.node.host, purpose: Self.purpose, timeout: .seconds(1)
        ) { [self] result in
            if case .success(.broker(.metadata(let known))) = result, let entry = known.first(where: { $0.0 == partition }) {
                if entry.1.epoch >= leader?.epoch ?? -1 { leader = entry.1 }
                then()
            } else {
                later(100) { [self] in learn(then: then) }
            }
        }
    }

    func send(_ call: BrokerCall, to id: NodeID, timeout: Int64, completion: @escaping (BrokerAnswer?) -> Void) {
        guard let broker = world.broker(id) else { return completion(nil) }
        note("sends \(call.summary) to n\(id)")
        world.network.send(
            .broker(call), from: host, to: broker.node.host, purpose: Self.purpose, timeout: .milliseconds(timeout)
        ) { [self] result in
            guard case .success(.broker(let answer)) = result else {
                note("has no answer from n\(id)")
                return completion(nil)
            }
            note("gets \(answer.summary) from n\(id)")
            completion(answer)
        }
    }
}

/// Writes numbered records to one partition, in order, each until it is acknowledged.
final class SimulatedProducer: SimulatedClient {
    private let isIdempotent: Bool
    private let number: UInt64
    private var nextSequence: Int32 = 0
    private var counter: UInt64 = 0
    private struct Sent {
        var batch: ReplicaBatch
        var isUnderWay = false
        /// Counts attempts, for answers to earlier ones.
        var attempt = 0
        var excusals = 0
    }

    private var queue: [Sent] = []
    private var isResting = false
    private var isKnown = false
    private var acknowledgedSinceFaultsEnded = 0
    private var excusalsSeen = 0

    init(_ world: ClusterWorld, _ host: Host, _ topic: String, _ index: Int32, isIdempotent: Bool, number: UInt64, seed: UInt64) {
        self.isIdempotent = isIdempotent
        self.number = number
        super.init(world, host, topic, index, seed: seed)
    }

    private var isContent: Bool { areFaultsOver && acknowledgedSinceFaultsEnded > 0 }

    override func whatIsMissing() -> String? {
        isContent && queue.isEmpty ? nil : "the producer of \(name) has \(queue.count) batches without an answer"
    }

    override func begin() {
        guard !isContent else { return }
        // Leaders take any number from a producer that they do not know: the first batch goes alone, as long as nothing is acknowledged.
        if queue.count < (isKnown ? world.plan.inFlight : 1) {
            var values: [UInt64] = []
            for _ in 0..<random.between(1...3) {
                counter += 1
                values.append(number << 40 | counter << 1 | (isIdempotent ? 0 : 1))
            }
            let batch = ReplicaBatch(
                baseOffset: 0, epoch: -1, producer: isIdempotent ? producerID : -1, sequence: isIdempotent ? nextSequence : -1,
                values: values)
            nextSequence += Int32(values.count)
            queue.append(Sent(batch: batch))
            sendAll()
        }
        later(random.between(1...world.plan.produceInterval)) { [self] in begin() }
    }

    /// A new one after records were lost with all that knew them: as a client begins anew after a fatal error.
    private var producerID: ProducerID { ProducerID(number) + ProducerID(excusalsSeen) * 1000 }

    private func sendAll() {
        guard !isResting, let partition, let leader, leader.leader >= 0 else { return rest() }
        for index in queue.indices.prefix(isKnown ? queue.count : 1) where !queue[index].isUnderWay {
            queue[index].isUnderWay = true
            queue[index].attempt += 1
            queue[index].excusals = history?.excusals ?? 0
            let (batch, attempt, excusals) = (queue[index].batch, queue[index].attempt, queue[index].excusals)
            send(.produce(partition, epoch: leader.epoch, batch: batch, acks: isIdempotent ? -1 : 1), to: leader.leader, timeout: 6_000) {
                [self] answer in took(answer, batch, attempt, excusals)
            }
        }
    }

    private func took(_ answer: BrokerAnswer?, _ batch: ReplicaBatch, _ attempt: Int, _ excusals: Int) {
        guard let index = queue.firstIndex(where: { $0.batch == batch }) else { return }
        if case .produce(.none, let offset)? = answer {
            queue.remove(at: index)
            isKnown = true
            if areFaultsOver { acknowledgedSinceFaultsEnded += 1 }
            if isIdempotent, let partition { world.ledger.acknowledged(partition, batch, at: offset, excusals: excusals) }
            return sendAll()
        }
        guard queue[index].attempt == attempt else { return }
        // Everything behind it goes again, too, in the order of its numbers.
        for index in queue.indices { queue[index].isUnderWay = false }
        rest()
    }

    private func rest() {
        guard !isResting else { return }
        isResting = true
        later(random.between(50...150)) { [self] in
            learn { [self] in
                isResting = false
                beginAnewIfExcused()
                sendAll()
            }
        }
    }

    private func beginAnewIfExcused() {
        guard isIdempotent, let excusals = history?.excusals, excusals != excusalsSeen else { return }
        excusalsSeen = excusals
        isKnown = false
        nextSequence = 0
        for index in queue.indices {
            queue[index].batch.producer = producerID
            queue[index].batch.sequence = nextSequence
            queue[index].isUnderWay = false
            queue[index].attempt += 1
            nextSequence += Int32(queue[index].batch.values.count)
        }
    }
}

/// Reads one partition from its begin on, from the leader or from another replica.
final class SimulatedConsumer: SimulatedClient {
    private var position: Offset = 0
    /// The largest high watermark that a leader showed, by its epoch.
    private var seen: (epoch: LeaderEpoch, highWatermark: Offset) = (-1, 0)
    private var excusalsSeen = 0
    private var reads = 0

    override func begin() {
        guard let partition, let leader, leader.leader >= 0 else { return again() }
        let excusals = history?.excusals ?? 0
        if excusals != excusalsSeen {
            excusalsSeen = excusals
            position = 0
        }
        reads += 1
        // Now and then it asks where the log ends instead.
        if reads.isMultiple(of: 5) { return list(partition, leader, excusals) }
        let source = excusals == 0 && random.chance(250) ? random.pick(leader.replicas) : leader.leader
        var call = FetchCall(maxWait: 300, maxBatches: 50)
        call.partitions = [
            (partition.key, FetchPosition(fetchOffset: position, maxBytes: 1 << 20, currentLeaderEpoch: leader.epoch))
        ]
        let asked = position
        send(.fetch(call), to: source, timeout: 2_000) { [self] answer in
            // A leader that was deposed by one that had lost records still shows what nobody else knows.
            guard case .fetch(_, .none, let parts)? = answer, let part = parts.first, excusals == history?.excusals ?? 0,
                part.leaderEpoch >= history?.excusedEpoch ?? -1
            else { return again() }
            took(part, partition, leader, from: asked, isLeader: source == leader.leader, excusals)
        }
    }

    private func took(
        _ part: FetchedPartition, _ partition: TopicIDPartition, _ leader: KnownLeader, from asked: Offset, isLeader: Bool, _ excusals: Int
    ) {
        guard part.error == .none else {
            if part.error == .offsetOutOfRange {
                // In a partition that may lose records, what it reads anew is another history.
                if history?.isSafe != true {
                    position = 0
                } else if isLeader, part.leaderEpoch == leader.epoch {
                    world.fail(.consumedNeverChanges, "a consumer of \(name) has read up to \(asked), which its leader does not have")
                }
            }
            return again()
        }
        for batch in part.batches where batch.nextOffset > asked {
            world.ledger.consumed(partition, batch, from: asked, excusals: excusals)
            position = max(position, batch.nextOffset)
        }
        if isLeader, history?.isSafe == true {
            if part.leaderEpoch == seen.epoch, part.highWatermark < seen.highWatermark {
                world.fail(
                    .consumersNeverGoBack,
                    "the leader of \(name) in epoch \(part.leaderEpoch) shows a high watermark of \(part.highWatermark) after "
                        + "\(seen.highWatermark)")
            }
            if part.leaderEpoch >= seen.epoch { seen = (part.leaderEpoch, part.highWatermark) }
        }
        later(random.between(1...20)) { [self] in begin() }
    }

    private func list(_ partition: TopicIDPartition, _ leader: KnownLeader, _ excusals: Int) {
        let before = history?.listed ?? 0
        send(.listOffset(partition, epoch: leader.epoch, timestamp: -1, replica: -1), to: leader.leader, timeout: 1_000) { [self] answer in
            guard case .listOffset(.none, let offset, let epoch)? = answer, excusals == history?.excusals ?? 0,
                epoch >= history?.excusedEpoch ?? -1
            else { return again() }
            if history?.isSafe == true {
                if offset < before {
                    world.fail(.listedNeverGoesBack, "ListOffsets says that \(name) ends at \(offset) after it said \(before)")
                }
                history?.listed = max(offset, history?.listed ?? 0)
            }
            begin()
        }
    }

    private func again() {
        later(random.between(50...150)) { [self] in learn { [self] in begin() } }
    }

    override func whatIsMissing() -> String? {
        guard let history, history.isSafe, position < Offset(history.truth.count) else { return nil }
        return "the consumer of \(name) has read up to \(position) of \(history.truth.count)"
    }
}

/// Commits growing offsets, and looks what is committed.
final class SimulatedGroup: SimulatedClient {
    private var next: UInt64 = 1
    private var acknowledged: UInt64 = 0
    private var excusalsSeen = 0
    private var acknowledgedSinceFaultsEnded = 0
    private var isDone: Bool { areFaultsOver && acknowledgedSinceFaultsEnded > 1 }

    override func begin() {
        if isDone { return }
        guard let partition, let leader, leader.leader >= 0 else { return again() }
        if let excusals = history?.excusals, excusals != excusalsSeen {
            excusalsSeen = excusals
            acknowledged = 0
        }
        random.chance(300) ? look(partition, leader) : commit(partition, leader)
    }

    private func commit(_ partition: TopicIDPartition, _ leader: KnownLeader) {
        let value = next
        send(.commitOffset(partition, value), to: leader.leader, timeout: 6_000) { [self] answer in
            guard case .commitOffset(.none)? = answer else { return again() }
            if excusalsSeen == history?.excusals ?? 0 { acknowledged = max(acknowledged, value) }
            next = value + 1
            if areFaultsOver { acknowledgedSinceFaultsEnded += 1 }
            later(random.between(1...200)) { [self] in begin() }
        }
    }

    private func look(_ partition: TopicIDPartition, _ leader: KnownLeader) {
        let (expected, excusals) = (acknowledged, excusalsSeen)
        let newest = history?.image.leaderEpoch ?? -1
        send(.fetchOffset(partition), to: leader.leader, timeout: 1_000) { [self] answer in
            guard case .fetchOffset(.none, let value, let epoch)? = answer else { return again() }
            // A coordinator that was deposed and does not know it yet may be behind, as in Kafka.
            if epoch >= newest, excusals == history?.excusals ?? 0, value < expected {
                world.fail(.offsetsNeverGoBack, "a group reads \(value) as committed in epoch \(epoch), after \(expected) was acknowledged")
            }
            later(random.between(1...100)) { [self] in begin() }
        }
    }

    private func again() {
        later(random.between(50...150)) { [self] in learn { [self] in begin() } }
    }

    override func whatIsMissing() -> String? { isDone ? nil : "the group cannot commit" }
}
