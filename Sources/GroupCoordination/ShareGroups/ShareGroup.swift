// A share group (KIP-932): its members, which partitions they read together, and which of these have state. Changes only by replaying
// records; what is not in the log (sessions, what has to be looked at again) is marked as such.
import Collections
import KafkaRecords
import KafkaWire
import Primitives

struct ShareGroup: Sendable {
    let groupID: String
    private(set) var groupEpoch: Int32 = 0
    private(set) var metadataHash: Int64 = 0
    private(set) var members: OrderedDictionary<String, ShareGroupMember> = [:]
    /// How many members read a topic.
    private(set) var subscriptions: OrderedDictionary<String, Int> = [:]
    private(set) var assignmentEpoch: Int32 = 0
    /// When the target assignment was made, by the wall clock; 0 when that does not matter.
    private(set) var assignmentTimestamp: Timestamp = 0
    private(set) var targetAssignment: OrderedDictionary<String, PartitionSet> = [:]
    private(set) var statePartitions = ShareGroupStatePartitions()
    private(set) var hasStatePartitionsRecord = false

    // MARK: Not in the log

    /// Sessions of members. Looked up only.
    var sessions: [String: ConsumerGroup.Session] = [:]
    /// Whether the topics may have changed since the hash was computed, and for which epoch it was computed.
    var needsMetadataRefresh = true
    var refreshedEpoch: Int32 = 0

    init(groupID: String) { self.groupID = groupID }

    var isEmpty: Bool { members.isEmpty }

    /// Whether nothing of it is in the log: a heartbeat that was refused made it.
    var isBlank: Bool { groupEpoch == 0 && members.isEmpty && !hasStatePartitionsRecord }

    /// The state that Kafka reports.
    var state: String { members.isEmpty ? "Empty" : "Stable" }

    var hasMetadataExpired: Bool { needsMetadataRefresh || groupEpoch < refreshedEpoch }

    /// How many members read each topic once `old` is replaced by `new`.
    func subscriptions(replacing old: ShareGroupMember?, with new: ShareGroupMember?) -> OrderedDictionary<String, Int> {
        var result = subscriptions
        for name in new?.subscribedTopicNames ?? [] { result[name, default: 0] += 1 }
        for name in old?.subscribedTopicNames ?? [] {
            if let count = result[name], count > 1 { result[name] = count - 1 } else { result[name] = nil }
        }
        return result
    }
}

// MARK: - Replay

extension ShareGroup {
    mutating func replay(_ record: ShareGroupRecord, now: Timestamp) {
        switch record {
        case .metadata(_, let value):
            groupEpoch = value?.epoch ?? 0
            metadataHash = value?.metadataHash ?? 0
        case .member(_, let memberID, let value?):
            var member = members[memberID] ?? ShareGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .member(_, let memberID, nil):
            guard let old = members.removeValue(forKey: memberID) else { return }
            subscriptions = subscriptions(replacing: old, with: nil)
            sessions[memberID] = nil
        case .targetAssignmentMetadata(_, let value):
            assignmentEpoch = value?.assignmentEpoch ?? 0
            assignmentTimestamp = value?.assignmentTimestamp ?? 0
        case .targetAssignment(_, let memberID, let value):
            targetAssignment[memberID] = value.map { value in
                PartitionSet(value.topicPartitions.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } })
            }
        case .currentAssignment(_, let memberID, let value?):
            var member = members[memberID] ?? ShareGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .currentAssignment(_, let memberID, nil):
            guard var member = members[memberID] else { return }
            member.memberEpoch = ShareGroupMember.leftEpoch
            member.previousMemberEpoch = ShareGroupMember.leftEpoch
            member.assigned = PartitionSet()
            update(member)
        case .statePartitions(_, let value):
            hasStatePartitionsRecord = value != nil
            let before = statePartitions
            statePartitions = value.map { ShareGroupStatePartitions($0, now: now) } ?? ShareGroupStatePartitions()
            // What was asked for before keeps its time: it is to be asked for again when the answer is late.
            for (id, topic) in statePartitions.initializing where before.initializing[id]?.partitions == topic.partitions {
                statePartitions.initializing[id]?.timestamp = before.initializing[id]?.timestamp ?? now
            }
        }
    }

    private mutating func update(_ member: ShareGroupMember) {
        let old = members.updateValue(member, forKey: member.memberID)
        if old?.subscribedTopicNames != member.subscribedTopicNames { subscriptions = subscriptions(replacing: old, with: member) }
    }
}

// MARK: - Records

extension ShareGroup {
    func epochRecord(_ epoch: Int32, metadataHash: Int64) -> CoordinatorRecord {
        var value = ShareGroupMetadataValue()
        value.epoch = epoch
        value.metadataHash = metadataHash
        return .shareGroup(.metadata(group: groupID, value))
    }

    func targetAssignmentRecord(_ memberID: String, _ partitions: PartitionSet) -> CoordinatorRecord {
        var value = ShareGroupTargetAssignmentMemberValue()
        value.topicPartitions = partitions.byTopic.map { topic in
            var stored = ShareGroupTargetAssignmentMemberValue.TopicPartition()
            stored.topicId = topic.topicID
            stored.partitions = topic.partitions
            return stored
        }
        return .shareGroup(.targetAssignment(group: groupID, member: memberID, value))
    }

    func targetAssignmentMetadataRecord(_ epoch: Int32, timestamp: Timestamp) -> CoordinatorRecord {
        var value = ShareGroupTargetAssignmentMetadataValue()
        value.assignmentEpoch = epoch
        value.assignmentTimestamp = timestamp
        return .shareGroup(.targetAssignmentMetadata(group: groupID, value))
    }

    func statePartitionsRecord(_ partitions: ShareGroupStatePartitions) -> CoordinatorRecord {
        .shareGroup(.statePartitions(group: groupID, partitions.record))
    }

    /// What takes a member out of the log, in the order that Kafka needs when it reads them.
    func tombstones(ofMember memberID: String) -> [CoordinatorRecord] {
        [
            .shareGroup(.currentAssignment(group: groupID, member: memberID, nil)),
            .shareGroup(.targetAssignment(group: groupID, member: memberID, nil)),
            .shareGroup(.member(group: groupID, member: memberID, nil)),
        ]
    }

    /// What takes every record of the group out of the log.
    var tombstones: [CoordinatorRecord] {
        var records: [CoordinatorRecord] = []
        for memberID in members.keys { records.append(.shareGroup(.currentAssignment(group: groupID, member: memberID, nil))) }
        for memberID in targetAssignment.keys { records.append(.shareGroup(.targetAssignment(group: groupID, member: memberID, nil))) }
        records.append(.shareGroup(.targetAssignmentMetadata(group: groupID, nil)))
        for memberID in members.keys { records.append(.shareGroup(.member(group: groupID, member: memberID, nil))) }
        if hasStatePartitionsRecord { records.append(.shareGroup(.statePartitions(group: groupID, nil))) }
        records.append(.shareGroup(.metadata(group: groupID, nil)))
        return records
    }
}
