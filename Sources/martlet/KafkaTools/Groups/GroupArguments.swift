// What the tools of consumer, share and streams groups have in common: topics and states as arguments, lists of groups, deleted offsets.
import MartletClient
import Primitives

/// Groups of one of the newer kinds, which are listed apart from consumers' groups.
struct TypedGroups {
    /// Kafka's name of the kind, as brokers know it.
    var type: String
    /// The states that such groups have.
    var states: [String]
    let admin: AdminClient

    func all(states: [String] = []) async throws(KafkaError) -> [GroupListing] {
        try await admin.listGroups(states: states, types: [type])
    }

    /// The groups that the command line names.
    func named(_ options: ToolOptions) async throws(KafkaError) -> [String] {
        guard options.has("all-groups") else { return options.values("group") }
        return try await all().map(\.group)
    }

    /// `--list`, with states if wanted.
    func list(_ options: ToolOptions) async throws {
        guard options.has("state") else {
            for group in try await all() { Terminal.print(group.group) }
            return
        }
        let groups = try await all(states: try wanted(options.value("state")))
        let width = groups.map { max(15, $0.group.count) }.max() ?? 15
        Terminal.print(JavaFormat.row([("GROUP", width), ("STATE", 0)]))
        for group in groups { Terminal.print(JavaFormat.row([(group.group, width), (group.state.isEmpty ? "Unknown" : group.state, 0)])) }
    }

    private func wanted(_ text: String?) throws -> [String] {
        guard let text, !text.isEmpty else { return [] }
        return try text.split(separator: ",").map { part in
            let word = String(part).trimmingBlanks.lowercased()
            guard let found = states.first(where: { $0.lowercased() == word }) else {
                throw CommandFailure("Invalid state list '\(text)'. Valid states are: \(states.joined(separator: ", "))")
            }
            return found
        }
    }

    /// `--delete` for the groups named, those left out that cannot be deleted.
    ///
    /// - Parameters:
    ///   - missing: what is said of a group that is none of the kind.
    ///   - title: such as `Share group`.
    func delete(_ names: [String], title: String, missing: (String) -> String) async throws(KafkaError) -> [(String, failure: String?)] {
        let known = try await all()
        var outcomes: [(String, failure: String?)] = []
        for name in names where !outcomes.contains(where: { $0.0 == name }) {
            guard let group = known.first(where: { $0.group == name }) else {
                outcomes.append((name, "java.lang.IllegalArgumentException: \(missing(name))"))
                continue
            }
            guard group.state == "Empty" else {
                outcomes.append((name, "org.apache.kafka.common.errors.GroupNotEmptyException: \(title) '\(name)' is not EMPTY."))
                continue
            }
            outcomes.append((name, try await admin.deleteGroups([name]).first?.error?.javaText))
        }
        return outcomes
    }

    /// Says what became of `--delete`.
    static func show(_ outcomes: [(String, failure: String?)], kind: String, end: String = "") {
        let deleted = outcomes.filter { $0.failure == nil }.map { "'\($0.0)'" }.joined(separator: ", ")
        let failed = outcomes.filter { $0.failure != nil }
        if failed.isEmpty { return Terminal.print("Deletion of requested \(kind) groups (\(deleted)) was successful.") }
        Terminal.print("\nError: Deletion of some \(kind) groups failed:")
        for outcome in failed { Terminal.print("* Group '\(outcome.0)' could not be deleted due to: \(outcome.failure ?? "")") }
        if !deleted.isEmpty { Terminal.print("\nThese \(kind) groups were deleted successfully: \(deleted)\(end)") }
    }
}

/// Deletes offsets of a group of consumers or of a Streams application, and says what became of each.
enum GroupOffsetDeletion {
    static func run(_ group: String, _ partitions: [TopicPartition], _ admin: AdminClient) async {
        var rows: [(partition: TopicPartition, error: KafkaError?)] = []
        do {
            rows = try await admin.deleteGroupOffsets(group, partitions).map { ($0.item, $0.error) }
            let hasFailed = rows.contains { $0.error != nil }
            Terminal.print(
                hasFailed
                    ? "\nError: Encountered some partition-level error, see the follow-up details."
                    : "Request succeeded for deleting offsets from group \(group).")
        } catch {
            let known = ["INVALID_GROUP_ID", "GROUP_ID_NOT_FOUND", "GROUP_AUTHORIZATION_FAILED", "NON_EMPTY_GROUP"].contains(error.codeName)
            Terminal.print("\nError: " + (known ? error.message : "Encountered some unknown error: \(error.codeName)"))
            rows = partitions.map { ($0, error) }
        }
        let width = rows.map(\.partition.topic.count).max().map { max(15, $0) } ?? 15
        Terminal.print("\n" + JavaFormat.row([("TOPIC", width), ("PARTITION", 10), ("STATUS", 15)]))
        for (partition, error) in rows.sorted(by: { $0.partition < $1.partition }) {
            let status = error.map { "Error: \($0.javaText)" } ?? "Successful"
            Terminal.print(JavaFormat.row([(partition.topic, width), ("\(partition.partition)", 10), (status, 15)]))
        }
    }
}

/// `topic` and `topic:0,1,2` as arguments.
enum TopicArguments {
    static func partitions(_ arguments: [String], _ admin: AdminClient) async throws -> [TopicPartition] {
        var partitions: [TopicPartition] = []
        for argument in arguments {
            let parts = argument.split(separator: ":", omittingEmptySubsequences: false)
            if parts.count == 1 {
                let topic = try await admin.describeTopics([argument]).values()
                partitions += topic.flatMap { topic in topic.partitions.map { TopicPartition(topic.name, $0.partition) } }
                continue
            }
            guard parts.count == 2 else {
                throw CommandFailure("Invalid topic arg '\(argument)', expected topic name and partitions")
            }
            for part in parts[1].split(separator: ",") {
                guard let number = Int32(part) else {
                    throw CommandFailure("Invalid partition '\(part)' specified in topic arg '\(argument)''")
                }
                partitions.append(TopicPartition(String(parts[0]), number))
            }
        }
        return partitions
    }
}
