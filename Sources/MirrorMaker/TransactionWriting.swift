// Exactly once: what a fetch brought, and the positions behind it, in one transaction on the target (KIP-98, KIP-618). After any failure the
// positions that were committed say what counts.
import KafkaMessages
import KafkaWire
import Logging
import MartletClient
import Mirroring
import Primitives
import RecordBatches
import Synchronization

/// The transactions of one worker, one after the other.
final class TransactionWriting: Sendable {
    private let state: FlowState
    private let transactionalID: String
    private let worker: Int
    private let cluster: ClusterClient
    private let sender: BatchSender
    private let identity = Mutex<ProducerIdentity?>(nil)
    private let queue = TurnQueue()

    init(_ state: FlowState, worker: Int, _ cluster: ClusterClient) {
        self.state = state
        self.worker = worker
        self.cluster = cluster
        transactionalID = state.flow.transactionalID(worker: worker)
        sender = BatchSender(cluster, state.clients.produce, giveUpAfter: state.clients.produce.transactionTimeout)
        sender.transactionalID.withLock { $0 = transactionalID }
    }

    private var target: RequestTarget { .transactionCoordinator(transactionalID) }

    /// Takes over the transactional id: fences whoever had it, and ends a transaction that is open.
    func begin() async throws(KafkaError) {
        var request = InitProducerIdRequest()
        request.transactionalId = transactionalID
        request.transactionTimeoutMs = state.clients.produce.transactionTimeout.clampedMilliseconds
        let response = try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: self.target)
            try Self.check(response.errorCode, "InitProducerId of '\(self.transactionalID)'")
            return response
        }
        let found = ProducerIdentity(id: response.producerId, epoch: response.producerEpoch)
        identity.withLock { $0 = found }
        sender.begin(found)
    }

    /// A transaction that is still being ended is only waited for.
    private static func check(_ code: ErrorCode, _ subject: String) throws(KafkaError) {
        guard code != .none else { return }
        var error = KafkaError(code, about: subject)
        if code == .concurrentTransactions || code == .coordinatorLoadInProgress || code == .coordinatorNotAvailable
            || code == .notCoordinator
        {
            error.isRetriable = true
        }
        throw error
    }

    /// Writes a round in a transaction, after those before it.
    ///
    /// - Returns: whether it was committed.
    func write(_ round: FetchedRound) async -> Bool {
        await queue.run { await self.perform(round) }
    }

    /// Stores positions of partitions without records, with what is known of their targets.
    func storePositions(of partitions: Set<TopicPartition>) async throws(KafkaError) {
        try await queue.run { () async throws(KafkaError) in
            do throws(KafkaError) {
                if self.identity.withLock({ $0 == nil }) { try await self.recover() }
                try await self.commit(self.round(at: partitions), [])
            } catch {
                self.identity.withLock { $0 = nil }
                throw error
            }
        }
    }

    /// Ends a transaction of which nobody knows how it ended: what it wrote can be read, or never will be.
    func settle() async throws(KafkaError) {
        guard identity.withLock({ $0 == nil }) else { return }
        try await queue.run { () async throws(KafkaError) in
            if self.identity.withLock({ $0 == nil }) { try await self.recover() }
        }
    }

    private func round(at partitions: Set<TopicPartition>) -> FetchedRound {
        var round = FetchedRound()
        round.parts = state.contents.withLock { state in
            partitions.compactMap { state.partitions[$0] }.map {
                FetchedPart(source: $0.source, target: $0.target, start: $0.written, next: $0.written, copies: [], bytes: 0)
            }
        }
        return round
    }

    private func perform(_ round: FetchedRound) async -> Bool {
        let parts = round.parts.filter { !$0.copies.isEmpty }
        guard !parts.isEmpty || round.parts.contains(where: { $0.counts.leftOut > 0 }) else {
            // Markers only: their offsets are stored with the next records.
            for part in round.parts { state.finished(part.source, next: part.next) }
            return true
        }
        guard isNext(round) else {
            for part in round.parts { state.failed(part.source, "fetched again", pauseMilliseconds: 0) }
            return false
        }
        do throws(KafkaError) {
            if identity.withLock({ $0 == nil }) {
                try await recover()
                throw KafkaError.retryLater("the transactional producer was started again")
            }
            try await commit(round, parts)
            for part in round.parts { state.finished(part.source, next: part.next) }
            return true
        } catch {
            state.report("a transaction on \(state.flow.target)", error)
            identity.withLock { $0 = nil }
            for part in round.parts { state.failed(part.source, "\(error)", pauseMilliseconds: 500) }
            return false
        }
    }

    /// Whether the round goes on where the last commit ended, for every partition: what was fetched before it turned out that a commit had
    /// been carried out must not be written once more.
    private func isNext(_ round: FetchedRound) -> Bool {
        state.contents.withLock { state in round.parts.allSatisfy { state.partitions[$0.source]?.written == $0.start } }
    }

    /// After a failure: a new epoch, and the positions as they were committed.
    private func recover() async throws(KafkaError) {
        // Whoever has the share now must not be fenced.
        guard state.owns(worker: worker) else { throw KafkaError.retryLater("another process does this share") }
        try await begin()
        let committed = try await state.positions.load()
        state.contents.withLock { state in
            for (partition, stored) in committed {
                guard let copied = state.partitions[partition], copied.position != nil, stored.next > copied.written else { continue }
                // A commit whose answer was lost.
                state.partitions[partition]?.written = stored.next
                state.partitions[partition]?.position = stored.next
            }
        }
    }

    private func commit(_ round: FetchedRound, _ parts: [FetchedPart]) async throws(KafkaError) {
        guard let identity = identity.withLock({ $0 }) else { return }
        let stored = state.stored(round.parts.map { ($0.source, $0.next) })
        let positions = try await positionWorks(stored)
        try await add(parts.map(\.target) + positions.map(\.target), identity)
        let works = parts.map { SendWork(target: $0.target, batches: $0.copies) }
        let sent = try await sender.send(works, transaction: identity)
        if let error = sent.lazy.compactMap(\.error).first { throw error }
        // Before anything can be committed: a pair that belongs to an aborted transaction is overtaken by the next copy's.
        var pairs: [(sync: OffsetSync, isRun: Bool)] = []
        for (part, work) in zip(parts, sent) {
            for (batch, offset) in zip(work.batches, work.baseOffsets) { pairs += state.copied(part.source, batch, baseOffset: offset) }
        }
        if !pairs.isEmpty {
            try await state.write(pairs)
            try await state.syncs?.flush()
        }
        let sentPositions = try await sender.send(positions, transaction: identity)
        if let error = sentPositions.lazy.compactMap(\.error).first { throw error }
        try await end(identity)
        state.isStored(stored)
    }

    private func positionWorks(_ stored: [StoredPosition]) async throws(KafkaError) -> [SendWork] {
        let topic = try await cluster.topic(state.positions.topic)
        do throws(RecordBatchError) {
            let batches = try state.positions.batches(stored, partitions: Int32(topic.partitions.count))
            return batches.map { SendWork(target: $0.target, batches: [$0.batch]) }
        } catch {
            throw KafkaError.retryLater("\(error)")
        }
    }

    private func add(_ partitions: [TopicPartition], _ identity: ProducerIdentity) async throws(KafkaError) {
        var request = AddPartitionsToTxnRequest()
        request.v3AndBelowTransactionalId = transactionalID
        request.v3AndBelowProducerId = identity.id
        request.v3AndBelowProducerEpoch = identity.epoch
        request.v3AndBelowTopics = partitions.byTopic().map { name, numbers in
            var topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic()
            topic.name = name
            topic.partitions = numbers
            return topic
        }
        try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: self.target, allowed: 0...3)
            for topic in response.resultsByTopicV3AndBelow {
                for partition in topic.resultsByPartition {
                    try Self.check(partition.partitionErrorCode, "\(topic.name)-\(partition.partitionIndex)")
                }
            }
        }
    }

    private func end(_ identity: ProducerIdentity) async throws(KafkaError) {
        var request = EndTxnRequest()
        request.transactionalId = transactionalID
        request.producerId = identity.id
        request.producerEpoch = identity.epoch
        request.committed = true
        try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: self.target, allowed: 0...4)
            try Self.check(response.errorCode, "committing '\(self.transactionalID)'")
        }
    }
}

extension KafkaError {
    /// Something that is simply done again.
    static func retryLater(_ explanation: String) -> KafkaError {
        var error = KafkaError.invalidContent(explanation)
        error.isRetriable = true
        return error
    }
}
