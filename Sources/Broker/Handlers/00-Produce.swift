// Produce: from the socket's buffer into the logs, and the answer, without leaving the connection's event loop.
import Controlling
import KafkaWire
import NIOCore
import Network
import Primitives
import RecordBatches
import Storage

extension BrokerServices {
    func produce(_ context: RequestContext, _ state: ConnectionState) {
        do throws(FrameCursorError) {
            try state.produce.read(context.body, version: context.version)
        } catch {
            return refuse(context, "Produce version \(context.version): \(error.field) at offset \(error.offset) cannot be read")
        }
        guard state.produce.acks >= -1, state.produce.acks <= 1 else {
            for index in state.produce.partitions.indices { state.produce.partitions[index].result.error = .invalidRequiredAcks }
            return answer(context, state)
        }
        if let access = dataAccess(context), !mayWrite(context, state, access) { return answer(context, state) }
        if state.produce.transactionalID != nil,
            verifyTransaction(context, state, append: { [self, unowned state] in append(context, state) })
        {
            return
        }
        append(context, state)
    }

    /// Refuses the shares that the sender may not write; false when nothing is left.
    private func mayWrite(_ context: RequestContext, _ state: ConnectionState, _ access: Access) -> Bool {
        if let range = state.produce.transactionalID, !access.allows(.write, .transactionalID, context.body.text(at: range)) {
            for index in state.produce.partitions.indices {
                state.produce.partitions[index].result.error = .transactionalIdAuthorizationFailed
            }
            return false
        }
        for topic in state.produce.topics {
            let name = context.version >= 13 ? partitions.topic(topic.id)?.name : context.body.text(at: topic.name)
            // A topic without a name here does not exist, which is said later.
            guard let name, !access.allows(.write, .topic, name) else { continue }
            for index in topic.partitions { state.produce.partitions[index].result.error = .topicAuthorizationFailed }
        }
        return state.produce.partitions.contains { $0.result.error == .none }
    }

    /// Appends all shares that nothing speaks against, and answers when they are where they have to be.
    private func append(_ context: RequestContext, _ state: ConnectionState) {
        let now = SystemClock.now()
        for topic in state.produce.topics {
            let found = context.version >= 13 ? partitions.topic(topic.id) : partitions.topic(context.body.text(at: topic.name))
            for index in topic.partitions where state.produce.partitions[index].result.error == .none {
                let wait = append(&state.produce.partitions[index], of: found, acks: state.produce.acks, context, now)
                if let wait {
                    state.produce.waits.append(
                        ProduceWait(index: index, partition: wait.partition, offset: wait.append.requiredOffset, term: wait.append.term))
                }
            }
        }
        state.produce.waits.isEmpty ? answer(context, state) : awaitReplicas(context, state)
    }

    /// Answers once all shares are on their replicas in sync, or the request's time is over. Meanwhile the producer's next request is taken:
    /// the records' order is settled, and so is the answers'. Not so where batches are numbered: the snapshots that brokers start with tell of
    /// each producer's last batch only, so a producer that sends several again after a failure would be refused for good.
    private func awaitReplicas(_ context: RequestContext, _ state: ConnectionState) {
        let throttledUntil = SystemClock.monotonicMilliseconds() + Int64(throttleProduce(context, state))
        let connection = context.connection
        let names = state.produce.detachNames(from: context.body)
        let encoder = ProduceResponseEncoder(version: context.version, correlationID: context.correlationID)
        let isDeferred = !state.produce.partitions.contains { $0.isIdempotent }
        let pending = state.pendingProduces.add(&state.produce)
        // May fill `state.produce` with the next request.
        let answer = isDeferred ? connection.deferAnswer() : nil
        pending.start(on: connection.eventLoop) { [self, unowned state, unowned pending] in
            let throttle = Int32(clamping: max(0, throttledUntil - SystemClock.monotonicMilliseconds()))
            let frame = encoder.encode(pending.request, body: names, throttleMilliseconds: throttle, allocator: allocator)
            state.pendingProduces.remove(pending)
            if let answer { connection.send(OutboundFrame(frame), as: answer) } else { connection.send(OutboundFrame(frame)) }
        }
    }

