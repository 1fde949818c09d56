// Consumer groups (KIP-848): ConsumerGroupHeartbeat and ConsumerGroupDescribe, changes of topics, and groups that change their protocol.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension GroupCoordinator {
    /// ConsumerGroupHeartbeat.
    ///
    /// - Parameter uuid: random; the id of a member that did not bring one (version 0).
    public mutating func consumerGroupHeartbeat(
        _ request: ConsumerGroupHeartbeatRequest, context: GroupRequestContext, uuid: KafkaUUID, now: CoordinatorInstant
    ) -> CoordinatorResult<ConsumerGroupHeartbeatResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        do throws(GroupRefusal) {
            try refuseIfInvalid(request, version: context.apiVersion)
            let response = try decide(request, context: context, uuid: uuid, step: &step)
            if step.continuation == nil { step.continuation = .consumerGroup(group: request.groupId) }
            return step.result(response)
        } catch {
            if consumerGroups[request.groupId]?.isBlank == true { consumerGroups[request.groupId] = nil }
            var response = ConsumerGroupHeartbeatResponse()
            response.errorCode = error.code
            response.errorMessage = error.message.isEmpty ? nil : error.message
            return CoordinatorResult(response: response)
        }
    }

    private mutating func decide(
        _ request: ConsumerGroupHeartbeatRequest, context: GroupRequestContext, uuid: KafkaUUID, step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupHeartbeatResponse {
        let isJoining = request.memberEpoch == 0
        let memberID = request.memberId.isEmpty ? uuid.description : request.memberId
        if consumerGroups[request.groupId] == nil {
            if hasGroupOfOtherProtocol(request.groupId) || (classicGroups[request.groupId] != nil && !isJoining) {
                throw GroupRefusal(.groupIdNotFound, "Group \(request.groupId) is not a consumer group.")
            }
            guard isJoining else { throw GroupRefusal(.groupIdNotFound, "Consumer group \(request.groupId) not found.") }
            if let classic = classicGroups[request.groupId] {
                guard isAbandoned(request.groupId) else {
                    return try upgrade(classic, request, memberID: memberID, context: context, step: &step)
                }
                // An empty group gives way to one of the other kind.
                step.records.append(.groupMetadata(group: request.groupId, nil))
            }
            consumerGroups[request.groupId] = ConsumerGroup(groupID: request.groupId)
        }
        guard let index = consumerGroups.index(forKey: request.groupId) else { preconditionFailure("the group has just been made") }
        if request.memberEpoch == ConsumerGroupMember.leftEpoch || request.memberEpoch == ConsumerGroupMember.awayEpoch {
            return try consumerGroups.values[index].leave(request, knowledge: &knowledge, step: &step)
        }
        return try consumerGroups.values[index].heartbeat(
            request, memberID: memberID, context: context, knowledge: &knowledge, step: &step)
    }

    /// A consumer joins a classic group that is in use: the group becomes a consumer group with all its members.
    private mutating func upgrade(
        _ classic: ClassicGroup, _ request: ConsumerGroupHeartbeatRequest, memberID: String, context: GroupRequestContext,
        step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupHeartbeatResponse {
        var group = try ConsumerGroup(upgrading: classic, knowledge: &knowledge, step: &step)
        let response = try group.heartbeat(request, memberID: memberID, context: context, knowledge: &knowledge, step: &step)
        step.continuation = .conversion(GroupConversion(group: request.groupId, result: .consumer(group)))
        return response
    }

    private func refuseIfInvalid(_ request: ConsumerGroupHeartbeatRequest, version: Int16) throws(GroupRefusal) {
        func require(_ condition: Bool, _ message: String) throws(GroupRefusal) {
            guard condition else { throw GroupRefusal(.invalidRequest, message) }
        }
        if version >= 1 || request.memberEpoch > 0 || request.memberEpoch == ConsumerGroupMember.leftEpoch {
            try require(!request.memberId.isEmpty, "MemberId can't be empty.")
        }
        try require(!request.groupId.isEmpty, "GroupId can't be empty.")
        try require(request.instanceId?.isEmpty != true, "InstanceId can't be empty.")
        try require(request.rackId?.isEmpty != true, "RackId can't be empty.")
        if request.memberEpoch == 0 {
            try require(request.rebalanceTimeoutMs != -1, "RebalanceTimeoutMs must be provided in first request.")
            try require(request.topicPartitions?.isEmpty == true, "TopicPartitions must be empty when (re-)joining.")
            try require(
                request.subscribedTopicNames != nil || request.subscribedTopicRegex != nil,
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.")
        } else if request.memberEpoch == ConsumerGroupMember.awayEpoch {
            try require(request.instanceId != nil, "InstanceId can't be null.")
        } else {
            try require(request.memberEpoch > ConsumerGroupMember.awayEpoch, "MemberEpoch is invalid.")
        }
        if let name = request.serverAssignor, !configuration.consumer.assignors.contains(where: { $0.rawValue == name }) {
            let known = configuration.consumer.assignors.map(\.rawValue).joined(separator: ", ")
            throw GroupRefusal(.unsupportedAssignor, "ServerAssignor \(name) is not supported. Supported assignors: \(known).")
        }
    }

    // MARK: In the log

    /// A write is in the log, not yet committed. Records of consumer groups take effect now.
    ///
    /// - Parameter baseOffset: the offset of the write's first record.
    public mutating func appended(_ write: CoordinatorWrite, baseOffset: Offset, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        guard write.appliesWhenAppended else { return CoordinatorResult(response: ()) }
        var step = GroupStep(now: now, configuration: configuration)
        guard case .conversion(let conversion) = write.continuation else {
            replay(write, baseOffset: baseOffset, now: now)
            return step.result(())
        }
        switch conversion.result {
        case .consumer(let group):
            classicGroups[conversion.group]?.abandon(error: .rebalanceInProgress, step: &step)
            classicGroups[conversion.group] = nil
            consumerGroups[conversion.group] = group
            replay(write, baseOffset: baseOffset, now: now)
        case .classic(let group):
            consumerGroups[conversion.group] = nil
            classicGroups[conversion.group] = group
            guard let index = classicGroups.index(forKey: conversion.group) else { break }
            for memberID in group.members.keys { classicGroups.values[index].extendSession(of: memberID, step: &step) }
            classicGroups.values[index].prepareRebalance(step: &step)
            if let joining = conversion.joining {
                classicGroups.values[index].join(
                    joining.request, context: joining.context, uuid: joining.uuid, token: joining.token, step: &step)
            }
        }
        return step.result(())
    }

    mutating func answerClassicJoin(
        _ token: ReplyToken, _ response: JoinGroupResponse, now: CoordinatorInstant
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        classicJoins.remove(token)
        step.reply(token, response)
        return step.result(())
    }

    /// Sets the timers of a consumer group again after one of its writes was lost.
    mutating func rearmed(_ group: String, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        if let index = consumerGroups.index(forKey: group) { consumerGroups.values[index].writeFailed(step: &step) }
        return step.result(())
    }

    /// Runs a step in a consumer group, if it exists.
    mutating func inConsumerGroup(
        _ group: String, now: CoordinatorInstant, _ body: (inout ConsumerGroup, inout TopicKnowledge, inout GroupStep) -> Void
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        guard let index = consumerGroups.index(forKey: group) else { return step.result(()) }
        body(&consumerGroups.values[index], &knowledge, &step)
        if step.continuation == nil { step.continuation = .consumerGroup(group: group) }
        return step.result(())
    }

    // MARK: Topics

    /// The cluster's topics are others now. Groups look at what changed with the next heartbeat of a member.
    ///
    /// - Parameter changedTopics: names of topics that were created, changed or deleted.
    public mutating func metadataChanged(_ topics: any GroupTopics, changedTopics: [String], hasNewTopics: Bool) {
        knowledge.topics = topics
        for name in changedTopics { knowledge.forgetHash(of: name) }
        guard !changedTopics.isEmpty else { return }
        streamsTopicsChanged(changedTopics)
        for index in consumerGroups.values.indices {
            if hasNewTopics { consumerGroups.values[index].hasNewTopics = true }
            if !consumerGroups.values[index].needsMetadataRefresh,
                changedTopics.contains(where: { consumerGroups.values[index].isSubscribed(to: $0) })
            {
                consumerGroups.values[index].needsMetadataRefresh = true
            }
        }
        for index in shareGroups.values.indices
        where changedTopics.contains(where: { shareGroups.values[index].subscriptions[$0] != nil }) {
            shareGroups.values[index].needsMetadataRefresh = true
        }
    }

    // MARK: Description

    /// ConsumerGroupDescribe for one group.
    public func describeConsumerGroup(_ groupID: String) -> ConsumerGroupDescribeResponse.DescribedGroup {
        var description = ConsumerGroupDescribeResponse.DescribedGroup()
        description.groupId = groupID
        guard let group = consumerGroups[groupID], !group.isBlank else {
            description.errorCode = .groupIdNotFound
            description.errorMessage =
                classicGroups[groupID] != nil || hasGroupOfOtherProtocol(groupID)
                ? "Group \(groupID) is not a consumer group." : "Group \(groupID) not found."
            return description
        }
        description.groupState = group.state
        description.groupEpoch = group.groupEpoch
        description.assignmentEpoch = group.assignmentEpoch
        description.assignorName = group.subscriptions.preferredAssignor ?? configuration.consumer.assignors[0].rawValue
        description.members = group.members.values.map { member in
            member.described(target: group.targetAssignment[member.memberID] ?? PartitionSet(), topics: knowledge.topics)
        }
        return description
    }
}

extension ConsumerGroup {
    /// The group has been read: its members' sessions begin.
    mutating func loaded(knowledge: TopicKnowledge, step: inout GroupStep) {
        // Topics may have been created while nobody coordinated.
        hasNewTopics = true
        let session = step.settings(of: groupID, knowledge).sessionTimeoutMilliseconds
        for member in members.values {
            extendSession(of: member.memberID, milliseconds: session, step: &step)
            guard member.state == .unrevokedPartitions, !member.usesClassicProtocol else { continue }
            let deadline = step.deadline(after: member.rebalanceTimeoutMilliseconds)
            revocations[member.memberID] = (member.memberEpoch, deadline)
            step.effects.append(.setTimer(.revocation(group: groupID, member: member.memberID), deadline: deadline))
        }
    }
}

extension ConsumerGroupMember {
    fileprivate func described(target: PartitionSet, topics: any GroupTopics) -> ConsumerGroupDescribeResponse.Member {
        var description = ConsumerGroupDescribeResponse.Member()
        description.memberId = memberID
        description.instanceId = instanceID
        description.rackId = rackID
        description.memberEpoch = memberEpoch
        description.clientId = clientID
        description.clientHost = clientHost
        description.subscribedTopicNames = subscribedTopicNames
        description.subscribedTopicRegex = subscribedTopicRegex
        // It still answers for what it is to give back.
        description.assignment = .init(PartitionSet((assignedPartitions + partitionsPendingRevocation).map(\.partition)), topics)
        description.targetAssignment = .init(target, topics)
        description.memberType = usesClassicProtocol ? 0 : 1
        return description
    }
}

extension ConsumerGroupDescribeResponse.Assignment {
    fileprivate init(_ partitions: PartitionSet, _ topics: any GroupTopics) {
        self.init()
        topicPartitions = partitions.byTopic.compactMap { topic in
            guard let name = topics.topic(id: topic.topicID)?.name else { return nil }
            var described = ConsumerGroupDescribeResponse.TopicPartitions()
            described.topicId = topic.topicID
            described.topicName = name
            described.partitions = topic.partitions
            return described
        }
    }
}
