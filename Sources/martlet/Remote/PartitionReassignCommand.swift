// `martlet partition reassign`: moves replicas to other brokers and follows how far that is.
import ArgumentParser
import KafkaMessages
import MartletClient
import Primitives

struct PartitionReassignCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reassign", abstract: "Move partitions' replicas to other brokers, or stop moving them.",
        discussion: """
            Say where to: --replicas for one list by hand, --brokers to spread over these, --drain to empty a broker, --file for a plan as
            Kafka's tools write it. Racks are kept apart, and nothing is moved without need. The command shows progress until all is
            done; Ctrl-C stops looking, not the move.

              martlet partition reassign orders:0 --replicas 2,3,1
              martlet partition reassign orders --brokers 1,2,3,4
              martlet partition reassign --drain 3 --throttle 50000000
              martlet partition reassign orders --cancel
            """)

    @Argument(help: "Topics, or partitions as topic:number; all topics for --drain, --brokers and --cancel when nothing is named.")
    var partitions: [PartitionName] = []

    @Option(help: "Exactly these brokers for each partition, the preferred leader first.", transform: BrokerList.init(parsing:))
    var replicas: BrokerList?

    @Option(help: "Spread over these brokers.", transform: BrokerList.init(parsing:))
    var brokers: BrokerList?

    @Option(help: "Take everything away from these brokers.", transform: BrokerList.init(parsing:))
    var drain: BrokerList?

    @Option(help: "A plan in JSON: {\"partitions\":[{\"topic\":…,\"partition\":…,\"replicas\":[…]}]}.", completion: .file())
    var file: String?

    @Flag(help: "Stop what is under way and go back to the replicas from before.")
    var cancel = false

    @Option(name: .shortAndLong, help: "The number of replicas that each partition is to have.")
    var replicationFactor: Int?

    @Option(help: "Bytes a second that a broker may send or take for it; taken away when all is done.")
    var throttle: Int64?

    @Flag(help: "Show the plan and move nothing.")
    var dryRun = false

    @Flag(help: "Do not wait until all is done.")
    var noWait = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        let ways = [replicas != nil, brokers != nil, drain != nil, file != nil, cancel].filter(\.self).count
        let onlyFactor = ways == 0 && replicationFactor != nil && !partitions.isEmpty
        guard ways == 1 || onlyFactor else {
            throw ValidationError("Say where to: one of --replicas, --brokers, --drain, --file, or --cancel.")
        }
        if replicas != nil, partitions.isEmpty { throw ValidationError("--replicas needs the names of topics or partitions.") }
        if let replicationFactor, replicationFactor < 1 { throw ValidationError("--replication-factor is at least 1.") }
        if replicas != nil || file != nil || cancel, replicationFactor != nil {
            throw ValidationError("--replication-factor goes with --brokers and --drain.")
        }
        if let throttle, throttle < 1 { throw ValidationError("--throttle is a number of bytes a second, at least 1.") }
        if throttle != nil, noWait || cancel {
            throw ValidationError("--throttle is taken away when all is done, which needs waiting; see martlet partition throttle.")
        }
    }

    func run() async throws {
        try await cluster.withAdmin { admin in
            if cancel { return try await stop(admin) }
            let moves = try await plan(admin)
            if moves.isEmpty || dryRun { return show(moves) }
            if !output.json { Terminal.print(Self.table(moves)) }
            if let throttle { try await ReplicationThrottle(admin).set(rate: throttle, moves: moves) }
            let outcomes = try await admin.alterPartitionReassignments(moves.map { ($0.partition, $0.after) })
            let begun = Set(outcomes.filter { $0.error == nil }.map(\.item))
            var isDone = false
            if !noWait {
                if throttle != nil { Interruption.watch() }
                isDone = try await ReassignmentProgress(admin, moves.filter { begun.contains($0.partition) }).wait(quietly: output.json)
                if throttle != nil, isDone || begun.isEmpty {
                    try await ReplicationThrottle(admin).clear(topics: Set(moves.map(\.partition.topic)))
                }
                if throttle != nil, !isDone, !begun.isEmpty {
                    Terminal.complain("The throttle is still in force; `martlet partition throttle --off` takes it away.")
                }
            }
            try output.report(
                outcomes.sorted { $0.item < $1.item }, "partition", members: { [("done", .bool(isDone))] },
                text: { partition, _ in isDone ? "\(partition) is moved." : "\(partition) is being moved." })
        }
    }

    private func stop(_ admin: AdminClient) async throws {
        let ongoing = try await admin.listPartitionReassignments()
        let wanted = ongoing.map(\.partition).filter { partition in
            partitions.isEmpty
                || partitions.contains { $0.topic == partition.topic && ($0.partition ?? partition.partition) == partition.partition }
        }
        if wanted.isEmpty, !output.json { return Terminal.print("Nothing is being moved.") }
        let outcomes = try await admin.alterPartitionReassignments(wanted.map { ($0, nil) })
        try output.report(
            outcomes.sorted { $0.item < $1.item }, "partition", members: { [("cancelled", .bool(true))] },
            text: { partition, _ in "\(partition) stays where it was." })
    }

    private func plan(_ admin: AdminClient) async throws -> [ReassignmentPlan.Move] {
        if let file { return try await fromFile(file, admin) }
        let described = try await admin.described(partitions)
        let current = described.map { (partition: $0.partition, replicas: $0.description.replicas) }
        if let replicas {
            try await admin.checkBrokers(replicas.brokers)
            return current.map { .init(partition: $0.partition, before: $0.replicas, after: replicas.brokers) }
                .filter { $0.before != $0.after }
        }
        if let brokers { try await admin.checkBrokers(brokers.brokers) }
        var allowed = try await admin.describeCluster().brokers
        if let brokers { allowed.removeAll { !brokers.brokers.contains($0.id) } }
        if let drain { allowed.removeAll { drain.brokers.contains($0.id) } }
        let needed = replicationFactor ?? current.map(\.replicas.count).max() ?? 1
        guard allowed.count >= needed else {
            throw CommandFailure("\(needed) replicas need as many brokers, and only \(allowed.count) would be left for them")
        }
        return ReassignmentPlan(
            current, brokers: allowed.map { ($0.id, $0.rack) }, replicationFactor: replicationFactor, balances: brokers != nil
        ).moves
    }

    private func fromFile(_ path: String, _ admin: AdminClient) async throws -> [ReassignmentPlan.Move] {
        let mistake = CommandFailure("\(path) is no plan: {\"partitions\":[{\"topic\":\"t\",\"partition\":0,\"replicas\":[1,2]}]}")
        var reader = try LineReader(path)
        var text: [UInt8] = []
        while let line = try reader.next() { text += line.readableBytesView + [UInt8(ascii: "\n")] }
        guard let json = try? JSONValue(parsing: text), let entries = json["partitions"]?.arrayValue else { throw mistake }
        var targets: [TopicPartition: [Int32]] = [:]
        for entry in entries {
            let replicas = entry["replicas"]?.arrayValue?.map { $0.integerValue.flatMap { Int32(exactly: $0) } } ?? []
            guard let topic = entry["topic"]?.stringValue, let number = entry["partition"]?.integerValue.flatMap({ Int32(exactly: $0) }),
                !replicas.isEmpty, !replicas.contains(nil)
            else { throw mistake }
            targets[TopicPartition(topic, number)] = replicas.compactMap(\.self)
        }
        let names = targets.keys.sorted().compactMap { PartitionName(argument: "\($0.topic):\($0.partition)") }
        guard !names.isEmpty else { return [] }
        return try await admin.described(names).compactMap { partition, description in
            guard let after = targets[partition], after != description.replicas else { return nil }
            return .init(partition: partition, before: description.replicas, after: after)
        }
    }

    private func show(_ moves: [ReassignmentPlan.Move]) {
        output.show(
            .array(
                moves.map { move in
                    [
                        "topic": .string(move.partition.topic), "partition": .whole(move.partition.partition),
                        "before": .integers(move.before), "replicas": .integers(move.after),
                    ]
                }), moves.isEmpty ? "Everything lies there already." : Self.table(moves))
    }

    private static func table(_ moves: [ReassignmentPlan.Move]) -> String {
        var table = TextTable("PARTITION", "NOW", "THEN", "COPIED TO")
        for move in moves {
            table.add("\(move.partition)", BrokerList.text(move.before), BrokerList.text(move.after), BrokerList.text(move.adding))
        }
        return table.text
    }
}

