// `kafka-get-offsets`: offsets of partitions, as topic:partition:offset.
import MartletClient
import Primitives

enum GetOffsetsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-get-offsets", "An interactive shell for getting topic-partition offsets.",
        [
            .value("bootstrap-server", as: "HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: Brokers to begin with."),
            .value("broker-list", as: "HOST1:PORT1,...,HOST3:PORT3", "Former name of --bootstrap-server."),
            .value("topic-partitions", as: "topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3", "Patterns of topics with partitions."),
            .value("topic", as: "topic", "A regular expression of topics; all of them if not given."),
            .value("partitions", as: "partition ids", "Partitions, separated by commas; all of them if not given."),
            .value(
                "time",
                as: "<timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered",
                default: "latest", "Which offset."),
            .value("command-config", as: "config file", "Client properties, such as those of security."),
            .flag("exclude-internal-topics", "Leave out Kafka's own topics."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        var options = try syntax.parse(arguments)
        if !options.has("bootstrap-server"), options.has("broker-list") {
            options = options.replacing("bootstrap-server", with: "broker-list")
        }
        try syntax.require(options, "bootstrap-server")
        if options.has("topic-partitions"), options.has("topic") || options.has("partitions") {
            throw ToolExit.saying("Error occurred: --topic-partitions cannot be used with --topic or --partitions")
        }
        let query = try query(options.value("time") ?? "latest")
        let filters = try filters(options)
        let asked = options
        do {
            try await ToolAdmin.with(asked) { admin in
                let topics = try await admin.listTopics(includingInternal: !asked.has("exclude-internal-topics"))
                let partitions = topics.flatMap { topic in topic.partitions.map { TopicPartition(topic.name, $0.partition) } }
                    .filter { partition in filters.contains { $0.includes(partition) } }
                if partitions.isEmpty {
                    throw ToolExit.saying("Error occurred: Could not match any topic-partitions with the specified filters")
                }
                for outcome in try await admin.listOffsets(partitions.map { ($0, query) }).sorted(by: { "\($0.item)" < "\($1.item)" }) {
                    switch outcome.result {
                    case .success(let found):
                        if found.offset >= 0 { Terminal.print("\(outcome.item.topic):\(outcome.item.partition):\(found.offset)") }
                    case .failure(let error):
                        Terminal.complain(
                            "Skip getting offsets for topic-partition \(outcome.item) due to error: \(error.javaText)")
                    }
                }
            }
        } catch let error as KafkaError {
            throw ToolExit.saying("Error occurred: \(error.javaText)")
        }
        return 0
    }

    private static func query(_ text: String) throws(ToolExit) -> OffsetQuery {
        switch text {
        case "latest", "-1": return .latest
        // Without a tier everything is local.
        case "earliest", "-2", "earliest-local", "-4": return .earliest
        case "max-timestamp", "-3": return .maximumTimestamp
        case "latest-tiered", "-5":
            throw .saying("Error occurred: latest-tiered needs tiered storage, which there is none of")
        default:
            guard let time = Int64(text) else {
                throw .saying(
                    "Error occurred: Malformed time argument \(text). Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or "
                        + "earliest-local / -5 or latest-tiered, or a specified long format timestamp")
            }
            return .timestamp(time)
        }
    }

    private struct Filter {
        var topics: TopicPattern?
        /// All for nil.
        var partitions: Set<Int32>?
        var from: Int32 = 0
        var before = Int32.max

        func includes(_ partition: TopicPartition) -> Bool {
            guard topics?.matches(partition.topic) ?? true else { return false }
            if let partitions { return partitions.contains(partition.partition) }
            return partition.partition >= from && partition.partition < before
        }
    }

    private static func filters(_ options: ToolOptions) throws(ToolExit) -> [Filter] {
        guard let text = options.value("topic-partitions") else {
            var filter = Filter(topics: try options.value("topic").map { text throws(ToolExit) in try TopicPattern(text) })
            if let list = options.value("partitions"), !list.isEmpty {
                let numbers = list.split(separator: ",").map { Int32($0) }
                guard numbers.allSatisfy({ $0 != nil }) else {
                    throw .saying(
                        "Error occurred: --partitions expects a comma separated list of numeric partition ids, but received: \(list)")
                }
                filter.partitions = Set(numbers.compactMap { $0 })
            }
            return [filter]
        }
        return try text.split(separator: ",", omittingEmptySubsequences: false).map { rule throws(ToolExit) in
            let mistake = ToolExitMessage("Error occurred: Invalid rule specification: \(rule)")
            let parts = rule.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            var filter = Filter(topics: parts[0].isEmpty ? nil : try TopicPattern(String(parts[0])))
            guard parts.count == 2, !parts[1].isEmpty else { return filter }
            let bounds = parts[1].split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            if bounds.count == 1 {
                guard let number = Int32(bounds[0]) else { throw mistake.exit }
                filter.partitions = [number]
                return filter
            }
            if !bounds[0].isEmpty {
                guard let number = Int32(bounds[0]) else { throw mistake.exit }
                filter.from = number
            }
            if !bounds[1].isEmpty {
                guard let number = Int32(bounds[1]) else { throw mistake.exit }
                filter.before = number
            }
            return filter
        }
    }
}

/// A mistake that is said only when it is thrown.
private struct ToolExitMessage {
    let message: String

    init(_ message: String) {
        self.message = message
    }

    var exit: ToolExit { .saying(message) }
}
