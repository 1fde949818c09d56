// What the broker asks of the controller on its own account, and how a refusal looks in a response.
import Controlling
import KafkaMessages
import KafkaWire
import Logging
import Primitives
import Runtime

/// The part of a controller's response that answers for one resource.
protocol ControllerAnswer {
    init()
    var errorCode: ErrorCode { get set }
    var errorMessage: String? { get set }
}

extension CreateTopicsResponse.CreatableTopicResult: ControllerAnswer {}
extension DeleteTopicsResponse.DeletableTopicResult: ControllerAnswer {}
extension CreatePartitionsResponse.CreatePartitionsTopicResult: ControllerAnswer {}
extension AlterConfigsResponse.AlterConfigsResourceResponse: ControllerAnswer {}
extension IncrementalAlterConfigsResponse.AlterConfigsResourceResponse: ControllerAnswer {}

extension RequestFailure {
    /// The answer for one resource of a request that was refused; `naming` says which.
    func answer<Answer: ControllerAnswer>(_ naming: (inout Answer) -> Void) -> Answer {
        var answer = Answer()
        naming(&answer)
        answer.errorCode = code
        answer.errorMessage = description
        return answer
    }
}

extension BrokerServices {
    /// Why Kafka would refuse the name of a topic; nil when it would not.
    func topicNameProblem(_ name: String) -> String? { TopicName.problem(with: name) }

    /// Creates topics because somebody asked about them, with the broker's defaults (`auto.create.topics.enable`).
    func autoCreateTopics(_ names: [String], done: @escaping @Sendable () -> Void) {
        var request = CreateTopicsRequest()
        request.timeoutMs = 30_000
        request.topics = names.map(automaticTopic)
        forward(own: request) { [logger] outcome in
            if case .failure(let failure) = outcome {
                logger.warning("topics were not created automatically", metadata: ["topics": "\(names)", "reason": "\(failure)"])
            }
            done()
        }
    }

    /// Calls back when the internal topic is there, or could not be created.
    func ensureInternalTopic(_ name: String, done: @escaping @Sendable () -> Void) {
        if image.topics.topic(named: name) != nil { return done() }
        autoCreateTopics([name], done: done)
    }

    private func automaticTopic(_ name: String) -> CreateTopicsRequest.CreatableTopic {
        var topic = CreateTopicsRequest.CreatableTopic()
        topic.name = name
        topic.numPartitions = -1
        topic.replicationFactor = -1
        if name == TopicName.transactionState {
            configureTransactionState(&topic)
            return topic
        }
        if name == TopicName.shareGroupState {
            configureShareGroupState(&topic)
            return topic
        }
        if name == TopicName.clusterLinks {
            configureClusterLinks(&topic)
            return topic
        }
        guard name == TopicName.consumerOffsets else { return topic }
        topic.numPartitions = groups.configuration.partitionCount
        topic.replicationFactor = configuration.offsets.topicReplicationFactor
        // As Kafka creates it: compacted, in small segments, compressed by nobody but the coordinator.
        topic.configs = [
            .set("cleanup.policy", "compact"),
            .set("segment.bytes", String(configuration.offsets.topicSegmentBytes)),
            .set("compression.type", "producer"),
        ]
        return topic
    }

    /// As Kafka creates it: nothing is removed but by the share coordinator, which knows what its snapshots stand for.
    private func configureShareGroupState(_ topic: inout CreateTopicsRequest.CreatableTopic) {
        let settings = configuration.shareGroups
        topic.numPartitions = settings.topicPartitions
        topic.replicationFactor = settings.topicReplicationFactor
        topic.configs = [
            .set("cleanup.policy", "delete"),
            .set("compression.type", "producer"),
            .set("segment.bytes", String(settings.topicSegmentBytes)),
            .set("min.insync.replicas", String(settings.topicMinInSyncReplicas)),
            .set("retention.ms", "-1"),
        ]
    }

    /// One partition, so that links have one coordinator; as safe as committed offsets are.
    private func configureClusterLinks(_ topic: inout CreateTopicsRequest.CreatableTopic) {
        topic.numPartitions = 1
        topic.replicationFactor = configuration.offsets.topicReplicationFactor
        topic.configs = [
            .set("cleanup.policy", "compact"),
            .set("compression.type", "producer"),
            .set("min.insync.replicas", configuration.offsets.topicReplicationFactor > 2 ? "2" : "1"),
            .set("unclean.leader.election.enable", "false"),
        ]
    }

    /// As Kafka creates it: compacted, uncompressed, never led by a replica that may lack something.
    private func configureTransactionState(_ topic: inout CreateTopicsRequest.CreatableTopic) {
        let settings = configuration.transactions
        topic.numPartitions = settings.topicPartitions
        topic.replicationFactor = settings.topicReplicationFactor
        topic.configs = [
            .set("unclean.leader.election.enable", "false"),
            .set("compression.type", "uncompressed"),
            .set("cleanup.policy", "compact"),
            .set("min.insync.replicas", String(settings.topicMinInSyncReplicas)),
            .set("segment.bytes", String(settings.topicSegmentBytes)),
        ]
    }
}

extension CreateTopicsRequest.CreatableTopicConfig {
    fileprivate static func set(_ name: String, _ value: String) -> Self {
        var config = Self()
        config.name = name
        config.value = value
        return config
    }
}
