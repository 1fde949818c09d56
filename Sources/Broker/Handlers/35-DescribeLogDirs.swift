// DescribeLogDirs: which directories there are and how much each partition takes (KIP-113, KIP-827).
import KafkaMessages
import KafkaWire
import Primitives
import Storage

extension BrokerServices {
    func describeLogDirs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeLogDirsRequest.self)
        guard access(context).allowsCluster(.describe) else {
            var response = DescribeLogDirsResponse()
            response.errorCode = .clusterAuthorizationFailed
            return context.responder.send(response)
        }
        let asked = request.topics.map { topics in
            Set(topics.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } })
        }
        var byDirectory: [String: [(name: TopicPartition, size: Int)]] = [:]
        for partition in partitions.all where asked?.contains(partition.topicPartition) ?? true {
            let found = try? partition.withLog { log throws(StorageError) in (log.logDirectory.path, log.sizeInBytes) }
            guard let (path, size) = found else { continue }
            byDirectory[path, default: []].append((partition.topicPartition, size))
        }
        var response = DescribeLogDirsResponse()
        response.results = directories.directories.map { describe($0, byDirectory[$0.path] ?? []) }
        for (path, _) in directories.unavailable {
            var result = DescribeLogDirsResponse.DescribeLogDirsResult()
            result.logDir = path
            result.errorCode = .kafkaStorageError
            response.results.append(result)
        }
        context.responder.send(response)
    }

    private func describe(
        _ directory: LogDirectory, _ partitions: [(name: TopicPartition, size: Int)]
    ) -> DescribeLogDirsResponse.DescribeLogDirsResult {
        var result = DescribeLogDirsResponse.DescribeLogDirsResult()
        result.logDir = directory.path
        guard !directory.isOffline else {
            result.errorCode = .kafkaStorageError
            return result
        }
        if let space = try? directory.space() {
            result.totalBytes = Int64(space.total)
            result.usableBytes = Int64(space.free)
        }
        for (name, size) in partitions.sorted(by: { $0.name < $1.name }) {
            if result.topics.last?.name != name.topic {
                var topic = DescribeLogDirsResponse.DescribeLogDirsTopic()
                topic.name = name.topic
                result.topics.append(topic)
            }
            var partition = DescribeLogDirsResponse.DescribeLogDirsPartition()
            partition.partitionIndex = name.partition
            partition.partitionSize = Int64(size)
            result.topics[result.topics.count - 1].partitions.append(partition)
        }
        return result
    }
}
