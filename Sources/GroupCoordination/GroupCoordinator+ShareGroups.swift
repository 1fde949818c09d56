// Share groups (KIP-932): ShareGroupHeartbeat and ShareGroupDescribe, and the state that their partitions have with share coordinators.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension GroupCoordinator {
    /// Whether a group has that id which is neither a classic one nor a consumer group.
    func hasGroupOfOtherProtocol(_ groupID: String) -> Bool { hasShareGroup(groupID) || hasStreamsGroup(groupID) }

    func hasShareGroup(_ groupID: String) -> Bool { shareGroups[groupID].map { !$0.isBlank } == true }

    func hasStreamsGroup(_ groupID: String) -> Bool { streamsGroups[groupID].map { !$0.isBlank } == true }

    mutating func replay(_ record: ShareGroupRecord, now: CoordinatorInstant) {
        let group = record.group
        if shareGroups[group] == nil {
            // Tombstones of a group that is gone, or of a former kind of a present one, say nothing.
            guard !record.isTombstone else { return }
            shareGroups[group] = ShareGroup(groupID: group)
        }
        if !record.isTombstone, classicGroups[group]?.isSimple == true { classicGroups[group] = nil }
        if case .metadata(_, nil) = record {
            shareGroups[group] = nil
        } else if let index = shareGroups.index(forKey: group) {
            shareGroups.values[index].replay(record, now: now.timestamp)
        }
    }

    /// Runs a step in a share group, if it exists.
    mutating func inShareGroup(
        _ group: String, now: CoordinatorInstant, _ body: (inout ShareGroup, inout TopicKnowledge, inout GroupStep) -> Void
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        guard let index = shareGroups.index(forKey: group) else { return step.result(()) }
        body(&shareGroups.values[index], &knowledge, &step)
        step.continuation = .shareGroup(group: group)
        return step.result(())
    }

    // MARK: Heartbeat

    /// ShareGroupHeartbeat.
    public mutating func shareGroupHeartbeat(
        _ request: ShareGroupHeartbeatRequest, context: GroupRequestContext, now: CoordinatorInstant
    ) -> CoordinatorResult<ShareHeartbeatOutcome> {
        var step = GroupStep(now: now, configuration: configuration)
        do throws(GroupRefusal) {
            try refuseIfInvalid(request)
            let outcome = try decide(request, context: context, step: &step)
            step.continuation = .shareGroup(group: request.groupId)
            return step.result(outcome)
        } catch {
            if shareGroups[request.groupId]?.isBlank == true { shareGroups[request.groupId] = nil }
            var response = ShareGroupHeartbeatResponse()
            response.errorCode = error.code
            response.errorMessage = error.message.isEmpty ? nil : error.message
            return CoordinatorResult(response: ShareHeartbeatOutcome(response: response))
        }
    }

    private mutating func decide(
        _ request: ShareGroupHeartbeatRequest, context: GroupRequestContext, step: inout GroupStep
    ) throws(GroupRefusal) -> ShareHeartbeatOutcome {
        try makeShareGroup(request.groupId, isWanted: request.memberEpoch == 0)
        guard let index = shareGroups.index(forKey: request.groupId) else { preconditionFailure("the group has just been made") }
        guard request.memberEpoch == ShareGroupMember.leftEpoch else {
            return try shareGroups.values[index].heartbeat(request, context: context, knowledge: &knowledge, step: &step)
        }
        return ShareHeartbeatOutcome(response: try shareGroups.values[index].leave(request, knowledge: &knowledge, step: &step))
    }

    /// Lets a share group begin in memory, unless there is one, or one of another kind.
    private mutating func makeShareGroup(_ groupID: String, isWanted: Bool) throws(GroupRefusal) {
        guard shareGroups[groupID] == nil else { return }
        guard classicGroups[groupID] == nil, consumerGroups[groupID] == nil, !hasGroupOfOtherProtocol(groupID) else {
            throw GroupRefusal(.groupIdNotFound, "Group \(groupID) is not a share group.")
        }
        guard isWanted else { throw GroupRefusal(.groupIdNotFound, "Share group \(groupID) not found.") }
        shareGroups[groupID] = ShareGroup(groupID: groupID)
    }

    private func refuseIfInvalid(_ request: ShareGroupHeartbeatRequest) throws(GroupRefusal) {
        func require(_ condition: Bool, _ message: String) throws(GroupRefusal) {
            guard condition else { throw GroupRefusal(.invalidRequest, message) }
        }
        try require(!request.memberId.isEmpty, "MemberId can't be empty.")
        try require(!request.groupId.isEmpty, "GroupId can't be empty.")
        try require(request.rackId?.isEmpty != true, "RackId can't be empty.")
        if request.memberEpoch == 0 {
            try require(request.subscribedTopicNames?.isEmpty == false, "SubscribedTopicNames must be set in first request.")
        } else {
            try require(request.memberEpoch >= ShareGroupMember.leftEpoch, "MemberEpoch is invalid.")
        }
    }

    // MARK: State of partitions

    /// Share coordinators have, or have not, the state that a heartbeat asked for.
    public mutating func shareStateInitialized(
        _ initialization: ShareStateInitialization, succeeded: Bool, now: CoordinatorInstant
    ) -> CoordinatorResult<Void> {
        inShareGroup(initialization.group, now: now) { group, _, step in
            var partitions = group.statePartitions
            for topic in initialization.topics {
                let indexes = topic.partitions.map(\.index)
                if succeeded {
                    partitions.finishInitializing(topic.id, name: topic.name, partitions: indexes)
                } else {
                    partitions.abandonInitializing(topic.id, partitions: indexes)
                }
            }
            if partitions != group.statePartitions { step.records.append(group.statePartitionsRecord(partitions)) }
        }
    }

    /// The partitions that a share group has state for; nil when there is no such group.
    public func sharePartitions(of groupID: String) -> [TopicIDPartition]? {
        guard let group = shareGroups[groupID], !group.isBlank else { return nil }
        return group.statePartitions.initialized.flatMap { id, topic in topic.partitions.map { TopicIDPartition(id, $0) } }
    }

    /// Topics were deleted: groups have nothing in them any more. Share coordinators notice by themselves.
    func forgetShareState(of topics: [TopicID], step: inout GroupStep) {
        for group in shareGroups.values {
            var partitions = group.statePartitions
            if partitions.forget(topics) { step.records.append(group.statePartitionsRecord(partitions)) }
        }
    }

    // MARK: Description

    /// ShareGroupDescribe for one group.
    public func describeShareGroup(_ groupID: String) -> ShareGroupDescribeResponse.DescribedGroup {
        var description = ShareGroupDescribeResponse.DescribedGroup()
        description.groupId = groupID
        guard let group = shareGroups[groupID], !group.isBlank else {
            description.errorCode = .groupIdNotFound
            let isOther = classicGroups[groupID] != nil || consumerGroups[groupID] != nil || hasGroupOfOtherProtocol(groupID)
            description.errorMessage = isOther ? "Group \(groupID) is not a share group." : "Group \(groupID) not found."
            return description
        }
        description.groupState = group.state
        description.groupEpoch = group.groupEpoch
        description.assignmentEpoch = group.assignmentEpoch
        description.assignorName = SimpleAssignor.name
        description.members = group.members.values.map { member in
            var described = ShareGroupDescribeResponse.Member()
            described.memberId = member.memberID
            described.rackId = member.rackID
            described.memberEpoch = member.memberEpoch
            described.clientId = member.clientID
            described.clientHost = member.clientHost
            described.subscribedTopicNames = member.subscribedTopicNames
            described.assignment.topicPartitions = member.assigned.byTopic.compactMap { topic in
                guard let name = knowledge.topics.topic(id: topic.topicID)?.name else { return nil }
                var partitions = ShareGroupDescribeResponse.TopicPartitions()
                partitions.topicId = topic.topicID
                partitions.topicName = name
                partitions.partitions = topic.partitions
                return partitions
            }
            return described
        }
        return description
    }
}