/// Follows reassignments until they are done.
struct ReassignmentProgress {
    private let admin: AdminClient
    private let moves: [ReassignmentPlan.Move]
    /// How long a command goes on until every broker knows; a move that somebody else changed is never told as asked for.
    private static let toldMilliseconds: Int64 = 10_000

    init(_ admin: AdminClient, _ moves: [ReassignmentPlan.Move]) {
        self.admin = admin
        self.moves = moves
    }

    /// Returns whether all are done; false when the person at the terminal did not want to wait.
    func wait(quietly: Bool) async throws -> Bool {
        Interruption.watch()
        var progress = Progress(isWanted: !quietly)
        defer { progress.finish() }
        let ours = Set(moves.map(\.partition))
        while !ours.isEmpty {
            let left = try await admin.listPartitionReassignments().map(\.partition).filter(ours.contains)
            if left.isEmpty { break }
            if Interruption.isWanted { return false }
            let copied = await bytes()
            progress.update { seconds in
                "\(Progress.bar(ours.count - left.count, of: ours.count)) \(ours.count - left.count) of \(ours.count) partitions"
                    + (copied.map { ", \(SizeText.of($0.done)) of \(SizeText.of($0.total)) copied" } ?? "")
                    + ", \(NumberText.fixed(seconds, 0)) s"
            }
            try await Task.sleep(for: .milliseconds(500))
        }
        try await waitUntilTold()
        return true
    }

