// `kafka-topics --describe`: the lines of a topic and of its partitions.
import KafkaMessages
import KafkaWire
import MartletClient
import Primitives

struct TopicsDescription {
    let options: ToolOptions
    let admin: AdminClient

    private typealias Partition = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition
    private typealias Topic = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic

    private var wantsEveryPartition: Bool {
        !["unavailable-partitions", "under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions"]
            .contains { options.has($0) }
    }

    func run() async throws {
        let names = try await names()
        guard !names.isEmpty else { return }
        let topics = try await describe(names)
        let settings = try await admin.describeConfigs(topics.map { .topic($0.name ?? "") })
        let alive = Set(try await admin.describeCluster().brokers.map(\.id))
        let moving = Dictionary(
            try await admin.listPartitionReassignments().map { ($0.partition, $0) }, uniquingKeysWith: { first, _ in first })
        for topic in topics {
            let name = topic.name ?? ""
            let configs = try settings.first { $0.item.name == name }?.result.get() ?? []
            show(topic, name, configs, alive: alive, moving: moving)
        }
    }

    private func names() async throws -> [String] {
        if let text = options.value("topic-id"), let id = KafkaUUID(text), id != .zero {
            let topics = try await admin.listTopics(includingInternal: !options.has("exclude-internal"))
            guard let topic = topics.first(where: { $0.topicID == id }) else {
                if options.has("if-exists") { return [] }
                throw CommandFailure("TopicId '\(text)' does not exist as expected")
            }
            return [topic.name]
        }
        return try await TopicsTool.existing(options, admin)
    }

    /// Asks for some partitions at a time (KIP-966).
    private func describe(_ names: [String]) async throws(KafkaError) -> [Topic] {
        var topics: [Topic] = []
        var request = DescribeTopicPartitionsRequest()
        request.responsePartitionLimit = Int32(clamping: options.integer("partition-size-limit-per-response") ?? 2000)
        request.topics = names.map { name in
            var topic = DescribeTopicPartitionsRequest.TopicRequest()
            topic.name = name
            return topic
        }
        repeat {
            let response = try await admin.cluster.retrying { [request] () throws(KafkaError) in
                try await admin.cluster.send(request, to: .any)
            }
            for topic in response.topics {
                try topic.errorCode.check()
                if topics.last?.name == topic.name {
                    topics[topics.count - 1].partitions += topic.partitions
                } else {
                    topics.append(topic)
                }
            }
            request.cursor = response.nextCursor.map { next in
                var cursor = DescribeTopicPartitionsRequest.Cursor()
                cursor.topicName = next.topicName
                cursor.partitionIndex = next.partitionIndex
                return cursor
            }
            if let cursor = request.cursor { request.topics.removeAll { $0.name < cursor.topicName } }
        } while request.cursor != nil
        return topics
    }

    private func show(
        _ topic: Topic, _ name: String, _ configs: [ConfigSetting], alive: Set<Int32>, moving: [TopicPartition: OngoingReassignment]
    ) {
        let partitions = topic.partitions.sorted { $0.partitionIndex < $1.partitionIndex }
        let own = configs.filter { $0.source != .defaultConfig }
        if wantsEveryPartition, !options.has("topics-with-overrides") || !own.isEmpty, let first = partitions.first {
            let factor = replicationFactor(first, moving[TopicPartition(name, first.partitionIndex)])
            Terminal.print(
                "Topic: \(name)" + (topic.topicId == .zero ? "" : "\tTopicId: \(topic.topicId)")
                    + "\tPartitionCount: \(partitions.count)\tReplicationFactor: \(factor)\tConfigs: "
                    + own.map { "\($0.name)=\($0.value ?? "null")" }.joined(separator: ","))
        }
        guard !options.has("topics-with-overrides") else { return }
        let minimum = configs.first { $0.name == "min.insync.replicas" }?.value.flatMap { Int($0) } ?? 1
        for partition in partitions {
            let reassignment = moving[TopicPartition(name, partition.partitionIndex)]
            guard isWanted(partition, reassignment, minimum: minimum, alive: alive) else { continue }
            show(partition, of: name, reassignment)
        }
    }

    private func isWanted(_ partition: Partition, _ reassignment: OngoingReassignment?, minimum: Int, alive: Set<Int32>) -> Bool {
        let inSync = partition.isrNodes.count
        let hasLeader = partition.leaderId >= 0
        return wantsEveryPartition
            || options.has("under-replicated-partitions") && replicationFactor(partition, reassignment) > inSync
            || options.has("unavailable-partitions") && !(hasLeader && alive.contains(partition.leaderId))
            || options.has("under-min-isr-partitions") && (!hasLeader || inSync < minimum)
            || options.has("at-min-isr-partitions") && inSync == minimum
    }

    /// Replicas that the partition has when a move in progress is left out.
    private func replicationFactor(_ partition: Partition, _ reassignment: OngoingReassignment?) -> Int {
        guard let reassignment else { return partition.replicaNodes.count }
        let changing = reassignment.addingReplicas + reassignment.removingReplicas
        return partition.replicaNodes.contains { changing.contains($0) }
            ? reassignment.replicas.count - reassignment.addingReplicas.count : partition.replicaNodes.count
    }

    private func show(_ partition: Partition, of topic: String, _ reassignment: OngoingReassignment?) {
        var line = "\tTopic: \(topic)\tPartition: \(partition.partitionIndex)"
        line += "\tLeader: \(partition.leaderId >= 0 ? "\(partition.leaderId)" : "none")"
        line += "\tReplicas: \(Self.list(partition.replicaNodes))\tIsr: \(Self.list(partition.isrNodes))"
        if let reassignment {
            line += "\tAdding Replicas: \(Self.list(reassignment.addingReplicas))"
            line += "\tRemoving Replicas: \(Self.list(reassignment.removingReplicas))"
        }
        line += "\tElr: \(partition.eligibleLeaderReplicas.map(Self.list) ?? "N/A")"
        line += "\tLastKnownElr: \(partition.lastKnownElr.map(Self.list) ?? "N/A")"
        Terminal.print(line)
    }

    private static func list(_ brokers: [Int32]) -> String { brokers.map { "\($0)" }.joined(separator: ",") }
}
