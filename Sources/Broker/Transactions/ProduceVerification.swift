// The first records of a transaction in a partition wait until its coordinator knows of them (KIP-890). Lives on its connection's loop.
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Storage
import TransactionCoordination

/// What a produce request has to ask its transaction's coordinator.
struct ProduceVerification {
    var transactionalID: String
    var producer: ProducerIdentity
    var support: TransactionSupport
    /// Shares that must be asked for, by partition.
    var shares: [(partition: TopicPartition, index: Int)]
    /// Monotonic milliseconds: until then a producer whose last transaction is still being ended is not sent away.
    var retryUntil: Int64
}

extension BrokerServices {
    /// Asks about a transactional request where that is needed, and goes on by `append`; false when nothing has to be asked.
    func verifyTransaction(_ context: RequestContext, _ state: ConnectionState, append: @escaping () -> Void) -> Bool {
        guard let range = state.produce.transactionalID, let verification = beginVerification(range, context, state),
            !verification.shares.isEmpty
        else { return false }
        ask(verification, context, state, append)
        return true
    }

    /// Begins to verify each transactional share whose transaction is not open in its partition yet.
    private func beginVerification(_ range: Range<Int>, _ context: RequestContext, _ state: ConnectionState) -> ProduceVerification? {
        let settings = configurationInForce.current.transactions
        let support = TransactionSupport(produceVersion: context.version)
        guard transactions.isVerificationEnabled || support.bumpsEpoch else { return nil }
        var verification: ProduceVerification?
        let now = SystemClock.now()
        for topic in state.produce.topics {
            let found = context.version >= 13 ? partitions.topic(topic.id) : partitions.topic(context.body.text(at: topic.name))
            for index in topic.partitions {
                guard let found, let partition = found[state.produce.partitions[index].index],
                    let header = context.header(of: state.produce.partitions[index]), header.isTransactional, header.hasProducerId
                else { continue }
                let producer = ProducerIdentity(id: header.producerId, epoch: header.producerEpoch)
                if verification == nil {
                    verification = ProduceVerification(
                        transactionalID: context.body.text(at: range), producer: producer, support: support, shares: [],
                        retryUntil: SystemClock.monotonicMilliseconds() + settings.retryBackoffMaxMilliseconds)
                }
                guard verification?.producer == producer else {
                    state.produce.partitions[index].result.error = .invalidProducerIdMapping
                    continue
                }
                do throws(PartitionError) {
                    let guardian = try partition.beginVerification(
                        producerID: producer.id, epoch: producer.epoch, sequence: header.baseSequence, bumpsEpoch: support.bumpsEpoch,
                        now: now)
                    guard let guardian else { continue }
                    state.produce.partitions[index].verification = .verified(guardian)
                    verification?.shares.append((partition.topicPartition, index))
                } catch {
                    state.produce.partitions[index].result.error = error.errorCode
                }
            }
        }
        return verification
    }

    private func ask(
        _ verification: ProduceVerification, _ context: RequestContext, _ state: ConnectionState, _ append: @escaping () -> Void
    ) {
        let eventLoop = context.connection.eventLoop
        let bound = NIOLoopBound((verification, context, state, append), eventLoop: eventLoop)
        transactions.verifier.ask(
            TransactionQuestion(
                transactionalID: verification.transactionalID, producer: verification.producer,
                partitions: verification.shares.map(\.partition), support: verification.support
            ) { [self] refused in
                eventLoop.execute { [self] in
                    let (verification, context, state, append) = bound.value
                    verified(verification, refused, context, state, append)
                }
            })
    }

    private func verified(
        _ verification: ProduceVerification, _ refused: [TopicPartition: ErrorCode], _ context: RequestContext, _ state: ConnectionState,
        _ append: @escaping () -> Void
    ) {
        // A client that is gone asked for nothing.
        guard context.connection.isOpen else { return }
        let mustWait =
            verification.support.bumpsEpoch && refused.values.contains(.concurrentTransactions)
            && SystemClock.monotonicMilliseconds() < verification.retryUntil
        if mustWait {
            // Sending the records anew would cost the producer more.
            let eventLoop = context.connection.eventLoop
            let bound = NIOLoopBound((verification, context, state, append), eventLoop: eventLoop)
            let pause = configurationInForce.current.transactions.retryBackoffMilliseconds
            eventLoop.scheduleTask(in: .milliseconds(pause)) { [self] in
                let (verification, context, state, append) = bound.value
                guard context.connection.isOpen else { return }
                ask(verification, context, state, append)
            }
            return
        }
        for (partition, index) in verification.shares {
            guard let error = refused[partition] else { continue }
            let (told, message) = verification.support.told(error)
            state.produce.partitions[index].result.error = told
            state.produce.partitions[index].result.message = message
        }
        append()
    }
}

extension TransactionSupport {
    /// What a producer is told of the coordinator's answer: errors that make it try again, where it could not do anything else with them.
    fileprivate func told(_ error: ErrorCode) -> (ErrorCode, String?) {
        let unable = "Unable to verify the partition has been added to the transaction. Underlying error: \(error.name)"
        switch error {
        case .invalidTxnState: return (error, "Partition was not added to the transaction")
        case .networkException, .coordinatorLoadInProgress, .coordinatorNotAvailable, .notCoordinator:
            return (.notEnoughReplicas, unable)
        case .concurrentTransactions: return bumpsEpoch ? (error, nil) : (.notEnoughReplicas, unable)
        default: return (error, nil)
        }
    }
}

extension RequestContext {
    /// The header of a share's batch; nil when there is none that can be read.
    fileprivate func header(of share: ProducePartition) -> RecordBatchHeader? {
        guard let range = share.records, let records = body.getSlice(at: body.readerIndex + range.lowerBound, length: range.count) else {
            return nil
        }
        return try? RecordBatchHeader(from: records)
    }
}
