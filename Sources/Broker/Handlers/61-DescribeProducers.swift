// DescribeProducers: who writes idempotently or in transactions to a partition (KIP-664).
import KafkaMessages
import KafkaWire
import Primitives
import Storage

extension BrokerServices {
    func describeProducers(_ context: RequestContext) throws(WireError) {
        let request = try context.decode(DescribeProducersRequest.self)
        let access = access(context)
        var response = DescribeProducersResponse()
        response.topics = request.topics.map { topic in
            var answer = DescribeProducersResponse.TopicResponse()
            answer.name = topic.name
            let isPermitted = access.allows(.read, .topic, topic.name)
            answer.partitions = topic.partitionIndexes.map { index in
                if isPermitted { return producers(of: TopicPartition(topic.name, index)) }
                var refusal = DescribeProducersResponse.PartitionResponse()
                refusal.partitionIndex = index
                refusal.errorCode = .topicAuthorizationFailed
                refusal.errorMessage = ErrorCode.topicAuthorizationFailed.defaultMessage
                return refusal
            }
            return answer
        }
        context.responder.send(response)
    }

    private func producers(of name: TopicPartition) -> DescribeProducersResponse.PartitionResponse {
        var answer = DescribeProducersResponse.PartitionResponse()
        answer.partitionIndex = name.partition
        if let problem = topicNameProblem(name.topic) {
            answer.errorCode = .invalidTopicException
            answer.errorMessage = problem
            return answer
        }
        guard let partition = partitions.partition(name) else {
            answer.errorCode = partitions.refusal(of: name)
            return answer
        }
        do throws(PartitionError) {
            let active = try partition.withLeaderLog(currentLeaderEpoch: -1) { log throws(StorageError) in log.activeProducers }
            answer.activeProducers = active.map { producer in
                var state = DescribeProducersResponse.ProducerState()
                state.producerId = producer.producerID
                state.producerEpoch = Int32(producer.producerEpoch)
                state.lastSequence = producer.lastSequence
                state.lastTimestamp = producer.lastTimestamp
                state.coordinatorEpoch = producer.coordinatorEpoch
                state.currentTxnStartOffset = producer.currentTransactionFirstOffset
                return state
            }
        } catch {
            answer.errorCode = error.errorCode
        }
        return answer
    }
}
