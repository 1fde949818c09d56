// Asks transaction coordinators whether a partition belongs to a producer's transaction, or adds it (KIP-890), before this broker takes the
// transaction's first records there. One request on its way to each coordinator; questions that come meanwhile go together in the next.
import Collections
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import NIOCore
import Network
import Observability
import Primitives
import Runtime
import Synchronization
import TransactionCoordination

/// What a producer or group client may do besides asking, by the version of its request.
enum TransactionSupport: Sendable, Hashable {
    /// Knows no TRANSACTION_ABORTABLE.
    case base
    case abortableError
    /// Has partitions added with its records (transaction.version 2).
    case addsPartitions

    init(produceVersion version: Int16) { self = version >= 12 ? .addsPartitions : version >= 11 ? .abortableError : .base }
    init(offsetCommitVersion version: Int16) { self = version >= 5 ? .addsPartitions : version >= 4 ? .abortableError : .base }

    /// Whether each of the producer's transactions has an epoch of its own.
    var bumpsEpoch: Bool { self == .addsPartitions }
}

/// One question: partitions of one producer's transaction.
struct TransactionQuestion: Sendable {
    var transactionalID: String
    var producer: ProducerIdentity
    var partitions: [TopicPartition]
    var support: TransactionSupport
    /// The errors of the partitions that are not part of the transaction; called once, on any thread.
    var completion: @Sendable ([TopicPartition: ErrorCode]) -> Void

    func answer(_ error: ErrorCode) {
        completion(Dictionary(partitions.map { ($0, error) }, uniquingKeysWith: { first, _ in first }))
    }

    /// As the client is told it: producers expect INVALID_PRODUCER_EPOCH, and old ones know no TRANSACTION_ABORTABLE.
    func translated(_ error: ErrorCode) -> ErrorCode {
        switch error {
        case .producerFenced: .invalidProducerEpoch
        case .transactionAbortable where support == .base: .invalidTxnState
        default: error
        }
    }
}

/// The questions of one broker.
final class TransactionVerifier: Sendable {
    private static let maximumPerRequest = 500
    /// Questions that may wait for one coordinator; beyond it clients are asked to try again.
    private static let maximumWaiting = 10_000

    /// How long answers took, whoever the coordinator is.
    private let verificationTime = LatencyHistogram(now: SystemClock.monotonicNanoseconds())
    /// Questions that were not answered with yes for all partitions.
    private let verificationFailures = Counter()
    private let queues: BrokerQueues<TransactionVerifier>
    private let nodeID: NodeID
    private let logger: Logger

    init(nodeID: NodeID, timeoutMilliseconds: Int64, logger: Logger) {
        self.nodeID = nodeID
        self.logger = logger
        queues = BrokerQueues(nodeID: nodeID, versions: 4...5, timeoutMilliseconds: timeoutMilliseconds)
    }

    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        queues.start(self, name: "add-partitions-to-txn", services, on: eventLoopGroup)
    }

    func close() {
        for question in queues.close() { question.answer(.notCoordinator) }
    }

    /// Writes Kafka's metrics of these questions.
    func write(to text: inout PrometheusText, now: Int64) {
        let prefix = "kafka_server_addpartitionstotxnmanager_"
        verificationTime.write(prefix + "verificationtimems", help: "Milliseconds that coordinators took to answer.", to: &text, now: now)
        text.single(
            prefix + "verificationfailurerate_count", .counter, help: "Questions to coordinators not answered with yes.",
            verificationFailures.value)
    }

    /// Clients may not use these brokers any longer: what waits for one of them is answered at once, so that clients ask again.
    func brokersLeft(_ brokers: [NodeID]) { queues.brokersLeft(brokers) }

    /// Asks the transaction's coordinator, which may be this broker.
    func ask(_ question: TransactionQuestion) {
        var question = question
        let start = SystemClock.monotonicNanoseconds()
        question.completion = { [verificationTime, verificationFailures, completion = question.completion] errors in
            verificationTime.record(nanoseconds: SystemClock.monotonicNanoseconds() - start)
            if !errors.isEmpty { verificationFailures.increment() }
            completion(errors)
        }
        send(question)
    }

    private func send(_ question: TransactionQuestion) {
        guard let services = queues.services else { return question.answer(.coordinatorNotAvailable) }
        let runtime = services.transactions.runtime
        let partition = TopicPartition(TopicName.transactionState, runtime.partition(for: question.transactionalID))
        guard let leader = services.image.topics.partition(partition)?.leader, leader >= 0 else {
            return question.answer(.coordinatorNotAvailable)
        }
        if leader == nodeID { return ask(question, runtime) }
        guard services.replication.address(of: leader) != nil else { return question.answer(.coordinatorNotAvailable) }
        guard queues.add(question, for: leader, limit: Self.maximumWaiting) else { return question.answer(.coordinatorNotAvailable) }
        queues.flush(leader)
    }

    /// The coordinator is here.
    private func ask(_ question: TransactionQuestion, _ runtime: TransactionRuntime) {
        @Sendable func answer(_ errors: [ErrorCode]) {
            var refused: [TopicPartition: ErrorCode] = [:]
            for (partition, error) in zip(question.partitions, errors) where error != .none {
                refused[partition] = question.translated(error)
            }
            question.completion(refused)
        }
        guard question.support.bumpsEpoch else {
            return answer(runtime.verifyPartitions(question.partitions, in: question.transactionalID, producer: question.producer))
        }
        runtime.addPartitions(question.partitions, to: question.transactionalID, producer: question.producer, clientVersion: 2) { error in
            answer(question.partitions.map { _ in error })
        }
    }
}

