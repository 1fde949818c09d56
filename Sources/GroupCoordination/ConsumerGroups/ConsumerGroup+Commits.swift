// Who may commit offsets for a consumer group: its members in their epoch, or in an earlier one what they have had since (KIP-1251).
import KafkaWire
import Primitives

extension ConsumerGroup {
    /// Who a commit says that it is from.
    struct CommitSender {
        var memberID: String
        var instanceID: String?
        var epoch: Int32
        var isTransactional: Bool
        var apiVersion: Int16
    }

    /// Why a commit is refused as a whole, or nil; single partitions are asked for with
    /// ``ConsumerGroupMember/refusalOfCommit(to:of:id:epoch:_:)``.
    func refusalOfCommit(by sender: CommitSender) -> ErrorCode? {
        // An empty group takes offsets from anybody who does not claim to be a member.
        if sender.epoch < 0, members.isEmpty { return nil }
        if sender.isTransactional, sender.epoch == -1, sender.memberID.isEmpty, sender.instanceID == nil { return nil }
        guard let member = members[sender.memberID] else { return .unknownMemberId }
        if !sender.isTransactional, !member.usesClassicProtocol, sender.apiVersion < 9 { return .unsupportedVersion }
        return sender.epoch > member.memberEpoch ? member.refusalOfOtherEpoch : nil
    }
}

extension ConsumerGroupMember {
    /// What a member is told whose epoch is another.
    var refusalOfOtherEpoch: ErrorCode { usesClassicProtocol ? .illegalGeneration : .staleMemberEpoch }

    /// Why a commit for one partition is refused, or nil: in an epoch of before only what was the member's at that time.
    func refusalOfCommit(to partition: Int32, of topic: String, id: TopicID, epoch: Int32, _ knowledge: TopicKnowledge) -> ErrorCode? {
        guard epoch < memberEpoch else { return nil }
        let topicID = id == .zero ? knowledge.topics.topic(named: topic)?.id ?? .zero : id
        let assigned = assignmentEpoch(of: TopicIDPartition(topicID, partition))
        return assigned.map { epoch >= $0 } ?? false ? nil : refusalOfOtherEpoch
    }
}
