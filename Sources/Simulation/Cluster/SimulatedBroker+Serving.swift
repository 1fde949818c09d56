// What a broker answers to followers and clients.
import ClusterMetadata
import KafkaMessages
import KafkaWire
import Primitives
import Replication

extension SimulatedBroker {
    func receive(_ call: BrokerCall, reply: @escaping (BrokerAnswer) -> Void) {
        guard phase != .idle else { return }
        switch call {
        case .metadata:
            var known: [(TopicIDPartition, KnownLeader)] = []
            for topic in image.topics.all {
                for entry in topic.partitions {
                    known.append(
                        (
                            TopicIDPartition(topic.id, entry.index),
                            KnownLeader(leader: entry.leader, epoch: entry.leaderEpoch, replicas: entry.replicas)
                        ))
                }
            }
            reply(.metadata(known))
        case .fetch(let call): fetch(call, reply)
        case .produce(let partition, let epoch, let batch, let acks):
            guard let replica = replica(partition) else { return reply(.produce(.unknownTopicOrPartition, offset: -1)) }
            replica.produce(batch, epoch: epoch, acks: acks, timeout: 5_000) { reply(.produce($0, offset: $1)) }
        case .listOffset(let partition, let epoch, let timestamp, let asker): list(partition, epoch, timestamp, asker, reply)
        case .commitOffset(let partition, let value): commit(partition, value, reply)
        case .fetchOffset(let partition):
            guard let coordinator = coordinators[partition] else { return reply(.fetchOffset(.notCoordinator, 0, epoch: -1)) }
            reply(coordinator.fetch())
        }
    }

    private func list(
        _ partition: TopicIDPartition, _ epoch: LeaderEpoch, _ timestamp: Int64, _ asker: NodeID, _ reply: (BrokerAnswer) -> Void
    ) {
        guard let replica = replica(partition) else { return reply(.listOffset(.unknownTopicOrPartition, offset: -1, epoch: -1)) }
        if let error = replica.check(epoch, onlyLeader: true) { return reply(.listOffset(error, offset: -1, epoch: -1)) }
        let log = replica.log
        if timestamp == -2 { return reply(.listOffset(.none, offset: 0, epoch: replica.core.leaderEpoch)) }
        if asker >= 0 { return reply(.listOffset(.none, offset: log.endOffset, epoch: replica.core.leaderEpoch)) }
        guard world.mutation == .listBeforeKnown || replica.core.knowsCommitted(highWatermark: log.highWatermark) else {
            return reply(.listOffset(.offsetNotAvailable, offset: -1, epoch: -1))
        }
        reply(.listOffset(.none, offset: log.highWatermark, epoch: replica.core.leaderEpoch))
    }

    // MARK: Fetch

    private func fetch(_ call: FetchCall, _ reply: @escaping (BrokerAnswer) -> Void) {
        let decision = sessions.begin(
            sessionID: call.sessionID, epoch: call.sessionEpoch, usesTopicIDs: true, changes: call.partitions, forgotten: call.forgotten,
            now: node.now)
        switch decision {
        case .failed(let failure):
            let error: ErrorCode
            switch failure {
            case .sessionNotFound: error = .fetchSessionIdNotFound
            case .invalidEpoch: error = .invalidFetchSessionEpoch
            case .topicIDMismatch: error = .fetchSessionTopicIdError
            }
            reply(.fetch(sessionID: 0, error: error, []))
        case .sessionless: serve(call, call.partitions, 0, false, reply)
        case .opened(let id): serve(call, call.partitions, id, false, reply)
        case .incremental(let id, let partitions): serve(call, partitions, id, true, reply)
        }
    }

    private func serve(
        _ call: FetchCall, _ asked: [(key: FetchSessionKey, position: FetchPosition)], _ sessionID: Int32, _ isIncremental: Bool,
        _ reply: @escaping (BrokerAnswer) -> Void
    ) {
        let found = asked.map { replica(TopicIDPartition($0.key)) }
        var isDone = false
        func read(isFirst: Bool) -> [FetchedPartition] {
            zip(asked, found).map { entry, replica in
                guard let replica else {
                    var missing = FetchedPartition(key: entry.key)
                    missing.error = .unknownTopicId
                    return missing
                }
                return replica.read(entry.position, call, isFirst: isFirst)
            }
        }
        func finish(_ results: [FetchedPartition]) {
            isDone = true
            var reported = results
            if sessionID != 0 {
                let outcomes = results.map { result in
                    (
                        key: result.key,
                        outcome: FetchOutcome(
                            recordBytes: result.batches.count, highWatermark: result.highWatermark, logStartOffset: result.logStartOffset,
                            failed: result.error != .none || result.diverging != nil)
                    )
                }
                let report = sessions.finish(sessionID: sessionID, outcomes: outcomes)
                if isIncremental { reported = zip(results, report).compactMap { $1 ? $0 : nil } }
            }
            reply(.fetch(sessionID: sessionID, error: .none, reported))
        }
        let first = read(isFirst: true)
        func isSatisfied(_ results: [FetchedPartition]) -> Bool {
            results.isEmpty || results.contains { !$0.batches.isEmpty || $0.error != .none || $0.diverging != nil }
        }
        if isSatisfied(first) || call.maxWait <= 0 { return finish(first) }
        let id = nextWaiter()
        func leave() { for replica in found { replica?.forget(id) } }
        for replica in found {
            replica?.wait(id, isFollower: call.replica >= 0) {
                guard !isDone else { return }
                let results = read(isFirst: false)
                guard isSatisfied(results) else { return }
                leave()
                finish(results)
            }
        }
        later(call.maxWait) {
            guard !isDone else { return }
            leave()
            finish(read(isFirst: false))
        }
    }
}

