// `kafka-topics`: create, list, describe, alter and delete topics.
import ConfigDefinitions
import MartletClient

enum TopicsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-topics", "Create, delete, describe, or change a topic.",
        [
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: Brokers to begin with."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
            .flag("list", "List all topics."), .flag("create", "Create a topic."), .flag("delete", "Delete a topic."),
            .flag("alter", "Raise the number of partitions; settings are changed with kafka-configs."),
            .flag("describe", "Show topics with their partitions."),
            .value("topic", as: "topic", "The topic; a regular expression unless --create is given."),
            .value("topic-id", as: "topic-id", "The id of the topic to describe."),
            .value("config", as: "name=value", "A setting of the topic that is created."),
            .value("delete-config", as: "name", "Not supported any more."),
            .value("partitions", as: "# of partitions", .integer, "Partitions of a topic that is created or altered."),
            .value("replication-factor", as: "replication factor", .integer, "Replicas of each partition of a new topic."),
            .value("replica-assignment", as: "broker:broker,broker:broker", "Brokers of each partition, placed by hand."),
            .flag("under-replicated-partitions", "Describe only partitions with replicas that are not in sync."),
            .flag("unavailable-partitions", "Describe only partitions without a leader."),
            .flag("under-min-isr-partitions", "Describe only partitions with fewer replicas in sync than configured."),
            .flag("at-min-isr-partitions", "Describe only partitions with just as many replicas in sync as configured."),
            .flag("topics-with-overrides", "Describe only topics with settings of their own."),
            .flag("if-exists", "Do nothing when the topic does not exist."),
            .flag("if-not-exists", "Do nothing when the topic exists."),
            .flag("exclude-internal", "Leave out Kafka's own topics."),
            .value("partition-size-limit-per-response", as: "partitions", .integer, "Partitions asked for at a time."),
        ])

    private static let actions = ["create", "list", "alter", "describe", "delete"]

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        return try await ToolAdmin.with(options) { admin in
            do {
                if options.has("create") {
                    try await create(options, admin)
                } else if options.has("alter") {
                    try await alter(options, admin)
                } else if options.has("list") {
                    Terminal.print(try await topics(options, admin).joined(separator: "\n"))
                } else if options.has("describe") {
                    try await TopicsDescription(options: options, admin: admin).run()
                } else {
                    try await delete(options, admin)
                }
                return 0
            } catch let error as KafkaError {
                return failed(error.message, error.javaText)
            } catch let error as CommandFailure {
                return failed(error.description, "java.lang.IllegalArgumentException: \(error.description)")
            }
        }
    }

    private static func failed(_ message: String, _ text: String) -> Int32 {
        Terminal.print("Error while executing topic command : \(message)")
        Terminal.complain("ERROR \(text)")
        return 1
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        guard actions.filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
        }
        if options.has("delete-config") {
            Terminal.complain(
                "delete-config option is no longer supported and deprecated since version 4.0. The config will be fully removed in future "
                    + "releases.")
        }
        guard options.has("bootstrap-server") else { throw .saying("--bootstrap-server must be specified") }
        if options.has("describe"), options.has("if-exists") {
            guard options.has("topic") || options.has("topic-id") else {
                throw syntax.mistake("--topic or --topic-id is required to describe a topic")
            }
            if options.has("topic"), options.has("topic-id") {
                Terminal.print(
                    "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID")
            }
        }
        if !options.has("list"), !options.has("describe") { try syntax.require(options, "topic") }
        if options.has("alter") {
            if options.has("config") {
                throw syntax.mistake(
                    "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" (To alter topic "
                        + "configurations, the kafka-configs tool can be used.)")
            }
            try syntax.require(options, "partitions")
        }
        try checkCombinations(options)
    }

    /// Which options go with which action.
    private static func checkCombinations(_ options: ToolOptions) throws(ToolExit) {
        let reports = ["under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"]
        let allowed: [(String, [String])] = [
            ("config", ["alter", "create"]), ("partitions", ["alter", "create"]), ("replication-factor", ["create"]),
            ("replica-assignment", ["alter", "create"]), ("topics-with-overrides", ["describe"]),
            ("if-exists", ["alter", "delete", "describe"]), ("if-not-exists", ["create"]), ("exclude-internal", ["list", "describe"]),
        ]
        for (option, actions) in allowed + reports.map({ ($0, ["describe"]) }) {
            try syntax.exclude(options, option, ["alter", "create", "describe", "list", "delete"].filter { !actions.contains($0) })
        }
        if options.has("create") { try syntax.exclude(options, "replica-assignment", ["partitions", "replication-factor"]) }
        for report in reports { try syntax.exclude(options, report, ["topics-with-overrides"]) }
    }

    // MARK: Actions

    private static func create(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let name = options.value("topic") ?? ""
        let configs = try settings(options)
        if let unknown = configs.first(where: { ConfigTable.topic[$0.name] == nil }) {
            throw CommandFailure("Unknown topic config name: \(unknown.name)")
        }
        if name.contains(where: { $0 == "." || $0 == "_" }) {
            Terminal.print(
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. To avoid issues "
                    + "it is best to use either, but not both.")
        }
        if let factor = options.integer("replication-factor"), !(1...Int(Int16.max)).contains(factor) {
            throw CommandFailure("The replication factor must be between 1 and 32767 inclusive")
        }
        if let count = options.integer("partitions"), count < 1 { throw CommandFailure("The partitions must be greater than 0") }
        var topic = NewTopic(
            name, partitions: options.integer("partitions").map { Int32(clamping: $0) } ?? -1,
            replicationFactor: options.integer("replication-factor").map { Int16(clamping: $0) } ?? -1, configs: configs)
        topic.assignments = try assignments(options)
        do {
            try await admin.createTopics([topic]).values()
            Terminal.print("Created topic \(name).")
        } catch {
            guard error.codeName == "TOPIC_ALREADY_EXISTS", options.has("if-not-exists") else { throw error }
        }
    }

    private static func settings(_ options: ToolOptions) throws -> [(name: String, value: String?)] {
        try options.values("config").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1).map { String($0).trimmingBlanks }
            guard parts.count == 2 else {
                throw CommandFailure(
                    "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".")
            }
            return (parts[0], parts[1])
        }
    }

    /// Reads `1:2,2:3`: brokers of partition 0, of partition 1, and so on.
    private static func assignments(_ options: ToolOptions) throws -> [Int32: [Int32]] {
        guard let text = options.value("replica-assignment"), !text.isEmpty else { return [:] }
        var assignments: [Int32: [Int32]] = [:]
        for (index, part) in text.split(separator: ",").enumerated() {
            let brokers = try part.split(separator: ":").map { piece in
                guard let broker = Int32(String(piece).trimmingBlanks) else { throw CommandFailure("For input string: \"\(piece)\"") }
                return broker
            }
            guard Set(brokers).count == brokers.count else {
                let twice = Set(brokers.filter { one in brokers.count { $0 == one } > 1 }).sorted().map(String.init)
                throw CommandFailure("Partition replica lists may not contain duplicate entries: \(twice.joined(separator: ","))")
            }
            assignments[Int32(index)] = brokers
            guard brokers.count == assignments[0]?.count else {
                let list = brokers.map(String.init).joined(separator: ", ")
                throw CommandFailure("Partition \(index) has different replication factor: [\(list)]")
            }
        }
        return assignments
    }

    private static func alter(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let found = try await existing(options, admin)
        guard !found.isEmpty, let count = options.integer("partitions") else { return }
        let assignments = try assignments(options)
        let before = try await admin.describeTopics(found).values()
        let changes = before.map { topic in
            let start = topic.partitions.count
            let placed = start < assignments.count ? (start..<assignments.count).map { assignments[Int32($0)] ?? [] } : []
            return (topic.name, Int32(clamping: count), assignments.isEmpty ? nil : placed)
        }
        try await admin.createPartitions(changes).values()
    }

    private static func delete(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let found = try await existing(options, admin)
        if !found.isEmpty { try await admin.deleteTopics(found).values() }
    }

    /// Topics that the pattern describes; an error when there are none, unless that was allowed.
    static func existing(_ options: ToolOptions, _ admin: AdminClient) async throws -> [String] {
        let found = try await topics(options, admin)
        if found.isEmpty, let wanted = options.value("topic"), !wanted.isEmpty, !options.has("if-exists") {
            throw CommandFailure("Topic '\(wanted)' does not exist as expected")
        }
        return found
    }

    private static func topics(_ options: ToolOptions, _ admin: AdminClient) async throws -> [String] {
        let pattern = try options.value("topic").map { text throws(ToolExit) in try TopicPattern(text) }
        return try await admin.listTopics(includingInternal: !options.has("exclude-internal")).map(\.name)
            .filter { pattern?.matches($0) ?? true }
    }
}

extension String {
    /// Without blanks at both ends.
    var trimmingBlanks: String {
        var text = self[...]
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
