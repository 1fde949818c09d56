// AssignReplicasToDirs: a broker with several log directories says in which of them it put its replicas (KIP-858).
import ClusterMetadata
import ConfigDefinitions
import KafkaMessages
import KafkaRecords
import KafkaWire
import OrderedCollections
import Primitives

extension Controller {
    /// Decides an AssignReplicasToDirs request.
    ///
    /// - Throws: UNSUPPORTED_VERSION before metadata.version 17, STALE_BROKER_EPOCH.
    public func assignReplicasToDirectories(
        _ request: AssignReplicasToDirsRequest
    ) throws(RequestFailure) -> ControllerResult<AssignReplicasToDirsResponse> {
        guard version.supportsDirectoryAssignment else {
            throw RequestFailure(.unsupportedVersion, "Directory assignment is not supported yet.")
        }
        let broker = try checkedBroker(request.brokerId, epoch: request.brokerEpoch)
        var response = AssignReplicasToDirsResponse()
        var records: [VersionedRecord] = []
        var lost = PartitionSet()
        let inherited = TopicConfiguration(layers: layers)
        for directory in request.directories {
            var answer = AssignReplicasToDirsResponse.DirectoryData()
            answer.id = directory.id
            let isOffline = !Self.isOnline(directory.id, broker)
            for topicData in directory.topics {
                var topicAnswer = AssignReplicasToDirsResponse.TopicData()
                topicAnswer.topicId = topicData.topicId
                let topic = image.topics.topic(id: topicData.topicId)
                let settings = topic.map { topicConfiguration($0.name, inherited: inherited) } ?? inherited
                for data in topicData.partitions {
                    var result = AssignReplicasToDirsResponse.PartitionData()
                    result.partitionIndex = data.partitionIndex
                    do throws(RequestFailure) {
                        guard let topic else { throw RequestFailure(.unknownTopicId) }
                        let record = try assign(data.partitionIndex, of: topic, settings, broker.id, to: directory.id)
                        if let record { records.append(record) }
                        if isOffline { lost.insert(data.partitionIndex, of: topic.id) }
                    } catch {
                        result.errorCode = error.code
                    }
                    topicAnswer.partitions.append(result)
                }
                answer.topics.append(topicAnswer)
            }
            response.directories.append(answer)
        }
        // The directory failed while the broker was telling about it: nothing in it can be led or be in sync.
        records += leaderChanges(lost, removing: broker.id)
        return ControllerResult(response, records: records, isAtomic: false)
    }

    private func assign(
        _ index: Int32, of topic: TopicImage, _ settings: TopicConfiguration, _ broker: NodeID, to directory: KafkaUUID
    ) throws(RequestFailure) -> VersionedRecord? {
        guard let partition = topic.partition(index) else { throw RequestFailure(.unknownTopicOrPartition) }
        guard partition.replicas.contains(broker) else { throw RequestFailure(.notLeaderOrFollower) }
        var builder = makeBuilder(partition, of: topic, settings)
        builder.setDirectory(directory, of: broker)
        return builder.build()
    }
}
