// TxnOffsetCommit: stores a group's offsets as part of a transaction, once the transaction knows of the group's partition (KIP-890).
import Controlling
import GroupCoordination
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives
import Storage
import TransactionCoordination

extension BrokerServices {
    func txnOffsetCommit(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(TxnOffsetCommitRequest.self)
        let responder = context.responder
        let group = context.group
        let version = context.version
        verify(request, version: version) { [self] verification in
            switch verification {
            case .success(let verification):
                groups.commitTransactionalOffsets(request, context: group, topics: topicLookup, verification: verification) { response in
                    responder.send(response.known(to: version))
                }
            case .failure(let refusal): responder.send(request.response(error: refusal.code).known(to: version))
            }
        }
    }

    private struct Refusal: Error {
        var code: ErrorCode
    }

    private func verify(
        _ request: TxnOffsetCommitRequest, version: Int16,
        completion: @escaping @Sendable (Result<TransactionVerification, Refusal>) -> Void
    ) {
        let isVerified = transactions.isVerificationEnabled
        let support = TransactionSupport(offsetCommitVersion: version)
        guard isVerified || support.bumpsEpoch, !request.groupId.isEmpty else { return completion(.success(.notRequired)) }
        let name = TopicPartition(TopicName.consumerOffsets, groups.partition(for: request.groupId))
        guard let partition = partitions.partition(name) else { return completion(.failure(Refusal(code: .notCoordinator))) }
        let producer = ProducerIdentity(id: request.producerId, epoch: request.producerEpoch)
        let guardian: VerificationGuard?
        do throws(PartitionError) {
            guardian = try partition.beginVerification(
                producerID: producer.id, epoch: producer.epoch, sequence: -1, bumpsEpoch: support.bumpsEpoch, now: SystemClock.now())
        } catch {
            return completion(.failure(Refusal(code: .coordinatorError(for: error.errorCode))))
        }
        guard let guardian else { return completion(.success(.ongoing)) }
        transactions.verifier.ask(
            TransactionQuestion(
                transactionalID: request.transactionalId, producer: producer, partitions: [name], support: support
            ) { refused in
                switch refused[name] {
                case nil: completion(.success(isVerified ? .verified(guardian) : .notRequired))
                // Older clients retry this one without looking for the group's coordinator.
                case .networkException?: completion(.failure(Refusal(code: .coordinatorLoadInProgress)))
                case let error?: completion(.failure(Refusal(code: .coordinatorError(for: error))))
                }
            })
    }
}

extension TxnOffsetCommitResponse {
    /// Clients before version 2 end over COORDINATOR_LOAD_IN_PROGRESS (KAFKA-7296).
    fileprivate func known(to version: Int16) -> Self {
        guard version < 2 else { return self }
        var response = self
        for topic in response.topics.indices {
            for partition in response.topics[topic].partitions.indices
            where response.topics[topic].partitions[partition].errorCode == .coordinatorLoadInProgress {
                response.topics[topic].partitions[partition].errorCode = .coordinatorNotAvailable
            }
        }
        return response
    }
}
