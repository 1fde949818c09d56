// `martlet topic`: looking at topics. What changes them is in TopicChanges.swift.
import ArgumentParser
import MartletClient
import Primitives

struct TopicCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topic", abstract: "List, create and change topics.",
        subcommands: [
            TopicListCommand.self, TopicDescribeCommand.self, TopicCreateCommand.self, TopicAlterCommand.self, TopicDeleteCommand.self,
            TopicDeleteRecordsCommand.self,
        ])
}

struct TopicListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List all topics.")

    @Flag(name: .shortAndLong, help: "Kafka's own topics too, such as __consumer_offsets.")
    var all = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let topics = try await cluster.withAdmin { try await $0.listTopics(includingInternal: all) }
        var table = TextTable("TOPIC", ">PARTITIONS", ">REPLICAS", "STATE")
        for topic in topics {
            let replicas = topic.partitions.map(\.replicas.count).max() ?? 0
            table.add(topic.name, "\(topic.partitions.count)", "\(replicas)", TopicHealth(topic).description)
        }
        let none = "There are no topics yet; `martlet topic create NAME` makes one."
        output.show(.array(topics.map(TopicView.json)), topics.isEmpty ? none : table.text)
    }
}

struct TopicDescribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "describe", abstract: "Show topics with their partitions, offsets and settings.")

    @Argument(help: "Names of topics.")
    var topics: [String]

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await cluster.withAdmin { admin in
            let described = try await admin.describeTopics(topics).values()
            var documents: [JSONValue] = []
            for (index, topic) in described.enumerated() {
                let view = TopicView(
                    topic: topic, starts: try await offsets(of: topic, .earliest, admin),
                    ends: try await offsets(of: topic, .latest, admin),
                    configs: try await configs(of: topic, admin))
                if output.json {
                    documents.append(view.json)
                } else {
                    Terminal.print((index == 0 ? "" : "\n") + view.text)
                }
            }
            if output.json { Terminal.print(JSONValue.array(documents).text(indentation: 2)) }
        }
    }

    /// By partition; those without a leader have none.
    private func offsets(of topic: TopicDescription, _ query: OffsetQuery, _ admin: AdminClient) async throws -> [Int32: Offset] {
        let led = topic.partitions.filter { $0.leader != nil }
        var offsets: [Int32: Offset] = [:]
        for found in try await admin.listOffsets(led.map { (TopicPartition(topic.name, $0.partition), query) }) {
            if case .success(let listed) = found.result { offsets[found.item.partition] = listed.offset }
        }
        return offsets
    }

    private func configs(of topic: TopicDescription, _ admin: AdminClient) async throws -> [ConfigSetting] {
        try await admin.describeConfigs([.topic(topic.name)]).values().flatMap(\.self).filter { $0.source == .topic }
    }
}

/// In what condition a topic's partitions are.
struct TopicHealth: CustomStringConvertible {
    var leaderless = 0
    var underReplicated = 0

    init(_ topic: TopicDescription) {
        for partition in topic.partitions {
            if partition.leader == nil { leaderless += 1 }
            if partition.inSyncReplicas.count < partition.replicas.count { underReplicated += 1 }
        }
    }

    var description: String {
        if leaderless > 0 { return "\(leaderless) without leader" }
        return underReplicated > 0 ? "\(underReplicated) under-replicated" : "ok"
    }
}

/// A topic as it is shown.
struct TopicView {
    var topic: TopicDescription
    var starts: [Int32: Offset]
    var ends: [Int32: Offset]
    var configs: [ConfigSetting]

    var text: String {
        let total = topic.partitions.reduce(Offset(0)) { $0 + (ends[$1.partition] ?? 0) - (starts[$1.partition] ?? 0) }
        var text = "Topic \(topic.name)"
        if topic.topicID != .zero { text += "  id \(topic.topicID)" }
        text += "  \(topic.partitions.count) partition\(topic.partitions.count == 1 ? "" : "s")  \(total) offsets  \(TopicHealth(topic))"
        if topic.isInternal { text += "  internal" }
        for config in configs { text += "\n  \(config.name)=\(config.value ?? "")" }
        var table = TextTable(">PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "IN SYNC", ">START", ">END")
        for partition in topic.partitions {
            table.add(
                "\(partition.partition)", partition.leader.map { "\($0)" } ?? "none", "\(partition.leaderEpoch)",
                Self.list(partition.replicas), Self.list(partition.inSyncReplicas), starts[partition.partition].map { "\($0)" } ?? "?",
                ends[partition.partition].map { "\($0)" } ?? "?")
        }
        return text + "\n" + table.text
    }

    private static func list(_ brokers: [Int32]) -> String { brokers.map { "\($0)" }.joined(separator: ",") }

    var json: JSONValue {
        var object = JSONObject()
        for member in Self.json(topic).objectValue?.members ?? [] where member.name != "partitions" {
            object.append(member.name, member.value)
        }
        object.append("configs", .object(configs.map { ($0.name, .optional($0.value)) }))
        object.append(
            "partitions",
            .array(
                topic.partitions.map { partition in
                    .object(
                        Self.members(partition) + [
                            ("startOffset", .optional(starts[partition.partition])), ("endOffset", .optional(ends[partition.partition])),
                        ])
                }))
        return .object(object)
    }

    static func json(_ topic: TopicDescription) -> JSONValue {
        [
            "topic": .string(topic.name), "topicId": .string("\(topic.topicID)"), "isInternal": .bool(topic.isInternal),
            "partitions": .array(topic.partitions.map { .object(members($0)) }),
        ]
    }

    private static func members(_ partition: PartitionDescription) -> [(String, JSONValue)] {
        [
            ("partition", .whole(partition.partition)), ("leader", .optional(partition.leader)),
            ("leaderEpoch", .whole(partition.leaderEpoch)), ("replicas", .integers(partition.replicas)),
            ("inSyncReplicas", .integers(partition.inSyncReplicas)), ("offlineReplicas", .integers(partition.offlineReplicas)),
        ]
    }
}
