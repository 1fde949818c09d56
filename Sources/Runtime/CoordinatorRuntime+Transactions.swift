// TxnOffsetCommit, and the markers that end transactions in the partitions of __consumer_offsets.
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage

/// The marker that ends one producer's transaction, as WriteTxnMarkers brings it.
public struct TransactionEnd: Sendable {
    public var producer: TransactionalProducer
    public var coordinatorEpoch: Int32
    public var isCommitted: Bool
    /// transaction.version of the transaction.
    public var version: Int8

    public init(producer: TransactionalProducer, coordinatorEpoch: Int32, isCommitted: Bool, version: Int8) {
        self.producer = producer
        self.coordinatorEpoch = coordinatorEpoch
        self.isCommitted = isCommitted
        self.version = version
    }

    /// The control batch for a partition's log.
    public func batch(now: Timestamp) -> ByteBuffer {
        EndTransactionMarker(isCommitted ? .commit : .abort, coordinatorEpoch: coordinatorEpoch).batch(
            producerId: producer.id, producerEpoch: producer.epoch, timestamp: now)
    }
}

extension CoordinatorRuntime {
    /// TxnOffsetCommit. Partitions that do not exist are refused without troubling the group.
    ///
    /// - Parameter verification: that the transaction knows of the group's partition (KIP-890).
    public func commitTransactionalOffsets(
        _ request: TxnOffsetCommitRequest, context: GroupRequestContext, topics: some GroupTopicLookup,
        verification: TransactionVerification, completion: @escaping @Sendable (TxnOffsetCommitResponse) -> Void
    ) {
        var admitted = request
        let refused = admitted.resolveTopics(topics, version: context.apiVersion)
        guard !admitted.topics.isEmpty else {
            var response = TxnOffsetCommitResponse()
            response.topics = refused
            return completion(response)
        }
        let request = admitted
        guard !request.groupId.isEmpty else { return completion(request.response(error: .invalidGroupId)) }
        let now = now
        shard(for: request.groupId).submit(
            now: now, transaction: TransactionTerms(verification: verification),
            step: { $0.commitTransactionalOffsets(request, context: context, now: now) },
            failed: { request.response(error: $0) },
            completion: { completion($0.merged(with: refused, version: context.apiVersion)) })
    }

    /// Ends a transaction in a partition of __consumer_offsets: offsets come into force, or are forgotten.
    public func endTransaction(_ end: TransactionEnd, partition: Int32, completion: @escaping @Sendable (ErrorCode) -> Void) {
        guard shards.indices.contains(Int(partition)) else { return completion(.unknownTopicOrPartition) }
        shards[Int(partition)].endTransaction(end, now: now, completion: completion)
    }
}

extension CoordinatorShard {
    /// Appends the marker; it takes effect when it is committed.
    func endTransaction(_ end: TransactionEnd, now: CoordinatorInstant, completion: @escaping @Sendable (ErrorCode) -> Void) {
        let refusal = withActive { state, outbox in
            guard case .active(let log) = state.phase else { return }
            do throws(CoordinatorLogError) {
                guard state.inFlight.count < settings.maximumInFlightWrites else { throw CoordinatorLogError(.requestTimedOut) }
                let appended = try log.append(
                    end.batch(now: now.timestamp), transaction: TransactionTerms(version: end.version), now: now.timestamp)
                state.inFlight.append(
                    InFlightWrite(
                        content: .marker(producer: end.producer.id, isCommitted: end.isCommitted), baseOffset: appended.baseOffset,
                        completion: completion))
                commit(upTo: appended.highWatermark, now: now, &state, &outbox)
            } catch {
                outbox.append { completion(error.code) }
            }
        }
        if let refusal { completion(refusal) }
    }
}

extension TxnOffsetCommitRequest {
    /// Gives every topic its name and id and takes out what does not exist.
    ///
    /// - Returns: the answers for what was taken out.
    mutating func resolveTopics(
        _ lookup: some GroupTopicLookup, version: Int16
    ) -> [TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic] {
        var refused: [TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic] = []
        var known: [TxnOffsetCommitRequestTopic] = []
        for var topic in topics {
            if version >= 6 {
                guard let name = lookup.topicName(for: topic.topicId) else {
                    refused.append(topic.response(error: .unknownTopicId))
                    continue
                }
                topic.name = name
            } else {
                guard let id = lookup.topicID(for: topic.name) else {
                    refused.append(topic.response(error: .unknownTopicOrPartition))
                    continue
                }
                topic.topicId = id
            }
            var missing = topic
            missing.partitions.removeAll { lookup.hasPartition(topic: topic.name, partition: $0.partitionIndex) }
            topic.partitions.removeAll { !lookup.hasPartition(topic: topic.name, partition: $0.partitionIndex) }
            if !missing.partitions.isEmpty { refused.append(missing.response(error: .unknownTopicOrPartition)) }
            if !topic.partitions.isEmpty { known.append(topic) }
        }
        topics = known
        return refused
    }

    /// An answer that says the same of every partition.
    public func response(error: ErrorCode) -> TxnOffsetCommitResponse {
        var response = TxnOffsetCommitResponse()
        response.topics = topics.map { $0.response(error: error) }
        return response
    }
}

extension TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic {
    func response(error: ErrorCode) -> TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic {
        var response = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic()
        response.name = name
        response.topicId = topicId
        response.partitions = partitions.map { partition in
            var outcome = TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition()
            outcome.partitionIndex = partition.partitionIndex
            outcome.errorCode = error
            return outcome
        }
        return response
    }
}

extension TxnOffsetCommitResponse {
    /// Adds the answers for partitions that never came to the coordinator, each topic once.
    func merged(with refused: [TxnOffsetCommitResponseTopic], version: Int16) -> TxnOffsetCommitResponse {
        guard !refused.isEmpty else { return self }
        var response = self
        for topic in refused {
            let index = response.topics.firstIndex { version >= 6 ? $0.topicId == topic.topicId : $0.name == topic.name }
            if let index {
                response.topics[index].partitions += topic.partitions
            } else {
                response.topics.append(topic)
            }
        }
        return response
    }
}