    /// Appends one share. Returns what has to be waited for, if anything.
    private func append(
        _ share: inout ProducePartition, of topic: TopicPartitions?, acks: Int16, _ context: RequestContext, _ now: Timestamp
    ) -> (partition: Partition, append: PartitionAppend)? {
        guard let topic else {
            share.result.error = context.version >= 13 ? .unknownTopicId : .unknownTopicOrPartition
            return nil
        }
        guard let partition = topic[share.index] else {
            share.result.error = topic.contains(share.index) ? .notLeaderOrFollower : .unknownTopicOrPartition
            return nil
        }
        guard let range = share.records,
            let records = context.body.getSlice(at: context.body.readerIndex + range.lowerBound, length: range.count)
        else {
            share.result.fail(.invalidRecord, "Produce requests of version \(context.version) must have a record batch for every partition")
            return nil
        }
        do throws(RefusedRecords) {
            share.isIdempotent = try Self.header(of: records, version: context.version).hasProducerId
        } catch {
            share.result.fail(error.error, error.message)
            return nil
        }
        if TopicName.isInternal(topic.name), context.clientID != "__admin_client" {
            // Kafka lets only its own admin client write to the cluster's own topics.
            share.result.error = .invalidTopicException
            return nil
        }
        do throws(PartitionError) {
            let append = try partition.append(
                records, origin: .client, requireInSyncReplicas: acks == -1, now: now,
                transaction: TransactionTerms(
                    verification: transactions.isVerificationEnabled ? share.verification : .notRequired))
            let result = append.log
            share.result.baseOffset = result.firstOffset
            share.result.logAppendTime = result.logAppendTime
            share.result.logStartOffset = result.logStartOffset
            topic.metrics.messagesIn.increment(by: result.recordCount)
            topic.metrics.bytesIn.increment(by: range.count)
            topic.metrics.totalProduceRequests.increment()
            return acks == -1 && !append.isCommitted ? (partition, append) : nil
        } catch {
            share.result.fail(error.errorCode, error.explanation)
            share.result.refusedRecords = error.refusedRecords
            topic.metrics.totalProduceRequests.increment()
            topic.metrics.failedProduceRequests.increment()
            report(error, of: partition)
            return nil
        }
    }

    /// The header of a partition's records, which have to be what versions 3 and later demand: exactly one batch of magic 2; zstd only from
    /// version 7 (KIP-110).
    private static func header(of records: ByteBuffer, version: Int16) throws(RefusedRecords) -> RecordBatchHeader {
        guard records.readableBytes >= RecordBatchHeader.size else {
            throw RefusedRecords.notOneBatch(version)
        }
        guard let header = try? RecordBatchHeader(from: records) else {
            throw RecordBatchHeader.magic(in: records) == 2
                ? RefusedRecords(.corruptMessage, "The record batch's length cannot be right")
                : RefusedRecords(.invalidRecord, "Produce requests of version \(version) may hold record batches of magic 2 only")
        }
        if header.sizeInBytes < records.readableBytes {
            throw RefusedRecords.notOneBatch(version)
        }
        guard let compression = try? header.compression else {
            throw RefusedRecords(.corruptMessage, "The record batch names a compression that does not exist")
        }
        if version < 7, compression == .zstd {
            throw RefusedRecords(.unsupportedCompressionType, "Produce requests below version 7 may not use zstd")
        }
        return header
    }

    private func answer(_ context: RequestContext, _ state: ConnectionState) {
        let throttle = throttleProduce(context, state)
        if state.produce.acks == 0 {
            // Nobody waits for an answer. After a failure closing the connection is the only way to tell the producer.
            if let failed = state.produce.partitions.first(where: { $0.result.error != .none }) {
                return context.connection.close(reason: "a produce request with acks=0 failed: \(failed.result.error.name)")
            }
            return context.connection.completeWithoutResponse()
        }
        let encoder = ProduceResponseEncoder(version: context.version, correlationID: context.correlationID)
        let answer = encoder.encode(state.produce, body: context.body, throttleMilliseconds: throttle, allocator: allocator)
        context.connection.send(OutboundFrame(answer))
    }
}

/// Why a partition's records are not even looked at.
private struct RefusedRecords: Error {
    var error: ErrorCode
    var message: String

    init(_ error: ErrorCode, _ message: String) {
        self.error = error
        self.message = message
    }

    static func notOneBatch(_ version: Int16) -> Self {
        Self(.invalidRecord, "Produce requests of version \(version) must have exactly one record batch for every partition")
    }
}

extension ProduceResult {
    fileprivate mutating func fail(_ error: ErrorCode, _ message: String?) {
        self.error = error
        self.message = message
    }
}
