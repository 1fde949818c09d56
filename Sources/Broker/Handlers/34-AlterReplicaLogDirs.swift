// AlterReplicaLogDirs: moves replicas of this broker to other directories of it (KIP-113). The answer says only that the move has begun;
// DescribeLogDirs shows how far it is.
import Controlling
import KafkaMessages
import KafkaWire
import OrderedCollections
import Primitives
import Storage

extension BrokerServices {
    func alterReplicaLogDirs(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(AlterReplicaLogDirsRequest.self)
        let isPermitted = access(context).allowsCluster(.alter)
        let responder = context.responder
        // Creates directories and files.
        backgroundWork.run { [self] in
            var topics: OrderedDictionary<String, [AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult]> = [:]
            for directory in request.dirs {
                for topic in directory.topics {
                    for index in topic.partitions {
                        var result = AlterReplicaLogDirsResponse.AlterReplicaLogDirPartitionResult()
                        result.partitionIndex = index
                        result.errorCode =
                            isPermitted
                            ? moves.deciding { move(TopicPartition(topic.name, index), to: directory.path) } : .clusterAuthorizationFailed
                        topics[topic.name, default: []].append(result)
                    }
                }
            }
            var response = AlterReplicaLogDirsResponse()
            response.results = topics.map { name, partitions in
                var result = AlterReplicaLogDirsResponse.AlterReplicaLogDirTopicResult()
                result.topicName = name
                result.partitions = partitions
                return result
            }
            responder.send(response)
        }
    }

    private func move(_ name: TopicPartition, to path: String) -> ErrorCode {
        guard !directories.unavailable.contains(where: { $0.path == path }) else { return .kafkaStorageError }
        guard let directory = directories.directories.first(where: { $0.path == path }) else { return .logDirNotFound }
        guard !directory.isOffline else { return .kafkaStorageError }
        guard let partition = partitions.partition(name) else {
            return image.topics.topic(named: name.topic)?.partition(name.partition) == nil ? .unknownTopicOrPartition : .replicaNotAvailable
        }
        guard !partition.isOffline else { return .kafkaStorageError }
        if let future = partition.future {
            if future.directory === directory { return .none }
            moves.cancel(partition)
        }
        guard partition.logDirectory !== directory else { return .none }
        // Copies in a directory that is out of service would go on when it is back.
        guard !directories.hasOffline else { return .kafkaStorageError }
        do throws(StorageError) {
            let (start, configuration) = try partition.withLog { log throws(StorageError) in (log.logStartOffset, log.configuration) }
            let log = try directory.createFuture(
                name, topicID: partition.topicID, startingAt: start, configuration: configuration, now: SystemClock.now())
            moves.start(partition, FutureReplica(log))
            return .none
        } catch {
            logger.error("a replica cannot be moved", metadata: ["partition": "\(name)", "directory": "\(path)", "reason": "\(error)"])
            return .kafkaStorageError
        }
    }
}
