// Topics: list, describe, create, delete, grow.
import KafkaMessages
import KafkaWire
import Primitives

/// A topic to create.
public struct NewTopic: Hashable, Sendable {
    public var name: String
    /// -1 for the broker's default. Ignored when ``assignments`` is not empty.
    public var partitions: Int32
    /// -1 for the broker's default. Ignored when ``assignments`` is not empty.
    public var replicationFactor: Int16
    /// Brokers by partition, for placement by hand.
    public var assignments: [Int32: [Int32]] = [:]
    /// Settings that differ from the broker's defaults, in the order given.
    public var configs: [(name: String, value: String?)] {
        get { storedConfigs.map { ($0.name, $0.value) } }
        set { storedConfigs = newValue.map { Config(name: $0.name, value: $0.value) } }
    }

    private struct Config: Hashable, Sendable {
        var name: String
        var value: String?
    }

    private var storedConfigs: [Config] = []

    public init(
        _ name: String, partitions: Int32 = -1, replicationFactor: Int16 = -1, configs: [(name: String, value: String?)] = []
    ) {
        self.name = name
        self.partitions = partitions
        self.replicationFactor = replicationFactor
        self.configs = configs
    }

    var request: CreateTopicsRequest.CreatableTopic {
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions = assignments.isEmpty ? partitions : -1
        topic.replicationFactor = assignments.isEmpty ? replicationFactor : -1
        topic.assignments = assignments.sorted { $0.key < $1.key }.map { partition, brokers in
            var assignment = CreateTopicsRequest.CreatableReplicaAssignment()
            assignment.partitionIndex = partition
            assignment.brokerIds = brokers
            return assignment
        }
        topic.configs = storedConfigs.map { entry in
            var config = CreateTopicsRequest.CreatableTopicConfig()
            config.name = entry.name
            config.value = entry.value
            return config
        }
        return topic
    }
}

/// A topic as it was created, or would have been.
public struct CreatedTopic: Hashable, Sendable {
    public var name: String
    public var topicID: KafkaUUID
    /// -1 where the broker does not say.
    public var partitions: Int32
    public var replicationFactor: Int16
}

extension AdminClient {
    /// All topics, by name.
    ///
    /// - Parameter includingInternal: also Kafka's own, such as `__consumer_offsets`.
    public func listTopics(includingInternal: Bool = false) async throws(KafkaError) -> [TopicDescription] {
        let response = try await cluster.retrying { () throws(KafkaError) in
            try await self.cluster.requestMetadata(topics: nil, allowAutoCreation: false)
        }
        return response.topics.compactMap { topic in
            guard topic.errorCode == .none, let name = topic.name, includingInternal || !topic.isInternal else { return nil }
            return TopicDescription(topic, name: name)
        }.sorted { $0.name < $1.name }
    }

    /// Topics with partitions, leaders and replicas. A topic that the broker does not know is asked for some times more: a broker hears of
    /// what was created a moment later than whoever created it.
    public func describeTopics(_ names: [String]) async throws(KafkaError) -> [Outcome<String, TopicDescription>] {
        guard !names.isEmpty else { return [] }
        return try await retryingOutcomes { () throws(KafkaError) in
            let response = try await self.cluster.requestMetadata(topics: names, allowAutoCreation: false)
            return names.map { name in
                guard let topic = response.topics.first(where: { $0.name == name }) else {
                    return Outcome(item: name, result: .failure(KafkaError(.unknownTopicOrPartition, about: "topic '\(name)'")))
                }
                return Outcome(
                    item: name, result: topic.errorCode.result(TopicDescription(topic, name: name), about: "topic '\(name)'"))
            }
        }
    }

    /// Creates topics.
    ///
    /// - Parameter validateOnly: checks everything and creates nothing.
    @discardableResult
    public func createTopics(
        _ topics: [NewTopic], validateOnly: Bool = false
    ) async throws(KafkaError) -> [Outcome<String, CreatedTopic>] {
        var request = CreateTopicsRequest()
        request.topics = topics.map(\.request)
        request.timeoutMs = timeoutMilliseconds
        request.validateOnly = validateOnly
        return try await retryingOutcomes { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            return response.topics.map { topic in
                let created = CreatedTopic(
                    name: topic.name, topicID: topic.topicId, partitions: topic.numPartitions, replicationFactor: topic.replicationFactor)
                return Outcome(
                    item: topic.name, result: topic.errorCode.result(created, topic.errorMessage, about: "topic '\(topic.name)'"))
            }
        }
    }

    /// Deletes topics with their records.
    @discardableResult
    public func deleteTopics(_ names: [String]) async throws(KafkaError) -> [Outcome<String, Void>] {
        var request = DeleteTopicsRequest()
        request.timeoutMs = timeoutMilliseconds
        // Both forms are filled in: which of them is written depends on the version.
        request.topicNames = names
        request.topics = names.map { name in
            var topic = DeleteTopicsRequest.DeleteTopicState()
            topic.name = name
            return topic
        }
        return try await retryingOutcomes { [request] () throws(KafkaError) in
            let connection = try await self.cluster.connection(to: .controller)
            var request = request
            if try connection.versions.version(of: .deleteTopics) < 6 { request.topics = [] }
            let response = try await connection.send(request, timeout: self.cluster.configuration.requestTimeout)
            for name in names { self.cluster.loseInterest(in: name) }
            return response.responses.map { topic in
                let name = topic.name ?? topic.topicId.description
                return Outcome(item: name, result: topic.errorCode.result((), topic.errorMessage, about: "topic '\(name)'"))
            }
        }
    }

    /// Raises the number of partitions of topics.
    ///
    /// - Parameter totals: topic and the number of partitions it is to have in all.
    @discardableResult
    public func createPartitions(
        _ totals: [(topic: String, count: Int32)], validateOnly: Bool = false
    ) async throws(KafkaError) -> [Outcome<String, Void>] {
        try await createPartitions(totals.map { ($0.topic, $0.count, nil) }, validateOnly: validateOnly)
    }

    /// Raises the number of partitions of topics, with the brokers of the new ones placed by hand where they are given.
    @discardableResult
    public func createPartitions(
        _ totals: [(topic: String, count: Int32, assignments: [[Int32]]?)], validateOnly: Bool = false
    ) async throws(KafkaError) -> [Outcome<String, Void>] {
        var request = CreatePartitionsRequest()
        request.timeoutMs = timeoutMilliseconds
        request.validateOnly = validateOnly
        request.topics = totals.map { name, count, assignments in
            var topic = CreatePartitionsRequest.CreatePartitionsTopic()
            topic.name = name
            topic.count = count
            topic.assignments = assignments?.map { brokers in
                var assignment = CreatePartitionsRequest.CreatePartitionsAssignment()
                assignment.brokerIds = brokers
                return assignment
            }
            return topic
        }
        return try await retryingOutcomes { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: .controller)
            return response.results.map { topic in
                Outcome(item: topic.name, result: topic.errorCode.result((), topic.errorMessage, about: "topic '\(topic.name)'"))
            }
        }
    }
}
