// `kafka-share-groups`: list, describe and delete share groups (KIP-932), delete and reset their offsets. Kafka 4.1's tool knows the options
// for resetting and says that they are not there yet; what they do and print is as in the releases after it.
import KafkaMessages
import MartletClient
import Primitives

enum ShareGroupsTool: KafkaTool {
    private static let scenarios = ["to-offset", "to-datetime", "to-earliest", "to-latest", "to-current", "from-file"]

    static let syntax = ToolSyntax(
        "kafka-share-groups", "This tool helps to list, describe, reset and delete share groups.",
        [
            .value("bootstrap-server", as: "server to connect to", "REQUIRED: brokers to begin with."),
            .value("group", as: "share group", "The share group; may be given several times."),
            .value("topic", as: "topic", "A topic, when resetting also some of its partitions as topic:0,1,2; may be given several times."),
            .flag("all-topics", "All topics that the group reads."), .flag("list", "List all share groups."),
            .flag("describe", "Show where a group is, its members or its state."), .flag("all-groups", "All share groups."),
            .flag("delete", "Delete groups that have no members."),
            .value("timeout", as: "timeout (ms)", .long, default: "30000", "How long to wait for the cluster."),
            .value("command-config", as: "command config property file", "Client properties, such as those of security."),
            .flag("reset-offsets", "Let a group without members begin elsewhere; needs --dry-run or --execute."),
            .flag("delete-offsets", "Forget where a group without members is in topics."),
            .flag("dry-run", "Show what would be reset."), .flag("execute", "Do it."), .flag("export", "Print offsets as CSV."),
            .value("to-offset", as: "offset", .long, "Reset to this offset."),
            .value("from-file", as: "path to CSV file", "Reset to the offsets of a file."),
            .value("to-datetime", as: "datetime", "Reset to the first record of a time, YYYY-MM-DDThh:mm:ss.sss."),
            .flag("to-earliest", "Reset to the first record."), .flag("to-latest", "Reset to the end."),
            .flag("to-current", "Reset to where the group is."), .flag("members", with: ["describe"], "Describe members."),
            .flag("offsets", with: ["describe"], "Describe offsets, which is the default."),
            .optionalValue("state", as: "states", with: ["describe", "list"], "Describe states, or list groups with states."),
            .flag("verbose", with: ["describe"], "Describe in more columns."),
        ])

    static func run(_ arguments: [String]) async throws -> Int32 {
        let options = try syntax.parse(arguments)
        try check(options)
        try await ToolAdmin.with(options, timeout: .milliseconds(options.integer("timeout") ?? 30_000)) { admin in
            let groups = TypedGroups(type: "share", states: ["Empty", "Stable", "Dead"], admin: admin)
            do {
                if options.has("list") {
                    try await groups.list(options)
                } else if options.has("describe") {
                    try await describe(try await groups.named(options), options, admin)
                } else if options.has("delete") {
                    let outcomes = try await groups.delete(try await groups.named(options), title: "Share group") {
                        "Group '\($0)' is not a share group."
                    }
                    TypedGroups.show(outcomes, kind: "share")
                } else if options.has("reset-offsets") {
                    try await reset(options, admin)
                } else {
                    await deleteOffsets(options, admin)
                }
            } catch let error as KafkaError {
                // Kafka's tool says so and ends with status 0.
                Terminal.print("\nError: Executing share group command failed due to \(error.javaText)")
            } catch let failure as CommandFailure {
                throw syntax.mistake(failure.description)
            }
        }
        return 0
    }

    private static func check(_ options: ToolOptions) throws(ToolExit) {
        try syntax.require(options, "bootstrap-server")
        if options.has("describe") {
            guard options.has("group") || options.has("all-groups") else {
                throw syntax.mistake("Option [describe] takes one of these options: [group], [all-groups]")
            }
            guard ["members", "offsets", "state"].filter({ options.has($0) }).count <= 1 else {
                throw syntax.mistake("Option [describe] takes at most one of these options: [members], [offsets], [state]")
            }
            if options.value("state") != nil { throw syntax.mistake("Option [describe] does not take a value for [state]") }
        }
        if options.has("delete") {
            guard options.has("group") || options.has("all-groups") else {
                throw syntax.mistake("Option [delete] takes the options [group] or [all-groups]")
            }
            if options.has("group"), options.has("all-groups") {
                throw syntax.mistake("Option [delete] takes either [group] or [all-groups], not both.")
            }
            if options.has("topic") { throw syntax.mistake("Option [delete] does not take the option: [topic]") }
        }
        if options.has("delete-offsets"), !options.has("group") || !options.has("topic") {
            throw syntax.mistake("Option [delete-offsets] takes the following options: [group], [topic]")
        }
        if options.has("reset-offsets") { try checkReset(options) }
        try syntax.exclude(options, "group", ["all-groups", "list"])
        try syntax.exclude(options, "topic", ["list", "describe"])
        let actions = ["list", "describe", "delete", "reset-offsets", "delete-offsets"]
        guard actions.filter({ options.has($0) }).count == 1 else {
            throw syntax.mistake("Command must include exactly one action: " + actions.map { "--\($0)" }.joined(separator: ", ") + ".")
        }
    }

