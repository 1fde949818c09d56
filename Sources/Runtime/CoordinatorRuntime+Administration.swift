// DescribeGroups, ListGroups and DeleteGroups: requests about many groups, gathered from the shards they are in.
import Collections
import GroupCoordination
import KafkaMessages
import KafkaWire
import Primitives
import Synchronization

extension CoordinatorRuntime {
    /// DescribeGroups, in the order of the request.
    public func describeGroups(_ request: DescribeGroupsRequest, context: GroupRequestContext) -> DescribeGroupsResponse {
        advance()
        var response = DescribeGroupsResponse()
        response.groups = request.groups.map { group in
            switch shard(for: group).read({ $0.describe(group: group, apiVersion: context.apiVersion) }) {
            case .success(let description):
                return description
            case .failure(let error):
                var description = DescribeGroupsResponse.DescribedGroup()
                description.groupId = group
                description.errorCode = error.code
                return description
            }
        }
        return response
    }

    /// ListGroups: the groups of all partitions coordinated here.
    public func listGroups(_ request: ListGroupsRequest) -> ListGroupsResponse {
        advance()
        var response = ListGroupsResponse()
        for shard in shards {
            switch shard.read({ $0.list(states: request.statesFilter, types: request.typesFilter) }) {
            case .success(let groups):
                response.groups += groups
            case .failure(let error) where error.code == .notCoordinator:
                continue
            case .failure(let error):
                // A part of the groups is still being read: half a list would be taken for the whole.
                var refusal = ListGroupsResponse()
                refusal.errorCode = error.code
                return refusal
            }
        }
        return response
    }

    /// DeleteGroups, each group once.
    public func deleteGroups(
        _ request: DeleteGroupsRequest, context: GroupRequestContext, completion: @escaping @Sendable (DeleteGroupsResponse) -> Void
    ) {
        var groupsByPartition: OrderedDictionary<Int32, [String]> = [:]
        for group in OrderedSet(request.groupsNames) { groupsByPartition[partition(for: group), default: []].append(group) }
        guard !groupsByPartition.isEmpty else { return completion(DeleteGroupsResponse()) }
        let gathered = GatheredResults<DeleteGroupsResponse.DeletableGroupResult>(expected: groupsByPartition.count) { results in
            var response = DeleteGroupsResponse()
            response.results = results
            // Clients before version 3 do not know this error (KIP-1331).
            if context.apiVersion < 3 {
                for index in results.indices where results[index].errorCode == .groupDeletionFailed {
                    response.results[index].errorCode = .unknownServerError
                }
            }
            completion(response)
        }
        let now = now
        for (partition, groups) in groupsByPartition {
            shards[Int(partition)].submit(
                now: now,
                step: { $0.delete(groups: groups, now: now) },
                failed: { error in
                    groups.map { group in
                        var result = DeleteGroupsResponse.DeletableGroupResult()
                        result.groupId = group
                        result.errorCode = error
                        return result
                    }
                }, completion: { gathered.add($0) })
        }
    }
}

// MARK: - Metrics

extension CoordinatorRuntime {
    /// The groups of all partitions coordinated here.
    public func counts() -> GroupCounts {
        var counts = GroupCounts()
        for shard in shards {
            if case .success(let own) = shard.read({ $0.counts }) { counts += own }
        }
        return counts
    }

    /// How often something happened since the start, here.
    public func reading(of event: GroupEvent) -> EventReading { events[event.rawValue].reading }

    public var partitionCounts: CoordinatorPartitionCounts { CoordinatorPartitionCounts(shards.map(\.condition)) }

    /// How long loading partitions took lately.
    public var loadTimes: RecentTimes { loading.reading }
}

/// Collects results of several shards and hands them over when all are there.
private final class GatheredResults<Element: Sendable>: Sendable {
    private let state: Mutex<(missing: Int, results: [Element])>
    private let completion: @Sendable ([Element]) -> Void

    init(expected: Int, completion: @escaping @Sendable ([Element]) -> Void) {
        state = Mutex((expected, []))
        self.completion = completion
    }

    func add(_ results: [Element]) {
        let complete = state.withLock { state -> [Element]? in
            state.results += results
            state.missing -= 1
            return state.missing == 0 ? state.results : nil
        }
        if let complete { completion(complete) }
    }
}
