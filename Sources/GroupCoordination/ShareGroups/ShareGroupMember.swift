// One member of a share group: what it says of itself, and which partitions it reads together with others.
import KafkaRecords
import KafkaWire
import Primitives

struct ShareGroupMember: Sendable, Equatable {
    /// The epoch of a member that has left.
    static let leftEpoch: Int32 = -1

    var memberID: String
    var rackID: String?
    var clientID = ""
    var clientHost = ""
    /// Sorted, without duplicates.
    var subscribedTopicNames: [String] = []

    var memberEpoch: Int32 = 0
    var previousMemberEpoch: Int32 = -1
    var assigned = PartitionSet()

    init(memberID: String) { self.memberID = memberID }

    mutating func subscribe(to names: [String]) {
        subscribedTopicNames = names.sorted()
        var last: String?
        subscribedTopicNames.removeAll { name in
            defer { last = name }
            return name == last
        }
    }

    mutating func update(with value: ShareGroupMemberMetadataValue) {
        rackID = value.rackId
        clientID = value.clientId
        clientHost = value.clientHost
        subscribe(to: value.subscribedTopicNames)
    }

    mutating func update(with value: ShareGroupCurrentMemberAssignmentValue) {
        memberEpoch = value.memberEpoch
        previousMemberEpoch = value.previousMemberEpoch
        assigned = PartitionSet(
            value.assignedPartitions.flatMap { topic in topic.partitions.map { TopicIDPartition(topic.topicId, $0) } })
    }

    func metadataRecord(in group: String) -> CoordinatorRecord {
        var value = ShareGroupMemberMetadataValue()
        value.rackId = rackID
        value.clientId = clientID
        value.clientHost = clientHost
        value.subscribedTopicNames = subscribedTopicNames
        return .shareGroup(.member(group: group, member: memberID, value))
    }

    func currentAssignmentRecord(in group: String) -> CoordinatorRecord {
        var value = ShareGroupCurrentMemberAssignmentValue()
        value.memberEpoch = memberEpoch
        value.previousMemberEpoch = previousMemberEpoch
        value.assignedPartitions = assigned.byTopic.map { topic in
            var stored = ShareGroupCurrentMemberAssignmentValue.TopicPartitions()
            stored.topicId = topic.topicID
            stored.partitions = topic.partitions
            return stored
        }
        return .shareGroup(.currentAssignment(group: group, member: memberID, value))
    }
}
