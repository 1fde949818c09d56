// `kafka-consumer-groups`: list, describe and delete groups, delete and reset their offsets.
import MartletClient
import Primitives

enum ConsumerGroupsTool: KafkaTool {
    static let syntax = ToolSyntax(
        "kafka-consumer-groups",
        "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset consumer group offsets.",
        [
            .value("bootstrap-server", as: "server to connect to", "Brokers to begin with; REQUIRED except for --validate-regex."),
            .value("group", as: "consumer group", "The group; may be given several times."),
            .value("topic", as: "topic", "A topic, or some of its partitions as topic:0,1,2; may be given several times."),
            .flag("all-topics", "All topics that the group has offsets of."), .flag("list", "List all groups."),
            .flag("describe", "Show what a group reads and how far it is behind."), .flag("all-groups", "All groups."),
            .flag("delete", "Delete groups that have no members."),
            .value("timeout", as: "timeout (ms)", .long, default: "30000", "How long to wait for the cluster."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
            .flag("reset-offsets", "Set offsets of groups without members."), .flag("delete-offsets", "Delete offsets of topics."),
            .flag("dry-run", "Show what would be reset."), .flag("execute", "Do it."), .flag("export", "Print offsets as CSV."),
            .value("to-offset", as: "offset", .long, "Reset to this offset."),
            .value("from-file", as: "path to CSV file", "Reset to the offsets of a file."),
            .value("to-datetime", as: "datetime", "Reset to the first record of a time, YYYY-MM-DDThh:mm:ss.sss."),
            .value("by-duration", as: "duration", "Reset to the first record of so long ago, PnDTnHnMnS."),
            .flag("to-earliest", "Reset to the first record."), .flag("to-latest", "Reset to the end."),
            .flag("to-current", "Reset to what is committed."),
            .value("shift-by", as: "number-of-offsets", .long, "Reset to so many records later, or earlier if negative."),
            .flag("members", with: ["describe"], "Describe members."), .flag("verbose", with: ["describe"], "Describe in more columns."),
            .flag("offsets", with: ["describe"], "Describe offsets, which is the default."),
            .optionalValue("state", as: "states", with: ["describe", "list"], "Describe states, or list groups with states."),
            .optionalValue("type", as: "types", with: ["list"], "List groups with types."),
            .value("validate-regex", as: "regex", "Say whether a regular expression is one."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        if let text = options.value("validate-regex") {
            validate(text)
            return 0
        }
        let timeout = Duration.milliseconds(options.integer("timeout") ?? 30_000)
        try await ToolAdmin.with(options, timeout: timeout) { admin in
            do {
                if options.has("list") {
                    try await list(options, admin)
                } else if options.has("describe") {
                    try await GroupDescriptionText(options: options, admin: admin).run()
                } else if options.has("delete") {
                    try await delete(options, admin)
                } else if options.has("reset-offsets") {
                    try await reset(options, admin)
                } else {
                    let partitions = try await TopicArguments.partitions(options.values("topic"), admin)
                    await GroupOffsetDeletion.run(options.value("group") ?? "", partitions, admin)
                }
            } catch let error as KafkaError {
                // Kafka's tool says so and ends with status 0.
                Terminal.print("\nError: Executing consumer group command failed due to \(error.javaText)")
            } catch let failure as CommandFailure {
                throw syntax.mistake(failure.description)
            }
        }
        return 0
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        if !options.has("validate-regex") { try syntax.require(options, "bootstrap-server") }
        if options.has("describe") {
            try needsGroup(options, "describe")
            guard ["members", "offsets", "state"].filter({ options.has($0) }).count <= 1 else {
                throw syntax.mistake("Option [describe] takes at most one of these options: [members], [offsets], [state]")
            }
            if options.value("state") != nil { throw syntax.mistake("Option [describe] does not take a value for [state]") }
        }
        if options.has("delete") {
            try needsGroup(options, "delete")
            if options.has("topic") {
                throw syntax.mistake("The consumer does not support topic-specific offset deletion from a consumer group.")
            }
        }
        if options.has("delete-offsets"), !options.has("group") || !options.has("topic") {
            throw syntax.mistake("Option [delete-offsets] takes the following options: [topic], [group]")
        }
        if options.has("reset-offsets") { try checkReset(options) }
        try syntax.exclude(options, "group", ["all-groups", "list"])
        try syntax.exclude(options, "topic", ["list", "describe"])
        let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets", "validate-regex"]
        guard actions.filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake(
                "Command must include exactly one action: " + actions.map { "--\($0)" }.joined(separator: ", "))
        }
    }

    private static func needsGroup(_ options: ToolOptions, _ action: String) throws(ToolExit) {
        guard options.has("group") || options.has("all-groups") else {
            throw syntax.mistake("Option [\(action)] takes one of these options: [group], [all-groups]")
        }
    }

    private static func checkReset(_ options: ToolOptions) throws(ToolExit) {
        if options.has("dry-run"), options.has("execute") {
            throw syntax.mistake("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
        }
        if !options.has("dry-run"), !options.has("execute") {
            Terminal.complain(
                "WARN: No action will be performed as the --execute option is missing. In a future major release, the default behavior of "
                    + "this command will be to prompt the user before executing the reset rather than doing a dry run. You should add the "
                    + "--dry-run option explicitly if you are scripting this command and want to keep the current default behavior "
                    + "without prompting.")
        }
        try needsGroup(options, "reset-offsets")
        for one in OffsetScenario.names { try syntax.exclude(options, one, OffsetScenario.names.filter { $0 != one }) }
    }

    private static func validate(_ text: String) {
        do throws(LinearPatternError) {
            _ = try LinearPattern(text)
            Terminal.print("The regular expression `\(text)` is valid.")
        } catch {
            Terminal.print("The regular expression `\(text)` is invalid: \(error.description).")
        }
    }

    // MARK: Listing

    /// Groups of consumers, of both kinds, in the order of their names.
    static func groups(_ admin: AdminClient, states: [String] = [], types: [String] = []) async throws(KafkaError) -> [GroupListing] {
        try await admin.listGroups(states: states, types: types).filter { ["", "consumer"].contains($0.protocolType) }
            .filter { !["share", "streams"].contains($0.type.lowercased()) }
    }

    /// The groups that the command line names.
    static func named(_ options: ToolOptions, _ admin: AdminClient) async throws(KafkaError) -> [String] {
        options.has("all-groups") ? try await groups(admin).map(\.group) : options.values("group")
    }

    private static func list(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let showsType = options.has("type")
        let showsState = options.has("state")
        guard showsType || showsState else {
            for group in try await groups(admin) { Terminal.print(group.group) }
            return
        }
        let states = try words(
            options.value("state"), ["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"],
            "state")
        let types = try words(options.value("type"), ["Classic", "Consumer"], "types")
        let found = try await groups(admin, states: states, types: types)
        let width = (found.map { max(15, $0.group.count) }.max() ?? 15) + 10
        func line(_ group: String, _ type: String, _ state: String) -> String {
            JavaFormat.row([(group, width)] + (showsType ? [(type, 20)] : []) + (showsState ? [(state, 20)] : []))
        }
        Terminal.print(line("GROUP", "TYPE", "STATE"))
        for group in found {
            // Brokers write types in small letters.
            let type = group.type.isEmpty ? "Unknown" : group.type.prefix(1).uppercased() + group.type.dropFirst()
            Terminal.print(line(group.group, type, group.state.isEmpty ? "Unknown" : group.state))
        }
    }

    /// Words of a list, whatever their capitals.
    private static func words(_ text: String?, _ known: [String], _ what: String) throws -> [String] {
        guard let text, !text.isEmpty else { return [] }
        return try text.split(separator: ",").map { part in
            let word = String(part).trimmingBlanks.lowercased()
            guard let found = known.first(where: { $0.lowercased() == word }) else {
                throw CommandFailure("Invalid \(what) list '\(text)'. Valid \(what)s are: \(known.joined(separator: ", "))")
            }
            return found
        }
    }

    // MARK: Deleting

    private static func delete(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let outcomes = try await admin.deleteGroups(try await named(options, admin))
        let deleted = outcomes.filter { $0.error == nil }.map { "'\($0.item)'" }.joined(separator: ", ")
        let failed = outcomes.filter { $0.error != nil }
        if failed.isEmpty { return Terminal.print("Deletion of requested consumer groups (\(deleted)) was successful.") }
        Terminal.print("\nError: Deletion of some consumer groups failed:")
        for outcome in failed {
            Terminal.print("* Group '\(outcome.item)' could not be deleted due to: \(outcome.error?.javaText ?? "")")
        }
        if !deleted.isEmpty { Terminal.print("\nThese consumer groups were deleted successfully: \(deleted)") }
    }
}
