// What a coordinator counts for those who watch it: events as they happen, groups by their state when somebody asks.
import Collections
import Primitives

/// Something that happens to groups, under the name that Kafka's group-coordinator-metrics have for it. Nothing depends on the count.
public enum GroupEvent: Int, Sendable, CaseIterable {
    /// An offset of one partition was committed, in a transaction or outside of one.
    case offsetCommit
    /// An offset was forgotten because its retention is over.
    case offsetExpiration
    /// An administrator deleted an offset.
    case offsetDeletion
    /// A classic group has its assignment.
    case completedRebalance
    /// A consumer group has a new epoch.
    case consumerGroupRebalance
    case shareGroupRebalance
    case streamsGroupRebalance
}

/// How many groups there are of each kind, in each state.
public struct GroupCounts: Sendable, Equatable {
    /// The states of each kind of group, with the names that clients see.
    public static let states: KeyValuePairs<GroupType, [String]> = [
        .classic: ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable"],
        .consumer: ["Empty", "Assigning", "Reconciling", "Stable"],
        .share: ["Empty", "Stable"],
        .streams: ["Empty", "NotReady", "Assigning", "Reconciling", "Stable"],
    ]

    private var counts: [[Int]] = GroupCounts.states.map { [Int](repeating: 0, count: $0.value.count) }
    /// Offsets that groups have committed.
    public internal(set) var offsetCount = 0

    public init() {}

    /// Groups of one kind.
    public func count(of type: GroupType) -> Int { Self.index(of: type).map { counts[$0].reduce(0, +) } ?? 0 }

    /// Groups of one kind in one state.
    public func count(of type: GroupType, in state: String) -> Int {
        guard let index = Self.index(of: type), let place = Self.states[index].value.firstIndex(of: state) else { return 0 }
        return counts[index][place]
    }

    mutating func note(_ type: GroupType, _ state: String) {
        guard let index = Self.index(of: type), let place = Self.states[index].value.firstIndex(of: state) else { return }
        counts[index][place] += 1
    }

    public static func += (total: inout GroupCounts, other: GroupCounts) {
        total.offsetCount += other.offsetCount
        for (index, states) in other.counts.enumerated() {
            for (place, count) in states.enumerated() { total.counts[index][place] += count }
        }
    }

    private static func index(of type: GroupType) -> Int? { states.firstIndex { $0.key == type } }
}

extension GroupCoordinator {
    /// The groups of this shard, for metrics.
    public var counts: GroupCounts {
        var counts = GroupCounts()
        counts.offsetCount = offsets.table.count
        for group in classicGroups.values { counts.note(.classic, group.state.rawValue) }
        for group in consumerGroups.values where !group.isBlank { counts.note(.consumer, group.state) }
        for group in shareGroups.values where !group.isBlank { counts.note(.share, group.state) }
        for group in streamsGroups.values where !group.isBlank { counts.note(.streams, group.state) }
        return counts
    }
}
