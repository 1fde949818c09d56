// One member of a consumer group: what it says of itself, which partitions it has and in which epoch it is.
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// Where a member stands on its way to its target assignment. The values are those of the records.
enum ConsumerGroupMemberState: Int8, Sendable {
    /// It has what it is to have.
    case stable = 0
    /// It was told to give partitions back and has not confirmed it.
    case unrevokedPartitions = 1
    /// Partitions that it is to have are still with others.
    case unreleasedPartitions = 2
    /// Written by a newer version than ours.
    case unknown = 127
}

struct ConsumerGroupMember: Sendable, Equatable {
    /// The epoch of a member that has left.
    static let leftEpoch: Int32 = -1
    /// The epoch of a static member that has left for a while and keeps its place.
    static let awayEpoch: Int32 = -2

    var memberID: String
    var instanceID: String?
    var rackID: String?
    var clientID = ""
    var clientHost = ""
    /// Sorted, without duplicates.
    var subscribedTopicNames: [String] = []
    /// Empty or nil when it subscribes by names only.
    var subscribedTopicRegex: String? = ""
    var rebalanceTimeoutMilliseconds: Int32 = -1
    var serverAssignor: String?
    /// What a member that speaks the classic protocol said when it joined; nil for one of the consumer protocol.
    var classic: ConsumerGroupMemberMetadataValue.ClassicMemberMetadata?

    var memberEpoch: Int32 = 0
    var previousMemberEpoch: Int32 = -1
    var state = ConsumerGroupMemberState.stable
    var assignedPartitions: AssignedPartitions = []
    var partitionsPendingRevocation: AssignedPartitions = []

    init(memberID: String) { self.memberID = memberID }

    var usesClassicProtocol: Bool { classic != nil }

    /// The expression that it subscribes to; nil when there is none.
    var expression: String? { subscribedTopicRegex.flatMap { $0.isEmpty ? nil : $0 } }

    func isReconciled(to targetAssignmentEpoch: Int32) -> Bool { state == .stable && memberEpoch == targetAssignmentEpoch }

    /// Whether it still has the partition, be it to give it back.
    func assignmentEpoch(of partition: TopicIDPartition) -> Int32? {
        assignedPartitions.epoch(of: partition) ?? partitionsPendingRevocation.epoch(of: partition)
    }

    mutating func subscribe(to names: [String]) {
        subscribedTopicNames = names.sorted()
        var last: String?
        subscribedTopicNames.removeAll { name in
            defer { last = name }
            return name == last
        }
    }

    mutating func advance(to epoch: Int32) {
        previousMemberEpoch = memberEpoch
        memberEpoch = epoch
    }
}

// MARK: - Records

extension ConsumerGroupMember {
    mutating func update(with value: ConsumerGroupMemberMetadataValue) {
        instanceID = value.instanceId
        rackID = value.rackId
        clientID = value.clientId
        clientHost = value.clientHost
        subscribe(to: value.subscribedTopicNames)
        subscribedTopicRegex = value.subscribedTopicRegex
        rebalanceTimeoutMilliseconds = value.rebalanceTimeoutMs
        serverAssignor = value.serverAssignor
        classic = value.classicMemberMetadata
    }

    mutating func update(with value: ConsumerGroupCurrentMemberAssignmentValue) {
        memberEpoch = value.memberEpoch
        previousMemberEpoch = value.previousMemberEpoch
        state = ConsumerGroupMemberState(rawValue: value.state) ?? .unknown
        assignedPartitions = AssignedPartitions(value.assignedPartitions, memberEpoch: value.memberEpoch)
        partitionsPendingRevocation = AssignedPartitions(value.partitionsPendingRevocation, memberEpoch: value.memberEpoch)
    }

    func metadataRecord(in group: String) -> CoordinatorRecord {
        var value = ConsumerGroupMemberMetadataValue()
        value.instanceId = instanceID
        value.rackId = rackID
        value.clientId = clientID
        value.clientHost = clientHost
        value.subscribedTopicNames = subscribedTopicNames
        value.subscribedTopicRegex = subscribedTopicRegex
        value.rebalanceTimeoutMs = rebalanceTimeoutMilliseconds
        value.serverAssignor = serverAssignor
        value.classicMemberMetadata = classic
        return .consumerGroup(.member(group: group, member: memberID, value))
    }

    func currentAssignmentRecord(in group: String) -> CoordinatorRecord {
        var value = ConsumerGroupCurrentMemberAssignmentValue()
        value.memberEpoch = memberEpoch
        value.previousMemberEpoch = previousMemberEpoch
        value.state = state.rawValue
        value.assignedPartitions = assignedPartitions.record
        value.partitionsPendingRevocation = partitionsPendingRevocation.record
        return .consumerGroup(.currentAssignment(group: group, member: memberID, value))
    }
}
