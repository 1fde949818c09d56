// What is to be sent now: closes batches whose time has come, gives them their numbers, and makes requests of them.
import DequeModule
import NIOCore
import Primitives
import RecordBatches

/// A produce request to make: one batch for each of some partitions with the same leader.
struct ProduceDispatch: Sendable {
    let requestID: UInt64
    let node: NodeID
    let batches: [(partition: TopicPartition, bytes: ByteBuffer)]
}

/// What the core wants done.
struct ProducerPlan: Sendable {
    var requests: [ProduceDispatch] = []
    /// Topics whose partitions have no known leader.
    var topicsWithoutLeader: Set<String> = []
    var needsProducerID = false
    /// Monotonic milliseconds at which to look again, if nothing happens before.
    var nextDeadline = Int64.max
}

extension ProducerCore {
    /// Batches that are to be built (compressed) before ``drain(now:leader:isConnected:)``: full, or waited long enough.
    mutating func closeReadyBatches(now: Int64) -> [(id: UInt64, partition: TopicPartition, builder: RecordBatchBuilder)] {
        var closed: [(id: UInt64, partition: TopicPartition, builder: RecordBatchBuilder)] = []
        let isPressed = bufferedBytes > settings.bufferMemory - settings.bufferMemory / 8
        for index in partitions.values.indices {
            // Only the front batches can be sent soon; those behind stay as they are, so that memory is not spent twice.
            let limit = min(partitions.values[index].queue.count, settings.maximumInFlight)
            for position in 0..<limit {
                let batch = partitions.values[index].queue[position]
                guard batch.isOpen, isPressed || isReady(batch, isLast: position == partitions.values[index].queue.count - 1, now: now),
                    let builder = partitions.values[index].queue[position].builder.take()
                else { continue }
                closed.append((batch.id, batch.partition, builder))
            }
        }
        return closed
    }

    private func isReady(_ batch: ProducerBatch, isLast: Bool, now: Int64) -> Bool {
        !isLast || batch.charge >= settings.batchSize || batch.id <= flushedThrough || now - batch.createdAt >= settings.lingerMilliseconds
    }

    /// Hands a built batch back.
    mutating func store(_ bytes: ByteBuffer, of id: UInt64, in partition: TopicPartition) {
        guard let index = partitions.index(forKey: partition),
            let position = partitions.values[index].queue.firstIndex(where: { $0.id == id })
        else { return }
        partitions.values[index].queue[position].bytes = bytes
    }

    /// Chooses what to send.
    ///
    /// - Parameters:
    ///   - leader: a partition's leader, nil if unknown.
    ///   - isConnected: whether a broker can be sent to; it is asked once per broker and drain.
    mutating func drain(
        now: Int64, leader: (TopicPartition) -> NodeID?, isConnected: (NodeID) -> Bool
    ) -> ProducerPlan {
        var plan = ProducerPlan()
        var perNode: [NodeID: (batches: [ProducerBatch], size: Int)] = [:]
        var connected: [NodeID: Bool] = [:]
        for index in partitions.values.indices where !partitions.values[index].queue.isEmpty {
            let partition = partitions.keys[index]
            noteDeadlines(of: index, now: now, in: &plan)
            guard let position = sendable(index, now: now, plan: &plan) else { continue }
            guard let node = leader(partition) else {
                plan.topicsWithoutLeader.insert(partition.topic)
                continue
            }
            guard inFlightRequests[node, default: 0] < settings.maximumInFlight else { continue }
            let isUp = connected[node] ?? isConnected(node)
            connected[node] = isUp
            let size = partitions.values[index].queue[position].bytes?.readableBytes ?? 0
            let filled = perNode[node]?.size ?? 0
            guard isUp, filled == 0 || filled + size <= settings.maximumRequestSize else { continue }
            let batch = take(index, position)
            perNode[node, default: ([], 0)].batches.append(batch)
            perNode[node, default: ([], 0)].size += size
        }
        for (node, wanted) in perNode.sorted(by: { $0.key < $1.key }) {
            let id = makeID()
            requests[id] = (node, wanted.batches.map(\.id))
            inFlightRequests[node, default: 0] += 1
            plan.requests.append(
                ProduceDispatch(
                    requestID: id, node: node,
                    batches: wanted.batches.map { ($0.partition, $0.bytes(with: $0.identity) ?? ByteBuffer()) }))
        }
        return plan
    }

