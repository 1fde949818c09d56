// How members go: they leave, their session ends, or they do not give partitions back in time.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

extension ConsumerGroup {
    /// A heartbeat with epoch -1 or -2: the member leaves, or a static member goes away for a while.
    mutating func leave(
        _ request: ConsumerGroupHeartbeatRequest, knowledge: inout TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupHeartbeatResponse {
        var response = ConsumerGroupHeartbeatResponse()
        response.memberId = request.memberId
        response.memberEpoch = request.memberEpoch
        guard let instanceID = request.instanceId else {
            guard let member = members[request.memberId] else {
                throw GroupRefusal(.unknownMemberId, "Member \(request.memberId) is not a member of group \(groupID).")
            }
            fence([member], .memberLeft, knowledge: &knowledge, step: &step)
            return response
        }
        guard let member = staticMember(instanceID) else { throw GroupRefusal(.unknownMemberId, "Instance id \(instanceID) is unknown.") }
        guard member.memberID == request.memberId else {
            throw GroupRefusal(
                .fencedInstanceId,
                "Static member \(request.memberId) with instance id \(instanceID) was fenced by member \(member.memberID).")
        }
        if request.memberEpoch == ConsumerGroupMember.awayEpoch {
            var away = member
            away.memberEpoch = ConsumerGroupMember.awayEpoch
            away.partitionsPendingRevocation = []
            // Whoever comes back in its place has had them all along.
            away.assignedPartitions = away.assignedPartitions.map { AssignedPartition($0.partition, epoch: 0) }
            step.records.append(away.currentAssignmentRecord(in: groupID))
        } else {
            fence([member], .memberLeft, knowledge: &knowledge, step: &step)
        }
        return response
    }

    /// Takes members out of the group and opens a new epoch; who is left gets their partitions with its next heartbeat.
    mutating func fence(
        _ gone: [ConsumerGroupMember], _ kind: RebalanceReason.Kind, knowledge: inout TopicKnowledge, step: inout GroupStep
    ) {
        guard !gone.isEmpty else { return }
        if downgradesWithout(gone, step: step) {
            for member in gone { note(kind, of: member, epoch: groupEpoch + 1, step: &step) }
            return convertToClassic(without: gone, knowledge: knowledge, step: &step)
        }
        var subscriptions = subscriptions
        for member in gone {
            step.records += tombstones(ofMember: member.memberID)
            subscriptions.replace(member, with: nil)
        }
        for expression in OrderedSet(gone.compactMap(\.expression)) where subscriptions.subscriberCount(of: expression) == 0 {
            step.records.append(.consumerGroup(.regularExpression(group: groupID, expression: expression, nil)))
            subscriptions.resolve(expression, to: nil)
        }
        let epoch = groupEpoch + 1
        step.records.append(epochRecord(epoch, metadataHash: knowledge.metadataHash(of: subscriptions.topics.keys)))
        step.count(.consumerGroupRebalance)
        if gone.count == members.count { step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: 0)) }
        for member in gone {
            cancelTimers(of: member.memberID, step: &step)
            note(kind, of: member, epoch: epoch, step: &step)
        }
    }

    func cancelTimers(of memberID: String, step: inout GroupStep) {
        step.effects.append(.cancelTimer(.session(group: groupID, member: memberID)))
        if revocations[memberID] != nil { step.effects.append(.cancelTimer(.revocation(group: groupID, member: memberID))) }
        if classicDeadlines[memberID] != nil { step.effects.append(.cancelTimer(.classicMember(group: groupID, member: memberID))) }
    }

    // MARK: Time

    /// Begins a member's session anew. The timer is only set when it is not already going to fire early enough to look.
    mutating func extendSession(of memberID: String, milliseconds: Int32, step: inout GroupStep) {
        let deadline = step.deadline(after: milliseconds)
        if let session = sessions[memberID], session.armed <= deadline, session.armed > step.now.monotonicMilliseconds {
            sessions[memberID]?.deadline = deadline
            return
        }
        sessions[memberID] = Session(deadline: deadline, armed: deadline)
        step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: deadline))
    }

    mutating func sessionTimerFired(_ memberID: String, knowledge: inout TopicKnowledge, step: inout GroupStep) {
        guard let session = sessions[memberID] else { return }
        guard step.now.monotonicMilliseconds >= session.deadline else {
            sessions[memberID]?.armed = session.deadline
            return step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: session.deadline))
        }
        sessions[memberID] = nil
        guard let member = members[memberID] else { return }
        fence([member], .sessionTimedOut, knowledge: &knowledge, step: &step)
        retrySession(of: memberID, step: &step)
    }

    mutating func revocationTimerFired(_ memberID: String, knowledge: inout TopicKnowledge, step: inout GroupStep) {
        guard let revocation = revocations[memberID], step.now.monotonicMilliseconds >= revocation.deadline else { return }
        revocations[memberID] = nil
        guard let member = members[memberID], member.memberEpoch == revocation.epoch, member.state == .unrevokedPartitions else { return }
        fence([member], .rebalanceTimedOut, knowledge: &knowledge, step: &step)
        retrySession(of: memberID, step: &step)
    }

    /// A write of the group was lost: timers that it had cancelled are set again.
    mutating func writeFailed(step: inout GroupStep) {
        for memberID in members.keys {
            guard let session = sessions[memberID] else { continue }
            sessions[memberID]?.armed = session.deadline
            step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: session.deadline))
        }
        for memberID in members.keys {
            guard let revocation = revocations[memberID] else { continue }
            step.effects.append(.setTimer(.revocation(group: groupID, member: memberID), deadline: revocation.deadline))
        }
        needsMetadataRefresh = true
        hasNewTopics = true
    }

    /// Should the log not take the member's end, it is tried again: a second later the member is either gone or fenced anew.
    private mutating func retrySession(of memberID: String, step: inout GroupStep) {
        guard members[memberID] != nil else { return }
        let deadline = step.deadline(after: 1_000)
        sessions[memberID] = Session(deadline: deadline, armed: deadline)
        step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: deadline))
    }
}
