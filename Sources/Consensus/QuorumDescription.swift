// The quorum as DescribeQuorum shows it (KIP-595, KIP-853).
import KafkaMessages
import KafkaWire
import Primitives

extension Quorum {
    /// Answers a DescribeQuorum request; only the leader knows.
    public func describe(_ request: DescribeQuorumRequest) -> DescribeQuorumResponse {
        var response = DescribeQuorumResponse()
        let asksForMetadata =
            request.topics.count == 1 && request.topics[0].topicName == Self.topicName && request.topics[0].partitions.count == 1
            && request.topics[0].partitions[0].partitionIndex == 0
        guard asksForMetadata else {
            response.topics = request.topics.map { topic in
                var data = DescribeQuorumResponse.TopicData()
                data.topicName = topic.topicName
                data.partitions = topic.partitions.map { partition in
                    var data = DescribeQuorumResponse.PartitionData()
                    data.partitionIndex = partition.partitionIndex
                    data.errorCode = .unknownTopicOrPartition
                    return data
                }
                return data
            }
            return response
        }
        var partition = DescribeQuorumResponse.PartitionData()
        partition.partitionIndex = 0
        if role != .leader { partition.errorCode = .notLeaderOrFollower }
        partition.leaderId = leaderID
        partition.leaderEpoch = epoch
        partition.highWatermark = role == .leader && leading.hasHighWatermark ? highWatermark : -1
        if role == .leader {
            partition.currentVoters = leading.voters.values.map(replicaState)
            partition.observers = leading.observers.values.map(replicaState)
        }
        var topic = DescribeQuorumResponse.TopicData()
        topic.topicName = Self.topicName
        topic.partitions = [partition]
        response.topics = [topic]
        response.nodes = voters.voters.values.map { voter in
            var node = DescribeQuorumResponse.Node()
            node.nodeId = voter.id
            let endpoints = voter.endpoints.isEmpty && voter.id == configuration.localID ? configuration.localEndpoints : voter.endpoints
            node.listeners = endpoints.map { endpoint in
                var listener = DescribeQuorumResponse.Listener()
                listener.name = endpoint.name
                listener.host = endpoint.host
                listener.port = endpoint.port
                return listener
            }
            return node
        }
        return response
    }

    private func replicaState(_ progress: ReplicaProgress) -> DescribeQuorumResponse.ReplicaState {
        var state = DescribeQuorumResponse.ReplicaState()
        state.replicaId = progress.key.id
        state.replicaDirectoryId = progress.key.directoryID
        if progress.key.id == configuration.localID {
            state.logEndOffset = endOffset
            state.lastFetchTimestamp = now + clockOffset
            state.lastCaughtUpTimestamp = now + clockOffset
        } else {
            state.logEndOffset = progress.endOffset ?? -1
            state.lastFetchTimestamp = progress.lastFetch.map { $0 + clockOffset } ?? -1
            state.lastCaughtUpTimestamp = progress.lastCaughtUp.map { $0 + clockOffset } ?? -1
        }
        return state
    }
}
