// Groups: who is in them and how far they are.
import KafkaMessages
import KafkaRecords
import KafkaWire
import Primitives

/// A group as a broker lists it.
public struct GroupListing: Hashable, Sendable {
    public var group: String
    /// `consumer` for consumer groups; empty for groups that only hold offsets.
    public var protocolType: String
    /// Such as `Stable`; empty where the broker does not say.
    public var state: String
    /// `Classic`, `Consumer`, `Share` or `Streams`; empty where the broker does not say.
    public var type: String
}

/// A member of a group.
public struct GroupMember: Hashable, Sendable {
    public var memberID: String
    /// For static members.
    public var groupInstanceID: String?
    public var clientID: String
    public var clientHost: String
    /// Empty for members of other protocol types.
    public var assignment: [TopicPartition]
}

/// A group with its members.
public struct GroupDescription: Hashable, Sendable {
    public var group: String
    public var state: String
    public var protocolType: String
    /// The assignor that the members agreed on.
    public var protocolName: String
    /// The broker that coordinates the group.
    public var coordinator: Int32
    public var members: [GroupMember]
}

/// A committed offset.
public struct CommittedOffset: Hashable, Sendable {
    /// The offset of the next record to read.
    public var offset: Int64
    /// -1 when unknown.
    public var leaderEpoch: Int32
    public var metadata: String

    public init(_ offset: Int64, leaderEpoch: Int32 = -1, metadata: String = "") {
        self.offset = offset
        self.leaderEpoch = leaderEpoch
        self.metadata = metadata
    }
}

extension AdminClient {
    /// The groups of all brokers, by name.
    ///
    /// - Parameters:
    ///   - states: only groups in these states.
    ///   - types: only groups of these types.
    public func listGroups(states: [String] = [], types: [String] = []) async throws(KafkaError) -> [GroupListing] {
        var request = ListGroupsRequest()
        request.statesFilter = states
        request.typesFilter = types
        let brokers = try await describeCluster().brokers
        var found: [String: GroupListing] = [:]
        for broker in brokers {
            let response = try await cluster.retrying { [request] () throws(KafkaError) in
                let allowed: ClosedRange<Int16> = types.isEmpty ? (states.isEmpty ? 0...5 : 4...5) : 5...5
                let response = try await self.cluster.send(request, to: .node(broker.id), allowed: allowed)
                try response.errorCode.check(about: "ListGroups")
                return response
            }
            for group in response.groups {
                found[group.groupId] = GroupListing(
                    group: group.groupId, protocolType: group.protocolType, state: group.groupState, type: group.groupType)
            }
        }
        return found.values.sorted { $0.group < $1.group }
    }

