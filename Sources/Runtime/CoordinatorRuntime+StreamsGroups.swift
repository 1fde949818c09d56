// StreamsGroupHeartbeat and StreamsGroupDescribe (KIP-1071).
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension CoordinatorRuntime {
    /// StreamsGroupHeartbeat. Answered when what it changed is committed.
    public func streamsGroupHeartbeat(
        _ request: StreamsGroupHeartbeatRequest, context: GroupRequestContext,
        completion: @escaping @Sendable (StreamsGroupHeartbeatResult) -> Void
    ) {
        let now = now
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.streamsGroupHeartbeat(request, context: context, now: now) },
            failed: { error in
                var response = StreamsGroupHeartbeatResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidRequest : error
                return StreamsGroupHeartbeatResult(response)
            }, completion: completion)
    }

    /// StreamsGroupDescribe, in the order of `groups`.
    public func describeStreamsGroups(_ groups: [String]) -> [StreamsGroupDescribeResponse.DescribedGroup] {
        groups.map { group in
            var description = StreamsGroupDescribeResponse.DescribedGroup()
            description.groupId = group
            guard !group.isEmpty else {
                description.errorCode = .invalidGroupId
                return description
            }
            switch shard(for: group).read({ $0.describeStreamsGroup(group) }) {
            case .success(let described): return described
            case .failure(let error):
                description.errorCode = error.code
                return description
            }
        }
    }
}
