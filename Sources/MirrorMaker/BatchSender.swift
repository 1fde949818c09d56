// Produces batches as they are, several of a partition on their way at a time, each once and in order (KIP-98) whatever is repeated.
import DequeModule
import KafkaMessages
import KafkaWire
import MartletClient
import NIOCore
import Primitives
import RecordBatches
import Synchronization

/// The identity that batches are produced under.
struct ProducerIdentity: Hashable, Sendable {
    var id: ProducerID
    var epoch: Int16
}

/// Batches for one partition of the target, and what became of them.
struct SendWork: Sendable {
    let target: TopicPartition
    var batches: [CopiedBatch]
    /// Where the first `baseOffsets.count` batches went; -1 where the broker did not remember.
    fileprivate(set) var baseOffsets: [Int64] = []
    /// Why the rest was given up.
    fileprivate(set) var error: KafkaError?

    fileprivate var next = 0
    fileprivate var inFlight = 0
    /// Something failed: nothing more is sent until all that is on its way has come back.
    fileprivate var isBroken = false
    fileprivate var isTooLarge = false
    fileprivate var needsIdentity = false
    fileprivate var failures = 0
    fileprivate var notBefore: Int64 = 0
    fileprivate var lastError: KafkaError?

    init(target: TopicPartition, batches: [CopiedBatch]) {
        self.target = target
        self.batches = batches
    }

    var isFinished: Bool { error != nil || baseOffsets.count == batches.count }
}

/// Sends batches; used by one task at a time.
final class BatchSender: Sendable {
    /// Batches of a partition on their way at a time; brokers remember five.
    private static let maximumInFlight = 3

    private struct State {
        var identity: ProducerIdentity?
        /// Identity and next sequence by partition.
        var sequences: [TopicPartition: (identity: ProducerIdentity, next: Int32)] = [:]
    }

    private struct Outstanding {
        var node: NodeID
        var version: Int16
        /// Positions in the list of works, and in their batches.
        var entries: [(work: Int, batch: Int)]
        var completion: Completion<ByteBuffer>
    }

    let cluster: ClusterClient
    private let settings: ProduceSettings
    private let giveUpAfter: Duration
    private let state = Mutex(State())

    init(_ cluster: ClusterClient, _ settings: ProduceSettings, giveUpAfter: Duration = .seconds(120)) {
        self.cluster = cluster
        self.settings = settings
        self.giveUpAfter = giveUpAfter
    }

    /// From now on batches are sent under this identity, counted from 0 for every partition.
    func begin(_ identity: ProducerIdentity) {
        state.withLock { state in
            state.identity = identity
            state.sequences.removeAll()
        }
    }

    /// Sends everything and waits for it.
    ///
    /// - Parameter transaction: the identity of an open transaction; nil for single batches, each acknowledged on its own.
    /// - Returns: the works with what became of them.
    /// - Throws: what ends the whole: `cancelled`, or that the transaction's producer is no longer the one.
    func send(_ works: [SendWork], transaction: ProducerIdentity? = nil) async throws(KafkaError) -> [SendWork] {
        var works = works
        if transaction == nil, state.withLock({ $0.identity == nil }) { begin(try await newIdentity()) }
        var outstanding = Deque<Outstanding>()
        let deadline = SystemClock.monotonicMilliseconds() &+ giveUpAfter.wholeMilliseconds
        while works.contains(where: { !$0.isFinished || $0.inFlight > 0 }) {
            if Task.isCancelled { throw .cancelled }
            try await mend(&works, deadline, transaction)
            try await submit(&works, &outstanding, transaction)
            if let first = outstanding.popFirst() {
                try await receive(first, &works, transaction)
            } else if works.contains(where: { !$0.isFinished }) {
                _ = try? await cluster.refreshMetadata()
                try await ClusterClient.pause(milliseconds: 50)
            }
        }
        return works
    }

