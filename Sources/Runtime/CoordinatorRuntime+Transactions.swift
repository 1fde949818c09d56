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
        guard !request.groupId.isEmpty else { return completion(request.answer(.invalidGroupId)) }
        let now = now
        shard(for: request.groupId).submit(
            now: now, transaction: TransactionTerms(verification: verification),
            step: { $0.commitTransactionalOffsets(request, context: context, now: now) },
            failed: { request.answer($0) },
            completion: { completion(TxnOffsetCommitRequest.merge($0, with: refused, version: context.apiVersion)) })
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
