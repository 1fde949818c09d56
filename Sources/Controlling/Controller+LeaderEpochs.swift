// A new leader epoch without another leader: for a mirror of another cluster's topic, whose leader has to cut what that cluster does not
// have. Followers find out where logs part by epochs, so the cut needs one in which nothing was written.
import ClusterMetadata
import KafkaRecords
import KafkaWire
import Primitives

extension Controller {
    /// Begins another epoch under the same leader; nothing when a later one has begun already.
    ///
    /// - Throws: when the partition does not exist, or another broker leads it.
    public func beginLeaderEpoch(
        topic id: TopicID, partition index: Int32, leader: NodeID, after epoch: LeaderEpoch
    ) throws(RequestFailure) -> ControllerResult<LeaderEpoch> {
        guard let topic = image.topics.topic(id: id) else { throw RequestFailure(.unknownTopicId) }
        guard let partition = topic.partition(index) else { throw RequestFailure(.unknownTopicOrPartition) }
        guard partition.leader == leader else { throw RequestFailure(.notLeaderOrFollower) }
        guard partition.leaderEpoch <= epoch else { return ControllerResult(partition.leaderEpoch) }
        guard partition.leaderEpoch == epoch else { throw RequestFailure(.unknownLeaderEpoch) }
        var record = PartitionChangeRecord()
        record.topicId = id
        record.partitionId = index
        // A record that names a leader begins an epoch, also when it is the same.
        record.leader = leader
        return ControllerResult(epoch + 1, records: [VersionedRecord(.partitionChange(record), version: version.partitionRecordVersion)])
    }
}
