// The part of `kafka-reassign-partitions` that is about directories: `log_dirs` in the file, other than `any`.
import MartletClient
import Primitives

/// Moves of replicas between the directories of their brokers.
struct DirectoryMoves {
    /// A replica and the directory that it is to be in.
    struct Move: Hashable {
        var partition: TopicPartition
        var broker: Int32
        var directory: String

        /// As Kafka writes a replica.
        var text: String { "\(partition)-\(broker)" }
    }

    private let admin: AdminClient
    let moves: [Move]

    /// - Parameter items: the partitions of the file.
    init(_ items: [(partition: TopicPartition, item: JSONValue)], _ admin: AdminClient) throws {
        self.admin = admin
        var moves: [Move] = []
        for (partition, item) in items {
            guard let directories = item["log_dirs"]?.arrayValue?.compactMap(\.stringValue) else { continue }
            let replicas = item["replicas"]?.arrayValue?.compactMap { $0.integerValue.flatMap { Int32(exactly: $0) } } ?? []
            guard replicas.count == directories.count else {
                throw CommandFailure(
                    "Error: Size of replicas list [\(replicas.map { "\($0)" }.joined(separator: ", "))] is different from size of log dirs "
                        + "list [\(directories.joined(separator: ", "))] for partition \(partition)")
            }
            for (broker, directory) in zip(replicas, directories) where directory != "any" {
                moves.append(Move(partition: partition, broker: broker, directory: directory))
            }
        }
        self.moves = moves.sorted { ($0.partition, $0.broker) < ($1.partition, $1.broker) }
    }

    private init(_ moves: [Move], _ admin: AdminClient) {
        self.moves = moves
        self.admin = admin
    }

    func throttle(rate: Int) async throws {
        let key = "replica.alter.log.dirs.io.max.bytes.per.second"
        let brokers = Set(moves.map(\.broker)).sorted()
        try await admin.alterConfigs(brokers.map { (ConfigResource.broker($0), [.set(key, "\(rate)")]) }).values()
        Terminal.print("The replica-alter-dir throttle limit was set to \(rate) B/s")
    }

    /// Begins all, and waits for those whose brokers do not have the replica yet.
    func start(timeoutMilliseconds: Int) async throws {
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        var pending = moves
        while true {
            var left: [Move] = []
            for move in pending {
                let outcomes = try await admin.alterReplicaLogDirectories(of: [move.partition], on: move.broker, to: move.directory)
                switch outcomes.first?.result {
                case .success?:
                    Terminal.print(
                        "Successfully started moving log directory to \(move.directory) for replica \(move.partition) with broker "
                            + "\(move.broker) ")
                case .failure(let error)? where error.codeName == "REPLICA_NOT_AVAILABLE": left.append(move)
                case .failure(let error)?: throw CommandFailure("Error: Failed to alter dir for \(move.text)\n\(error.javaText)")
                case nil: throw CommandFailure("Error: broker \(move.broker) said nothing about \(move.text)")
                }
            }
            if left.isEmpty { return }
            if ContinuousClock.now >= deadline {
                throw CommandFailure(
                    "Timed out before log directory move\(left.count == 1 ? "" : "s") could be started for: "
                        + left.map(\.text).joined(separator: ","))
            }
            pending = left
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Where replicas are and where they are going.
    private enum State {
        case missing
        case active(current: String, future: String)
        case elsewhere(String)
        case completed
    }

    private func states() async throws -> [(move: Move, state: State)] {
        guard !moves.isEmpty else { return [] }
        let found = try await admin.describeLogDirectories(
            brokers: Set(moves.map(\.broker)).sorted(), partitions: Set(moves.map(\.partition)).sorted())
        return moves.map { move in
            func directory(isFuture: Bool) -> String? {
                found.first { each in
                    each.broker == move.broker && each.replicas.contains { $0.partition == move.partition && $0.isFuture == isFuture }
                }?.path
            }
            guard let current = directory(isFuture: false) else { return (move, .missing) }
            if let future = directory(isFuture: true) { return (move, .active(current: current, future: future)) }
            return (move, current == move.directory ? .completed : .elsewhere(current))
        }
    }

    /// Prints how far the moves are; false while some are under way.
    func verify() async throws -> Bool {
        var isDone = true
        var lines: [String] = []
        for (move, state) in try await states() {
            switch state {
            case .missing:
                isDone = false
                lines.append(
                    "Partition \(move.partition) is not found in any live log dir on broker \(move.broker). There is likely an offline log "
                        + "directory on the broker.")
            case .active(_, let future):
                isDone = false
                lines.append(
                    future == move.directory
                        ? "Reassignment of replica \(move.text) is still in progress."
                        : "Partition \(move.partition) on broker \(move.broker) is being moved to log dir \(future) instead of "
                            + "\(move.directory).")
            case .elsewhere(let current):
                lines.append(
                    "Partition \(move.partition) on broker \(move.broker) is not being moved from log dir \(current) to \(move.directory).")
            case .completed: lines.append("Reassignment of replica \(move.text) completed successfully.")
            }
        }
        Terminal.print(lines.joined(separator: "\n"))
        return isDone
    }

    /// The way back for those that are under way.
    func back() async throws -> DirectoryMoves {
        let active = try await states().compactMap { move, state -> Move? in
            guard case .active(let current, _) = state else { return nil }
            return Move(partition: move.partition, broker: move.broker, directory: current)
        }
        return DirectoryMoves(active, admin)
    }
}
