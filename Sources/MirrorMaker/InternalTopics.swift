// Making sure that the topics which MirrorMaker keeps its books in exist.
import MartletClient

/// A topic that a flow needs for itself.
struct InternalTopic: Sendable {
    var name: String
    var partitions: Int32 = 1
    var replicationFactor: Int16
    /// The setting that says how many replicas it gets.
    var replicationKey: String
    /// Beside compaction.
    var configs: [(name: String, value: String?)] = []
}

extension AdminClient {
    /// Creates the topic, compacted, unless it exists.
    ///
    /// - Throws: what is wrong, with the setting that would help.
    func ensure(_ topic: InternalTopic) async throws(KafkaError) {
        let new = NewTopic(
            topic.name, partitions: topic.partitions, replicationFactor: topic.replicationFactor,
            configs: [("cleanup.policy", "compact")] + topic.configs)
        guard let outcome = try await createTopics([new]).first, let error = outcome.error else { return }
        switch error.codeName {
        case "TOPIC_ALREADY_EXISTS": return
        case "INVALID_REPLICATION_FACTOR":
            throw KafkaError.invalidContent(
                "topic '\(topic.name)' cannot be created: \(error.message); \(topic.replicationKey) is \(topic.replicationFactor), and each "
                    + "replica needs a broker of its own")
        default: throw error
        }
    }
}
