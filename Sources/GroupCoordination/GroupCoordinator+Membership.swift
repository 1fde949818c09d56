// JoinGroup, SyncGroup, Heartbeat and LeaveGroup: finds the group, or says why there is none for this request.
import KafkaMessages
import KafkaWire
import Primitives

extension GroupCoordinator {
    /// JoinGroup. The answer comes as an effect for `token`, now or later.
    ///
    /// - Parameter uuid: random; becomes part of the member's id if it needs one.
    public mutating func join(
        _ request: JoinGroupRequest, context: GroupRequestContext, uuid: KafkaUUID, token: ReplyToken, now: CoordinatorInstant
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        guard !request.groupId.isEmpty else {
            step.replyJoin(token, error: .invalidGroupId, memberID: request.memberId)
            return step.result(())
        }
        let allowed = configuration.minimumSessionTimeoutMilliseconds...configuration.maximumSessionTimeoutMilliseconds
        guard allowed.contains(request.sessionTimeoutMs) else {
            step.replyJoin(token, error: .invalidSessionTimeout, memberID: request.memberId)
            return step.result(())
        }
        if let index = consumerGroups.index(forKey: request.groupId) {
            if !consumerGroups.values[index].isEmpty {
                consumerGroups.values[index].join(
                    request, context: context, uuid: uuid, token: token, knowledge: &knowledge, step: &step)
                if case .classicJoin(let token, _) = step.continuation { classicJoins.append(token) }
                return step.result(())
            }
            // An empty group becomes a classic one.
            guard request.memberId.isEmpty else {
                step.replyJoin(token, error: .unknownMemberId, memberID: request.memberId)
                return step.result(())
            }
            step.records = consumerGroups.values[index].tombstones
        }
        if shareGroups[request.groupId] != nil {
            // Not even an empty one gives way: share coordinators keep state for it.
            step.replyJoin(token, error: .inconsistentGroupProtocol, memberID: "")
            return step.result(())
        }
        if let streams = streamsGroups[request.groupId], !streams.isBlank {
            if let error = streams.refusalOfClassicJoin(memberID: request.memberId) {
                step.replyJoin(token, error: error, memberID: error == .unknownMemberId ? request.memberId : "")
                return step.result(())
            }
            step.records = streams.tombstones
        }
        let isNew = classicGroups[request.groupId] == nil
        if isNew {
            guard request.memberId.isEmpty else {
                step.replyJoin(token, error: .unknownMemberId, memberID: request.memberId)
                return step.result(())
            }
            classicGroups[request.groupId] = ClassicGroup(groupID: request.groupId, createdAt: now.timestamp)
        }
        let recordsBefore = step.records.count
        if let index = classicGroups.index(forKey: request.groupId) {
            classicGroups.values[index].join(request, context: context, uuid: uuid, token: token, step: &step)
            if isNew, step.records.count == recordsBefore {
                step.records.append(classicGroups.values[index].emptyRecord())
                step.continuation = .newGroup(group: request.groupId)
            }
        }
        return step.result(())
    }

    /// SyncGroup. The answer comes as an effect for `token`, now or later.
    public mutating func sync(
        _ request: SyncGroupRequest, context: GroupRequestContext, token: ReplyToken, now: CoordinatorInstant
    ) -> CoordinatorResult<Void> {
        var step = GroupStep(now: now, configuration: configuration)
        if let error = refusal(of: request, context: context) {
            step.replySync(token, error: error)
        } else if let index = consumerGroups.index(forKey: request.groupId) {
            consumerGroups.values[index].sync(request, token: token, knowledge: knowledge, step: &step)
        } else if let index = classicGroups.index(forKey: request.groupId), !classicGroups.values[index].isEmpty {
            classicGroups.values[index].sync(request, token: token, step: &step)
        } else {
            step.replySync(token, error: .unknownMemberId)
        }
        return step.result(())
    }

    private func refusal(of request: SyncGroupRequest, context: GroupRequestContext) -> ErrorCode? {
        // From version 5 on members must say which protocol they assign for (KIP-559).
        if context.apiVersion >= 5, request.protocolType == nil || request.protocolName == nil { return .inconsistentGroupProtocol }
        return request.groupId.isEmpty ? .invalidGroupId : nil
    }

    /// Heartbeat.
    public mutating func heartbeat(_ request: HeartbeatRequest, now: CoordinatorInstant) -> CoordinatorResult<HeartbeatResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        var response = HeartbeatResponse()
        if request.groupId.isEmpty {
            response.errorCode = .invalidGroupId
        } else if let index = consumerGroups.index(forKey: request.groupId) {
            response.errorCode = consumerGroups.values[index].heartbeat(request, step: &step)
        } else if let index = classicGroups.index(forKey: request.groupId) {
            response.errorCode = classicGroups.values[index].heartbeat(request, step: &step)
        } else {
            response.errorCode = .unknownMemberId
        }
        return step.result(response)
    }

    /// LeaveGroup in the form of version 3: several members at once. Earlier versions name theirs outside of the list; see
    /// ``LeaveGroupRequest/normalized(for:)``.
    public mutating func leave(_ request: LeaveGroupRequest, now: CoordinatorInstant) -> CoordinatorResult<LeaveGroupResponse> {
        var step = GroupStep(now: now, configuration: configuration)
        var response = LeaveGroupResponse()
        if request.groupId.isEmpty {
            response.errorCode = .invalidGroupId
        } else if let index = consumerGroups.index(forKey: request.groupId) {
            response = consumerGroups.values[index].leave(request, knowledge: &knowledge, step: &step)
            if step.continuation == nil { step.continuation = .consumerGroup(group: request.groupId) }
        } else if let index = classicGroups.index(forKey: request.groupId) {
            response = classicGroups.values[index].leave(request, step: &step)
        } else {
            response.members = request.members.map { identity in
                var outcome = LeaveGroupResponse.MemberResponse()
                outcome.memberId = identity.memberId
                outcome.groupInstanceId = identity.groupInstanceId
                outcome.errorCode = .unknownMemberId
                return outcome
            }
        }
        return step.result(response)
    }
}
