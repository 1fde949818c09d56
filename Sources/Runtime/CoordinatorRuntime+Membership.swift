// JoinGroup, SyncGroup, Heartbeat and LeaveGroup as the wire has them, across all their versions.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension CoordinatorRuntime {
    /// JoinGroup. Answered when the generation is complete, which may take the whole rebalance.
    public func join(
        _ request: JoinGroupRequest, context: GroupRequestContext, completion: @escaping @Sendable (JoinGroupResponse) -> Void
    ) {
        var request = request
        // Version 0 knows a session timeout only.
        if context.apiVersion == 0 { request.rebalanceTimeoutMs = request.sessionTimeoutMs }
        let version = context.apiVersion
        let admitted = request
        let uuid = uuid()
        let now = now
        shard(for: request.groupId).submitParked(
            now: now,
            step: { $0.join(admitted, context: context, uuid: uuid, token: $1, now: now) },
            failed: { error in
                var response = JoinGroupResponse()
                response.errorCode = admitted.groupId.isEmpty ? .invalidGroupId : error
                response.memberId = admitted.memberId
                completion(response.normalized(for: version))
            },
            completion: { reply in
                guard case .join(let response) = reply else { preconditionFailure("a join was answered with \(reply)") }
                completion(response.normalized(for: version))
            })
    }

    /// SyncGroup. Answered when the leader's assignment is stored.
    public func sync(
        _ request: SyncGroupRequest, context: GroupRequestContext, completion: @escaping @Sendable (SyncGroupResponse) -> Void
    ) {
        let now = now
        shard(for: request.groupId).submitParked(
            now: now,
            step: { $0.sync(request, context: context, token: $1, now: now) },
            failed: { error in
                var response = SyncGroupResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidGroupId : error
                completion(response)
            },
            completion: { reply in
                guard case .sync(let response) = reply else { preconditionFailure("a sync was answered with \(reply)") }
                completion(response)
            })
    }

    public func heartbeat(_ request: HeartbeatRequest, completion: @escaping @Sendable (HeartbeatResponse) -> Void) {
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.heartbeat(request, now: now) },
            failed: { error in
                var response = HeartbeatResponse()
                // While the group is being loaded its members live on: their sessions begin anew after that.
                response.errorCode = error == .coordinatorLoadInProgress ? .none : error
                if request.groupId.isEmpty { response.errorCode = .invalidGroupId }
                return response
            }, completion: completion)
    }

    public func leave(
        _ request: LeaveGroupRequest, context: GroupRequestContext, completion: @escaping @Sendable (LeaveGroupResponse) -> Void
    ) {
        let version = context.apiVersion
        let request = request.normalized(for: version)
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.leave(request, now: now) },
            failed: { error in
                var response = LeaveGroupResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidGroupId : error
                return response
            }, completion: { completion($0.normalized(for: version)) })
    }
}

extension JoinGroupResponse {
    /// Before version 7 an absent protocol name is empty, since then it is null.
    func normalized(for version: Int16) -> JoinGroupResponse {
        var response = self
        if version < 7, protocolName == nil { response.protocolName = "" }
        if version >= 7, protocolName?.isEmpty == true { response.protocolName = nil }
        return response
    }
}

extension LeaveGroupRequest {
    /// Before version 3 a request names one member, outside of the list.
    func normalized(for version: Int16) -> LeaveGroupRequest {
        guard version < 3 else { return self }
        var request = self
        var identity = MemberIdentity()
        identity.memberId = memberId
        request.members = [identity]
        request.memberId = ""
        return request
    }
}

extension LeaveGroupResponse {
    /// Before version 3 the member's error is the response's.
    func normalized(for version: Int16) -> LeaveGroupResponse {
        guard version < 3 else { return self }
        var response = LeaveGroupResponse()
        response.throttleTimeMs = throttleTimeMs
        response.errorCode = errorCode == .none ? members.first?.errorCode ?? .none : errorCode
        return response
    }
}
