// `kafka-consumer-groups --reset-offsets`: sets offsets of groups without members.
import MartletClient
import Primitives

extension ConsumerGroupsTool {
    static func reset(_ options: ToolOptions, _ admin: AdminClient) async throws {
        let scenario = OffsetScenario(options: options, admin: admin)
        try scenario.require()
        let groups = try await named(options, admin)
        var resets: [(group: String, offsets: NewOffsets)] = []
        for group in groups {
            let state = try await state(of: group, admin)
            guard ["Empty", "Dead"].contains(state) else {
                Terminal.print(
                    "\nError: Assignments can only be reset if the group '\(group)' is inactive, but the current state is \(state).")
                resets.append((group, []))
                continue
            }
            let offsets = try await scenario.offsets(of: group, try await partitions(group, options, admin)) {
                try await admin.listGroupOffsets(group).mapValues(\.offset)
            }
            if options.has("execute") { try await admin.setOffsets(of: group, offsets) }
            resets.append((group, offsets))
        }
        scenario.show(resets)
    }

    private static func state(of group: String, _ admin: AdminClient) async throws(KafkaError) -> String {
        do throws(KafkaError) {
            return try await GroupDetails.of(group, admin).state
        } catch {
            if error.codeName == "GROUP_ID_NOT_FOUND" { return "Dead" }
            throw error
        }
    }

    private static func partitions(_ group: String, _ options: ToolOptions, _ admin: AdminClient) async throws -> [TopicPartition] {
        if options.has("all-topics") { return try await admin.listGroupOffsets(group).keys.sorted() }
        if options.has("topic") { return try await TopicArguments.partitions(options.values("topic"), admin) }
        guard options.has("from-file") else {
            throw CommandFailure("One of the reset scopes should be defined: --all-topics, --topic.")
        }
        return []
    }
}

extension AdminClient {
    /// Sets the offsets of a group without members.
    func setOffsets(of group: String, _ offsets: NewOffsets) async throws(KafkaError) {
        guard !offsets.isEmpty else { return }
        // Topic ids have to be known for the newest version of the request.
        try await cluster.refreshMetadata(topics: Set(offsets.map(\.partition.topic)))
        let values = offsets.map { ($0.partition, CommittedOffset($0.offset)) }
        try await alterGroupOffsets(group, Dictionary(values, uniquingKeysWith: { _, last in last }))
    }
}
