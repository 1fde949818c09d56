// ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848), changes of topics, and why groups rebalanced.
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives

extension CoordinatorRuntime {
    /// ConsumerGroupHeartbeat. Answered when what it changed is committed.
    public func consumerGroupHeartbeat(
        _ request: ConsumerGroupHeartbeatRequest, context: GroupRequestContext,
        completion: @escaping @Sendable (ConsumerGroupHeartbeatResponse) -> Void
    ) {
        let now = now
        let uuid = uuid()
        shard(for: request.groupId).submit(
            now: now,
            step: { $0.consumerGroupHeartbeat(request, context: context, uuid: uuid, now: now) },
            failed: { error in
                var response = ConsumerGroupHeartbeatResponse()
                response.errorCode = request.groupId.isEmpty ? .invalidRequest : error
                return response
            }, completion: completion)
    }

    /// ConsumerGroupDescribe, in the order of the request.
    public func describeConsumerGroups(_ request: ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
        advance()
        var response = ConsumerGroupDescribeResponse()
        response.groups = request.groupIds.map { group in
            var description = ConsumerGroupDescribeResponse.DescribedGroup()
            description.groupId = group
            guard !group.isEmpty else {
                description.errorCode = .invalidGroupId
                return description
            }
            switch shard(for: group).read({ $0.describeConsumerGroup(group) }) {
            case .success(let described): return described
            case .failure(let error):
                description.errorCode = error.code
                return description
            }
        }
        return response
    }

    /// The cluster's metadata are others now.
    ///
    /// - Parameter changedTopics: names of topics that were created, changed or deleted.
    public func metadataChanged(_ topics: any GroupTopics, changedTopics: [String], hasNewTopics: Bool) {
        self.topics.withLock { $0 = topics }
        for shard in shards {
            _ = shard.withActive { state, _ in
                state.core.mutate { $0.metadataChanged(topics, changedTopics: changedTopics, hasNewTopics: hasNewTopics) }
            }
        }
    }

    /// Why a group rebalanced, oldest first, as far as this coordinator has seen it; the error when the group is not coordinated here.
    public func rebalanceReasons(of group: String) -> Result<[RebalanceReason], CoordinatorLogError> {
        var reasons: [RebalanceReason] = []
        if let error = shard(for: group).withActive({ state, _ in reasons = state.history.reasons(of: group) }) {
            return .failure(CoordinatorLogError(error))
        }
        return .success(reasons)
    }
}
