// Groups that change between the classic and the consumer protocol while they are in use (KIP-848): all their records are replaced in
// one batch, and who is in stays in.
import Collections
import KafkaMessages
import KafkaRecords
import KafkaWire
import NIOCore
import Primitives

/// What becomes of a group once the records of its change are in the log.
struct GroupConversion: Sendable {
    enum Result: Sendable {
        /// The group with what is not in the log: sessions.
        case consumer(ConsumerGroup)
        case classic(ClassicGroup)
    }

    var group: String
    var result: Result
    /// A join that caused the change and goes on in the classic group.
    var joining: PendingClassicJoin?
}

struct PendingClassicJoin: Sendable {
    var request: JoinGroupRequest
    var context: GroupRequestContext
    var uuid: KafkaUUID
    var token: ReplyToken
}

// MARK: - To a consumer group

extension ConsumerGroup {
    /// The consumer group that a classic one becomes when a consumer joins it. Its records are added to the step.
    ///
    /// - Throws: GROUP_ID_NOT_FOUND when it cannot change, as Kafka answers.
    init(upgrading classic: ClassicGroup, knowledge: inout TopicKnowledge, step: inout GroupStep) throws(GroupRefusal) {
        let id = classic.groupID
        func refuse(_ reason: String) -> GroupRefusal {
            GroupRefusal(.groupIdNotFound, "Cannot upgrade classic group \(id) to consumer group because \(reason).")
        }
        let configuration = step.configuration.consumer
        guard configuration.migrationPolicy.allowsUpgrade else { throw refuse("online upgrade is disabled") }
        guard classic.usesConsumerProtocol else { throw refuse("the group does not use the consumer embedded protocol") }
        guard classic.members.count <= configuration.maximumSize else {
            throw refuse("the group size exceeds the consumer group maximum size")
        }
        self.init(groupID: id)
        var upgraded: [(member: ConsumerGroupMember, target: PartitionSet)] = []
        for old in classic.members.values {
            // While a classic group rebalances nobody has anything for sure.
            guard let metadata = old.metadata(for: classic.protocolName) ?? old.supportedProtocols.first?.metadata,
                let subscription = EmbeddedConsumerProtocol.subscription(in: metadata),
                let assignment = EmbeddedConsumerProtocol.assignment(in: old.assignment)
            else {
                throw refuse("the embedded consumer protocol is malformed")
            }
            // Kafka refuses all data of assignors. That of the usual ones is lost without harm, and librdkafka's cooperative-sticky always
            // has some once members kept partitions.
            let hasData = assignment.userData.map { $0.readableBytes > 0 } ?? false
            if hasData, !EmbeddedConsumerProtocol.isUsualAssignor(classic.protocolName) {
                throw refuse("an unsupported custom assignor is in use")
            }
            let partitions = EmbeddedConsumerProtocol.partitions(
                assignment.assignedPartitions.map { ($0.topic, $0.partitions) }, topics: knowledge.topics)
            upgraded.append((ConsumerGroupMember(upgrading: old, subscription, partitions, epoch: classic.generationID), partitions))
        }
        let names = OrderedSet(upgraded.flatMap(\.member.subscribedTopicNames))
        var records: [CoordinatorRecord] = upgraded.map { $0.member.metadataRecord(in: id) }
        records.append(epochRecord(classic.generationID, metadataHash: knowledge.metadataHash(of: names)))
        records += upgraded.map { targetAssignmentRecord($0.member.memberID, $0.target) }
        records.append(targetAssignmentMetadataRecord(classic.generationID, timestamp: 0))
        records += upgraded.map { $0.member.currentAssignmentRecord(in: id) }
        for case .consumerGroup(let record) in records { replay(record) }
        step.records.append(.groupMetadata(group: id, nil))
        step.records += records
        for (member, _) in upgraded {
            extendSession(of: member.memberID, milliseconds: member.classic?.sessionTimeoutMs ?? 0, step: &step)
        }
        step.effects.append(
            .note(
                RebalanceReason(
                    group: id, type: .consumer, epoch: classic.generationID, timestamp: step.now.timestamp, kind: .upgraded, memberID: "",
                    instanceID: nil, clientID: "", clientHost: "", detail: "with \(upgraded.count) classic members")))
    }
}

