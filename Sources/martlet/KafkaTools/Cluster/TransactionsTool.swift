// `kafka-transactions`: transactions, their producers, and ending those that hang.
import MartletClient
import Primitives

enum TransactionsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-transactions",
        "This tool is used to analyze the transactional state of producers in the cluster: list, describe, describe-producers, abort, "
            + "find-hanging, forceTerminateTransaction", style: .brief,
        [
            .value("bootstrap-server", as: "host:port", "REQUIRED: Brokers to begin with."),
            .value("command-config", as: "FILE", "Client properties, such as those of security."),
            .value("topic", as: "TOPIC", "The topic."), .value("partition", as: "PARTITION", .integer, "Its partition."),
            .value("start-offset", as: "START_OFFSET", .long, "abort: the transaction's first offset."),
            .value("producer-id", as: "PRODUCER_ID", .long, "abort, for old brokers."),
            .value("producer-epoch", as: "PRODUCER_EPOCH", .integer, "abort, for old brokers."),
            .value("coordinator-epoch", as: "COORDINATOR_EPOCH", .integer, "abort, for old brokers."),
            .value("broker-id", as: "BROKER_ID", .integer, "The broker to ask."),
            .value("transactional-id", as: "TRANSACTIONAL_ID", "describe: the transactional id."),
            .value("transactionalId", as: "TRANSACTIONALID", "forceTerminateTransaction: the transactional id."),
            .value("duration-filter", as: "DURATION_FILTER", .long, "list: only transactions that are open longer, in milliseconds."),
            .value("transactional-id-pattern", as: "PATTERN", "list: only transactional ids of this regular expression."),
            .value("max-transaction-timeout", as: "MINUTES", .integer, default: "15", "find-hanging: the age at which to look."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        guard let command = options.rest.first else { throw syntax.mistake("too few arguments") }
        try syntax.require(options, "bootstrap-server")
        switch command {
        case "describe": try syntax.require(options, "transactional-id")
        case "describe-producers", "abort": try syntax.require(options, "topic", "partition")
        case "forceTerminateTransaction": try syntax.require(options, "transactionalId")
        case "list", "find-hanging": break
        default: throw syntax.mistake("argument command: invalid choice: '\(command)'")
        }
        try await ToolAdmin.with(options) { admin in
            let work = TransactionsWork(options: options, admin: admin)
            switch command {
            case "describe": try await work.describe()
            case "describe-producers": try await work.describeProducers()
            case "abort": try await work.abort()
            case "forceTerminateTransaction": try await work.terminate()
            case "list": try await work.list()
            default: try await work.findHanging()
            }
        }
        return 0
    }
}

private struct TransactionsWork {
    let options: ToolOptions
    let admin: AdminClient

    private var partition: TopicPartition {
        TopicPartition(options.value("topic") ?? "", Int32(clamping: options.integer("partition") ?? 0))
    }

    /// Says what failed and why, as Kafka's tool does.
    private func explaining<Value>(_ what: String, _ body: () async throws(KafkaError) -> Value) async throws(ToolExit) -> Value {
        do throws(KafkaError) {
            return try await body()
        } catch {
            throw .saying("\(what): \(error.message)")
        }
    }

    func list() async throws {
        var filter = TransactionListingFilter()
        if let duration = options.integer("duration-filter"), duration >= 0 { filter.longerThanMilliseconds = Int64(duration) }
        if let pattern = options.value("transactional-id-pattern") { filter.pattern = pattern }
        let found = try await explaining("Failed to list transactions") { () throws(KafkaError) in
            try await admin.listTransactions(filter)
        }
        JavaFormat.printTable(
            ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"],
            found.map { [$0.transactionalID, "\($0.coordinator)", "\($0.producerID)", $0.state] })
    }

    func describe() async throws {
        let id = options.value("transactional-id") ?? ""
        let found = try await explaining("Failed to describe transaction state of transactional-id `\(id)`") { () throws(KafkaError) in
            try await admin.describeTransaction(id)
        }
        let start = found.startTimestamp
        JavaFormat.printTable(
            [
                "CoordinatorId", "TransactionalId", "ProducerId", "ProducerEpoch", "TransactionState", "TransactionTimeoutMs",
                "CurrentTransactionStartTimeMs", "TransactionDurationMs", "TopicPartitions",
            ],
            [
                [
                    "\(found.coordinator)", id, "\(found.producerID)", "\(found.producerEpoch)", found.state,
                    "\(found.timeoutMilliseconds)",
                    start.map { "\($0)" } ?? "None", start.map { "\(SystemClock.now() - $0)" } ?? "None",
                    found.partitions.sorted().map { "\($0)" }.joined(separator: ","),
                ]
            ])
    }

