// `kafka-reassign-partitions`: moves replicas to other brokers as a file says, and looks how far that is.
import Configuration
import MartletClient
import Primitives

enum ReassignPartitionsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-reassign-partitions", "This tool helps to move topic partitions between replicas.",
        [
            .flag("verify", "Look whether the reassignment is done, and end throttles then."),
            .flag("generate", "Propose a reassignment."), .flag("execute", "Begin the reassignment."),
            .flag("cancel", "Stop the reassignment."), .flag("list", "List what is being moved."),
            .value("bootstrap-server", as: "Server(s) to use for bootstrapping", "Brokers to begin with."),
            .value("bootstrap-controller", as: "bootstrap controller to connect to", "Controllers to begin with."),
            .value("command-config", as: "Admin client property file", "Client properties, such as those of security."),
            .value(
                "reassignment-json-file", as: "manual assignment json file path",
                "{\"partitions\": [{\"topic\": \"foo\", \"partition\": 1, \"replicas\": [1,2]}], \"version\": 1}"),
            .value(
                "topics-to-move-json-file", as: "topics to reassign json file path", "{\"topics\": [{\"topic\": \"foo\"}], \"version\": 1}"),
            .value("broker-list", as: "brokerlist", "Brokers to move to, 0,1,2."),
            .flag("disable-rack-aware", "Leave racks out of account."),
            .value("throttle", as: "throttle", .long, default: "-1", "Bytes a second that a broker sends or takes for it."),
            .value("replica-alter-log-dirs-throttle", as: "throttle", .long, default: "-1", "The same between directories."),
            .value("timeout", as: "timeout", .long, default: "10000", "Milliseconds to wait until moves between directories begin."),
            .flag("additional", "Begin it beside what is under way."), .flag("preserve-throttles", "Leave throttles alone."),
            .flag("disallow-replication-factor-change", "Refuse to change the number of replicas."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        var reached = options
        if options.has("bootstrap-controller") { reached = options.replacing("bootstrap-server", with: "bootstrap-controller") }
        do {
            try await ToolAdmin.with(reached) { admin in
                let work = Reassignment(options: options, admin: admin)
                if options.has("verify") {
                    try await work.verify()
                } else if options.has("generate") {
                    try await work.generate()
                } else if options.has("execute") {
                    try await work.execute()
                } else if options.has("cancel") {
                    try await work.cancel()
                } else {
                    try await work.list()
                }
            }
            return 0
        } catch let failure as CommandFailure {
            Terminal.print(failure.description)
        } catch let error as KafkaError {
            Terminal.print("Error: \(error.javaText)")
        }
        return 1
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        let actions = ["generate", "execute", "verify", "cancel", "list"]
        let given = actions.filter { options.has($0) }
        guard given.count == 1, let action = given.first else {
            throw syntax.mistake("Command must include exactly one action: \(actions.map { "--\($0)" }.joined(separator: ", "))")
        }
        let places = ["bootstrap-server", "bootstrap-controller"].filter { options.has($0) }
        if places.count == 2 { throw syntax.mistake("Please don't specify both --bootstrap-server and --bootstrap-controller") }
        guard let place = places.first else {
            throw syntax.mistake("Please specify either --bootstrap-server or --bootstrap-controller")
        }
        let required = ["generate": ["topics-to-move-json-file", "broker-list"], "list": []][action] ?? ["reassignment-json-file"]
        for name in required { try syntax.require(options, name) }
        let server = "bootstrap-server"
        let permitted: [String: [String]] = [
            "verify": [server, "command-config", "preserve-throttles"],
            "generate": [server, "broker-list", "command-config", "disable-rack-aware"],
            "execute": [
                "additional", server, "command-config", "throttle", "replica-alter-log-dirs-throttle", "timeout",
                "disallow-replication-factor-change",
            ],
            "cancel": [place, "command-config", "preserve-throttles", "timeout"], "list": [place, "command-config"],
        ]
        for name in options.order where name != action && !required.contains(name) && permitted[action]?.contains(name) != true {
            throw syntax.mistake("Option \"\(syntax.bracketed(name))\" can't be used with action \"\(syntax.bracketed(action))\"")
        }
    }
}

