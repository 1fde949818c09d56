// A streams group (KIP-1071): the threads of a Kafka Streams application, its topology, which tasks they are to have and which they have.
// Changes only by replaying records; what is not in the log (sessions, timers, endpoints) is marked as such.
import Collections
import KafkaRecords
import KafkaWire
import Primitives

struct StreamsGroup: Sendable {
    let groupID: String
    /// Kafka counts from 1 on before there is any record.
    private(set) var groupEpoch: Int32 = 1
    private(set) var metadataHash: Int64 = 0
    /// The topology whose topics were all there; -1 for none.
    private(set) var validatedTopologyEpoch: Int32 = -1
    /// What the last assignment depended on.
    private(set) var lastAssignmentSettings: [StreamsGroupMetadataValue.LastAssignmentConfig] = []
    /// Of topology descriptions (KIP-1331), which a plugin of Kafka's may have stored; carried along.
    private(set) var storedDescriptionEpoch: Int32 = -1
    private(set) var failedDescriptionEpoch: Int32 = -1
    private(set) var members: OrderedDictionary<String, StreamsGroupMember> = [:]
    private(set) var topology: StreamsTopology?
    private(set) var assignmentEpoch: Int32 = 1
    /// When the target assignment was made, by the wall clock; 0 when that does not matter.
    private(set) var assignmentTimestamp: Timestamp = 0
    private(set) var targetAssignment: OrderedDictionary<String, MemberTasks> = [:]
    private(set) var holders = TaskHolders()
    /// Member id by instance id. Looked up only.
    private var staticMembers: [String: String] = [:]
    private var hasRecords = false

    // MARK: Not in the log

    /// Sessions of members. Looked up only.
    var sessions: [String: ConsumerGroup.Session] = [:]
    /// Until when members have to give tasks back, and in which epoch. Looked up only.
    var revocations: [String: (epoch: Int32, deadline: Int64)] = [:]
    /// Until when the first assignment of a new group waits for more members.
    var initialDelayDeadline: Int64?
    /// The topology with the topics that there are.
    var configured: ConfiguredTopology?
    /// Whether the topics may have changed since the hash was computed, and for which epoch it was computed.
    var needsMetadataRefresh = true
    var refreshedEpoch: Int32 = 0
    /// What members say of how far their state is. Looked up only.
    var taskOffsets: [String: MemberTaskOffsets] = [:]
    /// The member that asked the whole application to stop.
    var shutdownRequester: String?
    /// Goes up when endpoints or their tasks change.
    var endpointEpoch: Int32 = 0

    init(groupID: String) { self.groupID = groupID }

    var isEmpty: Bool { members.isEmpty }

    /// Whether nothing of it is in the log: a heartbeat that was refused made it.
    var isBlank: Bool { !hasRecords }

    /// The state that Kafka reports.
    var state: String {
        if members.isEmpty { return "Empty" }
        guard let topology, topology.epoch == validatedTopologyEpoch else { return "NotReady" }
        if groupEpoch > assignmentEpoch { return "Assigning" }
        return members.values.allSatisfy { $0.isReconciled(to: assignmentEpoch) } ? "Stable" : "Reconciling"
    }

    func staticMember(_ instanceID: String?) -> StreamsGroupMember? {
        instanceID.flatMap { staticMembers[$0] }.flatMap { members[$0] }
    }

    /// What a member is to have; a static member that comes back finds what its former self was to have.
    func target(of memberID: String, instanceID: String?) -> MemberTasks {
        targetAssignment[memberID] ?? staticMember(instanceID).flatMap { targetAssignment[$0.memberID] } ?? MemberTasks()
    }

    /// Whether offsets of the topic are in use.
    func isSubscribed(to topic: String) -> Bool { !members.isEmpty && topology?.reader(of: topic) != nil }

    /// Why a classic member cannot join, or nil when the group gives way to a classic one: members of both kinds cannot be in one group.
    func refusalOfClassicJoin(memberID: String) -> ErrorCode? {
        guard isEmpty else { return .inconsistentGroupProtocol }
        return memberID.isEmpty ? nil : .unknownMemberId
    }

    var hasMetadataExpired: Bool { needsMetadataRefresh || groupEpoch < refreshedEpoch }
}

/// How far a member's state is, task by task, as it last said; sums over the task's changelogs.
struct MemberTaskOffsets: Sendable {
    var offsets: OrderedDictionary<TaskID, Int64> = [:]
    var endOffsets: OrderedDictionary<TaskID, Int64> = [:]
}

// MARK: - Replay