    private func newIdentity() async throws(KafkaError) -> ProducerIdentity {
        var request = InitProducerIdRequest()
        request.transactionalId = nil
        request.transactionTimeoutMs = .max
        return try await cluster.retrying(timeout: giveUpAfter) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .any)
            try response.errorCode.check(about: "InitProducerId")
            return ProducerIdentity(id: response.producerId, epoch: response.producerEpoch)
        }
    }

    // MARK: Sending

    private func submit(
        _ works: inout [SendWork], _ outstanding: inout Deque<Outstanding>, _ transaction: ProducerIdentity?
    ) async throws(KafkaError) {
        while true {
            let now = SystemClock.monotonicMilliseconds()
            var byLeader: [NodeID: [Int]] = [:]
            var unknown: Set<String> = []
            let view = cluster.view
            for (index, work) in works.enumerated()
            where !work.isFinished && !work.isBroken && work.next < work.batches.count && work.inFlight < Self.maximumInFlight
                && work.notBefore <= now
            {
                if let leader = view.leader(of: work.target) {
                    byLeader[leader, default: []].append(index)
                } else {
                    unknown.insert(work.target.topic)
                }
            }
            if !unknown.isEmpty { _ = try? await cluster.refreshMetadata(topics: unknown) }
            var isAnySent = false
            for (leader, indices) in byLeader.sorted(by: { $0.key < $1.key }) {
                if outstanding.reduce(0, { $0 + ($1.node == leader ? 1 : 0) }) >= 4 { continue }
                if let sent = try await submit(to: leader, indices, &works, view, transaction) {
                    outstanding.append(sent)
                    isAnySent = true
                }
            }
            if !isAnySent { return }
        }
    }

    /// One request with a batch of each partition that has room in it.
    private func submit(
        to node: NodeID, _ indices: [Int], _ works: inout [SendWork], _ view: ClusterView, _ transaction: ProducerIdentity?
    ) async throws(KafkaError) -> Outstanding? {
        let connection: BrokerConnection
        do throws(KafkaError) {
            connection = try await cluster.connection(to: .node(node), purpose: .produce)
        } catch {
            if error.kind == .cancelled || error.kind == .closed { throw error }
            let now = SystemClock.monotonicMilliseconds()
            for index in indices { works[index].postpone(error, now: now) }
            return nil
        }
        var request = ProduceRequest()
        request.acks = -1
        request.timeoutMs = cluster.configuration.requestTimeout.clampedMilliseconds
        request.transactionalId = transaction == nil ? nil : transactionalID.withLock { $0 }
        var entries: [(work: Int, batch: Int)] = []
        var positions: [String: Int] = [:]
        var size = 0
        for index in indices {
            let batch = works[index].batches[works[index].next]
            if size > 0, size + batch.bytes.readableBytes > settings.maximumRequestSize { break }
            size += batch.bytes.readableBytes
            guard let bytes = stamped(works[index], transaction) else {
                works[index].error = KafkaError(.corruptRecords, "a batch for \(works[index].target) cannot be read")
                continue
            }
            var data = ProduceRequest.PartitionProduceData()
            data.index = works[index].target.partition
            data.records = bytes
            let name = works[index].target.topic
            if let position = positions[name] {
                request.topicData[position].partitionData.append(data)
            } else {
                var topic = ProduceRequest.TopicProduceData()
                topic.name = name
                topic.partitionData = [data]
                positions[name] = request.topicData.count
                request.topicData.append(topic)
            }
            entries.append((index, works[index].next))
        }
        guard !entries.isEmpty else { return nil }
        // By names, and for transactions not newer than the explicit adding of partitions (KIP-890 does that inside of Produce).
        let version = try connection.versions.version(of: .produce, allowed: 3...(transaction == nil ? 12 : 11))
        let frame = try connection.encode(request, version: version)
        for entry in entries {
            works[entry.work].next += 1
            works[entry.work].inFlight += 1
        }
        let completion = Completion<ByteBuffer>()
        connection.submit(frame, api: .produce, timeout: cluster.configuration.requestTimeout) { completion.finish($0) }
        return Outstanding(node: node, version: version, entries: entries, completion: completion)
    }

    /// The transactional id of requests; set once by whoever runs transactions.
    let transactionalID = Mutex<String?>(nil)

    /// The next batch of a partition as it is sent: its sequence follows from those before it.
    private func stamped(_ work: SendWork, _ transaction: ProducerIdentity?) -> ByteBuffer? {
        let (identity, first) = state.withLock { state -> (ProducerIdentity, Int32) in
            let identity = transaction ?? state.identity ?? ProducerIdentity(id: -1, epoch: -1)
            let known = state.sequences[work.target] ?? (identity, 0)
            state.sequences[work.target] = known
            return known
        }
        let before = work.batches[work.baseOffsets.count..<work.next].reduce(0) { $0 + $1.count }
        let sequence = RecordBatchHeader.sequence(first, plus: Int32(truncatingIfNeeded: before))
        return try? work.batches[work.next].bytes(
            producerID: identity.id, epoch: identity.epoch, sequence: sequence, isTransactional: transaction != nil)
    }

    // MARK: Answers

    private func receive(_ request: Outstanding, _ works: inout [SendWork], _ transaction: ProducerIdentity?) async throws(KafkaError) {
        var outcomes: [TopicPartition: ProduceResponse.PartitionProduceResponse] = [:]
        var lost = KafkaError(.disconnected, "the broker's answer does not mention the partition", isRetriable: true)
        do throws(KafkaError) {
            let frame = try await request.completion.value()
            let response = try BrokerConnection.decode(frame, as: ProduceResponse.self, version: request.version)
            for topic in response.responses {
                for partition in topic.partitionResponses { outcomes[TopicPartition(topic.name, partition.index)] = partition }
            }
        } catch {
            if error.kind == .cancelled || error.kind == .closed { throw error }
            lost = error
        }
        let now = SystemClock.monotonicMilliseconds()
        for entry in request.entries {
            works[entry.work].inFlight -= 1
            let target = works[entry.work].target
            guard let outcome = outcomes[target] else {
                works[entry.work].break(lost, now: now)
                continue
            }
            if outcome.errorCode == .none || outcome.errorCode == .duplicateSequenceNumber {
                // What came back behind something that failed was not taken; it is sent again.
                guard entry.batch == works[entry.work].baseOffsets.count else { continue }
                acknowledge(&works[entry.work], outcome.errorCode == .none ? outcome.baseOffset : -1)
                continue
            }
            if outcome.currentLeader.leaderId >= 0 {
                cluster.learnLeader(outcome.currentLeader.leaderId, epoch: outcome.currentLeader.leaderEpoch, of: target)
            }
            try refused(&works[entry.work], outcome, transaction, now)
        }
    }

    private func acknowledge(_ work: inout SendWork, _ baseOffset: Int64) {
        let count = Int32(truncatingIfNeeded: work.batches[work.baseOffsets.count].count)
        work.baseOffsets.append(baseOffset)
        work.failures = 0
        let target = work.target
        state.withLock { state in
            guard let known = state.sequences[target] else { return }
            state.sequences[target] = (known.identity, RecordBatchHeader.sequence(known.next, plus: count))
        }
    }

    private func refused(
        _ work: inout SendWork, _ outcome: ProduceResponse.PartitionProduceResponse, _ transaction: ProducerIdentity?, _ now: Int64
    ) throws(KafkaError) {
        let message = outcome.errorMessage ?? outcome.recordErrors.first?.batchIndexErrorMessage
        let error = KafkaError(outcome.errorCode, message, about: "\(work.target)")
        switch outcome.errorCode {
        case .outOfOrderSequenceNumber, .unknownProducerId, .invalidProducerEpoch, .producerFenced, .invalidProducerIdMapping,
            .invalidTxnState:
            // Behind a batch that failed this is only what was to be expected.
            if work.isBroken { return }
            if transaction != nil { throw error }
            work.needsIdentity = true
            work.break(error, now: now)
        case .messageTooLarge, .recordListTooLarge:
            if work.isBroken { return }
            work.isTooLarge = true
            work.break(error, now: now)
        default:
            if error.isRetriable || outcome.errorCode.refreshesMetadata {
                work.break(error, now: now)
            } else if !work.isBroken {
                work.isBroken = true
                work.error = error
            }
        }
    }

    // MARK: Going on after failures

    /// Has broken partitions go on at the first batch that was not acknowledged, once nothing of theirs is on its way any more.
    private func mend(_ works: inout [SendWork], _ deadline: Int64, _ transaction: ProducerIdentity?) async throws(KafkaError) {
        var isStale = false
        if SystemClock.monotonicMilliseconds() >= deadline {
            for index in works.indices where !works[index].isFinished && works[index].inFlight == 0 {
                works[index].error =
                    works[index].lastError ?? KafkaError(.timedOut, "\(works[index].target) has no leader", isRetriable: true)
            }
        }
        for index in works.indices where works[index].isBroken && works[index].inFlight == 0 && works[index].error == nil {
            isStale = isStale || !works[index].isTooLarge
            works[index].next = works[index].baseOffsets.count
            if works[index].isTooLarge { try halve(&works[index]) }
            if works[index].needsIdentity {
                let identity = try await newIdentity()
                state.withLock { $0.sequences[works[index].target] = (identity, 0) }
                works[index].needsIdentity = false
            }
            works[index].isBroken = false
        }
        if isStale { _ = try? await cluster.refreshMetadata() }
    }

    private func halve(_ work: inout SendWork) throws(KafkaError) {
        work.isTooLarge = false
        do throws(RecordBatchError) {
            if let (first, second) = try work.batches[work.next].halves(settings.compression) {
                work.batches.replaceSubrange(work.next...work.next, with: [first, second])
                work.notBefore = 0
            } else {
                work.error = work.lastError ?? KafkaError(.messageTooLarge, about: "\(work.target)")
            }
        } catch {
            throw KafkaError(.corruptRecords, "\(work.target): \(error)")
        }
    }
}

extension SendWork {
    fileprivate mutating func `break`(_ error: KafkaError, now: Int64) {
        isBroken = true
        postpone(error, now: now)
    }

    /// Not now, but in a moment, longer each time.
    fileprivate mutating func postpone(_ error: KafkaError, now: Int64) {
        lastError = error
        failures += 1
        notBefore = now + min(2000, 50 << Int64(min(failures, 5)))
    }
}
