// AddPartitionsToTxn: from clients, one transaction at a time; from brokers (versions 4 and later), many, to add or only to ask (KIP-890).
import KafkaMessages
import KafkaWire
import Primitives
import Synchronization
import TransactionCoordination

extension BrokerServices {
    func addPartitionsToTxn(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AddPartitionsToTxnRequest.self)
        let responder = context.responder
        let version = context.version
        var asked = request.transactions
        if version < 4 {
            var only = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction()
            only.transactionalId = request.v3AndBelowTransactionalId
            only.producerId = request.v3AndBelowProducerId
            only.producerEpoch = request.v3AndBelowProducerEpoch
            only.topics = request.v3AndBelowTopics
            asked = [only]
        }
        guard !asked.isEmpty else { return responder.send(AddPartitionsToTxnResponse()) }
        let answers = GatheredAnswers<AddPartitionsToTxnResponse.AddPartitionsToTxnResult>(count: asked.count) { results in
            var response = AddPartitionsToTxnResponse()
            if version < 4 {
                response.resultsByTopicV3AndBelow = results.first?.topicResults ?? []
            } else {
                response.resultsByTransaction = results
            }
            responder.send(response)
        }
        for (index, transaction) in asked.enumerated() {
            add(transaction, version: version) { answers.set(index, $0) }
        }
    }

    private func add(
        _ transaction: AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction, version: Int16,
        completion: @escaping @Sendable (AddPartitionsToTxnResponse.AddPartitionsToTxnResult) -> Void
    ) {
        let partitions = transaction.topics.flatMap { topic in topic.partitions.map { TopicPartition(topic.name, $0) } }
        let image = image
        let unknown = partitions.map { image.topics.partition($0) == nil }
        if unknown.contains(true) {
            // All or nothing: what exists is told that it was not tried.
            return completion(transaction.result(unknown.map { $0 ? .unknownTopicOrPartition : .operationNotAttempted }))
        }
        let producer = ProducerIdentity(id: transaction.producerId, epoch: transaction.producerEpoch)
        guard !transaction.verifyOnly else {
            let errors = transactions.runtime.verifyPartitions(partitions, in: transaction.transactionalId, producer: producer)
            // Before version 5 nobody knows TRANSACTION_ABORTABLE.
            return completion(transaction.result(errors.map { version < 5 && $0 == .transactionAbortable ? .invalidTxnState : $0 }))
        }
        transactions.runtime.addPartitions(
            partitions, to: transaction.transactionalId, producer: producer, clientVersion: version > 3 ? 2 : 0
        ) { error in
            let told = error.known(toTransactionsOf: version, since: 2)
            completion(transaction.result(partitions.map { _ in told }))
        }
    }
}

extension AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction {
    /// The answer, with an error for each partition in the order asked.
    fileprivate func result(_ errors: [ErrorCode]) -> AddPartitionsToTxnResponse.AddPartitionsToTxnResult {
        var result = AddPartitionsToTxnResponse.AddPartitionsToTxnResult()
        result.transactionalId = transactionalId
        var remaining = errors[...]
        result.topicResults = topics.map { topic in
            var answer = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult()
            answer.name = topic.name
            answer.resultsByPartition = topic.partitions.map { index in
                var outcome = AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult()
                outcome.partitionIndex = index
                outcome.partitionErrorCode = remaining.popFirst() ?? .unknownServerError
                return outcome
            }
            return answer
        }
        return result
    }
}

extension ErrorCode {
    /// Clients before that version know INVALID_PRODUCER_EPOCH in place of PRODUCER_FENCED (KIP-588).
    func known(toTransactionsOf version: Int16, since: Int16) -> ErrorCode {
        self == .producerFenced && version < since ? .invalidProducerEpoch : self
    }
}

/// Collects answers that come in any order, and hands them over in the order asked.
final class GatheredAnswers<Answer: Sendable>: Sendable {
    private let state: Mutex<(answers: [Answer?], missing: Int)>
    private let completion: @Sendable ([Answer]) -> Void

    init(count: Int, completion: @escaping @Sendable ([Answer]) -> Void) {
        state = Mutex((Array(repeating: nil, count: count), count))
        self.completion = completion
    }

    /// Each once.
    func set(_ index: Int, _ answer: Answer) {
        let complete = state.withLock { state -> [Answer]? in
            state.answers[index] = answer
            state.missing -= 1
            return state.missing == 0 ? state.answers.compactMap { $0 } : nil
        }
        if let complete { completion(complete) }
    }
}
