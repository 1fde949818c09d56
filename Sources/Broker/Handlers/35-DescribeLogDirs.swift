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
        var byDirectory: [String: [Entry]] = [:]
        for partition in partitions.all where asked?.contains(partition.topicPartition) ?? true {
            let (path, size, end, highWatermark, copy) = partition.withLogAndCopy { log, copy in
                (log.logDirectory.path, log.sizeInBytes, log.logEndOffset, log.highWatermark, copy)
            }
            byDirectory[path, default: []].append(
                Entry(name: partition.topicPartition, size: size, lag: max(0, highWatermark - end), isFuture: false))
            guard let copy else { continue }
            byDirectory[copy.directory.path, default: []].append(
                Entry(name: partition.topicPartition, size: copy.sizeInBytes, lag: max(0, end - copy.logEndOffset), isFuture: true))
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

    private struct Entry {
        var name: TopicPartition
        var size: Int
        var lag: Offset
        var isFuture: Bool
    }

    private func describe(
        _ directory: LogDirectory, _ partitions: [Entry]
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
        for entry in partitions.sorted(by: { $0.name < $1.name }) {
            if result.topics.last?.name != entry.name.topic {
                var topic = DescribeLogDirsResponse.DescribeLogDirsTopic()
                topic.name = entry.name.topic
                result.topics.append(topic)
            }
            var partition = DescribeLogDirsResponse.DescribeLogDirsPartition()
            partition.partitionIndex = entry.name.partition
            partition.partitionSize = Int64(entry.size)
            partition.offsetLag = entry.lag
            partition.isFutureKey = entry.isFuture
            result.topics[result.topics.count - 1].partitions.append(partition)
        }
        return result
    }
}