/// What a reassignment asks and says.
private struct Reassignment {
    let options: ToolOptions
    let admin: AdminClient

    private typealias Placement = (partition: TopicPartition, replicas: [Int32])

    private static let rates = [
        "leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second",
    ]
    private static let replicas = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"]

    /// What the file says, in order.
    private func wanted() throws -> [Placement] {
        let items = try PartitionFile(options.value("reassignment-json-file") ?? "").partitions
        var placements: [Placement] = []
        for (partition, item) in items {
            guard let replicas = item["replicas"]?.arrayValue?.compactMap({ $0.integerValue.flatMap { Int32(exactly: $0) } }) else {
                throw CommandFailure("Error: \(partition) has no replicas")
            }
            if replicas.isEmpty { throw CommandFailure("Error: Partition replica list cannot be empty") }
            guard Set(replicas).count == replicas.count else {
                throw CommandFailure(
                    "Error: Partition replica lists may not contain duplicate entries: \(partition) contains multiple entries for "
                        + Set(replicas.filter { one in replicas.count { $0 == one } > 1 }).sorted().map { "\($0)" }.joined(separator: ","))
            }
            placements.append((partition, replicas))
        }
        if placements.isEmpty { throw CommandFailure("Error: Partition reassignment list cannot be empty") }
        let twice = Set(items.map(\.partition).filter { one in items.count { $0.partition == one } > 1 }).sorted()
        if !twice.isEmpty {
            throw CommandFailure(
                "Error: Partition reassignment contains duplicate topic partitions: \(twice.map { "\($0)" }.joined(separator: ","))")
        }
        return placements
    }

    /// What the file says of directories.
    private func directoryMoves() throws -> DirectoryMoves {
        try DirectoryMoves(try PartitionFile(options.value("reassignment-json-file") ?? "").partitions, admin)
    }

    private var timeoutMilliseconds: Int { options.integer("timeout") ?? 10_000 }

    private static func list(_ items: some Sequence<Int32>) -> String { items.map { "\($0)" }.joined(separator: ",") }

    private static func json(_ placements: [Placement]) -> String {
        let partitions = placements.sorted { $0.partition < $1.partition }.map { partition, replicas -> JSONValue in
            [
                "topic": .string(partition.topic), "partition": .whole(partition.partition), "replicas": .integers(replicas),
                "log_dirs": .strings(replicas.map { _ in "any" }),
            ]
        }
        return JSONValue.object([("version", 1), ("partitions", .array(partitions))]).text()
    }

    private func current(_ topics: Set<String>) async throws -> [TopicPartition: [Int32]] {
        var placements: [TopicPartition: [Int32]] = [:]
        for outcome in try await admin.describeTopics(topics.sorted()) {
            guard case .success(let topic) = outcome.result else {
                throw CommandFailure(
                    "Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Topic \(outcome.item) not found.")
            }
            for partition in topic.partitions { placements[TopicPartition(topic.name, partition.partition)] = partition.replicas }
        }
        return placements
    }

    // MARK: Actions

    func list() async throws {
        let ongoing = try await admin.listPartitionReassignments()
        if ongoing.isEmpty { return Terminal.print("No partition reassignments found.") }
        Terminal.print("Current partition reassignments:")
        for move in ongoing {
            var line = "\(move.partition): replicas: \(Self.list(move.replicas))."
            if !move.addingReplicas.isEmpty { line += " adding: \(Self.list(move.addingReplicas))." }
            if !move.removingReplicas.isEmpty { line += " removing: \(Self.list(move.removingReplicas))." }
            Terminal.print(line)
        }
    }

