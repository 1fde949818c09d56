// `martlet partition list|elect`: where replicas lie and who leads. Moving them is in PartitionReassignCommand.swift.
import ArgumentParser
import MartletClient
import Primitives

struct PartitionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "partition", abstract: "Look at partitions' replicas, move them, elect leaders.",
        subcommands: [
            PartitionListCommand.self, PartitionReassignCommand.self, PartitionMoveCommand.self, PartitionElectCommand.self,
            PartitionThrottleCommand.self,
        ])
}

/// A topic, or one of its partitions as `topic:number`.
struct PartitionName: ExpressibleByArgument, Hashable {
    var topic: String
    var partition: Int32?

    init?(argument: String) {
        // Names of topics have no colons.
        guard let colon = argument.lastIndex(of: ":") else {
            topic = argument
            return
        }
        guard let number = Int32(argument[argument.index(after: colon)...]), number >= 0 else { return nil }
        topic = String(argument[..<colon])
        partition = number
    }
}

extension AdminClient {
    /// The partitions that are named, with their replicas; those of all topics when nothing is named.
    func described(_ names: [PartitionName]) async throws -> [(partition: TopicPartition, description: PartitionDescription)] {
        if names.isEmpty {
            return try await listTopics(includingInternal: true).flatMap { topic in
                topic.partitions.map { (TopicPartition(topic.name, $0.partition), $0) }
            }
        }
        let topics = try await describeTopics(Array(Set(names.map(\.topic))).sorted()).values()
        var found: [(partition: TopicPartition, description: PartitionDescription)] = []
        for topic in topics {
            let numbers = names.filter { $0.topic == topic.name }.map(\.partition)
            for case let number? in numbers where !topic.partitions.contains(where: { $0.partition == number }) {
                throw CommandFailure("topic '\(topic.name)' has partitions 0 to \(topic.partitions.count - 1), not \(number)")
            }
            for partition in topic.partitions where numbers.contains(nil) || numbers.contains(partition.partition) {
                found.append((TopicPartition(topic.name, partition.partition), partition))
            }
        }
        return found
    }
}

struct PartitionListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List partitions with leaders and replicas, or only those in some condition.")

    @Argument(help: "Topics, or partitions as topic:number; all when nothing is named.")
    var partitions: [PartitionName] = []

    @Flag(help: "Only those that lack in-sync replicas.")
    var underReplicated = false

    @Flag(help: "Only those without a leader.")
    var leaderless = false

    @Flag(help: "Only those whose leader is not the first of their replicas.")
    var notPreferred = false

    @Flag(help: "Only those that are being moved.")
    var reassigning = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (all, moving) = try await cluster.withAdmin { admin in
            let all = try await admin.described(partitions)
            // Without reassignments in the answer only the columns about them are missing.
            let moving = reassigning ? try await admin.listPartitionReassignments() : (try? await admin.listPartitionReassignments()) ?? []
            return (all, Dictionary(moving.map { ($0.partition, $0) }, uniquingKeysWith: { first, _ in first }))
        }
        let shown = all.filter { partition, description in
            (!underReplicated || description.inSyncReplicas.count < description.replicas.count)
                && (!leaderless || description.leader == nil) && (!reassigning || moving[partition] != nil)
                && (!notPreferred || description.leader != description.replicas.first)
        }
        var table = TextTable("PARTITION", ">LEADER", ">EPOCH", "REPLICAS", "IN SYNC", "OFFLINE", "ADDING", "REMOVING")
        for (partition, description) in shown {
            table.add(
                "\(partition)", description.leader.map { "\($0)" } ?? "none", "\(description.leaderEpoch)",
                BrokerList.text(description.replicas), BrokerList.text(description.inSyncReplicas),
                BrokerList.text(description.offlineReplicas), BrokerList.text(moving[partition]?.addingReplicas ?? []),
                BrokerList.text(moving[partition]?.removingReplicas ?? []))
        }
        let none = all.isEmpty ? "There are no partitions." : "None of \(all.count) partitions is in that condition."
        output.show(
            .array(
                shown.map { partition, description in
                    [
                        "topic": .string(partition.topic), "partition": .whole(partition.partition),
                        "leader": .optional(description.leader), "leaderEpoch": .whole(description.leaderEpoch),
                        "replicas": .integers(description.replicas), "inSyncReplicas": .integers(description.inSyncReplicas),
                        "offlineReplicas": .integers(description.offlineReplicas),
                        "addingReplicas": .integers(moving[partition]?.addingReplicas ?? []),
                        "removingReplicas": .integers(moving[partition]?.removingReplicas ?? []),
                    ]
                }), shown.isEmpty ? none : table.text)
    }
}

/// Broker ids separated by commas.
struct BrokerList: Hashable {
    var brokers: [Int32]

    /// - Throws: what is wrong with the argument.
    init(parsing argument: String) throws {
        brokers = []
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            guard let id = Int32(part), id >= 0 else {
                throw ValidationError("'\(part)' is no broker's id; ids are whole numbers, separated by commas")
            }
            guard !brokers.contains(id) else { throw ValidationError("broker \(id) is named twice") }
            brokers.append(id)
        }
    }

    static func text(_ brokers: [Int32]) -> String { brokers.map { "\($0)" }.joined(separator: ",") }
}

struct PartitionElectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "elect", abstract: "Give partitions back to their preferred leaders, or one to those that have none.")

    @Argument(help: "Topics, or partitions as topic:number.")
    var partitions: [PartitionName] = []

    @Flag(help: "All partitions of the cluster.")
    var all = false

    @Flag(help: "Let a replica lead that may lack records, where no other is left. Those records are lost.")
    var unclean = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if partitions.isEmpty != all { throw ValidationError("Name topics or partitions, or say --all.") }
    }

    func run() async throws {
        if unclean { try Confirmation.ask("Elect leaders that may lack acknowledged records, which are then lost?", unless: yes) }
        let outcomes = try await cluster.withAdmin { admin in
            // Named one by one also when all are meant, so that the answer says of each what became of it.
            let named = try await admin.described(partitions).filter { unclean ? $0.description.leader == nil : true }.map(\.partition)
            // A controller refuses requests that change more partitions than that.
            var outcomes: [Outcome<TopicPartition, Bool>] = []
            for start in stride(from: 0, to: named.count, by: 10_000) {
                let some = Array(named[start..<min(start + 10_000, named.count)])
                outcomes += try await admin.electLeaders(unclean ? .unclean : .preferred, some)
            }
            return outcomes
        }
        if outcomes.isEmpty, !output.json { Terminal.print("Every partition has a leader.") }
        try output.report(
            outcomes.sorted { $0.item < $1.item }, "partition", members: { [("elected", .bool($0))] },
            text: { $1 ? "\($0) has a new leader." : "\($0) is led by the right one already." })
    }
}
