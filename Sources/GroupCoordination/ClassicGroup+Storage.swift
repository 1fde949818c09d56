// A group and its record in __consumer_offsets: one is made from the other, in both directions.
import KafkaMessages
import KafkaRecords
import NIOCore
import Primitives

extension ClassicGroup {
    /// The group as it is stored, with each member's assignment as `assignment` gives it.
    func metadataRecord(assignment: (ClassicGroupMember) -> ByteBuffer) -> CoordinatorRecord {
        var value = GroupMetadataValue()
        value.protocolType = protocolType ?? ""
        value.generation = generationID
        value.`protocol` = protocolName
        value.leader = leaderID
        value.currentStateTimestamp = stateTimestamp ?? -1
        value.members = members.values.map { member in
            var stored = GroupMetadataValue.MemberMetadata()
            stored.memberId = member.memberID
            stored.groupInstanceId = member.groupInstanceID
            stored.clientId = member.clientID
            stored.clientHost = member.clientHost
            stored.rebalanceTimeout = member.rebalanceTimeoutMilliseconds
            stored.sessionTimeout = member.sessionTimeoutMilliseconds
            stored.subscription = member.metadata(for: protocolName) ?? ByteBuffer()
            stored.assignment = assignment(member)
            return stored
        }
        return .groupMetadata(group: groupID, value)
    }

    /// The record of a group that has no generation yet.
    func emptyRecord() -> CoordinatorRecord {
        var value = GroupMetadataValue()
        value.`protocol` = nil
        value.leader = nil
        value.currentStateTimestamp = stateTimestamp ?? -1
        return .groupMetadata(group: groupID, value)
    }

    /// A group as the log has it. Its members' sessions begin when the coordinator's term does.
    init(groupID: String, stored value: GroupMetadataValue) {
        self.init(
            groupID: groupID, state: value.members.isEmpty ? .empty : .stable, generationID: value.generation,
            stateTimestamp: value.currentStateTimestamp == -1 ? nil : value.currentStateTimestamp)
        protocolType = value.protocolType.isEmpty ? nil : value.protocolType
        protocolName = value.`protocol`
        leaderID = value.leader
        for stored in value.members where members[stored.memberId] == nil {
            if let groupInstanceID = stored.groupInstanceId, staticMemberID(groupInstanceID) != nil { continue }
            var supported = JoinGroupRequest.JoinGroupRequestProtocol()
            supported.name = value.`protocol` ?? ""
            supported.metadata = ByteBuffer(buffer: stored.subscription)
            var member = ClassicGroupMember(
                memberID: stored.memberId, groupInstanceID: stored.groupInstanceId, clientID: stored.clientId,
                clientHost: stored.clientHost,
                rebalanceTimeoutMilliseconds: stored.rebalanceTimeout == -1 ? stored.sessionTimeout : stored.rebalanceTimeout,
                sessionTimeoutMilliseconds: stored.sessionTimeout, protocolType: value.protocolType, supportedProtocols: [supported])
            member.assignment = ByteBuffer(buffer: stored.assignment)
            add(member)
        }
        computeSubscribedTopics()
    }

    /// Replays a record of its own that has been committed.
    ///
    /// The leader's assignment takes effect here, and only if its generation still waits for it; everything else that a record
    /// says the group knows already, because the record was made from it.
    mutating func replayCommitted(_ value: GroupMetadataValue) {
        guard state == .completingRebalance, value.generation == generationID, !value.members.isEmpty else { return }
        for stored in value.members where members[stored.memberId] != nil { setAssignment(stored.assignment, for: stored.memberId) }
        transition(to: .stable, at: value.currentStateTimestamp)
    }
}
