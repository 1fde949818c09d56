// Moving replicas between the directories of one broker (KIP-113).
import KafkaMessages
import KafkaWire
import Primitives

extension AdminClient {
    /// Has a broker move its replicas of partitions to one of its directories. Returns when the moves have begun;
    /// ``describeLogDirectories(brokers:partitions:)`` shows how far they are.
    ///
    /// - Parameter directory: as the broker's `log.dirs` has it.
    public func alterReplicaLogDirectories(
        of partitions: [TopicPartition], on broker: Int32, to directory: String
    ) async throws(KafkaError) -> [Outcome<TopicPartition, Void>] {
        var entry = AlterReplicaLogDirsRequest.AlterReplicaLogDir()
        entry.path = directory
        entry.topics = partitions.byTopic().map { name, numbers in
            var topic = AlterReplicaLogDirsRequest.AlterReplicaLogDirTopic()
            topic.name = name
            topic.partitions = numbers
            return topic
        }
        var request = AlterReplicaLogDirsRequest()
        request.dirs = [entry]
        let asked = request
        let response = try await cluster.retrying { () throws(KafkaError) in try await cluster.send(asked, to: .node(broker)) }
        return response.results.flatMap { topic in
            topic.partitions.map {
                Outcome(item: TopicPartition(topic.topicName, $0.partitionIndex), result: $0.errorCode.result((), nil))
            }
        }
    }
}
