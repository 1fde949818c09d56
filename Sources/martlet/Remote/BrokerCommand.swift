// `martlet broker`: the brokers of a cluster, those that are away too.
import ArgumentParser
import MartletClient
import Primitives

struct BrokerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "broker", abstract: "List brokers, forget those that are gone.",
        subcommands: [BrokerListCommand.self, BrokerUnregisterCommand.self])
}

struct BrokerListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the registered brokers with their state and what they hold.")

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let (brokers, holdings) = try await cluster.withAdmin { admin in
            let brokers = try await admin.listRegisteredBrokers()
            return (brokers, BrokerHoldings.all(try await admin.listTopics(includingInternal: true)))
        }
        var table = TextTable(">BROKER", "ADDRESS", "RACK", "STATE", ">LEADS", ">REPLICAS", ">OUT OF SYNC")
        for broker in brokers {
            let holding = holdings[broker.node.id] ?? BrokerHoldings()
            table.add(
                "\(broker.node.id)", "\(broker.node.address)", broker.node.rack ?? "", broker.state, "\(holding.leaders)",
                "\(holding.replicas)", "\(holding.outOfSync)")
        }
        output.show(
            .array(
                brokers.map { broker in
                    let holding = holdings[broker.node.id] ?? BrokerHoldings()
                    return [
                        "id": .whole(broker.node.id), "host": .string(broker.node.host), "port": .whole(broker.node.port),
                        "rack": .optional(broker.node.rack), "state": .string(broker.state), "leaders": .whole(holding.leaders),
                        "replicas": .whole(holding.replicas), "outOfSync": .whole(holding.outOfSync),
                    ]
                }), table.text)
    }
}

/// What a broker holds.
struct BrokerHoldings {
    var leaders = 0
    var replicas = 0
    var outOfSync = 0

    static func all(_ topics: [TopicDescription]) -> [Int32: BrokerHoldings] {
        var all: [Int32: BrokerHoldings] = [:]
        for partition in topics.flatMap(\.partitions) {
            if let leader = partition.leader { all[leader, default: BrokerHoldings()].leaders += 1 }
            for replica in partition.replicas {
                all[replica, default: BrokerHoldings()].replicas += 1
                if !partition.inSyncReplicas.contains(replica) { all[replica, default: BrokerHoldings()].outOfSync += 1 }
            }
        }
        return all
    }
}

extension RegisteredBroker {
    /// In one word.
    var state: String { isFenced == true ? "fenced" : "alive" }
}

struct BrokerUnregisterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unregister", abstract: "Make the cluster forget a broker that is gone for good.")

    private static let patienceMilliseconds: Int64 = 5000

    @Argument(help: "The broker's id.")
    var broker: Int32

    @Flag(help: "Even if replicas lie on it; they count as lost.")
    var force = false

    @Flag(name: .shortAndLong, help: "Do not ask.")
    var yes = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        try await cluster.withAdmin { admin in
            let brokers = try await brokersOnceAway(admin)
            let known = brokers.first { $0.node.id == broker }
            // Clusters before 4.0 do not list brokers that are away, so one that is not listed may yet be registered.
            if known == nil, brokers.allSatisfy({ $0.isFenced != nil }) {
                let ids = brokers.map { "\($0.node.id)" }.joined(separator: ", ")
                throw CommandFailure("there is no broker \(broker); the cluster has \(ids)")
            }
            if let known, known.isFenced != true {
                throw CommandFailure(
                    "broker \(broker) is alive and would register again at once; move its partitions away (martlet partition reassign "
                        + "--drain \(broker)), then stop it")
            }
            let holding = BrokerHoldings.all(try await admin.listTopics(includingInternal: true))[broker] ?? BrokerHoldings()
            guard holding.replicas == 0 || force else {
                throw CommandFailure(
                    "\(holding.replicas) partitions have a replica on broker \(broker); move them away first (martlet partition reassign "
                        + "--drain \(broker)), or use --force")
            }
            try Confirmation.ask("Forget broker \(broker)?", unless: yes)
            try await admin.unregisterBroker(broker)
        }
        output.show(["id": .whole(broker)], "The cluster has forgotten broker \(broker).")
    }

    /// The registered brokers. The one that is asked may hear a little later that a broker has stopped, so that one which still seems to
    /// be alive is asked about for some seconds.
    private func brokersOnceAway(_ admin: AdminClient) async throws -> [RegisteredBroker] {
        let deadline = SystemClock.monotonicMilliseconds() + Self.patienceMilliseconds
        while true {
            let brokers = try await admin.listRegisteredBrokers()
            let isAlive = brokers.contains { $0.node.id == broker && $0.isFenced != true }
            if !isAlive || SystemClock.monotonicMilliseconds() >= deadline { return brokers }
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}