    private func noteDeadlines(of index: Int, now: Int64, in plan: inout ProducerPlan) {
        guard let first = partitions.values[index].queue.first else { return }
        plan.nextDeadline = min(plan.nextDeadline, first.createdAt + settings.deliveryTimeoutMilliseconds)
        if first.isOpen {
            plan.nextDeadline = min(plan.nextDeadline, first.createdAt + settings.lingerMilliseconds)
        } else if first.notBefore > now {
            plan.nextDeadline = min(plan.nextDeadline, first.notBefore)
        }
    }

    /// The position of the batch that may be sent now.
    private mutating func sendable(_ index: Int, now: Int64, plan: inout ProducerPlan) -> Int? {
        if settings.isIdempotent, partitions.values[index].hasGap {
            if let unknown = partitions.values[index].queue.firstIndex(where: { $0.identity != nil && $0.isOutcomeUnknown }) {
                // Its numbers tell whether an earlier attempt was written, so it goes alone and under them.
                guard partitions.values[index].inFlight.isEmpty, partitions.values[index].queue[unknown].notBefore <= now else {
                    return nil
                }
                return unknown
            }
            guard partitions.values[index].inFlight.isEmpty else { return nil }
            beginEpoch(index)
        }
        if settings.isIdempotent, partitions.values[index].queue[0].identity == nil, partitions.values[index].producerID < 0 {
            guard let producerID, !partitions.values[index].needsNewProducerID else {
                plan.needsProducerID = true
                return nil
            }
            partitions.values[index].producerID = producerID.id
            partitions.values[index].epoch = producerID.epoch
        }
        let batch = partitions.values[index].queue[0]
        // A broker without state of the producer takes any number for the first, so the first of an epoch goes alone: if it were lost
        // and the second were not, the first could never be written.
        let isFirst = settings.isIdempotent && partitions.values[index].lastAcknowledgedSequence < 0
        let limit = isFirst ? 1 : settings.maximumInFlight
        guard batch.bytes != nil, batch.notBefore <= now, partitions.values[index].inFlight.count < limit else { return nil }
        // A broker recognises the last five batches of a producer: no sixth while the fate of the first of them is open. Batches that
        // were cut in pieces make more than five of them with numbers.
        let ordinal = batch.identity == nil ? partitions.values[index].nextOrdinal : batch.ordinal
        if settings.isIdempotent, let oldest = oldestOrdinal(index), ordinal - oldest >= 5 { return nil }
        return 0
    }

    /// The first batch of the present epoch that is not settled.
    private func oldestOrdinal(_ index: Int) -> Int64? {
        var oldest: Int64?
        for id in partitions.values[index].inFlight {
            if let ordinal = inFlight[id]?.ordinal { oldest = min(oldest ?? .max, ordinal) }
        }
        // The queue is in the order of the records, so only its front can be older.
        if let front = partitions.values[index].queue.first, front.identity != nil { oldest = min(oldest ?? .max, front.ordinal) }
        return oldest
    }

    /// Goes on under the next epoch, numbers from 0; everything in the queue is certainly not written.
    private mutating func beginEpoch(_ index: Int) {
        partitions.values[index].hasGap = false
        partitions.values[index].nextSequence = 0
        partitions.values[index].lastAcknowledgedSequence = -1
        partitions.values[index].lastAcknowledgedOrdinal = -1
        partitions.values[index].nextOrdinal = 0
        if partitions.values[index].epoch == .max {
            partitions.values[index].producerID = -1
            partitions.values[index].needsNewProducerID = true
            retireProducerID()
        } else {
            partitions.values[index].epoch += 1
        }
        for position in partitions.values[index].queue.indices { partitions.values[index].queue[position].identity = nil }
    }

    private mutating func take(_ index: Int, _ position: Int) -> ProducerBatch {
        var batch = partitions.values[index].queue.remove(at: position)
        batch.attempts += 1
        if settings.isIdempotent, batch.identity == nil {
            let state = partitions.values[index]
            batch.identity = BatchIdentity(producerID: state.producerID, epoch: state.epoch, baseSequence: state.nextSequence)
            batch.ordinal = state.nextOrdinal
            partitions.values[index].nextOrdinal += 1
            partitions.values[index].nextSequence = RecordBatchHeader.sequence(state.nextSequence, plus: Int32(batch.recordCount))
        }
        partitions.values[index].inFlight.append(batch.id)
        inFlight[batch.id] = batch
        return batch
    }
}
