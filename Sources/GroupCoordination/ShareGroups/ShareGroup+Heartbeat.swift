// ShareGroupHeartbeat: a member joins, says what it wants to read, and hears which partitions it reads (KIP-932). Only decides: what it
// decides is in the records of the step.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

/// State that a share coordinator is to be asked for.
public struct ShareStateInitialization: Sendable, Equatable {
    public struct Topic: Sendable, Equatable {
        public var id: TopicID
        public var name: String
        public var partitions: [Partition]

        public init(id: TopicID, name: String, partitions: [Partition]) {
            self.id = id
            self.name = name
            self.partitions = partitions
        }
    }

    public struct Partition: Sendable, Equatable {
        public var index: Int32
        /// Where reading begins; -1 for where `share.auto.offset.reset` says.
        public var startOffset: Offset

        public init(index: Int32, startOffset: Offset) {
            self.index = index
            self.startOffset = startOffset
        }
    }

    public var group: String
    public var stateEpoch: Int32
    public var topics: [Topic]
}

/// The answer to a heartbeat, and what is to be asked of share coordinators once it is out.
public struct ShareHeartbeatOutcome: Sendable {
    public var response: ShareGroupHeartbeatResponse
    public var initialization: ShareStateInitialization?

    public init(response: ShareGroupHeartbeatResponse, initialization: ShareStateInitialization? = nil) {
        self.response = response
        self.initialization = initialization
    }
}

extension ShareGroup {
    /// How soon a member is to come back while its partitions are being made ready.
    private static let preparingIntervalMilliseconds: Int32 = 500

