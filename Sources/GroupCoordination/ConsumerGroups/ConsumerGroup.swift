// A consumer group (KIP-848): its members, what they are to have and what they have. Changes only by replaying records; what is not in
// the log (sessions, timers) is marked as such.
import Collections
import KafkaRecords
import KafkaWire
import Primitives

struct ConsumerGroup: Sendable {
    let groupID: String
    private(set) var groupEpoch: Int32 = 0
    private(set) var metadataHash: Int64 = 0
    private(set) var members: OrderedDictionary<String, ConsumerGroupMember> = [:]
    private(set) var subscriptions = ConsumerGroupSubscriptions()
    private(set) var assignmentEpoch: Int32 = -1
    /// When the target assignment was made, by the wall clock; 0 when that does not matter.
    private(set) var assignmentTimestamp: Timestamp = 0
    private(set) var targetAssignment: OrderedDictionary<String, PartitionSet> = [:]
    /// Whether the log has topic metadata of a former version, which a tombstone has to remove.
    private(set) var hasPartitionMetadataRecord = false
    private(set) var classicMemberCount = 0
    /// Member id by instance id. Looked up only.
    private var staticMembers: [String: String] = [:]
    /// Who holds a partition: the epoch of that member. Looked up only.
    private var partitionEpochs: [TopicIDPartition: Int32] = [:]
    /// How many classic members support a protocol. Looked up only.
    private var classicProtocolCounts: [String: Int] = [:]

    // MARK: Not in the log

    /// Sessions of members. Looked up only.
    var sessions: [String: Session] = [:]
    /// Until when members have to give partitions back, and in which epoch. Looked up only.
    var revocations: [String: (epoch: Int32, deadline: Int64)] = [:]
    /// Until when classic members have to join or to sync. Looked up only.
    var classicDeadlines: [String: ClassicDeadlines] = [:]
    /// Whether the topics may have changed since the hash was computed, and for which epoch it was computed.
    var needsMetadataRefresh = true
    var refreshedEpoch: Int32 = 0
    /// Topics were created after the expressions were resolved.
    var hasNewTopics = false

    struct Session: Sendable {
        /// On the monotonic clock.
        var deadline: Int64
        /// When the timer will fire; it then looks whether the deadline has moved.
        var armed: Int64
    }

    struct ClassicDeadlines: Sendable {
        var join: Int64?
        var sync: Int64?
    }

    init(groupID: String) { self.groupID = groupID }

    var isEmpty: Bool { members.isEmpty }

    /// Whether nothing of it is in the log: a heartbeat that was refused made it.
    var isBlank: Bool { groupEpoch == 0 && members.isEmpty && assignmentEpoch <= 0 }

    /// The state that Kafka reports.
    var state: String {
        if members.isEmpty { return "Empty" }
        if groupEpoch > assignmentEpoch { return "Assigning" }
        return members.values.allSatisfy { $0.isReconciled(to: assignmentEpoch) } ? "Stable" : "Reconciling"
    }

    func staticMember(_ instanceID: String?) -> ConsumerGroupMember? {
        instanceID.flatMap { staticMembers[$0] }.flatMap { members[$0] }
    }

    /// The epoch of the member that holds the partition; nil when it is free.
    func currentEpoch(of partition: TopicIDPartition) -> Int32? { partitionEpochs[partition] }

    /// What a member is to have; a static member that comes back finds what its former self was to have.
    func target(of memberID: String, instanceID: String?) -> PartitionSet {
        targetAssignment[memberID] ?? staticMember(instanceID).flatMap { targetAssignment[$0.memberID] } ?? PartitionSet()
    }

    func isSubscribed(to topic: String) -> Bool { subscriptions.topics[topic] != nil }

    var hasMetadataExpired: Bool { needsMetadataRefresh || groupEpoch < refreshedEpoch }

    /// Whether classic members with these protocols can be together with those that are in the group.
    func supportsClassicProtocol(type: String, names: some Sequence<String>) -> Bool {
        guard type == EmbeddedConsumerProtocol.protocolType else { return false }
        if members.isEmpty { return names.contains { _ in true } }
        return names.contains { (classicProtocolCounts[$0] ?? 0) == classicMemberCount }
    }
}

// MARK: - Replay

extension ConsumerGroup {
    mutating func replay(_ record: ConsumerGroupRecord) {
        switch record {
        case .metadata(_, let value):
            groupEpoch = value?.epoch ?? 0
            metadataHash = value?.metadataHash ?? 0
        case .partitionMetadata(_, let value):
            hasPartitionMetadataRecord = value != nil
        case .member(_, let memberID, let value?):
            var member = members[memberID] ?? ConsumerGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .member(_, let memberID, nil):
            remove(memberID)
        case .targetAssignmentMetadata(_, let value):
            assignmentEpoch = value?.assignmentEpoch ?? -1
            assignmentTimestamp = value?.assignmentTimestamp ?? 0
        case .targetAssignment(_, let memberID, let value):
            targetAssignment[memberID] = value.map { PartitionSet($0) }
        case .currentAssignment(_, let memberID, let value?):
            var member = members[memberID] ?? ConsumerGroupMember(memberID: memberID)
            member.update(with: value)
            update(member)
        case .currentAssignment(_, let memberID, nil):
            guard var member = members[memberID] else { return }
            member.memberEpoch = ConsumerGroupMember.leftEpoch
            member.previousMemberEpoch = ConsumerGroupMember.leftEpoch
            member.assignedPartitions = []
            member.partitionsPendingRevocation = []
            update(member)
        case .regularExpression(_, let expression, let value):
            subscriptions.resolve(
                expression,
                to: value.map { ResolvedExpression(topics: $0.topics.sorted(), version: $0.version, timestamp: $0.timestamp) })
        }
    }

