// DescribeTopicPartitions: topics page by page, with eligible leader replicas (KIP-966).
import ClusterMetadata
import Controlling
import KafkaMessages
import KafkaWire
import Primitives

extension BrokerServices {
    func describeTopicPartitions(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeTopicPartitionsRequest.self)
        let view = ClusterView(image: image, listenerName: context.listenerName)
        let first = request.cursor?.topicName ?? ""
        let asksForAll = request.topics.isEmpty
        let asked = asksForAll ? view.image.topics.all.map(\.name) : request.topics.map(\.name)
        let access = access(context)
        // What is listed without being asked for is left out where it may not be seen.
        let visible = Set(asked.filter { access.allows(.describe, .topic, $0, isLogged: !asksForAll) })
        let names = Set(asked).filter { $0 >= first && (visible.contains($0) || !asksForAll) }.sorted()
        if let cursor = request.cursor, !asksForAll, !names.contains(cursor.topicName) {
            return context.responder.send(invalidCursor(asked))
        }
        if let cursor = request.cursor, cursor.partitionIndex < 0 {
            return context.responder.send(invalidCursor(asked))
        }
        var remaining = max(1, min(Int(request.responsePartitionLimit), configuration.network.maxRequestPartitionSizeLimit))
        var response = DescribeTopicPartitionsResponse()
        for name in names {
            guard remaining > 0 else {
                response.nextCursor = .at(name, 0)
                break
            }
            guard visible.contains(name) else {
                response.topics.append(deniedTopic(name))
                continue
            }
            guard let topic = view.image.topics.topic(named: name) else {
                if !asksForAll { response.topics.append(unknownTopic(name, access)) }
                continue
            }
            let start = name == first ? Int(request.cursor?.partitionIndex ?? 0) : 0
            let page = topic.partitions.dropFirst(start).prefix(remaining)
            response.topics.append(describe(topic, page, view, access))
            remaining -= page.count
            if start + page.count < topic.partitions.count {
                response.nextCursor = .at(name, Int32(start + page.count))
                break
            }
        }
        context.responder.send(response)
    }

    /// A cursor that does not lie within the topics asked for: every topic is refused, as Kafka does.
    private func invalidCursor(_ names: [String]) -> DescribeTopicPartitionsResponse {
        var response = DescribeTopicPartitionsResponse()
        response.topics = names.map { name in
            var answer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic()
            answer.errorCode = .invalidRequest
            answer.name = name
            return answer
        }
        return response
    }

    private func deniedTopic(_ name: String) -> DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic {
        var answer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic()
        answer.errorCode = .topicAuthorizationFailed
        answer.name = name
        return answer
    }

    private func unknownTopic(_ name: String, _ access: Access) -> DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic {
        var answer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic()
        answer.errorCode = topicNameProblem(name) == nil ? .unknownTopicOrPartition : .invalidTopicException
        answer.name = name
        answer.isInternal = TopicName.isInternal(name)
        answer.topicAuthorizedOperations = access.operations(on: .topic, name)
        return answer
    }

    private func describe(
        _ topic: TopicImage, _ partitions: ArraySlice<PartitionImage>, _ view: ClusterView, _ access: Access
    ) -> DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic {
        var answer = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic()
        answer.name = topic.name
        answer.topicId = topic.id
        answer.isInternal = TopicName.isInternal(topic.name)
        answer.topicAuthorizedOperations = access.operations(on: .topic, topic.name)
        answer.partitions = partitions.map { partition in
            var entry = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition()
            entry.partitionIndex = partition.index
            entry.leaderId = view.node(partition.leader)?.id ?? PartitionImage.noLeader
            entry.leaderEpoch = partition.leaderEpoch
            entry.replicaNodes = partition.replicas
            entry.isrNodes = partition.isr
            entry.eligibleLeaderReplicas = partition.eligibleLeaderReplicas
            entry.lastKnownElr = partition.lastKnownElr
            entry.offlineReplicas = view.offlineReplicas(partition)
            return entry
        }
        return answer
    }
}

extension DescribeTopicPartitionsResponse.Cursor {
    fileprivate static func at(_ topic: String, _ partition: Int32) -> Self {
        var cursor = Self()
        cursor.topicName = topic
        cursor.partitionIndex = partition
        return cursor
    }
}
