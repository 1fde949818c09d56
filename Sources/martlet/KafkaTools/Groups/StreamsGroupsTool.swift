// `kafka-streams-groups`: list, describe and delete the groups of Kafka Streams applications (KIP-1071), delete and reset their offsets.
// What Kafka 4.1's tool does not have, resetting and the choice to keep internal topics, is as in the releases after it.
import KafkaMessages
import MartletClient
import Primitives

enum StreamsGroupsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-streams-groups", "This tool helps to list, describe, delete and manage the offsets of streams groups.",
        [
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: brokers to begin with."),
            .value("group", as: "streams group", "The streams group; may be given several times."),
            .value(
                "input-topic", as: "topic", "An input topic, or some of its partitions as topic:0,1,2; may be given several times."),
            .flag("all-input-topics", "All input topics of the group's topology."), .flag("list", "List all streams groups."),
            .flag("describe", "Show how far a group is behind, its members or its state."), .flag("all-groups", "All streams groups."),
            .flag("delete", "Delete groups that have no members."), .flag("delete-offsets", "Delete offsets of input topics."),
            .value("timeout", as: "timeout (ms)", .long, default: "30000", "How long to wait for the cluster."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
            .optionalValue("state", as: "states", with: ["list", "describe"], "Describe states, or list groups with states."),
            .flag("members", with: ["describe"], "Describe members and their tasks."),
            .flag("offsets", with: ["describe"], "Describe offsets, which is the default."),
            .flag("verbose", with: ["describe"], "Describe in more columns."),
            .flag("reset-offsets", "Set offsets of groups without members; needs --dry-run or --execute."),
            .flag("dry-run", "Show what would be reset."), .flag("execute", "Do it."), .flag("export", "Print offsets as CSV."),
            .value("to-offset", as: "offset", .long, "Reset to this offset."),
            .value("from-file", as: "path to CSV file", "Reset to the offsets of a file."),
            .value("to-datetime", as: "datetime", "Reset to the first record of a time, YYYY-MM-DDThh:mm:ss.sss."),
            .value("by-duration", as: "duration", "Reset to the first record of so long ago, PnDTnHnMnS."),
            .flag("to-earliest", "Reset to the first record."), .flag("to-latest", "Reset to the end."),
            .flag("to-current", "Reset to what is committed."),
            .value("shift-by", as: "number-of-offsets", .long, "Reset to so many records later, or earlier if negative."),
            .value("delete-internal-topic", as: "topic", "With --reset-offsets --execute: delete this internal topic too."),
            .flag("delete-all-internal-topics", "With --delete, or --reset-offsets --execute: delete the group's internal topics too."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        try await ToolAdmin.with(options, timeout: .milliseconds(options.integer("timeout") ?? 30_000)) { admin in
            let groups = TypedGroups(
                type: "streams", states: ["Empty", "NotReady", "Stable", "Assigning", "Reconciling", "Dead"], admin: admin)
            do {
                if options.has("list") {
                    try await groups.list(options)
                } else if options.has("describe") {
                    for name in try await groups.named(options) {
                        try await StreamsGroupText(options: options, admin: admin).show(name)
                    }
                } else if options.has("delete") {
                    try await delete(groups, options, admin)
                } else if options.has("reset-offsets") {
                    try await reset(groups, options, admin)
                } else {
                    try await deleteOffsets(options, admin)
                }
            } catch let error as KafkaError {
                // Kafka's tool says so and ends with status 0.
                Terminal.print("\nError: Executing streams group command failed due to \(error.javaText)")
            } catch let failure as CommandFailure {
                throw syntax.mistake(failure.description)
            }
        }
        return 0
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        try syntax.require(options, "bootstrap-server")
        if options.has("describe") {
            try needsGroup(options, "describe")
            guard ["members", "offsets", "state"].filter({ options.has($0) }).count <= 1 else {
                throw syntax.mistake("Option [describe] takes at most one of these options: [members], [offsets], [state]")
            }
            if options.value("state") != nil { throw syntax.mistake("Option [describe] does not take a value for [state]") }
        }
        if options.has("delete") {
            try needsGroup(options, "delete")
            if options.has("input-topic") || options.has("all-input-topics") {
                throw syntax.mistake("Kafka Streams does not support topic-specific offset deletion from a streams group.")
            }
        }
        if options.has("delete-offsets") {
            guard options.has("group"), options.has("input-topic") || options.has("all-input-topics") else {
                throw syntax.mistake(
                    "Option [delete-offsets] takes the [group] and one of these options: [all-input-topics], [input-topic]")
            }
            if options.values("group").count > 1 {
                throw syntax.mistake(
                    "Option [delete-offsets] supports only one [group] at a time, but found: "
                        + "[\(options.values("group").joined(separator: ", "))]")
            }
        }
        if options.has("reset-offsets") { try checkReset(options) }
        try checkInternalTopics(options)
        if options.has("dry-run") || options.has("execute"), !options.has("reset-offsets") {
            throw syntax.mistake("Only Option [reset-offsets] accepts [execute] or [dry-run]")
        }
        try syntax.exclude(options, "list", ["members", "offsets"])
        try syntax.exclude(options, "group", ["all-groups", "list"])
        try syntax.exclude(options, "input-topic", ["list", "describe", "delete"])
        let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"]
        guard actions.filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake(
                "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, or --delete-offsets.")
        }
    }

    private static func needsGroup(_ options: ToolOptions, _ action: String) throws(ToolExit) {
        guard options.has("group") || options.has("all-groups") else {
            throw syntax.mistake("Option [\(action)] takes one of these options: [all-groups], [group]")
        }
    }

    private static func checkReset(_ options: ToolOptions) throws(ToolExit) {
        if options.has("dry-run"), options.has("execute") {
            throw syntax.mistake("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
        }
        if !options.has("dry-run"), !options.has("execute") {
            throw syntax.mistake("Option [reset-offsets] takes the option: [execute] or [dry-run]")
        }
        try needsGroup(options, "reset-offsets")
        for one in OffsetScenario.names { try syntax.exclude(options, one, OffsetScenario.names.filter { $0 != one }) }
    }

    private static func checkInternalTopics(_ options: ToolOptions) throws(ToolExit) {
        if options.has("delete-all-internal-topics") {
            guard options.has("reset-offsets") || options.has("delete") else {
                throw syntax.mistake("Option [delete-all-internal-topics] takes one of these options: [delete], [reset-offsets]")
            }
            if options.has("reset-offsets"), !options.has("execute") {
                throw syntax.mistake("Option [delete-all-internal-topics] takes [execute] when [reset-offsets] is used.")
            }
        } else if options.has("delete-internal-topic"), !options.has("reset-offsets") || !options.has("execute") {
            throw syntax.mistake("Option [delete-internal-topic] takes [reset-offsets] when [execute] is used.")
        }
    }
}

// MARK: - Deleting

extension StreamsGroupsTool {
    private static func delete(_ groups: TypedGroups, _ options: ToolOptions, _ admin: AdminClient) async throws(KafkaError) {
        let names = try await groups.named(options)
        var topics: [(group: String, topics: [String])] = []
        if options.has("delete-all-internal-topics") {
            let known = Set(try await groups.all().filter { $0.state == "Empty" }.map(\.group))
            for name in names where known.contains(name) {
                let found = internalTopics(of: try await admin.streamsGroup(name).group)
                if !found.isEmpty { topics.append((name, found)) }
            }
        }
        let outcomes = try await groups.delete(names, title: "Streams group") {
            "Group '\($0)' does not exist or is not a streams group."
        }
        let deleted = Set(outcomes.filter { $0.failure == nil }.map(\.0))
        var failures: [(group: String, text: String)] = []
        for (group, names) in topics where deleted.contains(group) {
            let failed = try await admin.deleteTopics(names).filter { $0.error != nil }
            for outcome in failed { Terminal.print("Failed to delete internal topic: \(outcome.item)") }
            if let first = failed.first?.error { failures.append((group, first.javaText)) }
        }
        TypedGroups.show(outcomes, kind: "streams", end: ".")
        guard !topics.isEmpty, !deleted.isEmpty else { return }
        if failures.isEmpty {
            let list = topics.map(\.group).filter { deleted.contains($0) }.joined(separator: "', '")
            return Terminal.print("Deletion of associated internal topics of the streams groups ('\(list)') was successful.")
        }
        Terminal.print("Deletion of some associated internal topics failed:")
        for (group, text) in failures {
            Terminal.print("* Internal topics of the streams group '\(group)' could not be deleted due to: \(text)")
        }
    }

    /// The topics that the application made for itself; says of which that is not certain.
    private static func internalTopics(of group: StreamsGroupDescribeResponse.DescribedGroup) -> [String] {
        let subtopologies = group.topology?.subtopologies ?? []
        let sources = Set(subtopologies.flatMap(\.sourceTopics))
        let topics = Set(subtopologies.flatMap { $0.repartitionSourceTopics.map(\.name) + $0.stateChangelogTopics.map(\.name) })
        return topics.subtracting(sources).sorted().filter { topic in
            if InternalTopicName(topic).belongs(to: group.groupId) { return true }
            Terminal.print(
                "\nError: The internal topic '\(topic)' is not inferred as internal and thus will not be deleted with the group "
                    + "'\(group.groupId)'.")
            return false
        }
    }

    private static func deleteOffsets(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let group = options.value("group") ?? ""
        let partitions =
            options.has("all-input-topics")
            ? try await inputOffsets(of: group, admin).keys.sorted()
            : try await TopicArguments.partitions(options.values("input-topic"), admin)
        await GroupOffsetDeletion.run(group, partitions, admin)
    }

    /// What is committed in topics that are not the application's own.
    private static func inputOffsets(of group: String, _ admin: AdminClient) async throws(KafkaError) -> [TopicPartition: Int64] {
        let topology = try await admin.streamsGroup(group).group.topology
        let sources = Set((topology?.subtopologies ?? []).flatMap(\.sourceTopics))
        return try await admin.listGroupOffsets(group).filter { sources.contains($0.key.topic) }.mapValues(\.offset)
    }
}

// MARK: - Resetting

extension StreamsGroupsTool {
    private static func reset(_ groups: TypedGroups, _ options: ToolOptions, _ admin: AdminClient) async throws {
        let scenario = OffsetScenario(options: options, admin: admin)
        try scenario.require()
        var resets: [(group: String, offsets: NewOffsets)] = []
        for name in try await groups.named(options) {
            let group = try await admin.streamsGroup(name).group
            guard ["Empty", "Dead"].contains(group.groupState) else {
                Terminal.print(
                    "\nError: Assignments can only be reset if the group '\(name)' is inactive, but the current state is "
                        + "\(group.groupState).")
                resets.append((name, []))
                continue
            }
            let offsets = try await scenario.offsets(of: name, try await partitions(name, options, admin)) {
                try await admin.listGroupOffsets(name).mapValues(\.offset)
            }
            resets.append((name, offsets))
            guard options.has("execute") else { continue }
            try await admin.setOffsets(of: name, offsets)
            let topics =
                options.has("delete-all-internal-topics") ? internalTopics(of: group) : options.values("delete-internal-topic")
            try await deleteInternalTopics(topics, of: name, admin)
        }
        scenario.show(resets)
    }

    private static func partitions(_ group: String, _ options: ToolOptions, _ admin: AdminClient) async throws -> [TopicPartition] {
        if options.has("all-input-topics") { return try await inputOffsets(of: group, admin).keys.sorted() }
        guard options.has("input-topic") else {
            if options.has("from-file") { return [] }
            throw CommandFailure("One of the reset scopes should be defined: --all-input-topics, --input-topic.")
        }
        let partitions = try await TopicArguments.partitions(options.values("input-topic"), admin)
        let committed = try await admin.listGroupOffsets(group)
        guard partitions.allSatisfy({ committed[$0] != nil }) else {
            Terminal.print("\nError: One or more topics are not part of the group '\(group)'.")
            return []
        }
        return partitions
    }

    private static func deleteInternalTopics(_ topics: [String], of group: String, _ admin: AdminClient) async throws(KafkaError) {
        guard !topics.isEmpty, let error = try await admin.deleteTopics(topics).compactMap(\.error).first else { return }
        Terminal.print(
            error.codeName == "UNKNOWN_TOPIC_OR_PARTITION"
                ? "\nError: Deleting internal topics for group '\(group)' failed because the topics do not exist."
                : "\nError: Deleting internal topics for group '\(group)' failed due to \(error.javaText)")
    }
}

/// A topic as Kafka Streams names those that it makes for itself.
private struct InternalTopicName {
    let name: String

    init(_ name: String) { self.name = name }

    func belongs(to application: String) -> Bool {
        let endings = ["-changelog", "-repartition", "-subscription-registration-topic", "-subscription-response-topic"]
        return name.hasPrefix(application + "-") && (endings.contains { name.hasSuffix($0) } || isOfForeignKeyJoin)
    }

    /// `…-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000006-topic`
    private var isOfForeignKeyJoin: Bool {
        let parts = name.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count > 7, parts[parts.count - 1] == "topic" else { return false }
        let number = parts[parts.count - 2]
        let kind = parts[(parts.count - 7)..<(parts.count - 2)].joined(separator: "-")
        return !number.isEmpty && number.allSatisfy { ("0"..."9").contains($0) }
            && ["REGISTRATION", "RESPONSE"].contains { kind == "KTABLE-FK-JOIN-SUBSCRIPTION-\($0)" }
    }
}