    func generate() async throws {
        guard case .success(let text) = ConfigurationFile.text(options.value("topics-to-move-json-file") ?? ""),
            let json = try? JSONValue(parsing: text), let topics = json["topics"]?.arrayValue
        else { throw CommandFailure("Error: The input string is not a valid JSON") }
        let names = topics.compactMap { $0["topic"]?.stringValue }
        let brokers = (options.value("broker-list") ?? "").split(separator: ",").compactMap { Int32(String($0).trimmingBlanks) }
        if Set(brokers).count != brokers.count { throw CommandFailure("Error: Broker list contains duplicate entries: \(brokers)") }
        let before = try await current(Set(names)).sorted { $0.key < $1.key }.map { (partition: $0.key, replicas: $0.value) }
        let known = try await admin.describeCluster().brokers.filter { brokers.contains($0.id) }
        let usesRacks = !options.has("disable-rack-aware")
        if usesRacks, known.contains(where: { $0.rack == nil }), known.contains(where: { $0.rack != nil }) {
            throw CommandFailure(
                "Error: Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without "
                    + "rack information.")
        }
        let plan = ReassignmentPlan(before, brokers: known.map { ($0.id, usesRacks ? $0.rack : nil) }, balances: true)
        let moves = Dictionary(plan.moves.map { ($0.partition, $0.after) }, uniquingKeysWith: { first, _ in first })
        Terminal.print("Current partition replica assignment\n\(Self.json(before))\n")
        Terminal.print(
            "Proposed partition reassignment configuration\n\(Self.json(before.map { ($0.partition, moves[$0.partition] ?? $0.replicas) }))"
        )
    }

    func verify() async throws {
        let wanted = try wanted().sorted { $0.partition < $1.partition }
        let ongoing = try await admin.listPartitionReassignments()
        let moving = Set(ongoing.map(\.partition))
        var placed: [TopicPartition: [Int32]] = [:]
        for outcome in try await admin.describeTopics(Set(wanted.map(\.partition.topic)).sorted()) {
            guard case .success(let topic) = outcome.result else { continue }
            for partition in topic.partitions { placed[TopicPartition(topic.name, partition.partition)] = partition.replicas }
        }
        Terminal.print("Status of partition reassignment:")
        for (partition, replicas) in wanted {
            let now = placed[partition] ?? []
            if moving.contains(partition) {
                Terminal.print("Reassignment of partition \(partition) is still in progress.")
            } else if now == replicas {
                Terminal.print("Reassignment of partition \(partition) is completed.")
            } else {
                Terminal.print(
                    "There is no active reassignment of partition \(partition), but replica set is \(Self.list(now)) rather than "
                        + "\(Self.list(replicas)).")
            }
        }
        let hasMoved = try await directoryMoves().verify()
        if ongoing.isEmpty, hasMoved, !options.has("preserve-throttles") { try await clearThrottles(wanted) }
    }

    private func clearThrottles(_ wanted: [Placement]) async throws {
        let brokers = Set(try await admin.describeCluster().brokers.map(\.id) + wanted.flatMap(\.replicas)).sorted()
        Terminal.print("Clearing broker-level throttles on broker\(brokers.count == 1 ? "" : "s") \(Self.list(brokers))")
        try await admin.alterConfigs(brokers.map { (ConfigResource.broker($0), Self.rates.map { .delete($0) }) }).values()
        let topics = Set(wanted.map(\.partition.topic)).sorted()
        Terminal.print("Clearing topic-level throttles on topic\(topics.count == 1 ? "" : "s") \(topics.joined(separator: ","))")
        try await admin.alterConfigs(topics.map { (ConfigResource.topic($0), Self.replicas.map { .delete($0) }) }).values()
    }

