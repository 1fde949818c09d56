// Offsets that a transaction commits: TxnOffsetCommit stores them with the producer's name, and the transaction's marker decides over them
// (KIP-98, KIP-447).
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

/// In whose transaction a write is.
public struct TransactionalProducer: Sendable, Hashable {
    public var id: ProducerID
    public var epoch: Int16

    public init(id: ProducerID, epoch: Int16) {
        self.id = id
        self.epoch = epoch
    }
}

extension GroupCoordinator {
    /// TxnOffsetCommit. Every topic has its name and id: the caller has resolved the ids of version 6, and left out unknown topics.
    public func commitTransactionalOffsets(
        _ request: TxnOffsetCommitRequest, context: GroupRequestContext, now: CoordinatorInstant
    ) -> CoordinatorResult<TxnOffsetCommitResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        let refusal = refusalOfTransactionalCommit(request, version: context.apiVersion)
        let member = consumerGroups[request.groupId]?.members[request.memberId]
        var response = TxnOffsetCommitResponse()
        response.topics = request.topics.map { topic in
            var answer = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic()
            answer.name = topic.name
            answer.topicId = topic.topicId
            answer.partitions = topic.partitions.map { partition in
                var outcome = TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition()
                outcome.partitionIndex = partition.partitionIndex
                if let refusal {
                    outcome.errorCode = refusal
                } else if isTooLarge(partition.committedMetadata) {
                    outcome.errorCode = .offsetMetadataTooLarge
                } else if let error = member?.refusalOfCommit(
                    to: partition.partitionIndex, of: topic.name, id: topic.topicId, epoch: request.generationIdOrMemberEpoch, knowledge)
                {
                    outcome.errorCode = error == .staleMemberEpoch && context.apiVersion < 6 ? .illegalGeneration : error
                } else if let error = streamsGroups[request.groupId]?.refusalOfCommit(
                    by: request.memberId, epoch: request.generationIdOrMemberEpoch, to: partition.partitionIndex, of: topic.name)
                {
                    outcome.errorCode = context.apiVersion < 6 ? .illegalGeneration : error
                } else {
                    var value = OffsetCommitValue()
                    value.offset = partition.committedOffset
                    value.leaderEpoch = partition.committedLeaderEpoch
                    value.metadata = partition.committedMetadata ?? ""
                    value.commitTimestamp = now.timestamp
                    value.topicId = topic.topicId
                    step.records.append(
                        .offsetCommit(group: request.groupId, topic: topic.name, partition: partition.partitionIndex, value))
                }
                return outcome
            }
            return answer
        }
        step.count(.offsetCommit, step.records.count)
        var result = step.result(response)
        result.write?.producer = TransactionalProducer(id: request.producerId, epoch: request.producerEpoch)
        return result
    }

    /// Why the whole commit is refused, or nil. Other than a plain commit it does not mind a rebalance, and older clients tell nothing of
    /// who they are.
    private func refusalOfTransactionalCommit(_ request: TxnOffsetCommitRequest, version: Int16) -> ErrorCode? {
        let generation = request.generationIdOrMemberEpoch
        let sender = ConsumerGroup.CommitSender(
            memberID: request.memberId, instanceID: request.groupInstanceId, epoch: generation, isTransactional: true,
            apiVersion: version)
        func inVersion(_ error: ErrorCode?) -> ErrorCode? { error == .staleMemberEpoch && version < 6 ? .illegalGeneration : error }
        if let group = consumerGroups[request.groupId] { return inVersion(group.refusalOfCommit(by: sender)) }
        if let group = streamsGroups[request.groupId] { return inVersion(group.refusalOfCommit(by: sender)) }
        if shareGroups[request.groupId] != nil { return .groupIdNotFound }
        guard let group = classicGroups[request.groupId] else {
            // Without a generation it comes from a client that only stores offsets here: replaying the commit makes the group.
            if generation < 0 { return nil }
            return version >= 6 ? .groupIdNotFound : .illegalGeneration
        }
        if generation < 0, group.isEmpty { return nil }
        guard generation >= 0 || !request.memberId.isEmpty || request.groupInstanceId != nil else { return nil }
        if let error = group.refusal(memberID: request.memberId, groupInstanceID: request.groupInstanceId) { return error }
        return generation == group.generationID ? nil : .illegalGeneration
    }
}