    /// A group's members and what each of them reads.
    ///
    /// A group that does not exist is described as `Dead` by brokers before 4.0 and fails with GROUP_ID_NOT_FOUND from then on.
    public func describeGroup(_ group: String) async throws(KafkaError) -> GroupDescription {
        var request = DescribeGroupsRequest()
        request.groups = [group]
        let target = RequestTarget.coordinator(group: group)
        return try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let coordinator = try await self.cluster.coordinator(group, type: 0)
            let response = try await self.cluster.send(request, to: target)
            guard let found = response.groups.first else {
                throw KafkaError(.protocolViolation, "the answer to DescribeGroups is empty")
            }
            if found.errorCode == .groupIdNotFound || (found.errorCode == .none && found.groupState == "Dead") {
                if let consumer = try await self.describeConsumerGroup(group, coordinator: coordinator) { return consumer }
                if let streams = try await self.describeStreamsGroup(group, coordinator: coordinator) { return streams }
            }
            try found.errorCode.check(found.errorMessage, about: "group '\(group)'")
            return GroupDescription(
                group: group, state: found.groupState, protocolType: found.protocolType, protocolName: found.protocolData,
                coordinator: coordinator, members: found.members.map { GroupMember($0, protocolType: found.protocolType) })
        }
    }

    /// A group of the newer protocol (KIP-848); nil when there is none of that name, or the broker does not know such groups.
    private func describeConsumerGroup(_ group: String, coordinator: Int32) async throws(KafkaError) -> GroupDescription? {
        var request = ConsumerGroupDescribeRequest()
        request.groupIds = [group]
        let response: ConsumerGroupDescribeResponse
        do throws(KafkaError) {
            response = try await cluster.send(request, to: .coordinator(group: group))
        } catch {
            return nil
        }
        guard let found = response.groups.first, found.errorCode != .groupIdNotFound, found.errorCode != .unsupportedVersion else {
            return nil
        }
        try found.errorCode.check(found.errorMessage, about: "group '\(group)'")
        let members = found.members.map { member in
            GroupMember(
                memberID: member.memberId, groupInstanceID: member.instanceId, clientID: member.clientId, clientHost: member.clientHost,
                assignment: member.assignment.topicPartitions.flatMap { topic in
                    topic.partitions.map { TopicPartition(topic.topicName, $0) }
                }.sorted())
        }
        return GroupDescription(
            group: group, state: found.groupState, protocolType: "consumer", protocolName: found.assignorName, coordinator: coordinator,
            members: members)
    }

    /// Deletes groups that have no members, with their offsets.
    @discardableResult
    public func deleteGroups(_ groups: [String]) async throws(KafkaError) -> [Outcome<String, Void>] {
        var outcomes: [Outcome<String, Void>] = []
        for group in groups {
            var request = DeleteGroupsRequest()
            request.groupsNames = [group]
            let target = RequestTarget.coordinator(group: group)
            do throws(KafkaError) {
                try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
                    let response = try await self.cluster.send(request, to: target)
                    for result in response.results { try result.errorCode.check(result.errorMessage, about: "group '\(group)'") }
                }
                outcomes.append(Outcome(item: group, result: .success(())))
            } catch {
                outcomes.append(Outcome(item: group, result: .failure(error)))
            }
        }
        return outcomes
    }

    /// A group's committed offsets; partitions without one are left out.
    ///
    /// - Parameter partitions: only these; all for nil.
    public func listGroupOffsets(
        _ group: String, partitions: [TopicPartition]? = nil
    ) async throws(KafkaError) -> [TopicPartition: CommittedOffset] {
        try await cluster.committedOffsets(group: group, partitions: partitions)
    }

    /// Sets a group's offsets. The group must have no members.
    public func alterGroupOffsets(_ group: String, _ offsets: [TopicPartition: CommittedOffset]) async throws(KafkaError) {
        let errors = try await cluster.retrying(coordinator: .coordinator(group: group)) { () throws(KafkaError) in
            try await self.cluster.commit(offsets, group: group, identity: GroupIdentity())
        }
        for (partition, error) in errors.sorted(by: { $0.key < $1.key }) { try error.check(about: "\(partition)") }
    }

    /// Forgets offsets of partitions that no member of the group is subscribed to.
    @discardableResult
    public func deleteGroupOffsets(
        _ group: String, _ partitions: [TopicPartition]
    ) async throws(KafkaError) -> [Outcome<TopicPartition, Void>] {
        var request = OffsetDeleteRequest()
        request.groupId = group
        request.topics = partitions.byTopic().map { name, numbers in
            var topic = OffsetDeleteRequest.OffsetDeleteRequestTopic()
            topic.name = name
            topic.partitions = numbers.map { number in
                var partition = OffsetDeleteRequest.OffsetDeleteRequestPartition()
                partition.partitionIndex = number
                return partition
            }
            return topic
        }
        let target = RequestTarget.coordinator(group: group)
        let response = try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target)
            try response.errorCode.check(about: "group '\(group)'")
            return response
        }
        return response.topics.flatMap { topic in
            topic.partitions.map { partition in
                let item = TopicPartition(topic.name, partition.partitionIndex)
                return Outcome(item: item, result: partition.errorCode.result((), about: "\(item)"))
            }
        }
    }

    /// Takes members out of a group by their instance ids (static members) or member ids.
    public func removeGroupMembers(
        _ group: String, memberIDs: [String] = [], instanceIDs: [String] = []
    ) async throws(KafkaError) {
        var request = LeaveGroupRequest()
        request.groupId = group
        request.members =
            memberIDs.map { id in
                var member = LeaveGroupRequest.MemberIdentity()
                member.memberId = id
                return member
            }
            + instanceIDs.map { id in
                var member = LeaveGroupRequest.MemberIdentity()
                member.groupInstanceId = id
                return member
            }
        let target = RequestTarget.coordinator(group: group)
        try await cluster.retrying(coordinator: target) { [request] () throws(KafkaError) in
            let response = try await self.cluster.send(request, to: target, allowed: 3...5)
            try response.errorCode.check(about: "group '\(group)'")
            for member in response.members {
                try member.errorCode.check(about: "member '\(member.groupInstanceId ?? member.memberId)'")
            }
        }
    }
}

extension GroupMember {
    init(_ member: DescribeGroupsResponse.DescribedGroupMember, protocolType: String) {
        self.init(
            memberID: member.memberId, groupInstanceID: member.groupInstanceId, clientID: member.clientId, clientHost: member.clientHost,
            assignment: [])
        guard protocolType == "consumer", member.memberAssignment.readableBytes > 0,
            let decoded = try? ConsumerProtocolAssignment(decodingWithVersion: member.memberAssignment, acceptingNewer: true)
        else { return }
        assignment = decoded.assignedPartitions.flatMap { topic in topic.partitions.map { TopicPartition(topic.topic, $0) } }.sorted()
    }
}

extension Sequence<TopicPartition> {
    /// Partition numbers by topic, in the order of first appearance: the shape of most requests.
    package func byTopic() -> [(topic: String, partitions: [Int32])] {
        var positions: [String: Int] = [:]
        var topics: [(topic: String, partitions: [Int32])] = []
        for item in self {
            if let position = positions[item.topic] {
                topics[position].partitions.append(item.partition)
            } else {
                positions[item.topic] = topics.count
                topics.append((item.topic, [item.partition]))
            }
        }
        return topics
    }
}
