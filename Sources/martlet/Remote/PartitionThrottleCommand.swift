// `martlet partition throttle`: how much of the network brokers may use to copy replicas (KIP-73).
import ArgumentParser
import MartletClient
import Primitives

struct PartitionThrottleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "throttle", abstract: "Limit what brokers send and take to copy replicas, or take the limit away.",
        discussion: """
            Counts for replicas that are not in sync and for partitions that are being moved. Without options it shows what is in force.

              martlet partition throttle orders --rate 50000000
              martlet partition throttle --off
            """)

    @Argument(help: "Topics whose replicas are limited; all when nothing is named.")
    var topics: [String] = []

    @Option(help: "Bytes a second, for each broker and each direction.")
    var rate: Int64?

    @Flag(help: "Take the limit away.")
    var off = false

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if rate != nil, off { throw ValidationError("--rate and --off exclude each other.") }
        if let rate, rate < 1 { throw ValidationError("--rate is at least 1.") }
    }

    func run() async throws {
        let state = try await cluster.withAdmin { admin in
            let throttle = ReplicationThrottle(admin)
            if rate != nil || off {
                var named = topics
                if named.isEmpty { named = try await admin.listTopics(includingInternal: true).map(\.name) }
                if let rate { try await throttle.set(rate: rate, topics: named) } else { try await throttle.clear(topics: Set(named)) }
            }
            return try await throttle.inForce()
        }
        var table = TextTable(">BROKER", ">SENDS AT MOST", ">TAKES AT MOST")
        for (broker, rates) in state.brokers {
            table.add("\(broker)", rates.leader.map { "\($0) B/s" } ?? "-", rates.follower.map { "\($0) B/s" } ?? "-")
        }
        let limited = state.topics.isEmpty ? "No topic is limited." : "Limited topics: \(state.topics.joined(separator: ", "))"
        output.show(
            [
                "brokers": .array(
                    state.brokers.map {
                        ["broker": .whole($0.0), "leaderRate": .optional($0.1.leader), "followerRate": .optional($0.1.follower)]
                    }),
                "topics": .strings(state.topics),
            ], table.text + "\n" + limited)
    }
}

/// The settings behind a throttle: rates of brokers, and which of a topic's replicas they are for.
struct ReplicationThrottle {
    private static let rates = ["leader.replication.throttled.rate", "follower.replication.throttled.rate"]
    private static let replicas = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"]

    private let admin: AdminClient

    init(_ admin: AdminClient) { self.admin = admin }

    /// For all replicas of topics.
    func set(rate: Int64, topics: [String]) async throws {
        try await limit(topics.map { (.topic($0), Self.replicas.map { .set($0, "*") }) })
        try await limit(brokers { Self.rates.map { .set($0, "\(rate)") } })
    }

    /// For what a reassignment copies: whoever has a replica sends, whoever gets one takes.
    func set(rate: Int64, moves: [ReassignmentPlan.Move]) async throws {
        var sending: [String: [String]] = [:]
        var taking: [String: [String]] = [:]
        for move in moves {
            let name = move.partition
            sending[name.topic, default: []] += move.before.map { "\(name.partition):\($0)" }
            taking[name.topic, default: []] += move.adding.map { "\(name.partition):\($0)" }
        }
        let changes: [(ConfigResource, [ConfigChange])] = sending.keys.sorted().map { topic in
            (
                .topic(topic),
                [
                    .set(Self.replicas[0], (sending[topic] ?? []).joined(separator: ",")),
                    .set(Self.replicas[1], (taking[topic] ?? []).joined(separator: ",")),
                ]
            )
        }
        try await limit(changes)
        try await limit(brokers { Self.rates.map { .set($0, "\(rate)") } })
    }

    func clear(topics: Set<String>) async throws {
        try await limit(brokers { Self.rates.map { .delete($0) } })
        try await limit(topics.sorted().map { (.topic($0), Self.replicas.map { .delete($0) }) })
    }

    func inForce() async throws -> (brokers: [(Int32, (leader: Int64?, follower: Int64?))], topics: [String]) {
        var rates: [(Int32, (leader: Int64?, follower: Int64?))] = []
        for broker in try await admin.describeCluster().brokers.map(\.id).sorted() {
            let settings = try await admin.describeConfigs([.broker(broker)], names: Self.rates).values().flatMap(\.self)
            let found = Self.rates.map { name in
                settings.first { $0.name == name && !$0.isDefault }.flatMap { $0.value.flatMap { Int64($0) } }
            }
            rates.append((broker, (found[0], found[1])))
        }
        let names = try await admin.listTopics(includingInternal: true).map(\.name)
        var limited: [String] = []
        for start in stride(from: 0, to: names.count, by: 500) {
            let some = names[start..<min(start + 500, names.count)].map { ConfigResource.topic($0) }
            for outcome in try await admin.describeConfigs(some, names: Self.replicas) {
                guard case .success(let settings) = outcome.result else { continue }
                if settings.contains(where: { $0.source == .topic && !($0.value ?? "").isEmpty }) { limited.append(outcome.item.name) }
            }
        }
        return (rates, limited.sorted())
    }

    private func brokers(_ changes: () -> [ConfigChange]) async throws -> [(ConfigResource, [ConfigChange])] {
        try await admin.describeCluster().brokers.map { (.broker($0.id), changes()) }
    }

    private func limit(_ changes: [(ConfigResource, [ConfigChange])]) async throws {
        guard !changes.isEmpty else { return }
        try await admin.alterConfigs(changes.map { (resource: $0.0, changes: $0.1) }).values()
    }
}