extension StreamsGroup {
    mutating func replay(_ record: StreamsGroupRecord) {
        if !record.isTombstone { hasRecords = true }
        switch record {
        case .metadata(_, let value):
            groupEpoch = value?.epoch ?? 1
            metadataHash = value?.metadataHash ?? 0
            validatedTopologyEpoch = value?.validatedTopologyEpoch ?? -1
            lastAssignmentSettings = value?.lastAssignmentConfigs ?? []
            storedDescriptionEpoch = value?.storedDescriptionTopologyEpoch ?? -1
            failedDescriptionEpoch = value?.failedDescriptionTopologyEpoch ?? -1
        case .topology(_, let value):
            let replayed = value.map { StreamsTopology($0) }
            if configured?.epoch != replayed?.epoch { configured = nil }
            topology = replayed
        case .member(_, let memberID, let value?):
            var member = members[memberID] ?? StreamsGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .member(_, let memberID, nil):
            remove(memberID)
        case .targetAssignmentMetadata(_, let value):
            assignmentEpoch = value?.assignmentEpoch ?? -1
            assignmentTimestamp = value?.assignmentTimestamp ?? 0
        case .targetAssignment(_, let memberID, let value):
            targetAssignment[memberID] = value.map { MemberTasks($0) }
        case .currentAssignment(_, let memberID, let value?):
            var member = members[memberID] ?? StreamsGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .currentAssignment(_, let memberID, nil):
            guard var member = members[memberID] else { return }
            member.memberEpoch = StreamsGroupMember.leftEpoch
            member.previousMemberEpoch = StreamsGroupMember.leftEpoch
            member.assignedTasks = AssignedTasks()
            member.tasksPendingRevocation = AssignedTasks()
            update(member)
        }
    }

    private mutating func update(_ member: StreamsGroupMember) {
        let old = members.updateValue(member, forKey: member.memberID)
        release(old)
        holders.add(member.assignedTasks, in: member.processID)
        holders.add(member.tasksPendingRevocation, in: member.processID)
        if old?.instanceID != member.instanceID, let instanceID = old?.instanceID, staticMembers[instanceID] == member.memberID {
            staticMembers[instanceID] = nil
        }
        if let instanceID = member.instanceID { staticMembers[instanceID] = member.memberID }
    }

    private mutating func remove(_ memberID: String) {
        guard let old = members.removeValue(forKey: memberID) else { return }
        release(old)
        if let instanceID = old.instanceID, staticMembers[instanceID] == memberID { staticMembers[instanceID] = nil }
        sessions[memberID] = nil
        revocations[memberID] = nil
        taskOffsets[memberID] = nil
        if members.isEmpty { shutdownRequester = nil }
    }

    private mutating func release(_ member: StreamsGroupMember?) {
        guard let member else { return }
        holders.remove(member.assignedTasks, in: member.processID)
        holders.remove(member.tasksPendingRevocation, in: member.processID)
    }
}

// MARK: - Records

extension StreamsGroup {
    func epochRecord(
        _ epoch: Int32, metadataHash: Int64, validatedTopologyEpoch: Int32, settings: [StreamsGroupMetadataValue.LastAssignmentConfig]
    ) -> CoordinatorRecord {
        var value = StreamsGroupMetadataValue()
        value.epoch = epoch
        value.metadataHash = metadataHash
        value.validatedTopologyEpoch = validatedTopologyEpoch
        value.lastAssignmentConfigs = settings
        value.storedDescriptionTopologyEpoch = storedDescriptionEpoch
        value.failedDescriptionTopologyEpoch = failedDescriptionEpoch
        return .streamsGroup(.metadata(group: groupID, value))
    }

    func targetAssignmentRecord(_ memberID: String, _ tasks: MemberTasks) -> CoordinatorRecord {
        .streamsGroup(.targetAssignment(group: groupID, member: memberID, tasks.record))
    }

    func targetAssignmentMetadataRecord(_ epoch: Int32, timestamp: Timestamp) -> CoordinatorRecord {
        var value = StreamsGroupTargetAssignmentMetadataValue()
        value.assignmentEpoch = epoch
        value.assignmentTimestamp = timestamp
        return .streamsGroup(.targetAssignmentMetadata(group: groupID, value))
    }

    /// What takes a member out of the log, in the order that Kafka needs when it reads them.
    func tombstones(ofMember memberID: String) -> [CoordinatorRecord] {
        [
            .streamsGroup(.currentAssignment(group: groupID, member: memberID, nil)),
            .streamsGroup(.targetAssignment(group: groupID, member: memberID, nil)),
            .streamsGroup(.member(group: groupID, member: memberID, nil)),
        ]
    }

    /// What takes every record of the group out of the log.
    var tombstones: [CoordinatorRecord] {
        var records: [CoordinatorRecord] = []
        for memberID in members.keys { records.append(.streamsGroup(.currentAssignment(group: groupID, member: memberID, nil))) }
        for memberID in targetAssignment.keys { records.append(.streamsGroup(.targetAssignment(group: groupID, member: memberID, nil))) }
        records.append(.streamsGroup(.targetAssignmentMetadata(group: groupID, nil)))
        for memberID in members.keys { records.append(.streamsGroup(.member(group: groupID, member: memberID, nil))) }
        records.append(.streamsGroup(.metadata(group: groupID, nil)))
        records.append(.streamsGroup(.topology(group: groupID, nil)))
        return records
    }
}