    /// The controller has ended the moves; brokers learn of it one after the other. A command that comes next may ask any of them, so
    /// this one waits a little until all know.
    private func waitUntilTold() async throws {
        let deadline = SystemClock.monotonicMilliseconds() + Self.toldMilliseconds
        for broker in try await admin.describeCluster().brokers {
            while await !isTold(by: broker.id), SystemClock.monotonicMilliseconds() < deadline, !Interruption.isWanted {
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Whether the broker names exactly the replicas that were asked for; one that does not answer is not waited for.
    private func isTold(by broker: Int32) async -> Bool {
        var request = MetadataRequest()
        request.topics = Set(moves.map(\.partition.topic)).sorted().map { name in
            var topic = MetadataRequest.MetadataRequestTopic()
            topic.name = name
            return topic
        }
        request.allowAutoTopicCreation = false
        guard let answer = try? await admin.cluster.send(request, to: .node(broker)) else { return true }
        var replicas: [TopicPartition: Set<Int32>] = [:]
        for topic in answer.topics {
            for partition in topic.partitions {
                replicas[TopicPartition(topic.name ?? "", partition.partitionIndex)] = Set(partition.replicaNodes)
            }
        }
        return moves.allSatisfy { replicas[$0.partition] == Set($0.after) }
    }

    /// What the brokers that take replicas have of them, and what they are to have; nil where nobody says.
    private func bytes() async -> (done: Int64, total: Int64)? {
        guard Terminal.showsProgress, let directories = try? await admin.describeLogDirectories() else { return nil }
        var sizes: [TopicPartition: [Int32: Int64]] = [:]
        for directory in directories {
            for replica in directory.replicas where !replica.isFuture {
                sizes[replica.partition, default: [:]][directory.broker] = replica.size
            }
        }
        var done: Int64 = 0
        var total: Int64 = 0
        for move in moves {
            let whole = move.before.compactMap { sizes[move.partition]?[$0] }.max() ?? 0
            for broker in move.adding {
                total += whole
                done += min(whole, sizes[move.partition]?[broker] ?? 0)
            }
        }
        return total > 0 ? (done, total) : nil
    }
}