    mutating func heartbeat(
        _ request: ShareGroupHeartbeatRequest, context: GroupRequestContext, knowledge: inout TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ShareHeartbeatOutcome {
        let member = try member(request, step: step)
        var updated = member
        updated.take(request, context: context)
        let isNew = members[updated.memberID] == nil
        if isNew || updated != member { step.records.append(updated.metadataRecord(in: groupID)) }
        let hasNewTopics = isNew || updated.subscribedTopicNames != member.subscribedTopicNames
        var subscriptions = subscriptions
        var epoch = groupEpoch
        let mustBump = hasNewTopics || assignmentEpoch >= groupEpoch && hasUnassignedPartitions(knowledge)
        if mustBump || hasMetadataExpired {
            subscriptions = self.subscriptions(replacing: isNew ? nil : member, with: updated)
            let hash = knowledge.metadataHash(of: subscriptions.keys)
            if mustBump || hash != metadataHash {
                epoch += 1
                step.records.append(epochRecord(epoch, metadataHash: hash))
                step.count(.shareGroupRebalance)
                note(isNew ? .memberJoined : hasNewTopics ? .subscriptionChanged : .topicsChanged, of: updated, epoch: epoch, step: &step)
            }
            needsMetadataRefresh = false
            refreshedEpoch = epoch
        }
        let settings = step.shareSettings(of: groupID, knowledge)
        let target = updateTarget(to: epoch, changed: updated, settings, knowledge: knowledge, step: &step)
        let reconciled = reconcile(updated, to: target, hasNewTopics: mustBump, knowledge: knowledge, step: &step)
        extendSession(of: updated.memberID, milliseconds: settings.sessionTimeoutMilliseconds, step: &step)
        let initialization = initialization(of: subscriptions.keys, epoch: epoch, settings, knowledge: knowledge, step: &step)
        var response = ShareGroupHeartbeatResponse()
        response.memberId = reconciled.memberID
        response.memberEpoch = reconciled.memberEpoch
        let isPreparing = initialization != nil || epoch > target.epoch || isWaiting(for: reconciled.subscribedTopicNames)
        response.heartbeatIntervalMs =
            isPreparing
            ? min(settings.heartbeatIntervalMilliseconds, Self.preparingIntervalMilliseconds) : settings.heartbeatIntervalMilliseconds
        if request.memberEpoch == 0 || request.subscribedTopicNames != nil || reconciled.assigned != member.assigned {
            response.assignment = reconciled.assigned.shareAssignment
        }
        return ShareHeartbeatOutcome(response: response, initialization: initialization)
    }

    /// Whether state was asked for that these topics need.
    private func isWaiting(for names: [String]) -> Bool {
        statePartitions.initializing.values.contains { names.contains($0.name) }
    }

    private func member(_ request: ShareGroupHeartbeatRequest, step: GroupStep) throws(GroupRefusal) -> ShareGroupMember {
        let maximum = step.configuration.share.maximumSize
        guard members.count < maximum || members[request.memberId] != nil else {
            throw GroupRefusal(.groupMaxSizeReached, "The share group has reached its maximum capacity of \(maximum) members.")
        }
        guard let member = members[request.memberId] else {
            guard request.memberEpoch == 0 else {
                throw GroupRefusal(.unknownMemberId, "Member \(request.memberId) is not a member of group \(groupID).")
            }
            return ShareGroupMember(memberID: request.memberId)
        }
        let epoch = request.memberEpoch
        if epoch == 0 || epoch == member.memberEpoch { return member }
        let relation = epoch > member.memberEpoch ? "greater" : "smaller"
        // It may have missed the answer with its new epoch.
        guard epoch == member.previousMemberEpoch, epoch < member.memberEpoch else {
            throw GroupRefusal(
                .fencedMemberEpoch,
                "The share group member has a \(relation) member epoch (\(epoch)) than the one known by the group coordinator "
                    + "(\(member.memberEpoch)). The member must abandon all its partitions and rejoin.")
        }
        return member
    }

    /// Whether partitions that members want to read are ready, and nobody reads them yet.
    private func hasUnassignedPartitions(_ knowledge: TopicKnowledge) -> Bool {
        guard !members.isEmpty, !subscriptions.isEmpty else { return false }
        var assigned: Set<TopicIDPartition> = []
        for partitions in targetAssignment.values { assigned.formUnion(partitions.elements) }
        return statePartitions.initialized.contains { id, topic in
            guard subscriptions[topic.name] != nil, let known = knowledge.topics.topic(id: id) else { return false }
            return topic.partitions.contains { $0 < known.partitionCount && !assigned.contains(TopicIDPartition(id, $0)) }
        }
    }

    // MARK: Assignment

    private func updateTarget(
        to epoch: Int32, changed: ShareGroupMember, _ settings: ShareGroupConfiguration, knowledge: TopicKnowledge, step: inout GroupStep
    ) -> (epoch: Int32, partitions: PartitionSet) {
        let current = (epoch: assignmentEpoch, partitions: targetAssignment[changed.memberID] ?? PartitionSet())
        guard assignmentEpoch < epoch else { return current }
        // KIP-1263: in a group that many join one after the other, one assignment for all of them.
        let interval = Int64(settings.assignmentIntervalMilliseconds)
        guard assignmentTimestamp == 0 || interval == 0 || step.now.timestamp >= assignmentTimestamp &+ interval else { return current }
        var problem: [SimpleAssignor.Member] = []
        var partitions: OrderedDictionary<TopicID, [Int32]> = [:]
        func add(_ member: ShareGroupMember) {
            let topics = member.subscribedTopicNames.compactMap { knowledge.topics.topic(named: $0) }
            for topic in topics where partitions[topic.id] == nil {
                partitions[topic.id] = (statePartitions.initialized[topic.id]?.partitions ?? []).filter { $0 < topic.partitionCount }
            }
            problem.append(
                SimpleAssignor.Member(
                    memberID: member.memberID, topics: topics.map(\.id).sorted(),
                    target: targetAssignment[member.memberID] ?? PartitionSet()))
        }
        for member in members.values where member.memberID != changed.memberID { add(member) }
        add(changed)
        let assignment = SimpleAssignor.assign(problem, partitions: partitions)
        for (member, partitions) in zip(problem, assignment) where targetAssignment[member.memberID] != partitions {
            step.records.append(targetAssignmentRecord(member.memberID, partitions))
        }
        step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: step.now.timestamp))
        return (epoch, assignment.last ?? PartitionSet())
    }

    /// Nothing has to be given back first: a partition may have several readers, and what is acquired is released by time.
    private func reconcile(
        _ member: ShareGroupMember, to target: (epoch: Int32, partitions: PartitionSet), hasNewTopics: Bool, knowledge: TopicKnowledge,
        step: inout GroupStep
    ) -> ShareGroupMember {
        guard hasNewTopics || member.memberEpoch != target.epoch else { return member }
        let topics = Set(member.subscribedTopicNames.compactMap { knowledge.topics.topic(named: $0)?.id })
        var reconciled = member
        reconciled.assigned = PartitionSet(sorted: target.partitions.elements.filter { topics.contains($0.topicID) })
        if member.memberEpoch != target.epoch {
            reconciled.previousMemberEpoch = member.memberEpoch
            reconciled.memberEpoch = target.epoch
        }
        if reconciled != member { step.records.append(reconciled.currentAssignmentRecord(in: groupID)) }
        return reconciled
    }

    /// Partitions that are read and have no state yet.
    private func initialization(
        of names: some Sequence<String>, epoch: Int32, _ settings: ShareGroupConfiguration, knowledge: TopicKnowledge, step: inout GroupStep
    ) -> ShareStateInitialization? {
        var changed = statePartitions
        var topics: [ShareStateInitialization.Topic] = []
        for name in names {
            guard let topic = knowledge.topics.topic(named: name) else { continue }
            let missing = statePartitions.missing(
                of: topic, now: step.now.timestamp, retryInterval: settings.initializeRetryIntervalMilliseconds)
            guard !missing.isEmpty else { continue }
            // Partitions that a topic was given later begin at their beginning: what came before the group noticed must not be lost.
            let start: Offset = statePartitions.initialized[topic.id] != nil ? 0 : -1
            changed.beginInitializing(topic.id, name: name, partitions: missing, now: step.now.timestamp)
            topics.append(.init(id: topic.id, name: name, partitions: missing.map { .init(index: $0, startOffset: start) }))
        }
        guard !topics.isEmpty else { return nil }
        step.records.append(statePartitionsRecord(changed))
        return ShareStateInitialization(group: groupID, stateEpoch: epoch, topics: topics)
    }

    func note(_ kind: RebalanceReason.Kind, of member: ShareGroupMember, epoch: Int32, step: inout GroupStep) {
        step.effects.append(
            .note(
                RebalanceReason(
                    group: groupID, type: .share, epoch: epoch, timestamp: step.now.timestamp, kind: kind, memberID: member.memberID,
                    instanceID: nil, clientID: member.clientID, clientHost: member.clientHost, detail: "")))
    }
}

