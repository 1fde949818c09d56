// ShareGroupHeartbeat, ShareGroupDescribe and the offsets of share groups (KIP-932).
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension CoordinatorRuntime {
    /// ShareGroupHeartbeat. Answered when what it changed is committed.
    public func shareGroupHeartbeat(
        _ request: ShareGroupHeartbeatRequest, context: GroupRequestContext,
        completion: @escaping @Sendable (ShareHeartbeatOutcome) -> Void
    ) {
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.shareGroupHeartbeat(request, context: context, now: now) },
            failed: { error in
                var response = ShareGroupHeartbeatResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidRequest : error
                return ShareHeartbeatOutcome(response: response)
            }, completion: completion)
    }

    /// What share coordinators said to the initialization that came with a heartbeat or with ``alterShareOffsets(of:to:completion:)``.
    public func shareStateInitialized(_ initialization: ShareStateInitialization, succeeded: Bool) {
        let now = now
        shard(for: initialization.group).submit(
            now: now, step: { $0.shareStateInitialized(initialization, succeeded: succeeded, now: now) }, failed: { _ in },
            completion: { _ in })
    }

    /// ShareGroupDescribe for one group.
    public func describeShareGroup(_ group: String) -> ShareGroupDescribeResponse.DescribedGroup {
        var description = ShareGroupDescribeResponse.DescribedGroup()
        description.groupId = group
        guard !group.isEmpty else {
            description.errorCode = .invalidGroupId
            return description
        }
        switch shard(for: group).read({ $0.describeShareGroup(group) }) {
        case .success(let described): return described
        case .failure(let error):
            description.errorCode = error.code
            return description
        }
    }

    /// The partitions that a share group has state for; none when there is no such group.
    public func sharePartitions(of group: String) -> Result<[TopicIDPartition], CoordinatorLogError> {
        shard(for: group).read { $0.sharePartitions(of: group) ?? [] }
    }

    /// AlterShareGroupOffsets: what to ask of share coordinators, once the log says that it will be asked.
    public func alterShareOffsets(
        of group: String, to offsets: [ShareStateInitialization.Topic],
        completion: @escaping @Sendable (Result<ShareStateInitialization, ShareOffsetsRefusal>) -> Void
    ) {
        let now = now
        shard(for: group).submit(
            now: now, step: { $0.alterShareOffsets(of: group, to: offsets, now: now) }, failed: { .failure(ShareOffsetsRefusal($0)) },
            completion: completion)
    }

    /// DeleteShareGroupOffsets, and DeleteGroups before the group itself goes: what to ask of share coordinators.
    ///
    /// - Parameter topics: nil for all.
    public func beginDeletingShareState(
        of group: String, topics: [TopicID]?, completion: @escaping @Sendable (Result<ShareStateDeletion, ShareOffsetsRefusal>) -> Void
    ) {
        let now = now
        shard(for: group).submit(
            now: now, step: { $0.beginDeletingShareState(of: group, topics: topics, now: now) },
            failed: { .failure(ShareOffsetsRefusal($0)) }, completion: completion)
    }

    /// Share coordinators have deleted the state.
    public func shareStateDeleted(_ deletion: ShareStateDeletion, completion: @escaping @Sendable (ErrorCode) -> Void) {
        let now = now
        shard(for: deletion.group).submit(
            now: now,
            step: { core in
                let result = core.shareStateDeleted(deletion, now: now)
                return CoordinatorResult(response: ErrorCode.none, write: result.write, effects: result.effects)
            }, failed: { $0 }, completion: completion)
    }

    /// Whether the id is that of a share group coordinated here.
    public func isShareGroup(_ group: String) -> Bool {
        guard case .success(let isShareGroup) = shard(for: group).read({ $0.sharePartitions(of: group) != nil }) else { return false }
        return isShareGroup
    }
}
