// `martlet transaction`: which transactions are open, where, and what to do about those that nobody ends.
import ArgumentParser
import MartletClient
import Primitives

struct TransactionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "transaction", abstract: "List and describe transactions, find and abort those that hang.",
        subcommands: [
            TransactionListCommand.self, TransactionDescribeCommand.self, TransactionFindHangingCommand.self,
            TransactionAbortHangingCommand.self, TransactionTerminateCommand.self,
        ])
}

struct TransactionListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List transactional ids with their states.")

    @Option(help: "Only ids in this state, such as Ongoing or CompleteCommit. May be given several times.")
    var state: [String] = []

    @Option(help: "Only ids with this producer id. May be given several times.")
    var producerID: [Int64] = []

    @Option(help: ArgumentHelp("Only transactions that have been open for longer.", valueName: "seconds"))
    var longerThan: Double?

    @Option(help: ArgumentHelp("Only ids that this regular expression describes as a whole.", valueName: "expression"))
    var pattern: String?

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        var filter = TransactionListingFilter()
        filter.states = state
        filter.producerIDs = producerID
        filter.longerThanMilliseconds = longerThan.map { Int64($0 * 1000) }
        filter.pattern = pattern
        let listings = try await cluster.withAdmin { [filter] in try await $0.listTransactions(filter) }
        var table = TextTable("TRANSACTIONAL ID", "STATE", ">PRODUCER", ">COORDINATOR")
        for listing in listings { table.add(listing.transactionalID, listing.state, "\(listing.producerID)", "\(listing.coordinator)") }
        output.show(
            .array(
                listings.map {
                    [
                        "transactionalId": .string($0.transactionalID), "state": .string($0.state), "producerId": .whole($0.producerID),
                        "coordinator": .whole($0.coordinator),
                    ]
                }), listings.isEmpty ? "There are no such transactional ids." : table.text)
    }
}

struct TransactionDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show what the coordinator knows of transactional ids.")

    @Argument(help: "Transactional ids.")
    var ids: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let descriptions = try await cluster.withAdmin { admin in
            var descriptions: [TransactionDescription] = []
            for id in ids { descriptions.append(try await admin.describeTransaction(id)) }
            return descriptions
        }
        let now = SystemClock.now()
        output.show(.array(descriptions.map { $0.json(now: now) }), descriptions.map { $0.text(now: now) }.joined(separator: "\n\n"))
    }
}

extension TransactionDescription {
    fileprivate func text(now: Timestamp) -> String {
        var lines = [
            "\(transactionalID)  \(state)  coordinator \(coordinator)  producer \(producerID) epoch \(producerEpoch)  "
                + (timeoutMilliseconds == .max ? "no timeout" : "timeout \(timeoutMilliseconds) ms")
        ]
        if let startTimestamp { lines.append("Began \(TimeText.of(startTimestamp)), \(max(0, now - startTimestamp) / 1000) s ago.") }
        if !partitions.isEmpty { lines.append("Partitions: " + partitions.sorted().map { "\($0)" }.joined(separator: ", ")) }
        return lines.joined(separator: "\n")
    }

    fileprivate func json(now: Timestamp) -> JSONValue {
        [
            "transactionalId": .string(transactionalID), "state": .string(state), "coordinator": .whole(coordinator),
            "producerId": .whole(producerID), "producerEpoch": .whole(producerEpoch), "timeoutMs": .whole(timeoutMilliseconds),
            "startTimestamp": .optional(startTimestamp), "durationMs": .optional(startTimestamp.map { max(0, now - $0) }),
            "partitions": .strings(partitions.sorted().map { "\($0)" }),
        ]
    }
}

struct TransactionFindHangingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "find-hanging", abstract: "Find transactions that are open in partitions and unknown to their coordinators.",
        discussion: """
            Consumers with read_committed do not get past such a transaction. What is found can be ended with
            `martlet transaction abort-hanging`.
            """)

    @Argument(help: "Topics, or partitions as topic:number; all when nothing is named.")
    var partitions: [PartitionName] = []

    @Option(
        help: ArgumentHelp(
            "Only producers that have not written for so long; the brokers' transaction.max.timeout.ms.", valueName: "seconds"))
    var olderThan = 900.0

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let latest = SystemClock.now() - Int64(olderThan * 1000)
        let hanging = try await cluster.withAdmin { admin in
            let named = try await admin.described(partitions).map(\.partition)
            let open = try await admin.openTransactions(in: named).filter { $0.producer.lastTimestamp <= latest }
            return try await admin.hanging(open)
        }
        var table = TextTable("PARTITION", ">PRODUCER", ">EPOCH", ">START", "LAST WRITE", ">COORDINATOR EPOCH")
        for transaction in hanging {
            let producer = transaction.producer
            table.add(
                "\(transaction.partition)", "\(producer.producerID)", "\(producer.producerEpoch)",
                producer.transactionStartOffset.map { "\($0)" } ?? "-", TimeText.of(producer.lastTimestamp), "\(producer.coordinatorEpoch)")
        }
        output.show(
            .array(
                hanging.map {
                    [
                        "partition": .string("\($0.partition)"), "producerId": .whole($0.producer.producerID),
                        "producerEpoch": .whole($0.producer.producerEpoch), "startOffset": .optional($0.producer.transactionStartOffset),
                        "lastTimestamp": .whole($0.producer.lastTimestamp), "coordinatorEpoch": .whole($0.producer.coordinatorEpoch),
                    ]
                }), hanging.isEmpty ? "No transaction hangs." : table.text)
    }
}

struct TransactionAbortHangingCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "abort-hanging", abstract: "Abort a transaction in one partition, without its coordinator.")

    @Argument(help: "The partition, as topic:number.")
    var partition: PartitionName

    @Option(help: "The offset at which the transaction begins; `find-hanging` shows it.")
    var startOffset: Int64

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @Flag(help: "Also when the coordinator knows of the transaction: its other partitions are not touched then.")
    var force = false

    @OptionGroup var cluster: ClusterOptions

    func validate() throws {
        if partition.partition == nil { throw ValidationError("name a partition as topic:number") }
    }

    func run() async throws {
        let target = TopicPartition(partition.topic, partition.partition ?? 0)
        try Confirmation.ask("Abort the transaction that begins at offset \(startOffset) of \(target)?", unless: yes)
        try await cluster.withAdmin { admin in
            let open = try await admin.openTransactions(in: [target])
            guard let found = open.first(where: { $0.producer.transactionStartOffset == startOffset }) else {
                throw CommandFailure("no transaction that begins at offset \(startOffset) is open in \(target)")
            }
            if !force, try await admin.hanging([found]).isEmpty {
                throw CommandFailure(
                    "the transaction's coordinator knows of it and will end it; `martlet transaction terminate` ends it as a whole")
            }
            try await admin.abortTransaction(
                in: target, producerID: found.producer.producerID, producerEpoch: Int16(clamping: found.producer.producerEpoch),
                coordinatorEpoch: found.producer.coordinatorEpoch)
        }
        Terminal.print("Aborted the transaction in \(target) that began at offset \(startOffset).")
    }
}

struct TransactionTerminateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "terminate", abstract: "Fence the producer of a transactional id and abort its transaction.")

    @Argument(help: "The transactional id.")
    var id: String

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions

    func run() async throws {
        try Confirmation.ask("Fence the producer of '\(id)' and abort its transaction?", unless: yes)
        try await cluster.withAdmin { admin in
            // It would be made by asking for a producer id.
            _ = try await admin.describeTransaction(id)
            try await admin.terminateTransaction(id)
        }
        Terminal.print("Fenced the producer of '\(id)'.")
    }
}
