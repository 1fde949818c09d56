// Streams groups (KIP-1071): StreamsGroupHeartbeat and StreamsGroupDescribe.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

extension GroupCoordinator {
    /// StreamsGroupHeartbeat. Whoever may not create the topics that the result names must see to it that they are created.
    public mutating func streamsGroupHeartbeat(
        _ request: StreamsGroupHeartbeatRequest, context: GroupRequestContext, now: CoordinatorInstant
    ) -> CoordinatorResult<StreamsGroupHeartbeatResult> {
        var step = GroupStep(now: now, configuration: configuration)
        do throws(GroupRefusal) {
            try refuseIfInvalid(request)
            let result = try decide(request, context: context, step: &step)
            step.continuation = .streamsGroup(group: request.groupId)
            return step.result(result)
        } catch {
            if streamsGroups[request.groupId]?.isBlank == true { streamsGroups[request.groupId] = nil }
            var response = StreamsGroupHeartbeatResponse()
            response.errorCode = error.code
            response.errorMessage = error.message.isEmpty ? nil : error.message
            return CoordinatorResult(response: StreamsGroupHeartbeatResult(response))
        }
    }

    private mutating func decide(
        _ request: StreamsGroupHeartbeatRequest, context: GroupRequestContext, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsGroupHeartbeatResult {
        let groupID = request.groupId
        if streamsGroups[groupID] == nil {
            let isJoining = request.memberEpoch == 0
            let isOther = classicGroups[groupID] != nil || consumerGroups[groupID] != nil || hasShareGroup(groupID)
            // Only an empty classic group gives way to one of this kind.
            guard !isOther || (isJoining && classicGroups[groupID] != nil && isAbandoned(groupID)) else {
                throw GroupRefusal(.groupIdNotFound, "Group \(groupID) is not a streams group.")
            }
            guard isJoining else { throw GroupRefusal(.groupIdNotFound, "Streams group \(groupID) not found.") }
            if isOther { step.records.append(.groupMetadata(group: groupID, nil)) }
            streamsGroups[groupID] = StreamsGroup(groupID: groupID)
        }
        guard let index = streamsGroups.index(forKey: groupID) else { preconditionFailure("the group has just been made") }
        if request.memberEpoch == StreamsGroupMember.leftEpoch || request.memberEpoch == StreamsGroupMember.awayEpoch {
            return StreamsGroupHeartbeatResult(try streamsGroups.values[index].leave(request, step: &step))
        }
        return try streamsGroups.values[index].heartbeat(request, context: context, knowledge: &knowledge, step: &step)
    }

    private func refuseIfInvalid(_ request: StreamsGroupHeartbeatRequest) throws(GroupRefusal) {
        func require(_ condition: Bool, _ message: String) throws(GroupRefusal) {
            guard condition else { throw GroupRefusal(.invalidRequest, message) }
        }
        for subtopology in request.topology?.subtopologies ?? [] {
            try require(subtopology.sourceTopicRegex.isEmpty, "Regular expressions for source topics are not supported yet.")
        }
        try require(!request.memberId.isEmpty, "MemberId can't be empty.")
        try require(!request.groupId.isEmpty, "GroupId can't be empty.")
        try require(request.instanceId?.isEmpty != true, "InstanceId can't be empty.")
        try require(request.rackId?.isEmpty != true, "RackId can't be empty.")
        if request.memberEpoch == 0 {
            try require(request.rebalanceTimeoutMs != -1, "RebalanceTimeoutMs must be provided in first request.")
            try require(request.activeTasks?.isEmpty != false, "ActiveTasks must be empty when (re-)joining.")
            try require(request.standbyTasks?.isEmpty != false, "StandbyTasks must be empty when (re-)joining.")
            try require(request.warmupTasks?.isEmpty != false, "WarmupTasks must be empty when (re-)joining.")
            guard let topology = request.topology else {
                throw GroupRefusal(.invalidRequest, "Topology must be non-null when (re-)joining.")
            }
            try refuseIfInvalid(topology)
        } else {
            if request.memberEpoch == StreamsGroupMember.awayEpoch {
                try require(request.instanceId != nil, "InstanceId can't be null.")
            }
            try require(
                request.memberEpoch >= StreamsGroupMember.awayEpoch,
                "MemberEpoch is \(request.memberEpoch), but must be greater than or equal to -2.")
            try require(request.topology == nil, "Topology can only be provided when (re-)joining.")
        }
        let given = [request.activeTasks, request.standbyTasks, request.warmupTasks].filter { $0 != nil }.count
        try require(given == 0 || given == 3, "If one task-type is non-null, all must be non-null.")
    }

    private func refuseIfInvalid(_ topology: StreamsGroupHeartbeatRequest.Topology) throws(GroupRefusal) {
        guard topology.epoch >= 0 else { throw GroupRefusal(.invalidRequest, "Topology epoch must be non-negative.") }
        for topic in topology.subtopologies.flatMap(\.stateChangelogTopics) where topic.partitions != 0 {
            throw GroupRefusal(
                .streamsInvalidTopology,
                "Changelog topic \(topic.name) must have an undefined partition count, but it is set to \(topic.partitions).")
        }
    }

    /// StreamsGroupDescribe for one group.
    public func describeStreamsGroup(_ groupID: String) -> StreamsGroupDescribeResponse.DescribedGroup {
        guard let group = streamsGroups[groupID], !group.isBlank else {
            var description = StreamsGroupDescribeResponse.DescribedGroup()
            description.groupId = groupID
            description.errorCode = .groupIdNotFound
            let isOther = classicGroups[groupID] != nil || consumerGroups[groupID] != nil || hasShareGroup(groupID)
            description.errorMessage = isOther ? "Group \(groupID) is not a streams group." : "Group \(groupID) not found."
            return description
        }
        return group.described
    }

    // MARK: In the log

    mutating func replay(_ record: StreamsGroupRecord) {
        let group = record.group
        if streamsGroups[group] == nil {
            // Tombstones of a group that is gone, or of a former kind of a present one, say nothing.
            guard !record.isTombstone else { return }
            streamsGroups[group] = StreamsGroup(groupID: group)
        }
        if !record.isTombstone, classicGroups[group]?.isEmpty == true { classicGroups[group] = nil }
        if case .metadata(_, nil) = record {
            streamsGroups[group] = nil
        } else if let index = streamsGroups.index(forKey: group) {
            streamsGroups.values[index].replay(record)
        }
    }

    /// Undoes what a lost write of a streams group had done outside of the log.
    mutating func streamsWriteFailed(_ group: String, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        if streamsGroups[group]?.isBlank == true { streamsGroups[group] = nil }
        var step = GroupStep(now: now, configuration: configuration)
        if let index = streamsGroups.index(forKey: group) { streamsGroups.values[index].writeFailed(step: &step) }
        return step.result(())
    }

    /// Runs a step in a streams group, if it exists.
    mutating func inStreamsGroup(
        _ group: String, now: CoordinatorInstant, _ body: (inout StreamsGroup, TopicKnowledge, inout GroupStep) -> Void
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        guard let index = streamsGroups.index(forKey: group) else { return step.result(()) }
        body(&streamsGroups.values[index], knowledge, &step)
        step.continuation = .streamsGroup(group: group)
        return step.result(())
    }

    /// Topics were created, changed or deleted.
    mutating func streamsTopicsChanged(_ names: [String]) {
        for index in streamsGroups.values.indices where !streamsGroups.values[index].needsMetadataRefresh {
            guard let required = streamsGroups.values[index].topology?.requiredTopics else { continue }
            if names.contains(where: required.contains) { streamsGroups.values[index].needsMetadataRefresh = true }
        }
    }
}
