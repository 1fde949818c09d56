// ConsumerGroupHeartbeat: a member joins, says what it has and what it wants, and hears what it is to have (KIP-848). Only decides:
// what it decides is in the records of the step.
import Collections
import KafkaMessages
import KafkaWire
import NIOCore
import Primitives

extension ConsumerGroup {
    mutating func heartbeat(
        _ request: ConsumerGroupHeartbeatRequest, memberID: String, context: GroupRequestContext, knowledge: inout TopicKnowledge,
        step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupHeartbeatResponse {
        let isJoining = request.memberEpoch == 0
        let owned = request.topicPartitions.map { PartitionSet($0) }
        try refuseIfFull(memberID: memberID, instanceID: request.instanceId, step: step)
        let member: ConsumerGroupMember
        if let instanceID = request.instanceId {
            member = try staticMember(
                instanceID, memberID: memberID, epoch: request.memberEpoch, owned: owned, isJoining: isJoining, usesClassicProtocol: false,
                step: &step)
        } else {
            member = try dynamicMember(memberID, epoch: request.memberEpoch, owned: owned, isJoining: isJoining)
        }
        var updated = member
        updated.take(request, context: context)
        let reconciled = try advance(member, to: updated, owned: owned, context: context, knowledge: &knowledge, step: &step)
        let settings = step.settings(of: groupID, knowledge)
        extendSession(of: memberID, milliseconds: settings.sessionTimeoutMilliseconds, step: &step)
        var response = ConsumerGroupHeartbeatResponse()
        response.memberId = reconciled.memberID
        response.memberEpoch = reconciled.memberEpoch
        response.heartbeatIntervalMs = settings.heartbeatIntervalMilliseconds
        // Told to whoever asks for everything or got something else than it had.
        let isFull =
            request.rebalanceTimeoutMs != -1 && (request.subscribedTopicNames != nil || request.subscribedTopicRegex != nil)
            && request.topicPartitions != nil
        if isJoining || isFull || !reconciled.assignedPartitions.hasSamePartitions(as: member.assignedPartitions) {
            response.assignment = reconciled.assignedPartitions.heartbeatAssignment
        }
        return response
    }

    // MARK: Who it is

    func refuseIfFull(memberID: String, instanceID: String?, step: GroupStep) throws(GroupRefusal) {
        guard staticMember(instanceID) == nil, members[memberID] == nil else { return }
        let maximum = step.configuration.consumer.maximumSize
        guard members.count >= maximum else { return }
        throw GroupRefusal(.groupMaxSizeReached, "The consumer group has reached its maximum capacity of \(maximum) members.")
    }

    func dynamicMember(
        _ memberID: String, epoch: Int32, owned: PartitionSet?, isJoining: Bool
    ) throws(GroupRefusal) -> ConsumerGroupMember {
        guard let member = members[memberID] else {
            if isJoining { return ConsumerGroupMember(memberID: memberID) }
            throw GroupRefusal(.unknownMemberId, "Member \(memberID) is not a member of group \(groupID).")
        }
        try refuseIfFenced(member, epoch: epoch, owned: owned)
        return member
    }

    /// A static member, which takes the place of its former self when that has left (KIP-345).
    func staticMember(
        _ instanceID: String, memberID: String, epoch: Int32, owned: PartitionSet?, isJoining: Bool, usesClassicProtocol: Bool,
        step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupMember {
        let existing = staticMember(instanceID)
        guard isJoining else {
            guard let existing else { throw GroupRefusal(.unknownMemberId, "Instance id \(instanceID) is unknown.") }
            guard existing.memberID == memberID else {
                throw GroupRefusal(
                    .fencedInstanceId, "Static member \(memberID) with instance id \(instanceID) was fenced by member \(existing.memberID)."
                )
            }
            if !usesClassicProtocol { try refuseIfFenced(existing, epoch: epoch, owned: owned) }
            return existing
        }
        guard let existing else { return members[memberID] ?? ConsumerGroupMember(memberID: memberID) }
        if !usesClassicProtocol, !existing.usesClassicProtocol, existing.memberEpoch != ConsumerGroupMember.awayEpoch {
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
        step.records.append(targetAssignmentRecord(memberID, targetAssignment[existing.memberID] ?? PartitionSet()))
        step.records.append(replacement.currentAssignmentRecord(in: groupID))
        return replacement
    }

    private func refuseIfFenced(_ member: ConsumerGroupMember, epoch: Int32, owned: PartitionSet?) throws(GroupRefusal) {
        guard epoch != 0, epoch != member.memberEpoch else { return }
        if epoch > member.memberEpoch {
            throw GroupRefusal(
                .fencedMemberEpoch,
                "The consumer group member has a greater member epoch (\(epoch)) than the one known by the group coordinator "
                    + "(\(member.memberEpoch)). The member must abandon all its partitions and rejoin.")
        }
        // It may have missed the answer with its new epoch, as long as it has nothing that it was not given.
        let isSubset = owned?.elements.allSatisfy { member.assignedPartitions.contains(partition: $0) } ?? false
        guard epoch == member.previousMemberEpoch, isSubset else {
            throw GroupRefusal(
                .fencedMemberEpoch,
                "The consumer group member has a smaller member epoch (\(epoch)) than the one known by the group coordinator "
                    + "(\(member.memberEpoch)). The member must abandon all its partitions and rejoin.")
        }
    }

    // MARK: What follows

    /// Takes a member over as it is now: its record, the group's epoch, the target assignment and its own way there.
    mutating func advance(
        _ member: ConsumerGroupMember, to changed: ConsumerGroupMember, owned: PartitionSet?, context: GroupRequestContext,
        knowledge: inout TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupMember {
        let isNew = members[changed.memberID] == nil && staticMember(changed.instanceID) == nil
        if changed != member || isNew { step.records.append(changed.metadataRecord(in: groupID)) }
        var subscriptions = subscriptions
        subscriptions.replace(isNew ? nil : member, with: changed)
        let hasNewNames = changed.subscribedTopicNames != member.subscribedTopicNames
        let expressions = try updateExpressions(
            from: member, to: changed, subscriptions: &subscriptions, context: context, knowledge: knowledge, step: &step)
        let hasNewAssignor =
            step.assignor(named: subscriptions.preferredAssignor) != step.assignor(named: self.subscriptions.preferredAssignor)
        var epoch = groupEpoch
        let mustBump = hasNewNames || expressions == .resolved || hasNewAssignor || epoch == 0
        if mustBump || hasMetadataExpired {
            let hash = knowledge.metadataHash(of: subscriptions.topics.keys)
            if mustBump || hash != metadataHash {
                epoch += 1
                step.records.append(epochRecord(epoch, metadataHash: hash))
                let hasNewSubscription = hasNewNames || expressions != .unchanged && member.expression != changed.expression
                let reason: RebalanceReason.Kind =
                    isNew ? .memberJoined : hasNewSubscription ? .subscriptionChanged : hasNewAssignor ? .assignorChanged : .topicsChanged
                note(reason, of: changed, epoch: epoch, step: &step)
                step.count(.consumerGroupRebalance)
            }
            if hasPartitionMetadataRecord { step.records.append(.consumerGroup(.partitionMetadata(group: groupID, nil))) }
            needsMetadataRefresh = false
            refreshedEpoch = epoch
        }
        let target = updateTarget(to: epoch, changed: changed, subscriptions: subscriptions, knowledge: knowledge, step: &step)
        return try reconcile(
            changed, to: target, subscriptions: subscriptions, hasSubscriptionChanged: hasNewNames || expressions != .unchanged,
            owned: owned, knowledge: knowledge, step: &step)
    }

    private func updateTarget(
        to epoch: Int32, changed: ConsumerGroupMember, subscriptions: ConsumerGroupSubscriptions, knowledge: TopicKnowledge,
        step: inout GroupStep
    ) -> (epoch: Int32, partitions: PartitionSet) {
        let current = (epoch: assignmentEpoch, partitions: target(of: changed.memberID, instanceID: changed.instanceID))
        guard assignmentEpoch < epoch else { return current }
        // KIP-1263: in a group that many join one after the other, one assignment for all of them.
        let interval = Int64(step.settings(of: groupID, knowledge).assignmentIntervalMilliseconds)
        guard assignmentTimestamp == 0 || interval == 0 || step.now.timestamp >= assignmentTimestamp &+ interval else { return current }
        var problem = AssignmentProblem(members: [], partitionCounts: [:], isHomogeneous: false)
        var topics = MemberTopics(knowledge: knowledge, subscriptions: subscriptions)
        func add(_ member: ConsumerGroupMember, target: PartitionSet) {
            let topics = topics.topics(of: member)
            problem.members.append(
                AssignmentMember(memberID: member.memberID, instanceID: member.instanceID, topics: topics, target: target))
        }
        let replacedID = staticMember(changed.instanceID)?.memberID ?? changed.memberID
        for member in members.values where member.memberID != replacedID && member.memberID != changed.memberID {
            add(member, target: targetAssignment[member.memberID] ?? PartitionSet())
        }
        add(changed, target: current.partitions)
        problem.partitionCounts = topics.partitionCounts
        problem.isHomogeneous = subscriptions.isHomogeneous(memberCount: problem.members.count)
        let assignor = step.assignor(named: subscriptions.preferredAssignor)
        let assignment = assignor.assign(problem)
        for (member, partitions) in zip(problem.members, assignment) where targetAssignment[member.memberID] != partitions {
            step.records.append(targetAssignmentRecord(member.memberID, partitions))
        }
        step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: step.now.timestamp))
        return (epoch, assignment.last ?? PartitionSet())
    }

    mutating func reconcile(
        _ member: ConsumerGroupMember, to target: (epoch: Int32, partitions: PartitionSet), subscriptions: ConsumerGroupSubscriptions,
        hasSubscriptionChanged: Bool, owned: PartitionSet?, knowledge: TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ConsumerGroupMember {
        guard hasSubscriptionChanged || !member.isReconciled(to: target.epoch) else { return member }
        var topics = MemberTopics(knowledge: knowledge, subscriptions: subscriptions)
        let reconciliation = Reconciliation(
            member: member, targetEpoch: target.epoch, target: target.partitions, hasSubscriptionChanged: hasSubscriptionChanged,
            owned: owned, subscribedTopics: Set(topics.topics(of: member)))
        let reconciled = try reconciliation.reconciled { currentEpoch(of: $0) != nil }
        guard reconciled != member else { return member }
        step.records.append(reconciled.currentAssignmentRecord(in: groupID))
        if !reconciled.usesClassicProtocol {
            if reconciled.state == .unrevokedPartitions {
                let deadline = step.deadline(after: reconciled.rebalanceTimeoutMilliseconds)
                revocations[member.memberID] = (reconciled.memberEpoch, deadline)
                step.effects.append(.setTimer(.revocation(group: groupID, member: member.memberID), deadline: deadline))
            } else if revocations.removeValue(forKey: member.memberID) != nil {
                step.effects.append(.cancelTimer(.revocation(group: groupID, member: member.memberID)))
            }
        }
        return reconciled
    }

    func note(_ kind: RebalanceReason.Kind, of member: ConsumerGroupMember, epoch: Int32, detail: String = "", step: inout GroupStep) {
        step.effects.append(
            .note(
                RebalanceReason(
                    group: groupID, type: .consumer, epoch: epoch, timestamp: step.now.timestamp, kind: kind, memberID: member.memberID,
                    instanceID: member.instanceID, clientID: member.clientID, clientHost: member.clientHost, detail: detail)))
    }
}

/// Topic ids of members, where most members of a group read the same.
private struct MemberTopics {
    let knowledge: TopicKnowledge
    let subscriptions: ConsumerGroupSubscriptions
    private var last: (names: [String], expression: String?, topics: [TopicID])?
    private(set) var partitionCounts: [TopicID: Int32] = [:]

    init(knowledge: TopicKnowledge, subscriptions: ConsumerGroupSubscriptions) {
        self.knowledge = knowledge
        self.subscriptions = subscriptions
    }

    mutating func topics(of member: ConsumerGroupMember) -> [TopicID] {
        if let last, last.names == member.subscribedTopicNames, last.expression == member.expression { return last.topics }
        let topics = subscriptions.topicNames(of: member).compactMap { knowledge.topics.topic(named: $0) }
        for topic in topics { partitionCounts[topic.id] = topic.partitionCount }
        let ids = topics.map(\.id).sorted()
        last = (member.subscribedTopicNames, member.expression, ids)
        return ids
    }
}

extension ConsumerGroupMember {
    /// Takes over what a request says; what it leaves out stays.
    fileprivate mutating func take(_ request: ConsumerGroupHeartbeatRequest, context: GroupRequestContext) {
        instanceID = request.instanceId ?? instanceID
        rackID = request.rackId ?? rackID
        if request.rebalanceTimeoutMs != -1 { rebalanceTimeoutMilliseconds = request.rebalanceTimeoutMs }
        serverAssignor = request.serverAssignor ?? serverAssignor
        if let names = request.subscribedTopicNames { subscribe(to: names) }
        subscribedTopicRegex = request.subscribedTopicRegex ?? subscribedTopicRegex
        clientID = context.clientID
        clientHost = context.clientHost
        classic = nil
    }
}

extension AssignedPartitions {
    var heartbeatAssignment: ConsumerGroupHeartbeatResponse.Assignment {
        var assignment = ConsumerGroupHeartbeatResponse.Assignment()
        assignment.topicPartitions = partitions.byTopic.map { topic in
            var described = ConsumerGroupHeartbeatResponse.TopicPartitions()
            described.topicId = topic.topicID
            described.partitions = topic.partitions
            return described
        }
        return assignment
    }
}
