// The two phases of a rebalance: members join until all have or time is up, then they wait for the leader's assignment.
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension ClassicGroup {
    mutating func prepareRebalanceOrCompleteJoin(step: inout GroupStep) {
        if state.canRebalance {
            prepareRebalance(step: &step)
        } else {
            completeJoinIfEverybodyJoined(step: &step)
        }
    }

    mutating func prepareRebalance(step: inout GroupStep) {
        if state == .completingRebalance {
            // Whoever waits for an assignment of the generation that ends now has to join again.
            for memberID in members.keys { setAssignment(ByteBuffer(), for: memberID) }
            propagateAssignment(error: .rebalanceInProgress, step: &step)
        }
        pendingSyncMembers.removeAll()
        endSyncPhase(step: &step)
        let isInitial = state == .empty
        transition(to: .preparingRebalance, at: step.now.timestamp)
        if isInitial {
            // Members of a starting application come one after the other: wait a little rather than rebalance for each.
            let delay = step.configuration.initialRebalanceDelayMilliseconds
            beginJoinPhase(
                after: delay,
                initialDelay: InitialDelay(
                    delayMilliseconds: delay, remainingMilliseconds: max(subtracting(delay, from: rebalanceTimeoutMilliseconds), 0)),
                step: &step)
        } else if hasAllMembersJoined {
            completeJoin(step: &step)
        } else {
            beginJoinPhase(after: rebalanceTimeoutMilliseconds, initialDelay: nil, step: &step)
        }
    }

    /// Ends the join phase early when nobody is missing, except the initial one, which always takes its delay.
    mutating func completeJoinIfEverybodyJoined(step: inout GroupStep) {
        guard state == .preparingRebalance, previousState != .empty, hasAllMembersJoined else { return }
        completeJoin(step: &step)
    }

    private mutating func beginJoinPhase(after milliseconds: Int32, initialDelay: InitialDelay?, step: inout GroupStep) {
        let deadline = step.deadline(after: milliseconds)
        joinPhase = JoinPhase(deadline: deadline, initialDelay: initialDelay)
        step.effects.append(.setTimer(.join(group: groupID), deadline: deadline))
    }

    mutating func joinTimerFired(step: inout GroupStep) {
        guard state == .preparingRebalance, let phase = joinPhase else { return }
        guard step.now.monotonicMilliseconds >= phase.deadline else {
            return step.effects.append(.setTimer(.join(group: groupID), deadline: phase.deadline))
        }
        if let initial = phase.initialDelay, newMemberAdded, initial.remainingMilliseconds != 0 {
            newMemberAdded = false
            let delay = min(step.configuration.initialRebalanceDelayMilliseconds, initial.remainingMilliseconds)
            let remaining = max(subtracting(initial.delayMilliseconds, from: initial.remainingMilliseconds), 0)
            return beginJoinPhase(
                after: delay, initialDelay: InitialDelay(delayMilliseconds: delay, remainingMilliseconds: remaining), step: &step)
        }
        completeJoin(step: &step)
    }

    /// Ends the join phase: drops who did not come, and opens the next generation.
    mutating func completeJoin(step: inout GroupStep) {
        joinPhase = nil
        step.effects.append(.cancelTimer(.join(group: groupID)))
        // Static members are given until their session ends.
        for member in members.values where member.awaitingJoin == nil && !member.isStatic {
            note(.rebalanceTimedOut, of: member, detail: "did not join", step: &step)
            remove(member.memberID, step: &step)
        }
        if !members.isEmpty, !electLeaderAmongJoined() {
            // Only absent static members are left. Wait on until they come back or their sessions end.
            return beginJoinPhase(after: rebalanceTimeoutMilliseconds, initialDelay: nil, step: &step)
        }
        generationID &+= 1
        newMemberAdded = false
        pendingSyncMembers.removeAll()
        guard !members.isEmpty else {
            leaderID = nil
            protocolName = nil
            computeSubscribedTopics()
            transition(to: .empty, at: step.now.timestamp)
            return step.records.append(metadataRecord { $0.assignment })
        }
        protocolName = selectProtocol()
        computeSubscribedTopics()
        transition(to: .completingRebalance, at: step.now.timestamp)
        for memberID in members.keys {
            if let token = setAwaitingJoin(nil, for: memberID) {
                step.reply(token, joinResponse(for: memberID, includingMembers: isLeader(memberID)))
            }
            extendSession(of: memberID, step: &step)
            markAsKnown(memberID)
            pendingSyncMembers.append(memberID)
        }
        let deadline = step.deadline(after: rebalanceTimeoutMilliseconds)
        syncPhase = SyncPhase(generationID: generationID, deadline: deadline)
        step.effects.append(.setTimer(.sync(group: groupID), deadline: deadline))
    }

    /// Makes sure that the leader is one who has joined; false when nobody has.
    private mutating func electLeaderAmongJoined() -> Bool {
        if let leaderID, members[leaderID]?.awaitingJoin != nil { return true }
        guard let candidate = members.values.first(where: { $0.awaitingJoin != nil }) else { return false }
        leaderID = candidate.memberID
        return true
    }

    /// Keeps for those who ask why the group rebalances.
    func note(_ kind: RebalanceReason.Kind, of member: ClassicGroupMember?, detail: String = "", step: inout GroupStep) {
        step.effects.append(
            .note(
                RebalanceReason(
                    group: groupID, type: .classic, epoch: generationID &+ 1, timestamp: step.now.timestamp, kind: kind,
                    memberID: member?.memberID ?? "", instanceID: member?.groupInstanceID, clientID: member?.clientID ?? "",
                    clientHost: member?.clientHost ?? "", detail: detail)))
    }

    mutating func syncTimerFired(step: inout GroupStep) {
        guard let phase = syncPhase else { return }
        guard step.now.monotonicMilliseconds >= phase.deadline else {
            return step.effects.append(.setTimer(.sync(group: groupID), deadline: phase.deadline))
        }
        syncPhase = nil
        guard phase.generationID == generationID, state == .completingRebalance || state == .stable, !pendingSyncMembers.isEmpty else {
            return
        }
        for memberID in pendingSyncMembers {
            note(.rebalanceTimedOut, of: members[memberID], detail: "did not sync", step: &step)
            remove(memberID, step: &step)
        }
        prepareRebalance(step: &step)
    }

    mutating func endSyncPhase(step: inout GroupStep) {
        guard syncPhase != nil else { return }
        syncPhase = nil
        step.effects.append(.cancelTimer(.sync(group: groupID)))
    }

    /// Answers all who wait for their assignment, with it or with why there is none.
    mutating func propagateAssignment(error: ErrorCode, step: inout GroupStep) {
        for memberID in members.keys {
            guard let token = setAwaitingSync(nil, for: memberID) else { continue }
            if error == .none {
                step.reply(token, syncResponse(for: memberID))
            } else {
                step.replySync(token, error: error)
            }
            // While it waited its session could not end, and its timer may have fired to no effect.
            extendSession(of: memberID, step: &step)
        }
    }

    func syncResponse(for memberID: String) -> SyncGroupResponse {
        var response = SyncGroupResponse()
        response.protocolType = protocolType
        response.protocolName = protocolName
        response.assignment = members[memberID]?.assignment ?? ByteBuffer()
        return response
    }

    private func subtracting(_ amount: Int32, from value: Int32) -> Int32 {
        value.subtractingReportingOverflow(amount).overflow ? 0 : value - amount
    }
}