    private mutating func update(_ member: ConsumerGroupMember) {
        let old = members.updateValue(member, forKey: member.memberID)
        subscriptions.replace(old, with: member)
        releasePartitions(of: old)
        for assigned in member.assignedPartitions { hold(assigned.partition, at: member.memberEpoch) }
        for assigned in member.partitionsPendingRevocation { hold(assigned.partition, at: member.memberEpoch) }
        if old?.instanceID != member.instanceID, let instanceID = old?.instanceID, staticMembers[instanceID] == member.memberID {
            staticMembers[instanceID] = nil
        }
        if let instanceID = member.instanceID { staticMembers[instanceID] = member.memberID }
        countClassic(old, by: -1)
        countClassic(member, by: 1)
    }

    private mutating func remove(_ memberID: String) {
        guard let old = members.removeValue(forKey: memberID) else { return }
        subscriptions.replace(old, with: nil)
        releasePartitions(of: old)
        if let instanceID = old.instanceID, staticMembers[instanceID] == memberID { staticMembers[instanceID] = nil }
        countClassic(old, by: -1)
        sessions[memberID] = nil
        revocations[memberID] = nil
        classicDeadlines[memberID] = nil
    }

    private mutating func hold(_ partition: TopicIDPartition, at epoch: Int32) {
        // While a log is read a compacted record may be missing: the later owner is the one with the higher epoch.
        if let current = partitionEpochs[partition], current > epoch { return }
        partitionEpochs[partition] = epoch
    }

    private mutating func releasePartitions(of member: ConsumerGroupMember?) {
        guard let member else { return }
        for list in [member.assignedPartitions, member.partitionsPendingRevocation] {
            for assigned in list where partitionEpochs[assigned.partition] == member.memberEpoch {
                partitionEpochs[assigned.partition] = nil
            }
        }
    }

    private mutating func countClassic(_ member: ConsumerGroupMember?, by amount: Int) {
        guard let classic = member?.classic else { return }
        classicMemberCount += amount
        for candidate in classic.supportedProtocols {
            let count = (classicProtocolCounts[candidate.name] ?? 0) + amount
            classicProtocolCounts[candidate.name] = count > 0 ? count : nil
        }
    }
}

// MARK: - Records

extension ConsumerGroup {
    func epochRecord(_ epoch: Int32, metadataHash: Int64) -> CoordinatorRecord {
        var value = ConsumerGroupMetadataValue()
        value.epoch = epoch
        value.metadataHash = metadataHash
        return .consumerGroup(.metadata(group: groupID, value))
    }

    func targetAssignmentRecord(_ memberID: String, _ partitions: PartitionSet) -> CoordinatorRecord {
        .consumerGroup(.targetAssignment(group: groupID, member: memberID, partitions.record))
    }

    func targetAssignmentMetadataRecord(_ epoch: Int32, timestamp: Timestamp) -> CoordinatorRecord {
        var value = ConsumerGroupTargetAssignmentMetadataValue()
        value.assignmentEpoch = epoch
        value.assignmentTimestamp = timestamp
        return .consumerGroup(.targetAssignmentMetadata(group: groupID, value))
    }

    /// What takes a member out of the log, in the order that Kafka needs when it reads them.
    func tombstones(ofMember memberID: String) -> [CoordinatorRecord] {
        [
            .consumerGroup(.currentAssignment(group: groupID, member: memberID, nil)),
            .consumerGroup(.targetAssignment(group: groupID, member: memberID, nil)),
            .consumerGroup(.member(group: groupID, member: memberID, nil)),
        ]
    }

    /// What takes every record of the group out of the log.
    var tombstones: [CoordinatorRecord] {
        var records: [CoordinatorRecord] = []
        for memberID in members.keys { records.append(.consumerGroup(.currentAssignment(group: groupID, member: memberID, nil))) }
        for memberID in targetAssignment.keys { records.append(.consumerGroup(.targetAssignment(group: groupID, member: memberID, nil))) }
        records.append(.consumerGroup(.targetAssignmentMetadata(group: groupID, nil)))
        for memberID in members.keys { records.append(.consumerGroup(.member(group: groupID, member: memberID, nil))) }
        if hasPartitionMetadataRecord { records.append(.consumerGroup(.partitionMetadata(group: groupID, nil))) }
        for expression in subscriptions.resolved.keys {
            records.append(.consumerGroup(.regularExpression(group: groupID, expression: expression, nil)))
        }
        records.append(.consumerGroup(.metadata(group: groupID, nil)))
        return records
    }
}
