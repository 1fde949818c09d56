// A fetch request as a plan has it, for followers and for mirrors of other clusters.
import KafkaMessages
import KafkaWire
import Replication

extension FetchRequest {
    /// - Parameters:
    ///   - maxWaitMilliseconds: how long the other side waits for something new.
    ///   - maxBytes: of the whole answer.
    init(plan: ReplicaFetchRequest, maxWaitMilliseconds: Int32, maxBytes: Int32) {
        self.init()
        maxWaitMs = maxWaitMilliseconds
        minBytes = 1
        self.maxBytes = maxBytes
        sessionId = plan.sessionID
        sessionEpoch = plan.sessionEpoch
        for (key, position) in plan.partitions {
            var partition = FetchPartition()
            partition.partition = key.partition
            partition.currentLeaderEpoch = position.currentLeaderEpoch
            partition.fetchOffset = position.fetchOffset
            partition.lastFetchedEpoch = position.lastFetchedEpoch
            partition.logStartOffset = position.logStartOffset
            partition.partitionMaxBytes = position.maxBytes
            if topics.last?.topicId != key.topicID || topics.last?.topic != key.topicName {
                var topic = FetchTopic()
                topic.topicId = key.topicID
                topic.topic = key.topicName
                topics.append(topic)
            }
            topics[topics.count - 1].partitions.append(partition)
        }
        for key in plan.forgotten {
            if forgottenTopicsData.last?.topicId != key.topicID || forgottenTopicsData.last?.topic != key.topicName {
                var topic = ForgottenTopic()
                topic.topicId = key.topicID
                topic.topic = key.topicName
                forgottenTopicsData.append(topic)
            }
            forgottenTopicsData[forgottenTopicsData.count - 1].partitions.append(key.partition)
        }
    }
}
