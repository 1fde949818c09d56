// How members of a streams group go: they leave, their session ends, or they do not give tasks back in time.
import KafkaMessages
import KafkaWire
import Primitives

extension StreamsGroup {
    /// A heartbeat with epoch -1 or -2: the member leaves, or a static member goes away for a while.
    mutating func leave(
        _ request: StreamsGroupHeartbeatRequest, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsGroupHeartbeatResponse {
        var response = StreamsGroupHeartbeatResponse()
        response.memberId = request.memberId
        response.memberEpoch = request.memberEpoch
        if request.shutdownApplication { requestShutdown(by: request.memberId) }
        guard let instanceID = request.instanceId else {
            guard let member = members[request.memberId] else {
                throw GroupRefusal(.unknownMemberId, "Member \(request.memberId) is not a member of group \(groupID).")
            }
            fence(member, .memberLeft, step: &step)
            return response
        }
        let member = try knownStaticMember(instanceID, memberID: request.memberId)
        guard request.memberEpoch == StreamsGroupMember.awayEpoch else {
            fence(member, .memberLeft, step: &step)
            return response
        }
        var away = member
        away.memberEpoch = StreamsGroupMember.awayEpoch
        away.tasksPendingRevocation = AssignedTasks()
        // Whoever comes back in its place has had them all along.
        away.assignedTasks.active = away.assignedTasks.active.map { ActiveTask(task: $0.task, epoch: 0) }
        step.records.append(away.currentAssignmentRecord(in: groupID))
        return response
    }

    mutating func requestShutdown(by memberID: String) {
        if shutdownRequester == nil { shutdownRequester = memberID }
    }

    /// Takes a member out of the group and opens a new epoch; who is left gets its tasks with its next heartbeat.
    mutating func fence(_ member: StreamsGroupMember, _ kind: RebalanceReason.Kind, step: inout GroupStep) {
        step.records += tombstones(ofMember: member.memberID)
        let epoch = groupEpoch + 1
        step.records.append(
            epochRecord(
                epoch, metadataHash: metadataHash, validatedTopologyEpoch: validatedTopologyEpoch, settings: lastAssignmentSettings))
        if members.count == 1 { step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: 0)) }
        step.effects.append(.cancelTimer(.session(group: groupID, member: member.memberID)))
        if revocations[member.memberID] != nil {
            step.effects.append(.cancelTimer(.revocation(group: groupID, member: member.memberID)))
        }
        if member.userEndpoint != nil { endpointEpoch += 1 }
        note(kind, of: member, epoch: epoch, step: &step)
        step.count(.streamsGroupRebalance)
    }

    func note(_ kind: RebalanceReason.Kind, of member: StreamsGroupMember, epoch: Int32, detail: String = "", step: inout GroupStep) {
        step.effects.append(
            .note(
                RebalanceReason(
                    group: groupID, type: .streams, epoch: epoch, timestamp: step.now.timestamp, kind: kind, memberID: member.memberID,
                    instanceID: member.instanceID, clientID: member.clientID, clientHost: member.clientHost, detail: detail)))
    }

    // MARK: Time

    /// Begins a member's session anew. The timer is only set when it is not already going to fire early enough to look.
    mutating func extendSession(of memberID: String, milliseconds: Int32, step: inout GroupStep) {
        let deadline = step.deadline(after: milliseconds)
        if let session = sessions[memberID], session.armed <= deadline, session.armed > step.now.monotonicMilliseconds {
            sessions[memberID]?.deadline = deadline
            return
        }
        setSession(of: memberID, deadline: deadline, step: &step)
    }

    private mutating func setSession(of memberID: String, deadline: Int64, step: inout GroupStep) {
        sessions[memberID] = ConsumerGroup.Session(deadline: deadline, armed: deadline)
        step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: deadline))
    }

    mutating func sessionTimerFired(_ memberID: String, step: inout GroupStep) {
        guard let session = sessions[memberID] else { return }
        guard step.now.monotonicMilliseconds >= session.deadline else {
            return setSession(of: memberID, deadline: session.deadline, step: &step)
        }
        sessions[memberID] = nil
        guard let member = members[memberID] else { return }
        fence(member, .sessionTimedOut, step: &step)
        // Should the log not take the member's end, it is tried again: a second later it is either gone or fenced anew.
        setSession(of: memberID, deadline: step.deadline(after: 1_000), step: &step)
    }

    mutating func revocationTimerFired(_ memberID: String, step: inout GroupStep) {
        guard let revocation = revocations[memberID], step.now.monotonicMilliseconds >= revocation.deadline else { return }
        revocations[memberID] = nil
        guard let member = members[memberID], member.memberEpoch == revocation.epoch, member.state == .unrevokedTasks else { return }
        fence(member, .rebalanceTimedOut, step: &step)
        setSession(of: memberID, deadline: step.deadline(after: 1_000), step: &step)
    }

    /// The group has been read: its members' sessions begin.
    mutating func loaded(knowledge: TopicKnowledge, step: inout GroupStep) {
        let session = step.streamsSettings(of: groupID, knowledge).sessionTimeoutMilliseconds
        for member in members.values {
            extendSession(of: member.memberID, milliseconds: session, step: &step)
            if member.state == .unrevokedTasks { awaitRevocation(by: member, step: &step) }
        }
    }

    mutating func awaitRevocation(by member: StreamsGroupMember, step: inout GroupStep) {
        let deadline = step.deadline(after: member.rebalanceTimeoutMilliseconds)
        revocations[member.memberID] = (member.memberEpoch, deadline)
        step.effects.append(.setTimer(.revocation(group: groupID, member: member.memberID), deadline: deadline))
    }

    /// A write of the group was lost: timers that it had cancelled are set again, and what was worked out for it is forgotten.
    mutating func writeFailed(step: inout GroupStep) {
        for memberID in members.keys {
            if let session = sessions[memberID] { setSession(of: memberID, deadline: session.deadline, step: &step) }
        }
        for memberID in members.keys {
            guard let revocation = revocations[memberID] else { continue }
            step.effects.append(.setTimer(.revocation(group: groupID, member: memberID), deadline: revocation.deadline))
        }
        needsMetadataRefresh = true
        configured = nil
    }
}
