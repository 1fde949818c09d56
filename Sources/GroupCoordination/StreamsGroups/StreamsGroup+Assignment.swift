// What follows from a heartbeat of a streams group: the group's epoch, the target assignment, and the member's own way there.
import Collections
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

/// A group's topology against the topics that there are.
struct TopologyCheck {
    var topology: ConfiguredTopology
    var metadataHash: Int64
}

extension StreamsGroup {
    /// The topology with the topics that there are, worked out anew when they may have changed.
    func configure(_ topology: StreamsTopology, knowledge: inout TopicKnowledge) throws(GroupRefusal) -> TopologyCheck {
        if let configured, configured.epoch == topology.epoch, self.topology != nil, !hasMetadataExpired {
            return TopologyCheck(topology: configured, metadataHash: metadataHash)
        }
        let hash = knowledge.metadataHash(of: topology.requiredTopics)
        if let configured, configured.epoch == topology.epoch, self.topology != nil, hash == metadataHash {
            return TopologyCheck(topology: configured, metadataHash: hash)
        }
        return TopologyCheck(topology: try ConfiguredTopology(topology, topics: knowledge.topics), metadataHash: hash)
    }

    /// Stores what is new about a member, and opens a new epoch when tasks may have to go elsewhere.
    ///
    /// - Parameter old: the member as it was; nil for a new one.
    mutating func advanceEpoch(
        from old: StreamsGroupMember?, to updated: StreamsGroupMember, configuration: TopologyCheck,
        settings: StreamsGroupConfiguration, step: inout GroupStep
    ) -> Int32 {
        if old != updated { step.records.append(updated.metadataRecord(in: groupID)) }
        let validated = configuration.topology.isReady ? configuration.topology.epoch : -1
        let assignmentSettings = settings.assignmentSettings
        let reason: (kind: RebalanceReason.Kind, detail: String)
        if old == nil {
            reason = (.memberJoined, "")
        } else if let old, old != updated, updated.instanceID == nil || old.differsInPlacement(from: updated) {
            reason = (.memberChanged, "")
        } else if configuration.metadataHash != metadataHash {
            reason = (.topicsChanged, "")
        } else if validated != validatedTopologyEpoch {
            reason = (.topicsChanged, configuration.topology.problem?.message ?? "all topics are there")
        } else if assignmentSettings != lastAssignmentSettings {
            reason = (.settingsChanged, assignmentSettings.map { "\($0.key)=\($0.value)" }.joined(separator: ", "))
        } else {
            return groupEpoch
        }
        let epoch = groupEpoch + 1
        step.records.append(
            epochRecord(
                epoch, metadataHash: configuration.metadataHash, validatedTopologyEpoch: validated, settings: assignmentSettings))
        refreshedEpoch = epoch
        step.count(.streamsGroupRebalance)
        note(reason.kind, of: updated, epoch: epoch, detail: reason.detail, step: &step)
        return epoch
    }

    // MARK: The first assignment waits

    /// Members that start together get one assignment instead of one each.
    mutating func beginInitialDelay(_ settings: StreamsGroupConfiguration, step: inout GroupStep) {
        guard members.isEmpty, settings.initialRebalanceDelayMilliseconds > 0, initialDelayDeadline == nil else { return }
        let deadline = step.deadline(after: settings.initialRebalanceDelayMilliseconds)
        initialDelayDeadline = deadline
        step.effects.append(.setTimer(.streamsInitialRebalance(group: groupID), deadline: deadline))
    }

    /// The delay is over: there is an assignment for all who have come.
    mutating func initialDelayTimerFired(knowledge: TopicKnowledge, step: inout GroupStep) {
        initialDelayDeadline = nil
        guard !members.isEmpty, groupEpoch > assignmentEpoch, let configured else { return }
        var status: [StreamsGroupHeartbeatResponse.Status] = []
        _ = updateTarget(
            to: groupEpoch, changed: nil, topology: configured, settings: step.streamsSettings(of: groupID, knowledge), status: &status,
            step: &step)
    }

    // MARK: Target

