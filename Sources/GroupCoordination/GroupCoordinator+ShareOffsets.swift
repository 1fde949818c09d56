// Where share groups stand, as administrators change it: AlterShareGroupOffsets, DeleteShareGroupOffsets, and the end of a group. In each case
// the log first says what is to happen; then share coordinators are asked; then the log says that it has.
import Collections
import KafkaMessages
import KafkaWire
import Primitives

/// State that share coordinators are to delete.
public struct ShareStateDeletion: Sendable, Equatable {
    public var group: String
    public var partitions: [TopicIDPartition]
    /// Of the topics that the group gives up, in the order of the request.
    public var topics: [TopicID]
}

extension GroupCoordinator {
    /// AlterShareGroupOffsets: an empty group, or a new one, is to go on from the given offsets. The caller has left out what does not exist.
    ///
    /// - Returns: what to ask of share coordinators, or why not.
    public mutating func alterShareOffsets(
        of groupID: String, to offsets: [ShareStateInitialization.Topic], now: CoordinatorInstant
    ) -> CoordinatorResult<Result<ShareStateInitialization, ShareOffsetsRefusal>> {
        var step = GroupStep(now: now, configuration: configuration)
        let isForeign = classicGroups[groupID] != nil || consumerGroups[groupID] != nil || hasStreamsGroup(groupID)
        guard !isForeign else {
            return step.result(.failure(ShareOffsetsRefusal(.groupIdNotFound, "Group \(groupID) is not a share group.")))
        }
        let group = shareGroups[groupID] ?? ShareGroup(groupID: groupID)
        guard group.isEmpty else { return step.result(.failure(ShareOffsetsRefusal(.nonEmptyGroup))) }
        let epoch = group.groupEpoch + 1
        step.records.append(group.epochRecord(epoch, metadataHash: group.metadataHash))
        var partitions = group.statePartitions
        for topic in offsets {
            partitions.beginInitializing(topic.id, name: topic.name, partitions: topic.partitions.map(\.index), now: now.timestamp)
        }
        if !offsets.isEmpty { step.records.append(group.statePartitionsRecord(partitions)) }
        step.continuation = .shareGroup(group: groupID)
        return step.result(.success(ShareStateInitialization(group: groupID, stateEpoch: epoch, topics: offsets)))
    }

    /// DeleteShareGroupOffsets: an empty group is to forget that it ever read these topics.
    ///
    /// - Parameter topics: nil for all of them, before the group itself is deleted.
    /// - Returns: what to ask of share coordinators; topics of which the group knows nothing are not in it.
    public mutating func beginDeletingShareState(
        of groupID: String, topics: [TopicID]?, now: CoordinatorInstant
    ) -> CoordinatorResult<Result<ShareStateDeletion, ShareOffsetsRefusal>> {
        var step = GroupStep(now: now, configuration: configuration)
        guard let group = shareGroups[groupID], !group.isBlank else {
            let isOther = classicGroups[groupID] != nil || consumerGroups[groupID] != nil || hasGroupOfOtherProtocol(groupID)
            return step.result(
                .failure(
                    ShareOffsetsRefusal(
                        .groupIdNotFound, isOther ? "Group \(groupID) is not a share group." : "Group \(groupID) not found.")))
        }
        guard group.isEmpty else { return step.result(.failure(ShareOffsetsRefusal(.nonEmptyGroup))) }
        let state = group.statePartitions
        let known = OrderedSet(state.initialized.keys).union(state.initializing.keys).union(state.deleting.keys)
        var deletion = ShareStateDeletion(group: groupID, partitions: [], topics: [])
        var changed = state
        for id in topics.map({ $0.filter { known.contains($0) } }) ?? Array(known) {
            let name = state.initialized[id]?.name ?? state.initializing[id]?.name ?? state.deleting[id] ?? ""
            // What was being deleted before may have been deleted in part only.
            let count = state.deleting[id] != nil ? knowledge.topics.topic(id: id)?.partitionCount ?? 0 : 0
            let indexes = OrderedSet((state.initialized[id]?.partitions ?? []) + (state.initializing[id]?.partitions ?? []))
                .union(0..<max(count, 0))
            deletion.partitions += indexes.map { TopicIDPartition(id, $0) }
            deletion.topics.append(id)
            changed.beginDeleting(id, name: name)
        }
        if changed != state { step.records.append(group.statePartitionsRecord(changed)) }
        step.continuation = .shareGroup(group: groupID)
        return step.result(.success(deletion))
    }

    /// Share coordinators have deleted the state.
    public mutating func shareStateDeleted(_ deletion: ShareStateDeletion, now: CoordinatorInstant) -> CoordinatorResult<Void> {
        inShareGroup(deletion.group, now: now) { group, _, step in
            var partitions = group.statePartitions
            for id in deletion.topics { partitions.deleting[id] = nil }
            if partitions != group.statePartitions { step.records.append(group.statePartitionsRecord(partitions)) }
        }
    }
}

/// Why a request about the offsets of a share group is refused.
public struct ShareOffsetsRefusal: Error, Equatable, Sendable {
    public var code: ErrorCode
    public var message: String?

    public init(_ code: ErrorCode, _ message: String? = nil) {
        self.code = code
        self.message = message
    }
}
