// `martlet group`: who is in a group and how far it is.
import ArgumentParser
import MartletClient
import Primitives

struct GroupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "group", abstract: "List groups, see their lag and why they rebalanced, move or delete their offsets.",
        subcommands: [
            GroupListCommand.self, GroupDescribeCommand.self, GroupHistoryCommand.self, GroupResetOffsetsCommand.self,
            GroupDeleteCommand.self,
        ])
}

struct GroupListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List all groups.")

    @Option(help: "Only groups in this state, such as Stable or Empty. May be given several times.")
    var state: [String] = []

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let groups = try await cluster.withAdmin { try await $0.listGroups(states: state) }
        var table = TextTable("GROUP", "STATE", "TYPE", "PROTOCOL")
        for group in groups { table.add(group.group, group.state, group.type, group.protocolType) }
        output.show(
            .array(
                groups.map {
                    [
                        "group": .string($0.group), "state": .string($0.state), "type": .string($0.type),
                        "protocolType": .string($0.protocolType),
                    ]
                }), groups.isEmpty ? "There are no groups." : table.text)
    }
}

struct GroupDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show groups with their members, offsets and lag.")

    @Argument(help: "Names of groups.")
    var groups: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await cluster.withAdmin { admin in
            var documents: [JSONValue] = []
            for (index, name) in groups.enumerated() {
                let view = try await GroupView(name, admin)
                if output.json {
                    documents.append(view.json)
                } else {
                    Terminal.print((index == 0 ? "" : "\n") + view.text)
                }
            }
            if output.json { Terminal.print(JSONValue.array(documents).text(indentation: 2)) }
        }
    }
}

struct GroupDeleteCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Delete groups without members, or only their offsets of some topics.")

    @Argument(help: "Names of groups.")
    var groups: [String]

    @Option(name: .shortAndLong, help: "Delete the offsets of this topic only, and keep the group. May be given several times.")
    var topic: [String] = []

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try Confirmation.ask("Delete offsets of \(groups.joined(separator: ", "))?", unless: yes)
        try await cluster.withAdmin { admin in
            guard !topic.isEmpty else {
                return try output.report(try await admin.deleteGroups(groups), "group", text: { name, _ in "Deleted group \(name)." })
            }
            var outcomes: [Outcome<TopicPartition, String>] = []
            for group in groups {
                let committed = try await admin.listGroupOffsets(group).keys.filter { topic.contains($0.topic) }.sorted()
                if committed.isEmpty {
                    throw CommandFailure("group '\(group)' has no offsets of \(topic.joined(separator: ", "))")
                }
                outcomes += try await admin.deleteGroupOffsets(group, committed).map { $0.map { group } }
            }
            try output.report(
                outcomes, "partition", members: { [("group", .string($0))] },
                text: { partition, group in "Deleted the offset of \(partition) from group \(group)." })
        }
    }
}

/// A group with its members and offsets, as it is shown.
struct GroupView {
    struct Row {
        var partition: TopicPartition
        var committed: Offset?
        var end: Offset?
        var member: GroupMember?

        var lag: Offset? {
            guard let committed, let end else { return nil }
            return max(0, end - committed)
        }
    }

    var group: GroupDescription
    var rows: [Row] = []

    init(_ name: String, _ admin: AdminClient) async throws {
        group = try await admin.describeGroup(name)
        let committed = try await admin.listGroupOffsets(name)
        if group.state == "Dead", committed.isEmpty {
            throw CommandFailure("there is no group '\(name)'; `martlet group list` shows those that exist")
        }
        var owners: [TopicPartition: GroupMember] = [:]
        for member in group.members { for partition in member.assignment { owners[partition] = member } }
        let partitions = Set(committed.keys).union(owners.keys).sorted()
        var ends: [TopicPartition: Offset] = [:]
        for found in try await admin.listOffsets(partitions.map { ($0, .latest) }) {
            // A topic that is gone has no end, and its offsets stay until they expire.
            if case .success(let listed) = found.result { ends[found.item] = listed.offset }
        }
        rows = partitions.map { Row(partition: $0, committed: committed[$0]?.offset, end: ends[$0], member: owners[$0]) }
    }

    var text: String {
        let lag = rows.compactMap(\.lag).reduce(0, +)
        let count = group.members.count
        var text = "Group \(group.group)  \(group.state)  coordinator \(group.coordinator)"
        if !group.protocolName.isEmpty { text += "  assignor \(group.protocolName)" }
        text += "  \(count) member\(count == 1 ? "" : "s")  lag \(lag)"
        if !rows.isEmpty {
            var table = TextTable("TOPIC", ">PARTITION", ">OFFSET", ">END", ">LAG", "CLIENT", "HOST", "MEMBER")
            for row in rows {
                table.add(
                    row.partition.topic, "\(row.partition.partition)", Self.number(row.committed), Self.number(row.end),
                    Self.number(row.lag),
                    row.member?.clientID ?? "-", row.member?.clientHost ?? "-", row.member?.memberID ?? "-")
            }
            text += "\n" + table.text
        }
        for member in group.members where member.assignment.isEmpty {
            text += "\nMember \(member.memberID) of \(member.clientID) at \(member.clientHost) reads nothing."
        }
        return text
    }

    private static func number(_ value: Offset?) -> String { value.map { "\($0)" } ?? "-" }

    var json: JSONValue {
        [
            "group": .string(group.group), "state": .string(group.state), "protocolType": .string(group.protocolType),
            "assignor": .string(group.protocolName), "coordinator": .whole(group.coordinator),
            "members": .array(
                group.members.map { member in
                    [
                        "memberId": .string(member.memberID), "groupInstanceId": .optional(member.groupInstanceID),
                        "clientId": .string(member.clientID), "clientHost": .string(member.clientHost),
                        "assignment": .strings(member.assignment.map { "\($0)" }),
                    ]
                }),
            "offsets": .array(
                rows.map { row in
                    [
                        "topic": .string(row.partition.topic), "partition": .whole(row.partition.partition),
                        "offset": .optional(row.committed), "endOffset": .optional(row.end), "lag": .optional(row.lag),
                        "memberId": .optional(row.member?.memberID),
                    ]
                }),
        ]
    }
}
