// `martlet cluster health`: which partitions are in trouble and why, once or for as long as someone looks.
import ArgumentParser
import MartletClient
import Primitives

struct ClusterHealthCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Show what is wrong with the cluster's brokers and partitions, and why.",
        discussion: "Ends with status 1 unless all is well. With --watch it goes on and prints whenever something has changed.")

    @Flag(name: .shortAndLong, help: "Go on looking, until Ctrl-C.")
    var watch = false

    @Flag(help: "Go on looking until all is well, as between the steps of a rolling restart.")
    var untilHealthy = false

    @Option(help: "Seconds between two looks.")
    var interval = 2.0

    @Option(help: "Partitions to list at most.")
    var limit = 50

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard interval >= 0.1, interval <= 3600 else { throw ValidationError("--interval is from 0.1 to 3600 seconds.") }
        guard limit >= 0 else { throw ValidationError("--limit is 0 or more.") }
        if watch, untilHealthy { throw ValidationError("--watch and --until-healthy exclude each other.") }
    }

    func run() async throws {
        let isHealthy = try await cluster.withAdmin { admin in
            guard watch || untilHealthy else {
                let health = try await admin.clusterHealth()
                output.show(view(health).json, view(health).text)
                return health.isHealthy
            }
            return try await follow(admin)
        }
        if !isHealthy, !watch { throw ExitCode.failure }
    }

    private func view(_ health: ClusterHealth) -> ClusterHealthView { ClusterHealthView(health: health, limit: limit) }

    /// Returns whether all was well at the last look.
    private func follow(_ admin: AdminClient) async throws -> Bool {
        Interruption.watch()
        var before = ""
        while !Interruption.isWanted {
            var text: String
            var isHealthy = false
            do throws(KafkaError) {
                let health = try await admin.clusterHealth()
                isHealthy = health.isHealthy
                text = output.json ? view(health).json.text() : view(health).text
            } catch {
                // A cluster in trouble may have nobody who answers; whoever watches wants to see it come back.
                let trouble: JSONValue = ["error": .string(error.codeName), "message": .string(error.explanation)]
                text = output.json ? trouble.text() : "Nobody answers: \(error)"
            }
            if text != before {
                Terminal.print(output.json ? text : "\(TimeText.of(SystemClock.now()))  \(text)\n")
                before = text
            }
            if untilHealthy, isHealthy { return true }
            try Terminal.checkOutput()
            try await Self.pause(seconds: interval)
        }
        return false
    }

    /// In short steps, so that Ctrl-C does not have to wait.
    private static func pause(seconds: Double) async throws {
        let end = SystemClock.monotonicMilliseconds() + Int64(seconds * 1000)
        while SystemClock.monotonicMilliseconds() < end, !Interruption.isWanted { try await Task.sleep(for: .milliseconds(50)) }
    }
}

/// The condition of a cluster as it is shown.
struct ClusterHealthView {
    let health: ClusterHealth
    let limit: Int

    var text: String {
        var lines = [summary]
        for broker in health.brokers where broker.isFenced == true {
            lines.append("Broker \(broker.node.id) at \(broker.node.address) is fenced: it is down, starting or cut off.")
        }
        if health.lacksController {
            lines.append(
                "The metadata quorum has no leader: nothing can be created or changed, no other leader of a partition is elected, and what is "
                    + "shown here may be out of date. Start a majority of the controllers.")
        }
        if !health.troubles.isEmpty, limit > 0 {
            var table = TextTable("PARTITION", "STATE", "IN SYNC", "REASON")
            for trouble in health.troubles.prefix(limit) {
                table.add(
                    "\(trouble.partition)", trouble.state.rawValue,
                    "\(trouble.description.inSyncReplicas.count) of \(trouble.description.replicas.count)", trouble.reason)
            }
            lines.append(table.text)
            if health.troubles.count > limit { lines.append("… and \(health.troubles.count - limit) more (--limit)") }
        }
        return lines.joined(separator: "\n")
    }

    private var summary: String {
        let size =
            "\(health.brokers.count) broker\(health.brokers.count == 1 ? "" : "s"), \(health.topics) topic\(health.topics == 1 ? "" : "s"), "
            + "\(health.partitions) partition\(health.partitions == 1 ? "" : "s")"
        let moving = health.reassignments.isEmpty ? "" : ", \(health.reassignments.count) being moved"
        if health.isHealthy { return "All is well: \(size)\(moving)." }
        let counts = PartitionTrouble.State.allCases.reversed().compactMap { state in
            health.count(state) > 0 ? "\(health.count(state)) \(state.rawValue)" : nil
        }
        let fenced = health.fencedBrokers.isEmpty ? [] : ["\(health.fencedBrokers.count) fenced"]
        let controller = health.lacksController ? ["no controller"] : []
        return "In trouble: \((controller + fenced + counts).joined(separator: ", ")) (of \(size)\(moving))."
    }

    var json: JSONValue {
        [
            "healthy": .bool(health.isHealthy), "brokers": .whole(health.brokers.count),
            "fencedBrokers": .integers(health.fencedBrokers), "controller": .optional(health.quorum?.leaderID),
            "lacksController": .bool(health.lacksController),
            "topics": .whole(health.topics), "partitions": .whole(health.partitions),
            "reassigning": .whole(health.reassignments.count),
            "offline": .whole(health.count(.offline)), "leaderless": .whole(health.count(.leaderless)),
            "underMinIsr": .whole(health.count(.underMinISR)), "underReplicated": .whole(health.count(.underReplicated)),
            "troubles": .array(
                health.troubles.prefix(limit).map { trouble in
                    [
                        "topic": .string(trouble.partition.topic), "partition": .whole(trouble.partition.partition),
                        "state": .string(trouble.state.rawValue), "leader": .optional(trouble.description.leader),
                        "replicas": .integers(trouble.description.replicas),
                        "inSyncReplicas": .integers(trouble.description.inSyncReplicas), "reason": .string(trouble.reason),
                    ]
                }),
        ]
    }
}