    func describeProducers() async throws {
        let place = options.has("broker-id") ? "broker \(options.value("broker-id") ?? "")" : "leader"
        let found = try await explaining("Failed to describe producers for partition \(partition) on \(place)") { () throws(KafkaError) in
            try await admin.describeProducers(partition)
        }
        JavaFormat.printTable(
            ["ProducerId", "ProducerEpoch", "LatestCoordinatorEpoch", "LastSequence", "LastTimestamp", "CurrentTransactionStartOffset"],
            found.map {
                [
                    "\($0.producerID)", "\($0.producerEpoch)", "\($0.coordinatorEpoch)", "\($0.lastSequence)", "\($0.lastTimestamp)",
                    $0.transactionStartOffset.map { "\($0)" } ?? "None",
                ]
            })
    }

    func abort() async throws {
        guard options.has("start-offset") || options.has("producer-id") else {
            throw ToolExit.saying(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or with --producer-id, "
                    + "--producer-epoch, and --coordinator-epoch (for older brokers)")
        }
        var producer = (
            id: Int64(options.integer("producer-id") ?? -1), epoch: Int16(clamping: options.integer("producer-epoch") ?? -1),
            coordinator: Int32(clamping: options.integer("coordinator-epoch") ?? -1)
        )
        if let start = options.integer("start-offset") {
            let found = try await explaining("Failed to validate producer state for partition \(partition)") { () throws(KafkaError) in
                try await admin.describeProducers(partition)
            }
            guard let match = found.first(where: { $0.transactionStartOffset == Int64(start) }) else {
                throw ToolExit.saying(
                    "Could not find any open transactions starting at offset \(start) on partition \(partition)")
            }
            producer = (match.producerID, Int16(clamping: match.producerEpoch), match.coordinatorEpoch)
        } else {
            for name in ["producer-epoch", "coordinator-epoch"] where !options.has(name) {
                throw ToolExit.saying("Missing required argument --\(name)")
            }
        }
        let (id, epoch, coordinator) = producer
        let spec =
            "AbortTransactionSpec(topicPartition=\(partition), producerId=\(id), producerEpoch=\(epoch), coordinatorEpoch=\(coordinator))"
        try await explaining("Failed to abort transaction \(spec)") { () throws(KafkaError) in
            try await admin.abortTransaction(
                in: partition, producerID: id, producerEpoch: epoch, coordinatorEpoch: max(0, coordinator))
        }
    }

    func terminate() async throws {
        let id = options.value("transactionalId") ?? ""
        try await explaining("Failed to force terminate transactionalId `\(id)`") { () throws(KafkaError) in
            try await admin.terminateTransaction(id)
        }
    }

    func findHanging() async throws {
        guard options.has("topic") || options.has("broker-id") else {
            throw ToolExit.saying("The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search")
        }
        if options.has("partition"), !options.has("topic") {
            throw ToolExit.saying("The --partition argument requires --topic to be provided")
        }
        let oldest = SystemClock.now() - Int64(options.integer("max-transaction-timeout") ?? 15) * 60_000
        let broker = options.integer("broker-id").map { Int32(clamping: $0) }
        let partitions = try await partitions(on: broker)
        let hanging = try await explaining("Failed to find hanging transactions") { () throws(KafkaError) in
            let open = try await admin.openTransactions(in: partitions)
            return try await admin.hanging(open.filter { $0.producer.lastTimestamp < oldest })
        }
        JavaFormat.printTable(
            ["Topic", "Partition", "ProducerId", "ProducerEpoch", "CoordinatorEpoch", "StartOffset", "LastTimestamp", "Duration(min)"],
            hanging.map { transaction in
                let producer = transaction.producer
                return [
                    transaction.partition.topic, "\(transaction.partition.partition)", "\(producer.producerID)",
                    "\(producer.producerEpoch)",
                    "\(producer.coordinatorEpoch)", "\(producer.transactionStartOffset ?? -1)", "\(producer.lastTimestamp)",
                    "\((SystemClock.now() - producer.lastTimestamp) / 60_000)",
                ]
            })
    }

    private func partitions(on broker: Int32?) async throws(KafkaError) -> [TopicPartition] {
        if options.has("partition") { return [partition] }
        var topics = try await admin.listTopics(includingInternal: true)
        if let name = options.value("topic") { topics = try await admin.describeTopics([name]).values() }
        return topics.flatMap { topic in
            topic.partitions.filter { partition in broker.map { partition.replicas.contains($0) } ?? true }
                .map { TopicPartition(topic.name, $0.partition) }
        }
    }
}
