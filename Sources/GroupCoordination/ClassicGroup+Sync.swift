// SyncGroup, Heartbeat and LeaveGroup, and the end of sessions.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension ClassicGroup {
    mutating func sync(_ request: SyncGroupRequest, token: ReplyToken, step: inout GroupStep) {
        if let error = refusal(of: request) { return step.replySync(token, error: error) }
        let memberID = request.memberId
        switch state {
        case .empty, .dead:
            step.replySync(token, error: .unknownMemberId)
        case .preparingRebalance:
            step.replySync(token, error: .rebalanceInProgress)
        case .completingRebalance:
            if let earlier = setAwaitingSync(token, for: memberID) { step.replySync(earlier, error: .rebalanceInProgress) }
            noteSync(of: memberID, step: &step)
            guard isLeader(memberID) else { return }
            var assignments: [String: ByteBuffer] = [:]
            for assignment in request.assignments { assignments[assignment.memberId] = ByteBuffer(buffer: assignment.assignment) }
            step.records.append(metadataRecord { assignments[$0.memberID] ?? ByteBuffer() })
            step.continuation = .assignment(group: groupID, generation: generationID)
        case .stable:
            noteSync(of: memberID, step: &step)
            step.reply(token, syncResponse(for: memberID))
        }
    }

    private func refusal(of request: SyncGroupRequest) -> ErrorCode? {
        if let error = refusal(memberID: request.memberId, groupInstanceID: request.groupInstanceId) { return error }
        if request.generationId != generationID { return .illegalGeneration }
        // Clients before version 5 do not name the protocol; those that do must mean the one that was agreed on.
        if let type = request.protocolType, let current = protocolType, type != current { return .inconsistentGroupProtocol }
        if let name = request.protocolName, let current = protocolName, name != current { return .inconsistentGroupProtocol }
        return nil
    }

    private mutating func noteSync(of memberID: String, step: inout GroupStep) {
        pendingSyncMembers.remove(memberID)
        if pendingSyncMembers.isEmpty { endSyncPhase(step: &step) }
    }

    /// Finishes the leader's sync once the assignment is in the log, and replayed from there.
    mutating func completeAssignment(of generation: Int32, step: inout GroupStep) {
        guard state == .stable, generation == generationID else { return }
        step.count(.completedRebalance)
        propagateAssignment(error: .none, step: &step)
    }

    /// The assignment could not be stored: everybody has to join again.
    mutating func revertAssignment(of generation: Int32, error: ErrorCode, step: inout GroupStep) {
        guard state == .completingRebalance, generation == generationID else { return }
        propagateAssignment(error: error, step: &step)
        note(.assignmentLost, of: nil, step: &step)
        prepareRebalance(step: &step)
    }

    mutating func heartbeat(_ request: HeartbeatRequest, step: inout GroupStep) -> ErrorCode {
        if let error = refusal(memberID: request.memberId, groupInstanceID: request.groupInstanceId) { return error }
        if request.generationId != generationID { return .illegalGeneration }
        switch state {
        case .empty, .dead:
            return .unknownMemberId
        case .preparingRebalance:
            extendSession(of: request.memberId, step: &step)
            return .rebalanceInProgress
        case .completingRebalance, .stable:
            extendSession(of: request.memberId, step: &step)
            return .none
        }
    }

    mutating func leave(_ request: LeaveGroupRequest, step: inout GroupStep) -> LeaveGroupResponse {
        var response = LeaveGroupResponse()
        var somebodyLeft = false
        for identity in request.members {
            var outcome = LeaveGroupResponse.MemberResponse()
            outcome.memberId = identity.memberId
            outcome.groupInstanceId = identity.groupInstanceId
            outcome.errorCode = leave(identity, step: &step)
            if outcome.errorCode == .none { somebodyLeft = true }
            response.members.append(outcome)
        }
        if somebodyLeft {
            switch state {
            case .stable, .completingRebalance: prepareRebalance(step: &step)
            case .preparingRebalance: completeJoinIfEverybodyJoined(step: &step)
            case .empty, .dead: break
            }
        }
        return response
    }

    private mutating func leave(_ identity: LeaveGroupRequest.MemberIdentity, step: inout GroupStep) -> ErrorCode {
        if identity.memberId.isEmpty {
            // An administrator removes a static member by its instance id alone.
            guard let groupInstanceID = identity.groupInstanceId, let memberID = staticMemberID(groupInstanceID) else {
                return .unknownMemberId
            }
            note(.memberLeft, of: members[memberID], detail: identity.reason ?? "", step: &step)
            remove(memberID, step: &step)
            return .none
        }
        if !pendingJoinMembers.contains(identity.memberId) {
            if let error = refusal(memberID: identity.memberId, groupInstanceID: identity.groupInstanceId) { return error }
        }
        if let member = members[identity.memberId] { note(.memberLeft, of: member, detail: identity.reason ?? "", step: &step) }
        remove(identity.memberId, step: &step)
        return .none
    }

    /// The session timer of a member, or of an id that was reserved, fired.
    mutating func sessionTimerFired(_ memberID: String, step: inout GroupStep) {
        if pendingJoinMembers.contains(memberID) {
            remove(memberID, step: &step)
            if state == .preparingRebalance, hasAllMembersJoined { completeJoin(step: &step) }
            return
        }
        guard let member = members[memberID] else { return }
        guard step.now.monotonicMilliseconds >= member.sessionDeadline else {
            rearmSession(of: memberID, isArmed: true)
            return step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: member.sessionDeadline))
        }
        rearmSession(of: memberID, isArmed: false)
        guard !member.hasSatisfiedHeartbeat else { return }
        note(.sessionTimedOut, of: member, step: &step)
        remove(memberID, step: &step)
        switch state {
        case .stable, .completingRebalance: prepareRebalance(step: &step)
        case .preparingRebalance: if hasAllMembersJoined { completeJoin(step: &step) }
        case .empty, .dead: break
        }
    }

    /// Answers all who wait, because this broker no longer coordinates the group.
    mutating func abandon(error: ErrorCode = .notCoordinator, step: inout GroupStep) {
        for memberID in members.keys {
            if let token = setAwaitingJoin(nil, for: memberID) { step.replyJoin(token, error: error, memberID: memberID) }
            if let token = setAwaitingSync(nil, for: memberID) { step.replySync(token, error: error) }
        }
    }
}
