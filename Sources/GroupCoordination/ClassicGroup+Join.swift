// JoinGroup: who may come in, and what that means for the generation.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension ClassicGroup {
    mutating func join(
        _ request: JoinGroupRequest, context: GroupRequestContext, uuid: KafkaUUID, token: ReplyToken, step: inout GroupStep
    ) {
        let memberID = request.memberId
        guard accepts(memberID, maximumSize: step.configuration.maximumGroupSize) else {
            remove(memberID, step: &step)
            return step.replyJoin(token, error: .groupMaxSizeReached, memberID: "")
        }
        guard supports(protocolType: request.protocolType, protocols: request.protocols) else {
            return step.replyJoin(token, error: .inconsistentGroupProtocol, memberID: memberID)
        }
        if memberID.isEmpty {
            joinNewMember(request, context: context, uuid: uuid, token: token, step: &step)
        } else if pendingJoinMembers.contains(memberID) {
            // A reserved id never belongs to a static member: those are told theirs with the generation.
            guard request.groupInstanceId == nil else { return step.replyJoin(token, error: .unknownServerError, memberID: memberID) }
            addMember(memberID, request: request, context: context, token: token, step: &step)
        } else if let error = refusal(memberID: memberID, groupInstanceID: request.groupInstanceId) {
            step.replyJoin(token, error: error, memberID: memberID)
        } else {
            rejoin(memberID, request: request, token: token, step: &step)
        }
    }

    /// Whether there is room for the member.
    ///
    /// While members join it is those who have joined that count: a group that was larger than the limit allows (because the limit
    /// was lowered) loses its last to come. Otherwise those who are in stay in.
    private func accepts(_ memberID: String, maximumSize: Int) -> Bool {
        switch state {
        case .empty, .dead: true
        case .preparingRebalance: members[memberID]?.awaitingJoin != nil || awaitingJoinCount < maximumSize
        case .completingRebalance, .stable: members[memberID] != nil || members.count < maximumSize
        }
    }

    private mutating func joinNewMember(
        _ request: JoinGroupRequest, context: GroupRequestContext, uuid: KafkaUUID, token: ReplyToken, step: inout GroupStep
    ) {
        if let groupInstanceID = request.groupInstanceId {
            let newMemberID = "\(groupInstanceID)-\(uuid.hyphenated)"
            if let oldMemberID = staticMemberID(groupInstanceID) {
                return rejoinStatic(
                    groupInstanceID, from: oldMemberID, to: newMemberID, request: request, apiVersion: context.apiVersion, token: token,
                    step: &step)
            }
            return addMember(newMemberID, request: request, context: context, token: token, step: &step)
        }
        let newMemberID = "\(context.clientID)-\(uuid.hyphenated)"
        guard context.apiVersion >= 4 else {
            return addMember(newMemberID, request: request, context: context, token: token, step: &step)
        }
        // KIP-394: a member is only added once it has shown that it received its id, else clients that give up while they wait
        // would fill the group with members that nobody is.
        pendingJoinMembers.append(newMemberID)
        step.effects.append(
            .setTimer(.session(group: groupID, member: newMemberID), deadline: step.deadline(after: request.sessionTimeoutMs)))
        step.replyJoin(token, error: .memberIdRequired, memberID: newMemberID)
    }

    private mutating func addMember(
        _ memberID: String, request: JoinGroupRequest, context: GroupRequestContext, token: ReplyToken, step: inout GroupStep
    ) {
        var member = ClassicGroupMember(
            memberID: memberID, groupInstanceID: request.groupInstanceId, clientID: context.clientID, clientHost: context.clientHost,
            rebalanceTimeoutMilliseconds: request.rebalanceTimeoutMs, sessionTimeoutMilliseconds: request.sessionTimeoutMs,
            protocolType: request.protocolType, supportedProtocols: request.protocols.map(\.owned))
        member.isNew = true
        member.awaitingJoin = token
        if state == .preparingRebalance, previousState == .empty { newMemberAdded = true }
        if pendingJoinMembers.contains(memberID) {
            // The timer of the reservation makes way for that of the member.
            step.effects.append(.cancelTimer(.session(group: groupID, member: memberID)))
        }
        add(member)
        note(.memberJoined, of: member, step: &step)
        // A client that gives up on a long rebalance joins again under a new id. So that its former selves do not pile up, a join
        // of a new member ends by itself: whoever is still there asks again.
        extendSession(of: memberID, by: step.configuration.newMemberJoinTimeoutMilliseconds, step: &step)
        prepareRebalanceOrCompleteJoin(step: &step)
    }

    private mutating func rejoin(_ memberID: String, request: JoinGroupRequest, token: ReplyToken, step: inout GroupStep) {
        let isUnchanged = members[memberID]?.supportedProtocols == request.protocols
        switch state {
        case .preparingRebalance:
            update(memberID, with: request, token: token, step: &step)
            completeJoinIfEverybodyJoined(step: &step)
        case .completingRebalance where isUnchanged:
            // It may have missed our answer: the generation is as it was.
            step.reply(token, joinResponse(for: memberID, includingMembers: isLeader(memberID)))
        case .stable where isUnchanged && !isLeader(memberID):
            step.reply(token, joinResponse(for: memberID, includingMembers: false))
        case .completingRebalance, .stable:
            // Changed metadata means a new assignment; so does a leader that joins again, for reasons only it can see, such as
            // more partitions.
            note(isUnchanged ? .leaderRejoined : .subscriptionChanged, of: members[memberID], step: &step)
            update(memberID, with: request, token: token, step: &step)
            prepareRebalanceOrCompleteJoin(step: &step)
        case .empty, .dead:
            step.replyJoin(token, error: .unknownMemberId, memberID: memberID)
        }
    }

    /// A static member that restarted takes its own place (KIP-345).
    private mutating func rejoinStatic(
        _ groupInstanceID: String, from oldMemberID: String, to newMemberID: String, request: JoinGroupRequest, apiVersion: Int16,
        token: ReplyToken, step: inout GroupStep
    ) {
        guard let former = members[oldMemberID] else { preconditionFailure("static member \(oldMemberID) is not in group \(groupID)") }
        let replacement = StaticMemberReplacement(
            groupInstanceID: groupInstanceID, oldMemberID: oldMemberID, newMemberID: newMemberID, previousLeaderID: leaderID,
            previousProtocols: former.supportedProtocols, previousRebalanceTimeoutMilliseconds: former.rebalanceTimeoutMilliseconds,
            previousSessionTimeoutMilliseconds: former.sessionTimeoutMilliseconds, apiVersion: apiVersion, token: token)
        replaceStaticMember(groupInstanceID, from: oldMemberID, to: newMemberID, step: &step)
        extendSession(of: newMemberID, step: &step)
        update(newMemberID, with: request, token: token, step: &step)
        switch state {
        case .stable:
            guard selectProtocol() == protocolName else {
                note(.memberReturned, of: members[newMemberID], step: &step)
                return prepareRebalanceOrCompleteJoin(step: &step)
            }
            // Nothing the others care about changed, so there is no rebalance: only the log has to know the new id.
            step.records.append(metadataRecord { $0.assignment })
            step.continuation = .staticMember(group: groupID, replacement)
        case .completingRebalance:
            // The leader may have been told the old id already and would assign to it.
            note(.memberReturned, of: members[newMemberID], step: &step)
            prepareRebalance(step: &step)
        case .preparingRebalance, .empty, .dead:
            completeJoinIfEverybodyJoined(step: &step)
        }
    }

    /// Finishes ``rejoinStatic`` once the new id is in the log.
    mutating func completeStaticReplacement(_ replacement: StaticMemberReplacement, step: inout GroupStep) {
        // If a rebalance has begun meanwhile the member counts as joined, and is answered with the others.
        guard state == .stable, members[replacement.newMemberID]?.awaitingJoin == replacement.token else { return }
        setAwaitingJoin(nil, for: replacement.newMemberID)
        extendSession(of: replacement.newMemberID, step: &step)
        var response: JoinGroupResponse
        if replacement.apiVersion >= 9 {
            let isLeader = isLeader(replacement.newMemberID)
            response = joinResponse(for: replacement.newMemberID, includingMembers: isLeader)
            response.skipAssignment = isLeader
        } else {
            // Older clients cannot be told to skip the assignment: naming the former leader keeps this one from making one.
            response = joinResponse(for: replacement.newMemberID, includingMembers: false)
            response.leader = replacement.previousLeaderID ?? ""
        }
        step.reply(replacement.token, response)
    }

    /// Undoes ``rejoinStatic`` after the new id could not be stored.
    mutating func revertStaticReplacement(_ replacement: StaticMemberReplacement, error: ErrorCode, step: inout GroupStep) {
        guard state == .stable, members[replacement.newMemberID]?.awaitingJoin == replacement.token else { return }
        setAwaitingJoin(nil, for: replacement.newMemberID)
        setTerms(
            replacement.newMemberID, protocols: replacement.previousProtocols,
            rebalanceTimeout: replacement.previousRebalanceTimeoutMilliseconds,
            sessionTimeout: replacement.previousSessionTimeoutMilliseconds)
        replaceStaticMember(replacement.groupInstanceID, from: replacement.newMemberID, to: replacement.oldMemberID, step: &step)
        extendSession(of: replacement.oldMemberID, step: &step)
        var response = joinResponse(for: "", includingMembers: false)
        response.leader = replacement.previousLeaderID ?? ""
        response.errorCode = error
        step.reply(replacement.token, response)
    }

    /// What a member is told about the current generation; only the leader learns who the others are.
    func joinResponse(for memberID: String, includingMembers: Bool) -> JoinGroupResponse {
        var response = JoinGroupResponse()
        response.memberId = memberID
        response.generationId = generationID
        response.protocolName = protocolName
        response.protocolType = protocolType
        response.leader = leaderID ?? ""
        if includingMembers {
            response.members = members.values.map { member in
                var description = JoinGroupResponse.JoinGroupResponseMember()
                description.memberId = member.memberID
                description.groupInstanceId = member.groupInstanceID
                description.metadata = member.metadata(for: protocolName) ?? ByteBuffer()
                return description
            }
        }
        return response
    }
}

extension KafkaUUID {
    /// The form of RFC 9562 with hyphens, as in Kafka's member ids.
    var hyphenated: String {
        let digits = Array("0123456789abcdef".utf8)
        return String(unsafeUninitializedCapacity: 36) { characters in
            var position = 0
            for index in 0..<32 {
                if index == 8 || index == 12 || index == 16 || index == 20 {
                    characters[position] = UInt8(ascii: "-")
                    position += 1
                }
                let word = index < 16 ? mostSignificantBits : leastSignificantBits
                characters[position] = digits[Int((word >> UInt64(60 - 4 * (index % 16))) & 0xf)]
                position += 1
            }
            return 36
        }
    }
}