// MARK: - Coordinators elsewhere

extension TransactionVerifier: BrokerQueueOwner {
    func take(from waiting: inout Deque<TransactionQuestion>) -> [TransactionQuestion] {
        // A request names each transactional id once: a second question about one waits for the next.
        var seen: Set<String> = []
        var questions: [TransactionQuestion] = []
        var rest: Deque<TransactionQuestion> = []
        for question in waiting {
            if questions.count < Self.maximumPerRequest, seen.insert(question.transactionalID).inserted {
                questions.append(question)
            } else {
                rest.append(question)
            }
        }
        waiting = rest
        return questions
    }

    func unreachable(_ questions: [TransactionQuestion]) {
        for question in questions { question.answer(.coordinatorNotAvailable) }
    }

    /// Questions to this very broker are answered without a queue.
    func perform(
        _ request: AddPartitionsToTxnRequest, _ services: BrokerServices, answer: @escaping @Sendable (AddPartitionsToTxnResponse) -> Void
    ) { answer(AddPartitionsToTxnResponse()) }

    func finished(_ result: Result<AddPartitionsToTxnResponse, PeerFailure>, _ questions: [TransactionQuestion], _ broker: NodeID) {
        switch result {
        case .success(let response): received(response, questions)
        case .failure(.unsupportedVersion):
            // A broker from before KIP-890 cannot be asked: as Kafka does, the records are taken.
            for question in questions { question.completion([:]) }
        case .failure(let failure):
            logger.info("a transaction coordinator could not be asked", metadata: ["broker": "\(broker)", "reason": "\(failure)"])
            for question in questions { question.answer(.networkException) }
        }
    }

    func request(_ questions: [TransactionQuestion]) -> AddPartitionsToTxnRequest {
        var request = AddPartitionsToTxnRequest()
        request.transactions = questions.map { question in
            var transaction = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction()
            transaction.transactionalId = question.transactionalID
            transaction.producerId = question.producer.id
            transaction.producerEpoch = question.producer.epoch
            transaction.verifyOnly = !question.support.bumpsEpoch
            transaction.topics = OrderedSet(question.partitions).byTopic.map { name, partitions in
                var topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic()
                topic.name = name
                topic.partitions = partitions
                return topic
            }
            return transaction
        }
        return request
    }

    private func received(_ response: AddPartitionsToTxnResponse, _ questions: [TransactionQuestion]) {
        guard response.errorCode == .none else {
            // The client must not hear what the brokers may do among themselves.
            let error: ErrorCode = response.errorCode == .clusterAuthorizationFailed ? .invalidTxnState : response.errorCode
            for question in questions { question.answer(error) }
            return
        }
        var results: [String: AddPartitionsToTxnResponse.AddPartitionsToTxnResult] = [:]
        for result in response.resultsByTransaction { results[result.transactionalId] = result }
        for question in questions {
            guard let result = results[question.transactionalID] else {
                question.answer(.networkException)
                continue
            }
            var refused: [TopicPartition: ErrorCode] = [:]
            for topic in result.topicResults {
                for partition in topic.resultsByPartition where partition.partitionErrorCode != .none {
                    refused[TopicPartition(topic.name, partition.partitionIndex)] = question.translated(partition.partitionErrorCode)
                }
            }
            question.completion(refused)
        }
    }
}
