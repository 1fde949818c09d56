// `martlet topic create|alter|delete|delete-records`: what changes topics.
import ArgumentParser
import MartletClient
import Primitives

struct TopicCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "create", abstract: "Create topics.")

    @Argument(help: "Names of the new topics.")
    var topics: [String]

    @Option(name: .shortAndLong, help: "Number of partitions; the broker's num.partitions when not given.")
    var partitions: Int32?

    @Option(name: .shortAndLong, help: "Copies of each partition; the broker's default.replication.factor when not given.")
    var replicationFactor: Int16?

    @Option(name: .shortAndLong, help: "A setting, such as retention.ms=86400000. May be given several times.")
    var config: [Assignment] = []

    @Option(help: "Brokers by hand: replicas separated by colons, partitions by commas, such as 1:2,2:1.")
    var replicaAssignment: String?

    @Flag(help: "Succeed when a topic exists already.")
    var ifNotExists = false

    @Flag(help: "Check everything and create nothing.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let partitions, partitions < 1 { throw ValidationError("--partitions is at least 1.") }
        if let replicationFactor, replicationFactor < 1 { throw ValidationError("--replication-factor is at least 1.") }
        if replicaAssignment != nil, partitions != nil || replicationFactor != nil {
            throw ValidationError("--replica-assignment says how many partitions and replicas there are; leave the other options out.")
        }
        _ = try assignments()
    }

    func run() async throws {
        let assignments = try assignments()
        let wanted = topics.map { name in
            var topic = NewTopic(name, partitions: partitions ?? -1, replicationFactor: replicationFactor ?? -1)
            topic.configs = config.map { ($0.name, $0.value) }
            topic.assignments = assignments
            return topic
        }
        let outcomes = try await cluster.withAdmin { try await $0.createTopics(wanted, validateOnly: dryRun) }
        try output.report(
            outcomes.filter { !(ifNotExists && $0.error?.codeName == "TOPIC_ALREADY_EXISTS") }, "topic",
            members: {
                [
                    ("topicId", .string("\($0.topicID)")), ("partitions", .whole($0.partitions)),
                    ("replicationFactor", .whole($0.replicationFactor)),
                ]
            },
            text: { name, created in
                let size = created.partitions > 0 ? " with \(created.partitions) partition\(created.partitions == 1 ? "" : "s")" : ""
                return dryRun ? "Topic \(name)\(size) can be created." : "Created topic \(name)\(size)."
            })
    }

    private func assignments() throws -> [Int32: [Int32]] {
        guard let replicaAssignment else { return [:] }
        var assignments: [Int32: [Int32]] = [:]
        for (index, partition) in replicaAssignment.split(separator: ",").enumerated() {
            let brokers = partition.split(separator: ":").map { Int32($0) }
            guard !brokers.isEmpty, !brokers.contains(nil) else {
                throw ValidationError("--replica-assignment: '\(partition)' is no list of broker ids.")
            }
            assignments[Int32(index)] = brokers.compactMap(\.self)
        }
        return assignments
    }
}

struct TopicAlterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "alter", abstract: "Add partitions to a topic, or change its settings.")

    @Argument(help: "The topic.")
    var topic: String

    @Option(name: .shortAndLong, help: "The number of partitions that the topic is to have in all. It can only grow.")
    var partitions: Int32?

    @Option(name: .shortAndLong, help: "A setting to change, key=value. May be given several times.")
    var config: [Assignment] = []

    @Option(help: "A setting to take back to its default. May be given several times.")
    var deleteConfig: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if let partitions, partitions < 1 { throw ValidationError("--partitions is at least 1.") }
        if partitions == nil, config.isEmpty, deleteConfig.isEmpty {
            throw ValidationError("Say what to change: --partitions, --config or --delete-config.")
        }
    }

    func run() async throws {
        let changes = config.map { ConfigChange.set($0.name, $0.value) } + deleteConfig.map { ConfigChange.delete($0) }
        let count = try await cluster.withAdmin { admin in
            let before = try await admin.describeTopics([topic]).values().first?.partitions.count ?? 0
            if let partitions {
                _ = try await admin.createPartitions([(topic, partitions)]).values()
                if !output.json { Terminal.print("Topic \(topic) has \(partitions) partitions now.") }
            }
            if !changes.isEmpty { _ = try await admin.alterConfigs([(.topic(topic), changes)]).values() }
            return partitions.map { Int($0) } ?? before
        }
        output.show(
            [
                "topic": .string(topic), "partitions": .whole(count), "set": .strings(config.map(\.name)),
                "deleted": .strings(deleteConfig),
            ],
            changes.isEmpty ? "" : "Changed \(changes.count) setting\(changes.count == 1 ? "" : "s") of topic \(topic).")
    }
}

struct TopicDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "delete", abstract: "Delete topics with all of their records.")

    @Argument(help: "Names of topics.")
    var topics: [String]

    @Flag(help: "Succeed when a topic does not exist.")
    var ifExists = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try Confirmation.ask("Delete \(topics.joined(separator: ", ")) with all records?", unless: yes)
        let outcomes = try await cluster.withAdmin { admin in
            // "Unknown" is an error that clients may try again for long, so what does not exist is told apart first.
            let described = try await admin.describeTopics(topics)
            let existing = described.filter { $0.error == nil }.map(\.item)
            if !ifExists { _ = try described.values() }
            return existing.isEmpty ? [] : try await admin.deleteTopics(existing)
        }
        try output.report(
            outcomes, "topic", text: { name, _ in "Deleted topic \(name)." })
    }
}

struct TopicDeleteRecordsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete-records", abstract: "Delete the oldest records of a topic, up to a place.")

    @Argument(help: "The topic.")
    var topic: String

    @Option(parsing: .unconditional, help: ArgumentHelp("Delete what lies before: \(OffsetPlace.help).", valueName: "place"))
    var before: OffsetPlace

    @Option(name: .shortAndLong, help: "Only this partition. May be given several times.")
    var partition: [Int32] = []

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try Confirmation.ask("Delete records of \(topic)?", unless: yes)
        let outcomes = try await cluster.withAdmin { admin in
            let partitions = try await admin.partitions(of: [topic], only: partition)
            let places = try await before.resolve(partitions, admin)
            return try await admin.deleteRecords(partitions.map { ($0, places[$0] ?? 0) })
        }
        try output.report(
            outcomes.sorted { $0.item < $1.item }, "partition", members: { [("startOffset", .whole($0))] },
            text: { "\($0) now begins at offset \($1)." })
    }
}
