// A group of either kind with its members, as `kafka-consumer-groups --describe` shows it.
import KafkaMessages
import KafkaWire
import MartletClient
import Primitives

struct GroupDetails {
    struct Member {
        var id: String
        var instanceID: String
        var clientID: String
        var host: String
        var assignment: [TopicPartition]
        /// Of members of groups with the newer protocol (KIP-848).
        var epoch: Int32?
        var target: [TopicPartition] = []
        /// Whether the member speaks the newer protocol; nil where the broker does not say.
        var isUpgraded: Bool?
    }

    var group: String
    var state: String
    var assignor: String
    var coordinator: Int32
    var members: [Member]
    var epoch: Int32?
    var targetEpoch: Int32?

    init(_ group: GroupDescription) {
        self.group = group.group
        state = group.state
        assignor = group.protocolName
        coordinator = group.coordinator
        members = group.members.map {
            Member(
                id: $0.memberID, instanceID: $0.groupInstanceID ?? "", clientID: $0.clientID, host: $0.clientHost, assignment: $0.assignment
            )
        }
    }

    private init(_ group: ConsumerGroupDescribeResponse.DescribedGroup, coordinator: Int32) {
        self.group = group.groupId
        state = group.groupState
        assignor = group.assignorName
        self.coordinator = coordinator
        epoch = group.groupEpoch
        targetEpoch = group.assignmentEpoch
        members = group.members.map { member in
            Member(
                id: member.memberId, instanceID: member.instanceId ?? "", clientID: member.clientId, host: member.clientHost,
                assignment: Self.partitions(member.assignment), epoch: member.memberEpoch,
                target: Self.partitions(member.targetAssignment), isUpgraded: member.memberType < 0 ? nil : member.memberType == 1)
        }
    }

    private static func partitions(_ assignment: ConsumerGroupDescribeResponse.Assignment) -> [TopicPartition] {
        assignment.topicPartitions.flatMap { topic in topic.partitions.map { TopicPartition(topic.topicName, $0) } }
    }

    /// Asks as for a group of the newer kind first, then as for a classic one, as Kafka's admin client does.
    static func of(_ group: String, _ admin: AdminClient) async throws(KafkaError) -> GroupDetails {
        if let found = try await ofConsumerGroup(group, admin) { return found }
        return GroupDetails(try await admin.describeGroup(group))
    }

    private static func ofConsumerGroup(_ group: String, _ admin: AdminClient) async throws(KafkaError) -> GroupDetails? {
        let target = RequestTarget.coordinator(group: group)
        var request = ConsumerGroupDescribeRequest()
        request.groupIds = [group]
        return try await admin.cluster.retrying(coordinator: target) { [request] () throws(KafkaError) -> GroupDetails? in
            let coordinator = try await admin.cluster.coordinator(group, type: 0)
            guard try await admin.cluster.connection(to: target).versions.supports(.consumerGroupDescribe) else { return nil }
            let response = try await admin.cluster.send(request, to: target)
            guard let found = response.groups.first, found.errorCode != .groupIdNotFound, found.errorCode != .unsupportedVersion else {
                return nil
            }
            try found.errorCode.check(found.errorMessage)
            return GroupDetails(found, coordinator: coordinator)
        }
    }
}
