// `martlet partition move`: replicas to another directory of the same broker.
import ArgumentParser
import MartletClient
import Primitives

struct PartitionMoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "move", abstract: "Move replicas to another directory of their broker.",
        discussion: """
            The copy is made while the broker serves the partition; the command waits until it has taken the place of the original. Ctrl-C stops
            the waiting, not the move. `martlet cluster log-dirs --partitions` shows what is being moved.
            replica.alter.log.dirs.io.max.bytes.per.second bounds how fast it goes.

              martlet partition move orders:0 orders:1 --broker 2 --directory /data/second
            """)

    @Argument(help: "Topics, or partitions as topic:number.")
    var partitions: [PartitionName]

    @Option(help: "The broker whose replicas are moved.")
    var broker: Int32

    @Option(help: "One of the broker's log.dirs.")
    var directory: String

    @Flag(inversion: .prefixedNo, help: "Wait until all are there.")
    var wait = true

    @OptionGroup var cluster: ClusterOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let moved = try await cluster.withAdmin { admin -> [TopicPartition] in
            try await admin.checkBrokers([broker])
            let wanted = try await admin.described(partitions).filter { $0.description.replicas.contains(broker) }.map(\.partition)
            guard !wanted.isEmpty else { throw CommandFailure("broker \(broker) has no replica of these partitions") }
            let outcomes = try await admin.alterReplicaLogDirectories(of: wanted, on: broker, to: directory)
            for outcome in outcomes {
                if case .failure(let error) = outcome.result { throw CommandFailure("\(outcome.item) cannot be moved: \(error)") }
            }
            if wait { try await waitForAll(wanted, admin) }
            return wanted
        }
        output.show(
            ["broker": .whole(broker), "directory": .string(directory), "partitions": .strings(moved.map(\.description))],
            wait ? "\(moved.count) replicas are in \(directory)." : "\(moved.count) replicas are being moved to \(directory).")
    }

    private func waitForAll(_ wanted: [TopicPartition], _ admin: AdminClient) async throws {
        while true {
            let directories = try await admin.describeLogDirectories(brokers: [broker], partitions: wanted)
            let there = directories.first { $0.path == directory }
            if let error = there?.error { throw CommandFailure("\(directory) is out of service: \(error)") }
            let arrived = Set((there?.replicas ?? []).filter { !$0.isFuture }.map(\.partition))
            let moving = Set((there?.replicas ?? []).filter(\.isFuture).map(\.partition))
            if arrived.isSuperset(of: wanted) { return }
            if let lost = wanted.first(where: { !arrived.contains($0) && !moving.contains($0) }) {
                throw CommandFailure("\(lost) is not moved any more; the broker's log says why")
            }
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}
