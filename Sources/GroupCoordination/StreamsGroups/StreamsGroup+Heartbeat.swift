// StreamsGroupHeartbeat: a thread of a Kafka Streams application joins, says what it has, and hears what it is to run (KIP-1071). Only
// decides: what it decides is in the records of the step.
import Collections
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// The answer to a heartbeat, and what the broker has to do besides.
public struct StreamsGroupHeartbeatResult: Sendable {
    public var response: StreamsGroupHeartbeatResponse
    /// Topics that the application needs and that do not exist; sorted by name.
    public var missingInternalTopics: [StreamsInternalTopic]

    public init(_ response: StreamsGroupHeartbeatResponse, missingInternalTopics: [StreamsInternalTopic] = []) {
        self.response = response
        self.missingInternalTopics = missingInternalTopics
    }
}

extension StreamsGroup {
    mutating func heartbeat(
        _ request: StreamsGroupHeartbeatRequest, context: GroupRequestContext, knowledge: inout TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsGroupHeartbeatResult {
        let isJoining = request.memberEpoch == 0
        let owned = request.ownedTasks
        if isJoining { try refuseIfFull(request, step: step) }
        let settings = step.streamsSettings(of: groupID, knowledge)
        let replaced = staticMember(request.instanceId).flatMap { $0.memberID == request.memberId ? nil : $0 }
        let member = try member(of: request, owned: owned, isJoining: isJoining, step: &step)
        var updated = member
        updated.take(request, context: context, isJoining: isJoining)

        let topology = try updatedTopology(request.topology, step: &step)
        var status: [StreamsGroupHeartbeatResponse.Status] = []
        if let known = self.topology, updated.topologyEpoch < known.epoch {
            status.append(
                .init(
                    .staleTopology,
                    "The member's topology epoch \(updated.topologyEpoch) is behind the group's topology epoch \(known.epoch)."))
        }
        let configuration = try configure(topology, knowledge: &knowledge)
        if configuration.topology.isReady { try configuration.topology.refuseUnknown(request) }
        let offsets = try request.taskOffsets(after: taskOffsets[request.memberId])

        let isNew = members[updated.memberID] == nil && replaced == nil
        let epoch = advanceEpoch(
            from: isNew ? nil : member, to: updated, configuration: configuration, settings: settings, step: &step)
        beginInitialDelay(settings, step: &step)
        let target = updateTarget(
            to: epoch, changed: updated, topology: configuration.topology, settings: settings, status: &status, step: &step)
        let reconciled = try reconcile(updated, to: target, owned: owned, step: &step)

        // Nothing is refused from here on.
        configured = configuration.topology
        needsMetadataRefresh = false
        taskOffsets[request.memberId] = offsets
        extendSession(of: reconciled.memberID, milliseconds: settings.sessionTimeoutMilliseconds, step: &step)
        if request.shutdownApplication { requestShutdown(by: request.memberId) }
        var response = StreamsGroupHeartbeatResponse()
        response.memberId = reconciled.memberID
        response.memberEpoch = reconciled.memberEpoch
        response.heartbeatIntervalMs = settings.heartbeatIntervalMilliseconds
        response.taskOffsetIntervalMs = settings.taskOffsetIntervalMilliseconds
        response.acceptableRecoveryLag = settings.acceptableRecoveryLag
        let hasOtherTasks = reconciled.assignedTasks != member.assignedTasks
        if isJoining || hasOtherTasks { response.set(reconciled.assignedTasks) }
        if updated.userEndpoint != member.userEndpoint || (hasOtherTasks && updated.userEndpoint != nil) { endpointEpoch += 1 }
        if endpointEpoch != request.endpointInformationEpoch {
            response.partitionsByUserEndpoint = endpoints(with: reconciled, replacing: replaced, topics: knowledge.topics)
        }
        response.endpointInformationEpoch = endpointEpoch
        if let problem = configuration.topology.problem { status.append(.init(problem.status, problem.message)) }
        appendStatus(of: reconciled, version: context.apiVersion, settings: settings, to: &status)
        response.status = status
        return StreamsGroupHeartbeatResult(response, missingInternalTopics: configuration.topology.missingInternalTopics)
    }

    private func appendStatus(
        of member: StreamsGroupMember, version: Int16, settings: StreamsGroupConfiguration,
        to status: inout [StreamsGroupHeartbeatResponse.Status]
    ) {
        if let shutdownRequester {
            status.append(
                .init(
                    .shutdownApplication,
                    "Streams group member \(shutdownRequester) encountered a fatal error and requested a shutdown for the entire "
                        + "application."))
        }
        // Clients of version 0 do not know this status.
        let missing = settings.rackAwareAssignmentTags.filter { tag in !member.clientTags.contains { $0.key == tag } }
        guard version >= 1, !missing.isEmpty else { return }
        status.append(
            .init(
                .missingClientTags,
                "Missing required client tags for rack-aware standby assignment: [\(missing.joined(separator: ", "))]. Configure them via "
                    + "'client.tag.<tagKey>' in your Streams config."))
    }

    // MARK: Who it is

    private func refuseIfFull(_ request: StreamsGroupHeartbeatRequest, step: GroupStep) throws(GroupRefusal) {
        guard staticMember(request.instanceId) == nil, members[request.memberId] == nil else { return }
        let maximum = step.configuration.streams.maximumSize
        guard members.count >= maximum else { return }
        throw GroupRefusal(.groupMaxSizeReached, "The streams group has reached its maximum capacity of \(maximum) members.")
    }

    private func member(
        of request: StreamsGroupHeartbeatRequest, owned: MemberTasks?, isJoining: Bool, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsGroupMember {
        let memberID = request.memberId
        guard let instanceID = request.instanceId else {
            guard let member = members[memberID] else {
                if isJoining { return StreamsGroupMember(memberID: memberID) }
                throw GroupRefusal(.unknownMemberId, "Member \(memberID) is not a member of group \(groupID).")
            }
            try refuseIfFenced(member, epoch: request.memberEpoch, owned: owned)
            return member
        }
        guard isJoining else {
            let member = try knownStaticMember(instanceID, memberID: memberID)
            try refuseIfFenced(member, epoch: request.memberEpoch, owned: owned)
            return member
        }
        guard let existing = staticMember(instanceID) else { return members[memberID] ?? StreamsGroupMember(memberID: memberID) }
        guard existing.memberEpoch == StreamsGroupMember.awayEpoch else {
            throw GroupRefusal(
                .unreleasedInstanceId,
                "Static member \(memberID) with instance id \(instanceID) cannot join the group because the instance id is owned by "
                    + "\(existing.memberID) member.")
        }
        var replacement = existing
        replacement.memberID = memberID
        replacement.memberEpoch = 0
        replacement.previousMemberEpoch = 0
        step.records += tombstones(ofMember: existing.memberID)
        step.records.append(replacement.metadataRecord(in: groupID))
        step.records.append(targetAssignmentRecord(memberID, targetAssignment[existing.memberID] ?? MemberTasks()))
        step.records.append(replacement.currentAssignmentRecord(in: groupID))
        return replacement
    }

    func knownStaticMember(_ instanceID: String, memberID: String) throws(GroupRefusal) -> StreamsGroupMember {
        guard let member = staticMember(instanceID) else { throw GroupRefusal(.unknownMemberId, "Instance id \(instanceID) is unknown.") }
        guard member.memberID == memberID else {
            throw GroupRefusal(
                .fencedInstanceId,
                "Static member \(memberID) with instance id \(instanceID) was fenced by member \(member.memberID).")
        }
        return member
    }

    private func refuseIfFenced(_ member: StreamsGroupMember, epoch: Int32, owned: MemberTasks?) throws(GroupRefusal) {
        guard epoch != 0, epoch != member.memberEpoch else { return }
        // It may have missed the answer with its new epoch, as long as it has nothing that it was not given.
        if epoch == member.previousMemberEpoch, epoch < member.memberEpoch, let owned, member.assignedTasks.contains(owned) { return }
        let relation = epoch > member.memberEpoch ? "greater" : "smaller"
        throw GroupRefusal(
            .fencedMemberEpoch,
            "The streams group member has a \(relation) member epoch (\(epoch)) than the one known by the group coordinator "
                + "(\(member.memberEpoch)). The member must abandon all its partitions and rejoin.")
    }

    private func updatedTopology(
        _ described: StreamsGroupHeartbeatRequest.Topology?, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsTopology {
        guard let described else {
            guard let topology else { throw GroupRefusal(.unknownServerError, "The group has no topology.") }
            return topology
        }
        let value = StreamsGroupTopologyValue(described)
        let brought = StreamsTopology(value)
        guard let topology else {
            step.records.append(.streamsGroup(.topology(group: groupID, value)))
            return brought
        }
        if topology.epoch > brought.epoch || topology == brought { return topology }
        throw GroupRefusal(.invalidRequest, "Topology updates are not supported yet.")
    }
}

// MARK: - What it says

extension StreamsGroupHeartbeatRequest {
    /// What the member says it has; nil when it does not say.
    var ownedTasks: MemberTasks? {
        guard let activeTasks, let standbyTasks, let warmupTasks else { return nil }
        func tasks(_ entries: [TaskIds]) -> TaskSet {
            TaskSet(entries.flatMap { entry in entry.partitions.map { TaskID(entry.subtopologyId, $0) } })
        }
        return MemberTasks(active: tasks(activeTasks), standby: tasks(standbyTasks), warmup: tasks(warmupTasks))
    }

    /// Offsets as they are with what the request says; what it leaves out stays.
    func taskOffsets(after known: MemberTaskOffsets?) throws(GroupRefusal) -> MemberTaskOffsets? {
        guard taskOffsets != nil || taskEndOffsets != nil else { return known }
        func table(_ entries: [TaskOffset]) throws(GroupRefusal) -> OrderedDictionary<TaskID, Int64> {
            var table: OrderedDictionary<TaskID, Int64> = [:]
            for entry in entries where table.updateValue(entry.offset, forKey: TaskID(entry.subtopologyId, entry.partition)) != nil {
                throw GroupRefusal(
                    .invalidRequest,
                    "Task offsets contain a duplicate entry for subtopology \(entry.subtopologyId) and partition \(entry.partition).")
            }
            return table
        }
        var offsets = known ?? MemberTaskOffsets()
        if let taskOffsets { offsets.offsets = try table(taskOffsets) }
        if let taskEndOffsets { offsets.endOffsets = try table(taskEndOffsets) }
        return offsets
    }
}

extension ConfiguredTopology {
    /// Refuses tasks that there are none of.
    fileprivate func refuseUnknown(_ request: StreamsGroupHeartbeatRequest) throws(GroupRefusal) {
        for entry in (request.activeTasks ?? []) + (request.standbyTasks ?? []) + (request.warmupTasks ?? []) {
            guard let subtopology = subtopologies?[entry.subtopologyId] else {
                throw GroupRefusal(.invalidRequest, "Subtopology \(entry.subtopologyId) does not exist in the topology.")
            }
            for partition in entry.partitions where !(0..<subtopology.taskCount).contains(partition) {
                throw GroupRefusal(
                    .invalidRequest,
                    "Task \(partition) for subtopology \(entry.subtopologyId) is invalid. Number of tasks for this subtopology: "
                        + "\(subtopology.taskCount)")
            }
        }
    }
}

extension StreamsGroupMember {
    /// Takes over what a request says; what it leaves out stays.
    fileprivate mutating func take(_ request: StreamsGroupHeartbeatRequest, context: GroupRequestContext, isJoining: Bool) {
        instanceID = request.instanceId ?? instanceID
        rackID = request.rackId ?? rackID
        if request.rebalanceTimeoutMs != -1 { rebalanceTimeoutMilliseconds = request.rebalanceTimeoutMs }
        topologyEpoch = request.topology?.epoch ?? topologyEpoch
        processID = request.processId ?? processID
        let endpoint = request.userEndpoint.map { described in
            var endpoint = Endpoint()
            endpoint.host = described.host
            endpoint.port = described.port
            return endpoint
        }
        userEndpoint = isJoining ? endpoint : endpoint ?? userEndpoint
        if let tags = request.clientTags {
            clientTags = tags.map { described in
                var tag = Tag()
                tag.key = described.key
                tag.value = described.value
                return tag
            }.sorted { $0.key < $1.key }
        }
        clientID = context.clientID
        clientHost = context.clientHost
    }
}

extension StreamsGroupHeartbeatResponse {
    fileprivate mutating func set(_ tasks: AssignedTasks) {
        activeTasks = tasks.activeTasks.heartbeatTasks
        standbyTasks = tasks.standby.heartbeatTasks
        warmupTasks = tasks.warmup.heartbeatTasks
    }
}

extension TaskSet {
    fileprivate var heartbeatTasks: [StreamsGroupHeartbeatResponse.TaskIds] {
        bySubtopology.map { id, partitions in
            var entry = StreamsGroupHeartbeatResponse.TaskIds()
            entry.subtopologyId = id
            entry.partitions = partitions
            return entry
        }
    }
}

extension StreamsGroupHeartbeatResponse.Status {
    init(_ code: StreamsGroupStatusCode, _ detail: String) {
        self.init()
        statusCode = code.rawValue
        statusDetail = detail
    }
}