    /// The target assignment, made anew when the group is in a later epoch than it.
    ///
    /// - Parameter changed: the member whose heartbeat this is, as it is to be.
    /// - Returns: its epoch, and what `changed` is to have.
    func updateTarget(
        to epoch: Int32, changed: StreamsGroupMember?, topology: ConfiguredTopology, settings: StreamsGroupConfiguration,
        status: inout [StreamsGroupHeartbeatResponse.Status], step: inout GroupStep
    ) -> (epoch: Int32, tasks: MemberTasks) {
        guard initialDelayDeadline == nil else {
            status.append(.init(.assignmentDelayed, "Assignment delayed due to the configured initial rebalance delay."))
            return (assignmentEpoch, MemberTasks())
        }
        let current = (assignmentEpoch, changed.map { target(of: $0.memberID, instanceID: $0.instanceID) } ?? MemberTasks())
        guard assignmentEpoch < epoch else { return current }
        let interval = Int64(settings.assignmentIntervalMilliseconds)
        guard assignmentTimestamp == 0 || interval == 0 || step.now.timestamp >= assignmentTimestamp &+ interval else {
            status.append(.init(.assignmentDelayed, "Assignment delayed due to the configured assignment interval."))
            return current
        }
        var participants = Array(members.values)
        if let changed {
            let replacedID = staticMember(changed.instanceID)?.memberID
            participants.removeAll { $0.memberID == changed.memberID || $0.memberID == replacedID }
            participants.append(changed)
        }
        let assignment = assign(participants, topology, standbyCount: Int(settings.standbyReplicaCount))
        for (member, tasks) in zip(participants, assignment) where stored(member) != tasks {
            step.records.append(targetAssignmentRecord(member.memberID, tasks))
        }
        step.records.append(targetAssignmentMetadataRecord(epoch, timestamp: step.now.timestamp))
        return (epoch, changed == nil ? MemberTasks() : assignment.last ?? MemberTasks())
    }

    /// What the log says that the member is to have; nil when it says nothing.
    private func stored(_ member: StreamsGroupMember) -> MemberTasks? {
        targetAssignment[member.memberID] ?? staticMember(member.instanceID).flatMap { targetAssignment[$0.memberID] }
    }

    private func assign(_ members: [StreamsGroupMember], _ topology: ConfiguredTopology, standbyCount: Int) -> [MemberTasks] {
        guard topology.isReady, let subtopologies = topology.subtopologies else { return members.map { _ in MemberTasks() } }
        return StickyTaskAssignor.assign(
            members.map { member in
                TaskAssignmentMember(
                    memberID: member.memberID, processID: member.processID,
                    current: MemberTasks(
                        active: member.assignedTasks.activeTasks, standby: member.assignedTasks.standby, warmup: member.assignedTasks.warmup
                    ),
                    offsets: taskOffsets[member.memberID]?.offsets.map { (task: $0.key, sum: $0.value) } ?? [])
            },
            subtopologies: subtopologies.map { id, subtopology in
                TaskAssignmentSubtopology(id: id, taskCount: subtopology.taskCount, isStateful: subtopology.isStateful)
            }, standbyCount: standbyCount)
    }

    // MARK: The member's way there

    mutating func reconcile(
        _ member: StreamsGroupMember, to target: (epoch: Int32, tasks: MemberTasks), owned: MemberTasks?, step: inout GroupStep
    ) throws(GroupRefusal) -> StreamsGroupMember {
        guard !member.isReconciled(to: target.epoch) else { return member }
        let reconciled = try TaskReconciliation(
            member: member, targetEpoch: target.epoch, target: target.tasks, owned: owned, holders: holders
        ).reconciled()
        guard reconciled != member else { return member }
        step.records.append(reconciled.currentAssignmentRecord(in: groupID))
        if reconciled.state == .unrevokedTasks {
            awaitRevocation(by: reconciled, step: &step)
        } else if revocations.removeValue(forKey: member.memberID) != nil {
            step.effects.append(.cancelTimer(.revocation(group: groupID, member: member.memberID)))
        }
        return reconciled
    }
}

extension StreamsGroupMember {
    /// Whether tasks may have to be placed anew because of what a static member says of itself (KIP-1071).
    fileprivate func differsInPlacement(from other: StreamsGroupMember) -> Bool {
        topologyEpoch != other.topologyEpoch || rackID != other.rackID || clientTags != other.clientTags || processID != other.processID
    }
}

extension StreamsGroupConfiguration {
    /// What the assignment depends on, as it is stored with the group's epoch.
    var assignmentSettings: [StreamsGroupMetadataValue.LastAssignmentConfig] {
        var settings = [("num.standby.replicas", String(standbyReplicaCount))]
        if !rackAwareAssignmentTags.isEmpty {
            settings.append(("rack.aware.assignment.tags", rackAwareAssignmentTags.joined(separator: ",")))
        }
        return settings.map { key, value in
            var setting = StreamsGroupMetadataValue.LastAssignmentConfig()
            setting.key = key
            setting.value = value
            return setting
        }
    }
}
