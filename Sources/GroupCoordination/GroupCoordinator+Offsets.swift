// OffsetCommit, OffsetFetch and OffsetDelete.
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

extension GroupCoordinator {
    /// OffsetCommit. Every topic has its name: the caller has resolved the ids of version 10, and left out unknown topics.
    public mutating func commitOffsets(
        _ request: OffsetCommitRequest, context: GroupRequestContext, now: CoordinatorInstant
    ) -> CoordinatorResult<OffsetCommitResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        let refusal = admitCommit(request, context: context, step: &step)
        let member = consumerGroups[request.groupId]?.members[request.memberId]
        var response = OffsetCommitResponse()
        response.topics.reserveCapacity(request.topics.count)
        for topic in request.topics {
            var topicResponse = OffsetCommitResponse.OffsetCommitResponseTopic()
            topicResponse.name = topic.name
            topicResponse.topicId = topic.topicId
            topicResponse.partitions.reserveCapacity(topic.partitions.count)
            for partition in topic.partitions {
                var outcome = OffsetCommitResponse.OffsetCommitResponsePartition()
                outcome.partitionIndex = partition.partitionIndex
                if let refusal {
                    outcome.errorCode = refusal
                } else if isTooLarge(partition.committedMetadata) {
                    outcome.errorCode = .offsetMetadataTooLarge
                } else if let error = member?.refusalOfCommit(
                    to: partition.partitionIndex, of: topic.name, id: topic.topicId, epoch: request.generationIdOrMemberEpoch, knowledge)
                {
                    outcome.errorCode = error
                } else if let error = streamsGroups[request.groupId]?.refusalOfCommit(
                    by: request.memberId, epoch: request.generationIdOrMemberEpoch, to: partition.partitionIndex, of: topic.name)
                {
                    outcome.errorCode = error
                } else {
                    var value = OffsetCommitValue()
                    value.offset = partition.committedOffset
                    value.leaderEpoch = partition.committedLeaderEpoch
                    value.metadata = partition.committedMetadata ?? ""
                    value.commitTimestamp = now.timestamp
                    if request.retentionTimeMs != -1 { value.expireTimestamp = now.timestamp &+ request.retentionTimeMs }
                    value.topicId = topic.topicId
                    step.records.append(
                        .offsetCommit(group: request.groupId, topic: topic.name, partition: partition.partitionIndex, value))
                }
                topicResponse.partitions.append(outcome)
            }
            response.topics.append(topicResponse)
        }
        step.count(.offsetCommit, step.records.count)
        return step.result(response)
    }

    func isTooLarge(_ metadata: String?) -> Bool {
        guard let metadata, metadata.utf8.count > configuration.offsetMetadataMaximumSize else { return false }
        return metadata.utf16.count > configuration.offsetMetadataMaximumSize
    }

    /// Why the whole commit is refused, or nil. A commit of a member also shows that the member is alive.
    private mutating func admitCommit(
        _ request: OffsetCommitRequest, context: GroupRequestContext, step: inout GroupStep
    ) -> ErrorCode? {
        let sender = ConsumerGroup.CommitSender(
            memberID: request.memberId, instanceID: request.groupInstanceId, epoch: request.generationIdOrMemberEpoch,
            isTransactional: false, apiVersion: context.apiVersion)
        if let group = consumerGroups[request.groupId] { return group.refusalOfCommit(by: sender) }
        if let group = streamsGroups[request.groupId] { return group.refusalOfCommit(by: sender) }
        if shareGroups[request.groupId] != nil { return .groupIdNotFound }
        guard let index = classicGroups.index(forKey: request.groupId) else {
            // Without a generation it comes from a client that only stores offsets here: replaying the commit makes the group.
            if request.generationIdOrMemberEpoch < 0 { return nil }
            return context.apiVersion >= 9 ? .groupIdNotFound : .illegalGeneration
        }
        return classicGroups.values[index].admitCommit(request, step: &step)
    }

    /// OffsetFetch for one group. Every requested topic has its name.
    ///
    /// - Parameter requireStable: answers UNSTABLE_OFFSET_COMMIT where a transaction is about to change the offset (KIP-447).
    public func fetchOffsets(
        _ request: OffsetFetchRequest.OffsetFetchRequestGroup, requireStable: Bool
    ) -> OffsetFetchResponse.OffsetFetchResponseGroup {
        var response = OffsetFetchResponse.OffsetFetchResponseGroup()
        response.groupId = request.groupId
        if let error = refusalOfFetch(request) {
            response.errorCode = error
            return response
        }
        let committed = offsets.table.groups[request.groupId]
        if let topics = request.topics {
            response.topics.reserveCapacity(topics.count)
            for topic in topics {
                let partitions = committed?[topic.name]
                var topicResponse = OffsetFetchResponse.OffsetFetchResponseTopics()
                topicResponse.name = topic.name
                topicResponse.topicId = topic.topicId
                topicResponse.partitions = topic.partitionIndexes.map { partition in
                    let isUnstable =
                        requireStable && offsets.hasOpenTransaction(group: request.groupId, topic: topic.name, partition: partition)
                    return described(partition, partitions?[partition], requestedTopicID: topic.topicId, isUnstable: isUnstable)
                }
                response.topics.append(topicResponse)
            }
            return response
        }
        for (topic, partitions) in committed ?? [:] {
            var topicResponse = OffsetFetchResponse.OffsetFetchResponseTopics()
            topicResponse.name = topic
            topicResponse.partitions = partitions.map { partition, offset in
                let isUnstable = requireStable && offsets.hasOpenTransaction(group: request.groupId, topic: topic, partition: partition)
                return described(partition, offset, requestedTopicID: .zero, isUnstable: isUnstable)
            }
            response.topics.append(topicResponse)
        }
        return response
    }

    private func described(
        _ partition: Int32, _ offset: CommittedOffset?, requestedTopicID: TopicID, isUnstable: Bool
    ) -> OffsetFetchResponse.OffsetFetchResponsePartitions {
        var response = OffsetFetchResponse.OffsetFetchResponsePartitions()
        response.partitionIndex = partition
        response.committedOffset = -1
        response.committedLeaderEpoch = -1
        response.metadata = ""
        if isUnstable {
            response.errorCode = .unstableOffsetCommit
        } else if let offset, offset.topicID == .zero || requestedTopicID == .zero || offset.topicID == requestedTopicID {
            // An offset of a former topic of this name is none of the present one's.
            response.committedOffset = offset.offset
            response.committedLeaderEpoch = offset.leaderEpoch
            response.metadata = offset.metadata
        }
        return response
    }

    /// Consumers of the newer protocol must name themselves rightly (KIP-848); for others a missing group just has no offsets.
    private func refusalOfFetch(_ request: OffsetFetchRequest.OffsetFetchRequestGroup) -> ErrorCode? {
        if let group = consumerGroups[request.groupId] {
            if request.memberId == nil, request.memberEpoch < 0 { return nil }
            guard let member = request.memberId.flatMap({ group.members[$0] }) else { return .unknownMemberId }
            return request.memberEpoch == member.memberEpoch ? nil : member.refusalOfOtherEpoch
        }
        if let group = streamsGroups[request.groupId] {
            return group.refusalOfFetch(memberID: request.memberId, epoch: request.memberEpoch)
        }
        return nil
    }

    /// OffsetDelete. The caller has left out topics and partitions that do not exist.
    public func deleteOffsets(_ request: OffsetDeleteRequest, now: CoordinatorInstant) -> CoordinatorResult<OffsetDeleteResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        var response = OffsetDeleteResponse()
        if let error = refusalOfDelete(request) {
            response.errorCode = error
            return step.result(response)
        }
        for topic in request.topics {
            let isSubscribed = isSubscribed(group: request.groupId, to: topic.name)
            var topicResponse = OffsetDeleteResponse.OffsetDeleteResponseTopic()
            topicResponse.name = topic.name
            for partition in topic.partitions {
                var outcome = OffsetDeleteResponse.OffsetDeleteResponsePartition()
                outcome.partitionIndex = partition.partitionIndex
                if isSubscribed {
                    outcome.errorCode = .groupSubscribedToTopic
                } else if hasOffset(group: request.groupId, topic: topic.name, partition: partition.partitionIndex) {
                    step.records.append(
                        .offsetCommit(group: request.groupId, topic: topic.name, partition: partition.partitionIndex, nil))
                }
                topicResponse.partitions.append(outcome)
            }
            response.topics.append(topicResponse)
        }
        step.count(.offsetDeletion, step.records.count)
        return step.result(response)
    }

    private func refusalOfDelete(_ request: OffsetDeleteRequest) -> ErrorCode? {
        if request.groupId.isEmpty { return .invalidGroupId }
        if consumerGroups[request.groupId] != nil || streamsGroups[request.groupId] != nil { return nil }
        if shareGroups[request.groupId] != nil { return .groupIdNotFound }
        guard let group = classicGroups[request.groupId] else { return .groupIdNotFound }
        return group.isEmpty || group.usesConsumerProtocol ? nil : .nonEmptyGroup
    }

    func isSubscribed(group: String, to topic: String) -> Bool {
        if let consumer = consumerGroups[group] { return consumer.isSubscribed(to: topic) }
        if let streams = streamsGroups[group] { return streams.isSubscribed(to: topic) }
        return classicGroups[group]?.isSubscribed(to: topic) ?? false
    }

    func hasOffset(group: String, topic: String, partition: Int32) -> Bool {
        offsets.table[group, topic, partition] != nil || offsets.hasOpenTransaction(group: group, topic: topic, partition: partition)
    }

    /// The offset a group has committed, for inspection.
    public func committedOffset(group: String, topic: String, partition: Int32) -> CommittedOffset? {
        offsets.table[group, topic, partition]
    }
}

extension ClassicGroup {
    /// Why a commit is refused, or nil. The session of the member that commits begins anew.
    mutating func admitCommit(_ request: OffsetCommitRequest, step: inout GroupStep) -> ErrorCode? {
        // An empty group takes offsets from anybody who does not claim to be a member.
        if request.generationIdOrMemberEpoch < 0, isEmpty { return nil }
        guard request.generationIdOrMemberEpoch >= 0 || !request.memberId.isEmpty || request.groupInstanceId != nil else {
            return .unknownMemberId
        }
        if let error = refusal(memberID: request.memberId, groupInstanceID: request.groupInstanceId) { return error }
        if request.generationIdOrMemberEpoch != generationID { return .illegalGeneration }
        // The member knows its generation but has no assignment in it, so it cannot have consumed anything.
        if state == .completingRebalance { return .rebalanceInProgress }
        extendSession(of: request.memberId, step: &step)
        return nil
    }
}
