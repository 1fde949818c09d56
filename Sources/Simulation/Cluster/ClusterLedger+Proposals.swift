// What a controller may take from the leaders of partitions: only proposals that were made of the partition as it is.
import ClusterMetadata
import KafkaMessages
import KafkaWire

extension ClusterLedger {
    /// A controller has answered a leader that proposes other replicas in sync.
    ///
    /// - Parameter image: what the controller decided upon.
    func decided(_ request: AlterPartitionRequest, _ response: AlterPartitionResponse, in image: MetadataImage) {
        for (asked, answered) in zip(request.topics, response.topics) {
            for (proposal, answer) in zip(asked.partitions, answered.partitions) {
                // With the last code, too, the change is made.
                guard answer.errorCode == .none || answer.errorCode == .newLeaderElected else { continue }
                let partition = image.topics.topic(id: asked.topicId)?.partition(proposal.partitionIndex)
                guard let partition, partition.leader == request.brokerId, partition.leaderEpoch == proposal.leaderEpoch,
                    partition.partitionEpoch == proposal.partitionEpoch
                else {
                    fail(
                        .proposalsFitTheirPartition,
                        "n\(request.brokerId) proposed for partition \(proposal.partitionIndex) of \(asked.topicId), leader epoch "
                            + "\(proposal.leaderEpoch), partition epoch \(proposal.partitionEpoch), which was taken when it was "
                            + (partition.map { "\($0)" } ?? "gone"))
                    return
                }
            }
        }
    }
}