/// Brings proposals of in-sync replicas to the controller, as `AlterPartitionSender` does it.
final class ProposalSender {
    private unowned let broker: SimulatedBroker
    private var waiting: [(replica: SimulatedReplica, proposal: InSyncReplicasProposal)] = []
    private var isBusy = false

    init(broker: SimulatedBroker) {
        self.broker = broker
    }

    func submit(_ proposal: InSyncReplicasProposal, of replica: SimulatedReplica) {
        waiting.removeAll { $0.replica === replica }
        waiting.append((replica, proposal))
        broker.later(0) { [self] in sendNext() }
    }

    private func sendNext() {
        guard !isBusy, !waiting.isEmpty, broker.proposals === self else { return }
        isBusy = true
        let batch = waiting
        waiting = []
        broker.channel.send(.alterPartition(request(batch)), timeout: .seconds(30), attemptTimeout: .seconds(4)) { [self] answer in
            guard broker.proposals === self else { return }
            let failed = finish(batch, answer)
            isBusy = false
            for entry in failed where !waiting.contains(where: { $0.replica === entry.replica }) { waiting.append(entry) }
            failed.isEmpty ? sendNext() : broker.later(50) { [self] in sendNext() }
        }
    }

    private func request(_ batch: [(replica: SimulatedReplica, proposal: InSyncReplicasProposal)]) -> AlterPartitionRequest {
        var request = AlterPartitionRequest()
        request.brokerId = broker.id
        request.brokerEpoch = broker.epoch
        for (replica, proposal) in batch {
            var data = AlterPartitionRequest.PartitionData()
            data.partitionIndex = replica.partition.partition
            data.leaderEpoch = proposal.leaderEpoch
            data.partitionEpoch = proposal.partitionEpoch
            data.newIsrWithEpochs = proposal.members.map { member in
                var state = AlterPartitionRequest.BrokerState()
                state.brokerId = member.id
                state.brokerEpoch = member.id == broker.id ? request.brokerEpoch : member.brokerEpoch
                return state
            }
            let topic = replica.partition.topicID
            if let index = request.topics.firstIndex(where: { $0.topicId == topic }) {
                request.topics[index].partitions.append(data)
            } else {
                var entry = AlterPartitionRequest.TopicData()
                entry.topicId = topic
                entry.partitions = [data]
                request.topics.append(entry)
            }
        }
        return request
    }

    private func finish(
        _ batch: [(replica: SimulatedReplica, proposal: InSyncReplicasProposal)], _ answer: ControllerAnswer?
    ) -> [(replica: SimulatedReplica, proposal: InSyncReplicasProposal)] {
        var answers: [TopicIDPartition: InSyncReplicasAnswer] = [:]
        if case .alterPartition(let response)? = answer, response.errorCode == .none {
            for topic in response.topics {
                for data in topic.partitions {
                    answers[TopicIDPartition(topic.topicId, data.partitionIndex)] = InSyncReplicasAnswer(
                        data.errorCode, leaderEpoch: data.leaderEpoch, partitionEpoch: data.partitionEpoch, isr: data.isr)
                }
            }
        }
        return batch.filter { replica, proposal in
            replica.answered(proposal, answers[replica.partition] ?? .failed) == .sendAgain
        }
    }
}

/// The offsets of groups, kept in a partition's log: loaded when the broker leads it, let go of when it does not.
final class SimulatedCoordinator {
    unowned let replica: SimulatedReplica
    let epoch: LeaderEpoch
    private var value: UInt64 = 0
    private var isLoaded = false
    /// What is in the log but not committed by this leader yet.
    private var pending: [(offset: Offset, value: UInt64)] = []

    init(replica: SimulatedReplica, epoch: LeaderEpoch) {
        self.replica = replica
        self.epoch = epoch
    }

    /// Reads to the log's end: all of it will be committed.
    func load() {
        for batch in replica.log.batches { value = batch.values.last ?? value }
        isLoaded = true
    }

    func fetch() -> BrokerAnswer {
        guard isLoaded else { return .fetchOffset(.coordinatorLoadInProgress, 0, epoch: epoch) }
        return .fetchOffset(.none, value, epoch: epoch)
    }

    func commit(_ new: UInt64, _ settled: @escaping (ErrorCode) -> Void) {
        guard isLoaded else { return settled(.coordinatorLoadInProgress) }
        let batch = ReplicaBatch(baseOffset: 0, epoch: epoch, producer: -1, sequence: -1, values: [new])
        replica.produce(batch, epoch: epoch, acks: -1, timeout: 5_000) { [self] error, _ in
            if error == .none { value = max(value, new) }
            settled(error)
        }
    }
}

extension SimulatedBroker {
    /// Begins or ends to coordinate.
    func coordinate(_ topic: TopicImage) {
        for entry in topic.partitions {
            let partition = TopicIDPartition(topic.id, entry.index)
            guard entry.leader == id, let replica = replica(partition) else {
                coordinators[partition] = nil
                continue
            }
            if let known = coordinators[partition], known.epoch >= entry.leaderEpoch { continue }
            let coordinator = SimulatedCoordinator(replica: replica, epoch: entry.leaderEpoch)
            coordinators[partition] = coordinator
            later(node.random.between(0...50)) { [self] in
                if coordinators[partition] === coordinator, replica.core.isLeader { coordinator.load() }
            }
        }
    }

    func commit(_ partition: TopicIDPartition, _ value: UInt64, _ reply: @escaping (BrokerAnswer) -> Void) {
        guard let coordinator = coordinators[partition] else { return reply(.commitOffset(.notCoordinator)) }
        coordinator.commit(value) { reply(.commitOffset($0)) }
    }
}
