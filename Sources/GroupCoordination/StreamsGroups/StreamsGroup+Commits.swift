// Who may commit offsets for a streams group: its members in their epoch, or in an earlier one what they have had since.
import KafkaWire
import Primitives

extension StreamsGroup {
    /// Why a commit is refused as a whole, or nil; single partitions are asked for with
    /// ``refusalOfCommit(by:epoch:to:of:)``.
    func refusalOfCommit(by sender: ConsumerGroup.CommitSender) -> ErrorCode? {
        // An empty group takes offsets from anybody who does not claim to be a member.
        if sender.epoch < 0, members.isEmpty { return nil }
        if sender.isTransactional, sender.epoch == -1, sender.memberID.isEmpty, sender.instanceID == nil { return nil }
        guard let member = members[sender.memberID] else { return .unknownMemberId }
        if !sender.isTransactional, sender.apiVersion < 9 { return .unsupportedVersion }
        return sender.epoch > member.memberEpoch ? .staleMemberEpoch : nil
    }

    /// Why a commit for one partition is refused, or nil: in an epoch of before only what was the member's task at that time.
    func refusalOfCommit(by memberID: String, epoch: Int32, to partition: Int32, of topic: String) -> ErrorCode? {
        // Who is no member has passed as an outsider, or is refused as a whole.
        guard let member = members[memberID], epoch < member.memberEpoch else { return nil }
        guard let subtopology = topology?.reader(of: topic), let assigned = member.assignmentEpoch(of: TaskID(subtopology, partition)),
            epoch >= assigned
        else {
            return .staleMemberEpoch
        }
        return nil
    }

    /// Why somebody may not read the group's offsets, or nil.
    func refusalOfFetch(memberID: String?, epoch: Int32) -> ErrorCode? {
        if memberID == nil, epoch < 0 { return nil }
        guard let member = memberID.flatMap({ members[$0] }) else { return .unknownMemberId }
        return epoch == member.memberEpoch ? nil : .staleMemberEpoch
    }
}