// MARK: - Leaving

extension ShareGroup {
    mutating func leave(
        _ request: ShareGroupHeartbeatRequest, knowledge: inout TopicKnowledge, step: inout GroupStep
    ) throws(GroupRefusal) -> ShareGroupHeartbeatResponse {
        guard let member = members[request.memberId] else {
            throw GroupRefusal(.unknownMemberId, "Member \(request.memberId) is not a member of group \(groupID).")
        }
        fence(member, .memberLeft, knowledge: &knowledge, step: &step)
        var response = ShareGroupHeartbeatResponse()
        response.memberId = request.memberId
        response.memberEpoch = request.memberEpoch
        return response
    }

    /// Takes a member out of the group and opens a new epoch.
    private func fence(_ member: ShareGroupMember, _ kind: RebalanceReason.Kind, knowledge: inout TopicKnowledge, step: inout GroupStep) {
        step.records += tombstones(ofMember: member.memberID)
        let epoch = groupEpoch + 1
        let names = subscriptions(replacing: member, with: nil).keys
        step.records.append(epochRecord(epoch, metadataHash: knowledge.metadataHash(of: names)))
        step.count(.shareGroupRebalance)
        if members.count == 1 { step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: 0)) }
        step.effects.append(.cancelTimer(.session(group: groupID, member: member.memberID)))
        note(kind, of: member, epoch: epoch, step: &step)
    }

    /// Begins a member's session anew. The timer is only set when it is not already going to fire early enough to look.
    mutating func extendSession(of memberID: String, milliseconds: Int32, step: inout GroupStep) {
        let deadline = step.deadline(after: milliseconds)
        if let session = sessions[memberID], session.armed <= deadline, session.armed > step.now.monotonicMilliseconds {
            sessions[memberID]?.deadline = deadline
            return
        }
        sessions[memberID] = ConsumerGroup.Session(deadline: deadline, armed: deadline)
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
        fence(member, .sessionTimedOut, knowledge: &knowledge, step: &step)
        // Should the log not take the member's end, it is tried again.
        let deadline = step.deadline(after: 1_000)
        sessions[memberID] = ConsumerGroup.Session(deadline: deadline, armed: deadline)
        step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: deadline))
    }

    /// A write of the group was lost: timers that it had cancelled are set again.
    mutating func writeFailed(step: inout GroupStep) {
        for memberID in members.keys {
            guard let session = sessions[memberID] else { continue }
            sessions[memberID]?.armed = session.deadline
            step.effects.append(.setTimer(.session(group: groupID, member: memberID), deadline: session.deadline))
        }
        needsMetadataRefresh = true
    }

    /// The group has been read: its members' sessions begin.
    mutating func loaded(knowledge: TopicKnowledge, step: inout GroupStep) {
        let session = step.shareSettings(of: groupID, knowledge).sessionTimeoutMilliseconds
        for memberID in members.keys { extendSession(of: memberID, milliseconds: session, step: &step) }
    }
}

extension ShareGroupMember {
    /// Takes over what a request says; what it leaves out stays.
    fileprivate mutating func take(_ request: ShareGroupHeartbeatRequest, context: GroupRequestContext) {
        rackID = request.rackId ?? rackID
        if let names = request.subscribedTopicNames { subscribe(to: names) }
        clientID = context.clientID
        clientHost = context.clientHost
    }
}

extension PartitionSet {
    fileprivate var shareAssignment: ShareGroupHeartbeatResponse.Assignment {
        var assignment = ShareGroupHeartbeatResponse.Assignment()
        assignment.topicPartitions = byTopic.map { topic in
            var described = ShareGroupHeartbeatResponse.TopicPartitions()
            described.topicId = topic.topicID
            described.partitions = topic.partitions
            return described
        }
        return assignment
    }
}
