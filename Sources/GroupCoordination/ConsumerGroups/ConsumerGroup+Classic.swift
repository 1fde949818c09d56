// Members of a consumer group that speak the classic protocol: their JoinGroup, SyncGroup, Heartbeat and LeaveGroup are taken as what
// they mean in the new one, so that a group can change over one member at a time (KIP-848).
import Collections
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

extension ConsumerGroup {
    /// JoinGroup. Answered with effects, or by the write's continuation when there are records.
    mutating func join(
        _ request: JoinGroupRequest, context: GroupRequestContext, uuid: KafkaUUID, token: ReplyToken, knowledge: inout TopicKnowledge,
        step: inout GroupStep
    ) {
        do throws(GroupRefusal) {
            try tryToJoin(request, context: context, uuid: uuid, token: token, knowledge: &knowledge, step: &step)
        } catch {
            step.records = []
            step.continuation = nil
            step.replyJoin(token, error: error.code, memberID: request.memberId)
        }
    }

    private mutating func tryToJoin(
        _ request: JoinGroupRequest, context: GroupRequestContext, uuid: KafkaUUID, token: ReplyToken, knowledge: inout TopicKnowledge,
        step: inout GroupStep
    ) throws(GroupRefusal) {
        guard step.configuration.consumer.migrationPolicy != .disabled else {
            throw GroupRefusal(.inconsistentGroupProtocol, "The migration of groups is disabled.")
        }
        let isUnknown = request.memberId.isEmpty
        let memberID = isUnknown ? uuid.description : request.memberId
        try refuseIfFull(memberID: memberID, instanceID: request.groupInstanceId, step: step)
        guard supportsClassicProtocol(type: request.protocolType, names: request.protocols.map(\.name)),
            let subscription = request.protocols.first.flatMap({ EmbeddedConsumerProtocol.subscription(in: $0.metadata) })
        else {
            throw GroupRefusal(.inconsistentGroupProtocol, "Member \(memberID)'s protocols are not supported.")
        }
        if request.groupInstanceId == nil, isUnknown, context.apiVersion >= 4 {
            return step.replyJoin(token, error: .memberIdRequired, memberID: memberID)
        }
        if let replaced = staticMember(request.groupInstanceId), isUnknown, !replaced.usesClassicProtocol,
            downgradesWithout([replaced], joining: 1, step: step)
        {
            // The last member of the consumer protocol comes back with the classic one: the group becomes a classic one and it joins that.
            return convertToClassic(
                without: [replaced], joining: PendingClassicJoin(request: request, context: context, uuid: uuid, token: token),
                knowledge: knowledge, step: &step)
        }
        let member: ConsumerGroupMember
        if let instanceID = request.groupInstanceId {
            member = try staticMember(
                instanceID, memberID: memberID, epoch: -1, owned: PartitionSet(), isJoining: isUnknown, usesClassicProtocol: true,
                step: &step)
        } else {
            member = members[memberID] ?? ConsumerGroupMember(memberID: memberID)
        }
        var updated = member
        updated.take(request, subscription: subscription, context: context)
        let owned = EmbeddedConsumerProtocol.partitions(
            subscription.ownedPartitions.map { ($0.topic, $0.partitions) }, topics: knowledge.topics)
        let reconciled = try advance(member, to: updated, owned: owned, context: context, knowledge: &knowledge, step: &step)
        extendSession(of: memberID, milliseconds: request.sessionTimeoutMs, step: &step)
        setClassicDeadlines(
            ClassicDeadlines(join: nil, sync: step.deadline(after: request.rebalanceTimeoutMs)), of: memberID, step: &step)
        var response = JoinGroupResponse()
        response.memberId = memberID
        response.generationId = reconciled.memberEpoch
        response.protocolType = EmbeddedConsumerProtocol.protocolType
        response.protocolName = request.protocols.first?.name
        // Nobody is the leader: the assignment is made here.
        response.leader = ""
        if step.records.isEmpty {
            step.reply(token, response)
        } else {
            step.continuation = .classicJoin(token, response)
        }
    }

    /// SyncGroup: the member's assignment in the form that it understands.
    mutating func sync(_ request: SyncGroupRequest, token: ReplyToken, knowledge: TopicKnowledge, step: inout GroupStep) {
        do throws(GroupRefusal) {
            let member = try classicMember(request.memberId, instanceID: request.groupInstanceId, generation: request.generationId)
            let chosen = member.classic?.supportedProtocols.first
            let isOther =
                request.protocolType.map { $0 != EmbeddedConsumerProtocol.protocolType } ?? false
                || request.protocolName.map { $0 != chosen?.name } ?? false
            guard !isOther else { throw GroupRefusal(.inconsistentGroupProtocol, "") }
            if assignmentEpoch > member.memberEpoch, member.state != .unrevokedPartitions {
                awaitJoin(of: member, step: &step)
                throw GroupRefusal(.rebalanceInProgress, "")
            }
            let deadlines = ClassicDeadlines(join: classicDeadlines[member.memberID]?.join, sync: nil)
            setClassicDeadlines(deadlines, of: member.memberID, step: &step)
            extendSession(of: member.memberID, milliseconds: member.classic?.sessionTimeoutMs ?? 0, step: &step)
            var response = SyncGroupResponse()
            response.protocolType = request.protocolType
            response.protocolName = request.protocolName
            response.assignment = EmbeddedConsumerProtocol.assignment(
                of: member.assignedPartitions.partitions, metadata: chosen?.metadata ?? ByteBuffer(), topics: knowledge.topics)
            step.reply(token, response)
        } catch {
            step.replySync(token, error: error.code)
        }
    }

