// `martlet group reset-offsets`: shows where a group would go on, and moves it there when told to.
import ArgumentParser
import MartletClient
import Primitives

struct GroupResetOffsetsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reset-offsets", abstract: "Move a group to other offsets. Shows what would happen unless --execute is given.",
        discussion: """
            The group must have no members while its offsets are moved.

              martlet group reset-offsets billing --topic orders --to beginning
              martlet group reset-offsets billing --topic orders --to 2026-11-21T08:00Z --execute
            """)

    @Argument(help: "The group.")
    var group: String

    @Option(name: .shortAndLong, help: "Topic to move, or topic:0,3 for some of its partitions. May be given several times.")
    var topic: [String] = []

    @Flag(help: "Move every topic that the group has offsets of.")
    var allTopics = false

    @Option(parsing: .unconditional, help: ArgumentHelp("Where to: \(OffsetPlace.help).", valueName: "place"))
    var to: OffsetPlace?

    @Option(parsing: .unconditional, help: "Move by so many offsets from where the group is; negative is backwards.")
    var shiftBy: Offset?

    @Flag(help: "Do it.")
    var execute = false

    @Flag(help: "Only show it, which is the default.")
    var dryRun = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if (to != nil) == (shiftBy != nil) { throw ValidationError("Say where to: either --to or --shift-by.") }
        if topic.isEmpty != allTopics { throw ValidationError("Say what to move: either --topic or --all-topics.") }
        if execute, dryRun { throw ValidationError("--execute and --dry-run exclude each other.") }
    }

    func run() async throws {
        try await cluster.withAdmin { admin in
            let committed = try await admin.listGroupOffsets(group)
            let partitions = try await wanted(committed, admin)
            if partitions.isEmpty { throw CommandFailure("group '\(group)' has no offsets to move") }
            let places = try await places(partitions, committed, admin)
            if execute { try await move(places, admin) }
            show(partitions, committed, places)
        }
    }

    private func wanted(_ committed: [TopicPartition: CommittedOffset], _ admin: AdminClient) async throws -> [TopicPartition] {
        if allTopics { return committed.keys.sorted() }
        var partitions: [TopicPartition] = []
        for text in topic {
            let parts = text.split(separator: ":", maxSplits: 1)
            let numbers = parts.count == 2 ? parts[1].split(separator: ",").map { Int32($0) } : []
            guard let name = parts.first, !numbers.contains(nil) else {
                throw ValidationError("--topic '\(text)' is neither a topic nor topic:partition,…")
            }
            partitions += try await admin.partitions(of: [String(name)], only: numbers.compactMap(\.self))
        }
        return partitions
    }

    private func places(
        _ partitions: [TopicPartition], _ committed: [TopicPartition: CommittedOffset], _ admin: AdminClient
    ) async throws -> [TopicPartition: Offset] {
        if let to { return try await to.resolve(partitions, admin) }
        let starts = try await OffsetPlace.beginning.resolve(partitions, admin)
        let ends = try await OffsetPlace.end.resolve(partitions, admin)
        var places: [TopicPartition: Offset] = [:]
        for partition in partitions {
            guard let now = committed[partition]?.offset else {
                throw CommandFailure("group '\(group)' has no offset of \(partition) to shift; use --to")
            }
            let moved = now.addingReportingOverflow(shiftBy ?? 0)
            places[partition] = max(starts[partition] ?? 0, min(ends[partition] ?? now, moved.overflow ? now : moved.partialValue))
        }
        return places
    }

    private func move(_ places: [TopicPartition: Offset], _ admin: AdminClient) async throws {
        do throws(KafkaError) {
            try await admin.alterGroupOffsets(group, places.mapValues { CommittedOffset($0) })
        } catch {
            guard error.codeName == "UNKNOWN_MEMBER_ID" else { throw error }
            throw CommandFailure("group '\(group)' has members; stop them first, or they would go on where they are")
        }
    }

    private func show(
        _ partitions: [TopicPartition], _ committed: [TopicPartition: CommittedOffset], _ places: [TopicPartition: Offset]
    ) {
        var table = TextTable("TOPIC", ">PARTITION", ">FROM", ">TO")
        for partition in partitions {
            table.add(
                partition.topic, "\(partition.partition)", committed[partition].map { "\($0.offset)" } ?? "-",
                places[partition].map { "\($0)" } ?? "-")
        }
        let hint = execute ? "Moved group \(group)." : "Nothing was changed: this is what --execute would do to group \(group)."
        output.show(
            [
                "group": .string(group), "executed": .bool(execute),
                "offsets": .array(
                    partitions.map {
                        [
                            "topic": .string($0.topic), "partition": .whole($0.partition), "from": .optional(committed[$0]?.offset),
                            "to": .optional(places[$0]),
                        ]
                    }),
            ], table.text + "\n" + hint)
    }
}
