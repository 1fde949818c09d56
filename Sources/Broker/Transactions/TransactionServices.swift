// Transactions on this broker: the coordinator of what it leads of __transaction_state, the markers it has others write, and the questions
// that it asks other coordinators before it takes transactional records.
import ClusterMetadata
import Configuration
import Controlling
import KafkaWire
import Logging
import NIOCore
import Network
import Primitives
import Runtime
import Storage
import Synchronization
import TransactionCoordination

/// The parts of a broker that transactions need.
final class TransactionServices: Sendable {
    let runtime: TransactionRuntime
    let markers: MarkerSender
    let verifier: TransactionVerifier
    let epochs = CoordinatedEpochs()
    private let verification = Atomic(true)

    init(
        configuration: BrokerConfiguration, image: @escaping @Sendable () -> MetadataImage, producerIDs: ProducerIDs, logger: Logger
    ) {
        let settings = configuration.transactions
        var runtime = TransactionRuntimeConfiguration()
        runtime.transactions.maximumTimeoutMilliseconds = Int32(clamping: settings.maxTimeoutMilliseconds)
        runtime.transactions.expirationMilliseconds = settings.idExpirationMilliseconds
        runtime.transactions.isTwoPhaseCommitEnabled = settings.twoPhaseCommitEnable
        runtime.timeoutCheckIntervalMilliseconds = settings.timeoutCheckIntervalMilliseconds
        runtime.expirationCheckIntervalMilliseconds = settings.expirationCheckIntervalMilliseconds
        // The topic decides once it exists: a transactional id must be found where its state is.
        runtime.partitionCount =
            image().topics.topic(named: TopicName.transactionState).map { Int32($0.partitions.count) } ?? settings.topicPartitions
        let markers = MarkerSender(
            nodeID: configuration.nodeID, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds, logger: logger)
        self.markers = markers
        self.runtime = TransactionRuntime(
            configuration: runtime,
            environment: TransactionRuntimeEnvironment(
                newProducerID: { producerIDs.next($0) }, writeMarkers: { markers.submit($0) },
                transactionVersion: { image().features.level(of: FeatureName.transaction) }))
        verifier = TransactionVerifier(
            nodeID: configuration.nodeID, timeoutMilliseconds: configuration.cluster.requestTimeoutMilliseconds, logger: logger)
    }

    /// `transaction.partition.verification.enable`.
    var isVerificationEnabled: Bool { verification.load(ordering: .relaxed) }

    func update(_ settings: TransactionSettings) { verification.store(settings.partitionVerificationEnable, ordering: .relaxed) }

    /// Begins to reach other brokers.
    func start(_ services: BrokerServices, on eventLoopGroup: any EventLoopGroup) {
        markers.start(services, on: eventLoopGroup)
        verifier.start(services, on: eventLoopGroup)
    }

    /// Clients may not use these brokers any longer. To be called when the metadata that says so is in force.
    func brokersLeft(_ brokers: [NodeID]) {
        markers.brokersLeft(brokers)
        verifier.brokersLeft(brokers)
    }

    /// Ends coordinating and asking; before logs are closed.
    func close() {
        epochs.endAll()
        runtime.endAllTerms()
        markers.close()
        verifier.close()
    }
}

extension BrokerServices {
    /// Begins to coordinate the transactions of every partition of __transaction_state that this node leads.
    func assignTransactionCoordinators(_ topic: TopicImage) {
        guard let placed = partitions.topic(topic.id) else { return }
        let runtime = transactions.runtime
        for partition in topic.partitions where partition.index < runtime.configuration.partitionCount {
            guard partition.leader == nodeID, let local = placed[partition.index] else {
                transactions.epochs.end(partition.index)
                runtime.endTerm(partition: partition.index)
                placed[partition.index]?.onHighWatermark(nil)
                continue
            }
            guard transactions.epochs.begin(partition.index, partition.leaderEpoch) else { continue }
            let term = runtime.beginTerm(partition: partition.index)
            local.onHighWatermark { [index = partition.index] offset in
                runtime.highWatermarkAdvanced(partition: index, to: offset)
            }
            backgroundWork.run { [logger, epoch = partition.leaderEpoch, index = partition.index] in
                do throws(CoordinatorLogError) {
                    try runtime.load(partition: index, term: term, epoch: epoch, from: PartitionCoordinatorLog(partition: local))
                } catch {
                    logger.error(
                        "transactions cannot be loaded; their clients are told to wait",
                        metadata: ["partition": "\(local.topicPartition)", "reason": "\(error.code)"])
                }
            }
        }
    }
}