    /// Heartbeat: tells the member to join again when there is something new for it.
    mutating func heartbeat(_ request: HeartbeatRequest, step: inout GroupStep) -> ErrorCode {
        do throws(GroupRefusal) {
            let member = try classicMember(request.memberId, instanceID: request.groupInstanceId, generation: request.generationId)
            extendSession(of: member.memberID, milliseconds: member.classic?.sessionTimeoutMs ?? 0, step: &step)
            let mustJoin =
                member.memberEpoch < assignmentEpoch || member.state == .unrevokedPartitions
                || (member.state == .unreleasedPartitions && !isWaitingForOthers(member))
            guard mustJoin else { return .none }
            awaitJoin(of: member, step: &step)
            return .rebalanceInProgress
        } catch {
            return error.code
        }
    }

    /// LeaveGroup, also of an administrator, who may remove static members of either protocol.
    mutating func leave(_ request: LeaveGroupRequest, knowledge: inout TopicKnowledge, step: inout GroupStep) -> LeaveGroupResponse {
        var response = LeaveGroupResponse()
        var gone: OrderedDictionary<String, ConsumerGroupMember> = [:]
        for identity in request.members {
            var outcome = LeaveGroupResponse.MemberResponse()
            outcome.memberId = identity.memberId
            outcome.groupInstanceId = identity.groupInstanceId
            let member = identity.groupInstanceId == nil ? members[identity.memberId] : staticMember(identity.groupInstanceId)
            if let member {
                if identity.groupInstanceId != nil, !identity.memberId.isEmpty, identity.memberId != member.memberID {
                    outcome.errorCode = .fencedInstanceId
                } else {
                    gone[member.memberID] = member
                }
            } else {
                outcome.errorCode = .unknownMemberId
            }
            response.members.append(outcome)
        }
        fence(Array(gone.values), .memberLeft, knowledge: &knowledge, step: &step)
        return response
    }

    private func classicMember(_ memberID: String, instanceID: String?, generation: Int32) throws(GroupRefusal) -> ConsumerGroupMember {
        let found = instanceID == nil ? members[memberID] : staticMember(instanceID)
        guard let found else { throw GroupRefusal(.unknownMemberId, "") }
        guard found.memberID == memberID else { throw GroupRefusal(.fencedInstanceId, "") }
        guard found.usesClassicProtocol else { throw GroupRefusal(.unknownMemberId, "") }
        guard found.memberEpoch == generation else { throw GroupRefusal(.illegalGeneration, "") }
        return found
    }

    /// Whether a partition that the member is to have is still with somebody else.
    private func isWaitingForOthers(_ member: ConsumerGroupMember) -> Bool {
        (targetAssignment[member.memberID] ?? PartitionSet()).elements.contains {
            !member.assignedPartitions.contains(partition: $0) && currentEpoch(of: $0) != nil
        }
    }

    // MARK: Deadlines

    private mutating func awaitJoin(of member: ConsumerGroupMember, step: inout GroupStep) {
        var deadlines = classicDeadlines[member.memberID] ?? ClassicDeadlines()
        guard deadlines.join == nil else { return }
        deadlines.join = step.deadline(after: member.rebalanceTimeoutMilliseconds)
        setClassicDeadlines(deadlines, of: member.memberID, step: &step)
    }

    private mutating func setClassicDeadlines(_ deadlines: ClassicDeadlines, of memberID: String, step: inout GroupStep) {
        guard let next = deadlines.next else {
            guard classicDeadlines.removeValue(forKey: memberID) != nil else { return }
            return step.effects.append(.cancelTimer(.classicMember(group: groupID, member: memberID)))
        }
        classicDeadlines[memberID] = deadlines
        step.effects.append(.setTimer(.classicMember(group: groupID, member: memberID), deadline: next))
    }

    mutating func classicTimerFired(_ memberID: String, knowledge: inout TopicKnowledge, step: inout GroupStep) {
        guard let next = classicDeadlines[memberID]?.next, step.now.monotonicMilliseconds >= next else { return }
        classicDeadlines[memberID] = nil
        guard let member = members[memberID], member.usesClassicProtocol else { return }
        fence([member], .rebalanceTimedOut, knowledge: &knowledge, step: &step)
    }
}

extension ConsumerGroup.ClassicDeadlines {
    /// The one that comes first.
    fileprivate var next: Int64? {
        switch (join, sync) {
        case (let first?, let second?): min(first, second)
        case (let only?, nil), (nil, let only?): only
        case (nil, nil): nil
        }
    }
}

extension ConsumerGroupMember {
    fileprivate mutating func take(_ request: JoinGroupRequest, subscription: ConsumerProtocolSubscription, context: GroupRequestContext) {
        instanceID = request.groupInstanceId ?? instanceID
        if let rack = subscription.rackId, !rack.isEmpty { rackID = rack }
        if request.rebalanceTimeoutMs != -1 { rebalanceTimeoutMilliseconds = request.rebalanceTimeoutMs }
        subscribe(to: subscription.topics)
        subscribedTopicRegex = ""
        clientID = context.clientID
        clientHost = context.clientHost
        classic = .init(request.protocols, sessionTimeoutMilliseconds: request.sessionTimeoutMs)
    }
}

extension ConsumerGroupMemberMetadataValue.ClassicMemberMetadata {
    init(_ protocols: [JoinGroupRequest.JoinGroupRequestProtocol], sessionTimeoutMilliseconds: Int32) {
        self.init()
        sessionTimeoutMs = sessionTimeoutMilliseconds
        supportedProtocols = protocols.map { offered in
            var stored = ConsumerGroupMemberMetadataValue.ClassicProtocol()
            stored.name = offered.name
            stored.metadata = ByteBuffer(buffer: offered.metadata)
            return stored
        }
    }
}