    func execute() async throws {
        let wanted = try wanted()
        if !options.has("additional"), !(try await admin.listPartitionReassignments().isEmpty) {
            throw CommandFailure(
                "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new "
                    + "partition assignment in addition to the existing one. The --additional flag can also be used to change the throttle "
                    + "by resubmitting the current reassignment.")
        }
        let known = Set(try await admin.describeCluster().brokers.map(\.id))
        if let unknown = wanted.flatMap(\.replicas).first(where: { !known.contains($0) }) {
            throw CommandFailure("Error: Unknown broker id \(unknown)")
        }
        let placed = try await current(Set(wanted.map(\.partition.topic)))
        let missing = wanted.map(\.partition).filter { placed[$0] == nil }
        if !missing.isEmpty {
            throw CommandFailure(
                "Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Unable to find partition: "
                    + missing.map { "\($0)" }.joined(separator: ", "))
        }
        let before = wanted.map { (partition: $0.partition, replicas: placed[$0.partition] ?? []) }
        Terminal.print(
            "Current partition replica assignment\n\n\(Self.json(before))\n\nSave this to use as the --reassignment-json-file option during "
                + "rollback")
        let directoryMoves = try directoryMoves()
        try await throttle(before, wanted, directoryMoves)
        let outcomes = try await admin.alterPartitionReassignments(
            wanted.map { ($0.partition, $0.replicas) },
            allowReplicationFactorChange: !options.has("disallow-replication-factor-change"))
        let failed = outcomes.filter { $0.error != nil }.sorted { $0.item < $1.item }
        if !failed.isEmpty {
            throw CommandFailure(
                "Error reassigning partition(s):\n" + failed.map { "\($0.item): \($0.error?.message ?? "")" }.joined(separator: "\n"))
        }
        let names = wanted.map(\.partition).sorted().map { "\($0)" }.joined(separator: ",")
        Terminal.print("Successfully started partition reassignment\(wanted.count == 1 ? "" : "s") for \(names)")
        if !directoryMoves.moves.isEmpty { try await directoryMoves.start(timeoutMilliseconds: timeoutMilliseconds) }
    }

    private func throttle(_ before: [Placement], _ after: [Placement], _ directoryMoves: DirectoryMoves) async throws {
        let rate = options.integer("throttle") ?? -1
        let directoryRate = options.integer("replica-alter-log-dirs-throttle") ?? -1
        guard rate >= 0 || directoryRate >= 0 else { return }
        Terminal.print(
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed.")
        if rate >= 0 {
            let moves = zip(before, after).map { ReassignmentPlan.Move(partition: $0.partition, before: $0.replicas, after: $1.replicas) }
            try await ReplicationThrottle(admin).set(rate: Int64(rate), moves: moves)
            Terminal.print("The inter-broker throttle limit was set to \(rate) B/s")
        }
        if directoryRate >= 0 { try await directoryMoves.throttle(rate: directoryRate) }
    }

    func cancel() async throws {
        let wanted = try wanted()
        let ongoing = Set(try await admin.listPartitionReassignments().map(\.partition))
        let stopped = wanted.map(\.partition).filter { ongoing.contains($0) }.sorted()
        if stopped.isEmpty {
            Terminal.print("None of the specified partition reassignments are active.")
        } else {
            let outcomes = try await admin.alterPartitionReassignments(stopped.map { ($0, nil) })
            let failed = outcomes.filter { $0.error != nil }.sorted { $0.item < $1.item }
            if !failed.isEmpty {
                throw CommandFailure(
                    "Error cancelling partition reassignment\(failed.count == 1 ? "" : "s") for:\n"
                        + failed.map { "\($0.item): \($0.error?.message ?? "")" }.joined(separator: "\n"))
            }
            let names = stopped.map { "\($0)" }.joined(separator: ",")
            Terminal.print("Successfully cancelled partition reassignment\(stopped.count == 1 ? "" : "s") for: \(names)")
        }
        let back = try await directoryMoves().back()
        if back.moves.isEmpty {
            // Without an end of the line, as Kafka's tool does.
            Terminal.write("None of the specified partition moves are active.")
        } else {
            try await back.start(timeoutMilliseconds: timeoutMilliseconds)
        }
        if !options.has("preserve-throttles") { try await clearThrottles(wanted) }
    }
}
