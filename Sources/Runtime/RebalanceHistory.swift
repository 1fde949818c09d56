// The last rebalances of the groups of one shard and what caused them. Bounded: a group that rebalances all the time pushes out its own
// past, many groups that do push out the past of those that have been quiet the longest.
import Collections
import GroupCoordination

struct RebalanceHistory: Sendable {
    static let maximumPerGroup = 100
    static let maximumInAll = 2_000

    /// The group that was noted last comes last.
    private var groups: OrderedDictionary<String, Deque<RebalanceReason>> = [:]
    private var count = 0

    mutating func note(_ reason: RebalanceReason) {
        var reasons = groups.removeValue(forKey: reason.group) ?? []
        reasons.append(reason)
        count += 1
        if reasons.count > Self.maximumPerGroup {
            reasons.removeFirst()
            count -= 1
        }
        groups[reason.group] = reasons
        while count > Self.maximumInAll, let oldest = groups.keys.first {
            groups[oldest]?.removeFirst()
            count -= 1
            if groups[oldest]?.isEmpty == true { groups[oldest] = nil }
        }
    }

    /// What is known of a group, oldest first.
    func reasons(of group: String) -> [RebalanceReason] { Array(groups[group] ?? []) }
}
