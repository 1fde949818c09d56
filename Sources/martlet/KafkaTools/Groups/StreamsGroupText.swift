// The tables of `kafka-streams-groups --describe`: how far behind, members with their tasks, states.
import KafkaMessages
import MartletClient
import Primitives

struct StreamsGroupText {
    typealias Group = StreamsGroupDescribeResponse.DescribedGroup

    let options: ToolOptions
    let admin: AdminClient

    private var isVerbose: Bool { options.has("verbose") }

    func show(_ name: String) async throws(KafkaError) {
        let (group, coordinator) = try await admin.streamsGroup(name)
        if options.has("members") {
            showMembers(group)
        } else if options.has("state") {
            showState(group, coordinator)
        } else {
            try await showOffsets(group)
        }
    }

    private func announce(_ group: Group) {
        if group.groupState == "Dead" { Terminal.print("\nError: Streams group '\(group.groupId)' does not exist.") }
        if group.groupState == "Empty" { Terminal.print("\nError: Streams group '\(group.groupId)' has no active members.") }
    }

    // MARK: Offsets

    private func showOffsets(_ group: Group) async throws(KafkaError) {
        // As Kafka's tool: of a group without members nothing is shown.
        guard group.groupState != "Dead", !group.members.isEmpty else { return }
        let partitions = try await assigned(group)
        let committed = try await admin.listGroupOffsets(group.groupId)
        let starts = try await listed(partitions, .earliest)
        let ends = try await listed(partitions, .latest)
        announce(group)
        let topicWidth = partitions.map(\.topic.count).max().map { max(15, $0) } ?? 15
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.groupId.count)), (cells[1], topicWidth), (cells[2], 10)]
            if isVerbose { row += [(cells[3], 15), (cells[4], 15), (cells[5], 15)] }
            return JavaFormat.row(row + [(cells[6], isVerbose ? 15 : 0)])
        }
        Terminal.print(line(["GROUP", "TOPIC", "PARTITION", "CURRENT-OFFSET", "LEADER-EPOCH", "LOG-END-OFFSET", "OFFSET-LAG"]))
        for partition in partitions {
            let offset = committed[partition]
            let end = ends[partition] ?? 0
            let lag = end - (offset?.offset ?? starts[partition] ?? 0)
            let epoch = offset.flatMap { $0.leaderEpoch >= 0 ? "\($0.leaderEpoch)" : nil } ?? "-"
            Terminal.print(
                line([
                    group.groupId, partition.topic, "\(partition.partition)", offset.map { "\($0.offset)" } ?? "-", epoch, "\(end)",
                    "\(lag)",
                ]))
        }
    }

    /// The partitions that members read for their tasks.
    private func assigned(_ group: Group) async throws(KafkaError) -> [TopicPartition] {
        var found: Set<TopicPartition> = []
        for member in group.members {
            for task in member.assignment.activeTasks {
                guard let subtopology = group.topology?.subtopologies?.first(where: { $0.subtopologyId == task.subtopologyId }) else {
                    continue
                }
                for topic in subtopology.sourceTopics + subtopology.repartitionSourceTopics.map(\.name) {
                    found.formUnion(task.partitions.map { TopicPartition(topic, $0) })
                }
            }
        }
        return found.sorted()
    }

    private func listed(_ partitions: [TopicPartition], _ query: OffsetQuery) async throws(KafkaError) -> [TopicPartition: Int64] {
        var offsets: [TopicPartition: Int64] = [:]
        for outcome in try await admin.listOffsets(partitions.map { ($0, query) }) {
            offsets[outcome.item] = try outcome.result.get().offset
        }
        return offsets
    }

    // MARK: Members

    private func showMembers(_ group: Group) {
        guard group.groupState != "Dead", !group.members.isEmpty else { return }
        announce(group)
        func width(_ value: (StreamsGroupDescribeResponse.Member) -> String) -> Int {
            max(15, group.members.map { value($0).count }.max() ?? 0)
        }
        let idWidth = width { $0.memberId }
        let processWidth = width { $0.processId }
        let clientWidth = width { $0.clientId }
        func line(_ cells: [String]) -> String {
            let name = (cells[0], max(15, group.groupId.count))
            let end = [(cells[6], processWidth), (cells[7], clientWidth), (cells[8], 0)]
            guard isVerbose else { return JavaFormat.row([name, (cells[3], idWidth)] + end) }
            // Kafka's tool has no blank after the third column.
            return JavaFormat.row([name, (cells[1], 25), (cells[2], 15)])
                + JavaFormat.row([(cells[3], idWidth), (cells[4], 15), (cells[5], 15)] + end)
        }
        Terminal.print(
            line([
                "GROUP", "TARGET-ASSIGNMENT-EPOCH", "TOPOLOGY-EPOCH", "MEMBER", "MEMBER-PROTOCOL", "MEMBER-EPOCH", "PROCESS", "CLIENT-ID",
                "ASSIGNMENTS",
            ]))
        for member in group.members {
            var tasks = Self.text(member.assignment, prefix: "")
            if isVerbose { tasks += Self.text(member.targetAssignment, prefix: "TARGET-") }
            Terminal.print(
                line([
                    group.groupId, "\(group.assignmentEpoch)", "\(group.topology?.epoch ?? 0)", member.memberId,
                    member.isClassic ? "classic" : "streams", "\(member.memberEpoch)", member.processId, member.clientId, tasks,
                ]))
        }
    }

    /// `ACTIVE: 0:[0,1]; 1:[2]; STANDBY: …`
    private static func text(_ assignment: StreamsGroupDescribeResponse.Assignment, prefix: String) -> String {
        let kinds = [
            ("ACTIVE", assignment.activeTasks), ("STANDBY", assignment.standbyTasks), ("WARMUP", assignment.warmupTasks),
        ]
        return kinds.filter { !$0.1.isEmpty }.map { kind, tasks in
            "\(prefix)\(kind): "
                + tasks.map { "\($0.subtopologyId):[" + $0.partitions.map { "\($0)" }.joined(separator: ",") + "]; " }.joined()
        }.joined()
    }

    // MARK: States

    private func showState(_ group: Group, _ coordinator: NodeID) {
        announce(group)
        let node = admin.cluster.view.brokers[coordinator]
        let place = "\(node?.host ?? ""):\(node?.port ?? -1) (\(coordinator))"
        func line(_ cells: [String]) -> String {
            var row = [(cells[0], max(15, group.groupId.count)), (cells[1], max(25, place.count)), (cells[2], 25)]
            if isVerbose { row += [(cells[3], 15), (cells[4], 25)] }
            return JavaFormat.row(row + [(cells[5], 0)])
        }
        Terminal.print(line(["GROUP", "COORDINATOR (ID)", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"]))
        Terminal.print(
            line([
                group.groupId, place, group.groupState, "\(group.groupEpoch)", "\(group.assignmentEpoch)", "\(group.members.count)",
            ]))
    }
}
