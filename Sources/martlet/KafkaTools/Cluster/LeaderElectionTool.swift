// `kafka-leader-election`: elects leaders of partitions.
import MartletClient
import Primitives

enum LeaderElectionTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-leader-election",
        "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are preferred replicas and "
            + "unclean replicas.",
        [
            .value("bootstrap-server", as: "host:port", "REQUIRED: Brokers to begin with."),
            .value("admin.config", as: "config file", "Client properties, such as those of security."),
            .value("command-config", as: "config file", "Client properties, such as those of security."),
            .value("path-to-json-file", as: "Path to JSON file", "{\"partitions\": [{\"topic\": \"foo\", \"partition\": 1}]}"),
            .value("topic", as: "topic name", "The topic."), .value("partition", as: "partition id", .integer, "Its partition."),
            .flag("all-topic-partitions", "All partitions that are eligible."),
            .value("election-type", as: "election type", "REQUIRED: preferred or unclean."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        var options = try syntax.parse(arguments)
        if options.has("admin.config") { options = options.replacing("command-config", with: "admin.config") }
        do {
            try check(options)
            let election = try election(options)
            let partitions = try partitions(options)
            let outcomes = try await ToolAdmin.with(options, timeout: .seconds(30)) { try await $0.electLeaders(election, partitions) }
            return try show(outcomes, election == .unclean ? "UNCLEAN" : "PREFERRED")
        } catch let error as KafkaError {
            let message =
                error.kind == .timedOut
                ? "Timeout waiting for election results"
                : error.codeName == "CLUSTER_AUTHORIZATION_FAILED" ? "Not authorized to perform leader election" : error.javaText
            Terminal.print(message)
            throw ToolExit.saying(message)
        } catch let failure as CommandFailure {
            throw ToolExit.saying(failure.description)
        }
    }

    private static func check(_ options: ToolOptions) throws {
        let missing = ["bootstrap-server", "election-type"].filter { !options.has($0) }
        if !missing.isEmpty { throw CommandFailure("Missing required option(s): \(missing.joined(separator: ", "))") }
        let ways = ["topic", "all-topic-partitions", "path-to-json-file"]
        guard ways.filter({ options.has($0) }).count == 1 else {
            throw CommandFailure("One and only one of the following options is required: \(ways.joined(separator: ", "))")
        }
        if options.has("topic"), !options.has("partition") { throw CommandFailure("Missing required option(s): partition") }
        if !options.has("topic"), options.has("partition") {
            throw CommandFailure("Option partition is only allowed if topic is used")
        }
    }

    private static func election(_ options: ToolOptions) throws -> LeaderElection {
        switch options.value("election-type")?.lowercased() {
        case "preferred": return .preferred
        case "unclean": return .unclean
        case let other: throw syntax.mistake("Cannot parse argument '\(other ?? "")' of option election-type")
        }
    }

    /// Nil for all.
    private static func partitions(_ options: ToolOptions) throws -> [TopicPartition]? {
        if let path = options.value("path-to-json-file") {
            let named = try PartitionFile(path).partitions.map(\.partition)
            let twice = Set(named.filter { one in named.count { $0 == one } > 1 }).sorted()
            if !twice.isEmpty {
                throw CommandFailure(
                    "Replica election data contains duplicate partitions: [\(twice.map { "\($0)" }.joined(separator: ", "))]")
            }
            return named
        }
        guard let topic = options.value("topic"), let partition = options.integer("partition") else { return nil }
        return [TopicPartition(topic, Int32(clamping: partition))]
    }

    private static func show(_ outcomes: [Outcome<TopicPartition, Bool>], _ type: String) throws -> Int32 {
        func list(_ some: [Outcome<TopicPartition, Bool>]) -> String { some.map { "\($0.item)" }.joined(separator: ", ") }
        let ordered = outcomes.sorted { $0.item < $1.item }
        func changed(_ outcome: Outcome<TopicPartition, Bool>) -> Bool? {
            if case .success(let value) = outcome.result { value } else { nil }
        }
        let done = ordered.filter { changed($0) == true }
        // Whoever was to lead leads already.
        let needless = ordered.filter { changed($0) == false }
        let failed = ordered.filter { $0.error != nil }
        if !done.isEmpty { Terminal.print("Successfully completed leader election (\(type)) for partitions \(list(done))") }
        if !needless.isEmpty { Terminal.print("Valid replica already elected for partitions \(list(needless))") }
        for outcome in failed {
            Terminal.print("Error completing leader election (\(type)) for partition: \(outcome.item): \(outcome.error?.javaText ?? "")")
        }
        if failed.isEmpty { return 0 }
        Terminal.complain("\(failed.count) replica(s) could not be elected")
        return 1
    }
}