extension ConsumerGroupMember {
    fileprivate init(
        upgrading old: ClassicGroupMember, _ subscription: ConsumerProtocolSubscription, _ partitions: PartitionSet, epoch: Int32
    ) {
        self.init(memberID: old.memberID)
        memberEpoch = epoch
        previousMemberEpoch = epoch
        instanceID = old.groupInstanceID
        rackID = subscription.rackId.flatMap { $0.isEmpty ? nil : $0 }
        rebalanceTimeoutMilliseconds = old.rebalanceTimeoutMilliseconds
        clientID = old.clientID
        clientHost = old.clientHost
        subscribe(to: subscription.topics)
        assignedPartitions = partitions.elements.map { AssignedPartition($0, epoch: epoch) }
        classic = .init(old.supportedProtocols, sessionTimeoutMilliseconds: old.sessionTimeoutMilliseconds)
    }
}

// MARK: - To a classic group

extension ConsumerGroup {
    /// Whether only members of the classic protocol are left without `gone`, and the group is to become a classic one.
    func downgradesWithout(_ gone: [ConsumerGroupMember], joining: Int = 0, step: GroupStep) -> Bool {
        let left = members.count - gone.count
        let classicLeft = classicMemberCount - gone.count(where: \.usesClassicProtocol)
        return left > 0 && classicLeft == left && step.configuration.consumer.migrationPolicy.allowsDowngrade
            && left + joining <= step.configuration.maximumGroupSize
    }

    /// Replaces all of the group's records by that of a classic group.
    func convertToClassic(
        without gone: [ConsumerGroupMember], joining: PendingClassicJoin? = nil, knowledge: TopicKnowledge, step: inout GroupStep
    ) {
        var classic = ClassicGroup(groupID: groupID, state: .stable, generationID: groupEpoch, stateTimestamp: step.now.timestamp)
        for member in members.values {
            guard let metadata = member.classic, !gone.contains(where: { $0.memberID == member.memberID }) else { continue }
            classic.add(ClassicGroupMember(downgrading: member, metadata))
        }
        classic.protocolName = classic.selectProtocol()
        classic.computeSubscribedTopics()
        for member in classic.members.values {
            let metadata = member.metadata(for: classic.protocolName) ?? ByteBuffer()
            let assignment = EmbeddedConsumerProtocol.assignment(
                of: targetAssignment[member.memberID] ?? PartitionSet(), metadata: metadata, topics: knowledge.topics)
            classic.setAssignment(assignment, for: member.memberID)
        }
        step.records = tombstones
        step.records.append(classic.metadataRecord { $0.assignment })
        for memberID in members.keys { cancelTimers(of: memberID, step: &step) }
        step.continuation = .conversion(GroupConversion(group: groupID, result: .classic(classic), joining: joining))
        step.effects.append(
            .note(
                RebalanceReason(
                    group: groupID, type: .classic, epoch: groupEpoch + 1, timestamp: step.now.timestamp, kind: .downgraded, memberID: "",
                    instanceID: nil, clientID: "", clientHost: "", detail: "with \(classic.members.count) classic members")))
    }
}

extension ClassicGroupMember {
    fileprivate init(downgrading member: ConsumerGroupMember, _ metadata: ConsumerGroupMemberMetadataValue.ClassicMemberMetadata) {
        let protocols = metadata.supportedProtocols.map { stored in
            var offered = JoinGroupRequest.JoinGroupRequestProtocol()
            offered.name = stored.name
            offered.metadata = stored.metadata
            return offered
        }
        self.init(
            memberID: member.memberID, groupInstanceID: member.instanceID, clientID: member.clientID, clientHost: member.clientHost,
            rebalanceTimeoutMilliseconds: member.rebalanceTimeoutMilliseconds, sessionTimeoutMilliseconds: metadata.sessionTimeoutMs,
            protocolType: EmbeddedConsumerProtocol.protocolType, supportedProtocols: protocols)
    }
}
