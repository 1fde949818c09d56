// The tables of `kafka-consumer-groups --describe`: offsets and lag, members, states.
import MartletClient
import Primitives

struct GroupDescriptionText {
    let options: ToolOptions
    let admin: AdminClient

    private static let missing = "-"

    func run() async throws {
        var groups: [GroupDetails] = []
        for name in Set(try await ConsumerGroupsTool.named(options, admin)).sorted() {
            groups.append(try await GroupDetails.of(name, admin))
        }
        for group in groups {
            if options.has("members") {
                showMembers(group)
            } else if options.has("state") {
                showState(group)
            } else {
                try await showOffsets(group)
            }
        }
    }

    /// Says in which state a group is; returns whether there is a table to show.
    private func announce(_ group: GroupDetails, rows: Int) -> Bool {
        switch group.state {
        case "Dead":
            Terminal.print("\nError: Consumer group '\(group.group)' does not exist.")
            return false
        case "Empty": Terminal.complain("\nConsumer group '\(group.group)' has no active members.")
        case "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling":
            Terminal.complain("\nWarning: Consumer group '\(group.group)' is rebalancing.")
        default: break
        }
        return rows > 0
    }

    private static func text(_ value: (some BinaryInteger)?) -> String { value.map { "\($0)" } ?? missing }

    // MARK: Offsets

    private struct Row {
        var topic: String?
        var partition: Int32?
        var epoch: Int32?
        var offset: Int64?
        var end: Int64?
        var member: (id: String, host: String, clientID: String)

        var lag: Int64? { end.flatMap { end in offset.map { end - $0 } } }
    }

    private func showOffsets(_ group: GroupDetails) async throws(KafkaError) {
        let committed = try await admin.listGroupOffsets(group.group)
        let members = group.members.filter { !$0.assignment.isEmpty }.sorted { $0.assignment.count > $1.assignment.count }
        let assigned = Set(members.flatMap(\.assignment))
        let unassigned = committed.keys.filter { !assigned.contains($0) }.sorted()
        var ends: [TopicPartition: Int64] = [:]
        for outcome in try await admin.listOffsets((assigned.sorted() + unassigned).map { ($0, .latest) }) {
            if case .success(let found) = outcome.result { ends[outcome.item] = found.offset }
        }
        func row(_ partition: TopicPartition, _ member: (String, String, String)) -> Row {
            let offset = committed[partition]
            return Row(
                topic: partition.topic, partition: partition.partition,
                epoch: offset.flatMap { $0.leaderEpoch >= 0 ? $0.leaderEpoch : nil },
                offset: offset?.offset, end: ends[partition], member: member)
        }
        let rows =
            members.flatMap { member in member.assignment.sorted().map { row($0, (member.id, member.host, member.clientID)) } }
            + unassigned.map { row($0, (Self.missing, Self.missing, Self.missing)) }
        guard announce(group, rows: rows.count) else { return }
        show(rows, group.group)
    }

    private func show(_ rows: [Row], _ group: String) {
        let isVerbose = options.has("verbose")
        let topicWidth = rows.map { ($0.topic ?? Self.missing).count }.max().map { max(15, $0) } ?? 15
        let idWidth = rows.map(\.member.id.count).max().map { max(15, $0) } ?? 15
        let hostWidth = rows.map(\.member.host.count).max().map { max(15, $0) } ?? 15
        func line(_ row: [String]) -> String {
            var cells = [(row[0], max(15, group.count)), (row[1], topicWidth), (row[2], 10)]
            if isVerbose { cells.append((row[3], 15)) }
            cells += [(row[4], 15), (row[5], 15), (row[6], 15), (row[7], idWidth), (row[8], hostWidth), (row[9], 0)]
            return "\n" + JavaFormat.row(cells)
        }
        var output = line([
            "GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID",
        ])
        for row in rows {
            output += line([
                group, row.topic ?? Self.missing, Self.text(row.partition), Self.text(row.epoch), Self.text(row.offset),
                Self.text(row.end), Self.text(row.lag), row.member.id, row.member.host, row.member.clientID,
            ])
        }
        Terminal.print(output)
    }

    // MARK: Members

    private func showMembers(_ group: GroupDetails) {
        let shows = announce(group, rows: group.members.count)
        let members = shows ? group.members : []
        func width(_ least: Int, _ value: (GroupDetails.Member) -> String) -> Int {
            members.map { value($0).count }.max().map { max(least, $0) } ?? least
        }
        let groupWidth = shows ? max(15, group.group.count) : 15
        let idWidth = width(15) { $0.id }
        let instanceWidth = width(17) { $0.instanceID }
        let hostWidth = width(15) { $0.host }
        let clientWidth = width(15) { $0.clientID }
        let currentWidth = width(20) { Self.text($0.assignment) }
        let targetWidth = width(20) { Self.text($0.target) }
        let showsInstances = members.contains { !$0.instanceID.isEmpty }
        let isMigrating = members.contains { $0.isUpgraded == true } && members.contains { $0.isUpgraded == false }
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], groupWidth), (cells[1], idWidth)]
            if showsInstances { row.append((cells[2], instanceWidth)) }
            row += [(cells[3], hostWidth), (cells[4], clientWidth), (cells[5], 15)]
            guard options.has("verbose") else { return JavaFormat.row(row) + " " }
            row += [(cells[6], 15), (cells[7], currentWidth), (cells[8], 15), (cells[9], targetWidth)]
            return JavaFormat.row(row + (isMigrating ? [(cells[10], 0)] : []))
        }
        Terminal.print(
            "\n"
                + line([
                    "GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS", "CURRENT-EPOCH", "CURRENT-ASSIGNMENT",
                    "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED",
                ]))
        for member in group.members {
            Terminal.print(
                line([
                    group.group, member.id, member.instanceID, member.host, member.clientID, "\(member.assignment.count)",
                    Self.text(member.epoch), Self.text(member.assignment), Self.text(group.targetEpoch), Self.text(member.target),
                    member.isUpgraded.map { "\($0)" } ?? Self.missing,
                ]))
        }
    }

    /// `orders:0,1;payments:2`
    private static func text(_ partitions: [TopicPartition]) -> String {
        if partitions.isEmpty { return missing }
        var topics: [(topic: String, numbers: [Int32])] = []
        for partition in partitions.sorted() {
            if topics.last?.topic == partition.topic {
                topics[topics.count - 1].numbers.append(partition.partition)
            } else {
                topics.append((partition.topic, [partition.partition]))
            }
        }
        return topics.map { "\($0.topic):" + $0.numbers.map { "\($0)" }.joined(separator: ",") }.joined(separator: ";")
    }

    // MARK: States

    private func showState(_ group: GroupDetails) {
        guard announce(group, rows: 1) else { return }
        let node = admin.cluster.view.brokers[group.coordinator]
        let coordinator = "\(node?.host ?? ""):\(node?.port ?? -1)  (\(group.coordinator))"
        let assignor = group.assignor.isEmpty ? Self.missing : group.assignor
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.group.count)), (cells[1], max(25, coordinator.count)), (cells[2], 20), (cells[3], 20)]
            if options.has("verbose") { row += [(cells[4], 15), (cells[5], 25)] }
            return "\n" + JavaFormat.row(row + [(cells[6], 0)])
        }
        let title = [
            "GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS",
        ]
        let values = [
            group.group, coordinator, assignor, group.state, Self.text(group.epoch), Self.text(group.targetEpoch), "\(group.members.count)",
        ]
        Terminal.print(line(title) + line(values))
    }
}