    private static func checkReset(_ options: ToolOptions) throws(ToolExit) {
        if options.has("dry-run"), options.has("execute") {
            throw syntax.mistake("Option [reset-offsets] only accepts one of [execute] and [dry-run]")
        }
        if !options.has("dry-run"), !options.has("execute") {
            throw syntax.mistake("Option [reset-offsets] takes the option: [execute] or [dry-run]")
        }
        if !options.has("group") { throw syntax.mistake("Option [reset-offsets] takes the option: [group]") }
        let scopes = ["all-topics", "from-file", "topic"]
        guard scopes.contains(where: { options.has($0) }) else {
            throw syntax.mistake(
                "Option [reset-offsets] takes one of these options: " + scopes.map { "[\($0)]" }.joined(separator: ", "))
        }
        for one in scopes { try syntax.exclude(options, one, scopes.filter { $0 != one }) }
        guard scenarios.contains(where: { options.has($0) }) else {
            throw syntax.mistake(
                "Option [reset-offsets] takes one of these options: "
                    + scenarios.sorted().map { "[\($0)]" }.joined(separator: ", "))
        }
        for one in scenarios { try syntax.exclude(options, one, scenarios.filter { $0 != one }) }
    }

    // MARK: Offsets

    private static func reset(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let group = options.value("group") ?? ""
        var state = "Empty"
        do throws(KafkaError) {
            state = try await admin.describeShareGroup(group).group.groupState
        } catch {
            // A group that nobody has joined yet may be told where to begin.
            guard error.codeName == "GROUP_ID_NOT_FOUND" else { throw ToolExit.saying(error.message) }
        }
        guard ["Empty", "Dead"].contains(state) else { throw ToolExit.saying("Share group '\(group)' is not empty.") }
        let scenario = OffsetScenario(options: options, admin: admin)
        let partitions =
            options.has("topic")
            ? try await TopicArguments.partitions(options.values("topic"), admin)
            : options.has("all-topics") ? try await admin.listShareGroupOffsets(group).map(\.partition) : []
        let offsets = try await scenario.offsets(of: group, partitions) {
            let found = try await admin.listShareGroupOffsets(group)
            return Dictionary(
                found.compactMap { each in each.startOffset.map { (each.partition, $0) } }, uniquingKeysWith: { first, _ in first })
        }
        if options.has("execute"), !offsets.isEmpty {
            try await admin.alterShareGroupOffsets(
                group, Dictionary(offsets.map { ($0.partition, $0.offset) }, uniquingKeysWith: { _, last in last }))
        }
        scenario.show(offsets.isEmpty ? [] : [(group, offsets)], isFitted: true)
    }

    private static func deleteOffsets(_ options: ToolOptions, _ admin: AdminClient) async {
        let group = options.value("group") ?? ""
        let topics = Set(options.values("topic")).sorted()
        var rows: [(topic: String, error: KafkaError?)] = []
        do {
            rows = try await admin.deleteShareGroupOffsets(group, topics: topics).map { ($0.item, $0.error) }
        } catch {
            let known = ["INVALID_GROUP_ID", "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED", "NON_EMPTY_GROUP"].contains(error.codeName)
            let isOfTopic = ["TOPIC_AUTHORIZATION_FAILED", "UNKNOWN_TOPIC_OR_PARTITION"].contains(error.codeName)
            if !isOfTopic { Terminal.print("\nError: " + (known ? error.message : "Encounter some unknown error: \(error.javaText)")) }
            rows = topics.map { ($0, error) }
        }
        let width = rows.map(\.topic.count).max().map { max(15, $0) } ?? 15
        var text = "\n" + JavaFormat.row([("TOPIC", width), ("STATUS", 0)])
        for (topic, error) in rows.sorted(by: { $0.topic < $1.topic }) {
            text += "\n" + JavaFormat.row([(topic, width), (error.map { "Error: \($0.message)" } ?? "Successful", 0)])
        }
        Terminal.print(text)
    }
}

// MARK: - Describing

extension ShareGroupsTool {
    private typealias Group = ShareGroupDescribeResponse.DescribedGroup

    private static func describe(_ names: [String], _ options: ToolOptions, _ admin: AdminClient) async throws(KafkaError) {
        var groups: [(group: Group, coordinator: NodeID)] = []
        for name in Set(names).sorted() { groups.append(try await admin.describeShareGroup(name)) }
        for (group, coordinator) in groups {
            if options.has("members") {
                showMembers(group, isVerbose: options.has("verbose"))
            } else if options.has("state") {
                showState(group, coordinator, admin, isVerbose: options.has("verbose"))
            } else {
                show(try await admin.listShareGroupOffsets(group.groupId), of: group.groupId, isVerbose: options.has("verbose"))
            }
        }
    }

    /// Says in which state a group is; returns whether there is a table to show.
    private static func announce(_ group: Group, rows: Int) -> Bool {
        if group.groupState == "Dead" { Terminal.print("\nError: Share group '\(group.groupId)' does not exist.") }
        if group.groupState == "Empty" { Terminal.complain("\nShare group '\(group.groupId)' has no active members.") }
        return group.groupState != "Dead" && rows > 0
    }

    private static func show(_ offsets: [ShareGroupOffset], of group: String, isVerbose: Bool) {
        let topicWidth = offsets.map(\.partition.topic.count).max().map { max(15, $0) } ?? 15
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.count)), (cells[1], topicWidth), (cells[2], 10)]
            if isVerbose { row.append((cells[3], 13)) }
            return "\n" + JavaFormat.row(row + [(cells[4], 0)])
        }
        var text = line(["GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "START-OFFSET"])
        for each in offsets {
            text += line([
                group, each.partition.topic, "\(each.partition.partition)", each.leaderEpoch.map { "\($0)" } ?? "-",
                each.startOffset.map { "\($0)" } ?? "-",
            ])
        }
        Terminal.print(text)
    }

    private static func showState(_ group: Group, _ coordinator: NodeID, _ admin: AdminClient, isVerbose: Bool) {
        _ = announce(group, rows: 1)
        let node = admin.cluster.view.brokers[coordinator]
        let place = "\(node?.host ?? ""):\(node?.port ?? -1)  (\(coordinator))"
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.groupId.count)), (cells[1], max(25, place.count)), (cells[2], 15)]
            if isVerbose { row += [(cells[3], 12), (cells[4], 17)] }
            return "\n" + JavaFormat.row(row + [(cells[5], 0)])
        }
        Terminal.print(
            line(["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "ASSIGNMENT-EPOCH", "#MEMBERS"])
                + line([
                    group.groupId, place, group.groupState, "\(group.groupEpoch)", "\(group.assignmentEpoch)", "\(group.members.count)",
                ]))
    }

    private static func showMembers(_ group: Group, isVerbose: Bool) {
        guard announce(group, rows: group.members.count) else { return }
        func width(_ value: (ShareGroupDescribeResponse.Member) -> String) -> Int {
            max(15, group.members.map { value($0).count }.max() ?? 0)
        }
        let idWidth = width { $0.memberId }
        let hostWidth = width { $0.clientHost }
        let clientWidth = width { $0.clientId }
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.groupId.count)), (cells[1], idWidth), (cells[2], hostWidth)]
            row += [(cells[3], clientWidth), (cells[4], 12)]
            if isVerbose { row.append((cells[5], 13)) }
            return "\n" + JavaFormat.row(row + [(cells[6], 0)])
        }
        var text = line(["GROUP", "CONSUMER-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "MEMBER-EPOCH", "ASSIGNMENT"])
        for member in group.members.sorted(by: { $0.memberId < $1.memberId }) {
            let topics = member.assignment.topicPartitions
            text += line([
                group.groupId, member.memberId, member.clientHost, member.clientId,
                "\(topics.reduce(0) { $0 + $1.partitions.count })", "\(member.memberEpoch)",
                topics.map { "\($0.topicName):" + $0.partitions.sorted().map { "\($0)" }.joined(separator: ",") }.sorted()
                    .joined(separator: ";"),
            ])
        }
        Terminal.print(text)
    }
}
