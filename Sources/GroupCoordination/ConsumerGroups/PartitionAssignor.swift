// The assignors on the broker's side (KIP-848). They are given who is in the group and what each has, and say who is to have what.
import Collections
import Primitives

/// A member as assignors see it.
struct AssignmentMember: Sendable {
    var memberID: String
    var instanceID: String?
    /// The topics that it reads and that exist, sorted.
    var topics: [TopicID]
    /// What it was to have so far.
    var target: PartitionSet
}

/// What is to be assigned to whom.
struct AssignmentProblem: Sendable {
    var members: [AssignmentMember]
    /// Partitions of every topic that somebody reads. Looked up only.
    var partitionCounts: [TopicID: Int32]
    /// Whether all members read the same topics.
    var isHomogeneous: Bool
}

/// The assignors that this broker knows, by the names that clients and `group.consumer.assignors` use.
public enum PartitionAssignor: String, Sendable, CaseIterable {
    /// Even numbers of partitions, moving as few as possible.
    case uniform
    /// Ranges of each topic, so that members have the same partitions of topics that are partitioned alike.
    case range

    /// What each member is to have, in the order of the problem's members.
    func assign(_ problem: AssignmentProblem) -> [PartitionSet] {
        guard !problem.members.isEmpty else { return [] }
        switch self {
        case .range: return Self.assignRanges(problem)
        case .uniform where problem.isHomogeneous: return Self.assignUniformly(problem)
        case .uniform:
            var assignment = UniformHeterogeneousAssignment(problem)
            return assignment.assign()
        }
    }

    // MARK: Range

    private struct Range {
        var subscriberCount: Int32 = 0
        var next: Int32 = 0
        var extra: Int32 = 0
    }

    /// The members in order, static ones by instance id first, take one range after the other of each topic.
    private static func assignRanges(_ problem: AssignmentProblem) -> [PartitionSet] {
        let order = problem.members.indices.sorted { left, right in
            let (left, right) = (problem.members[left], problem.members[right])
            switch (left.instanceID, right.instanceID) {
            case (let first?, let second?): return first < second
            case (.some, nil): return true
            case (nil, .some): return false
            case (nil, nil): return left.memberID < right.memberID
            }
        }
        var ranges: [TopicID: Range] = [:]
        for member in problem.members {
            for topic in member.topics { ranges[topic, default: Range()].subscriberCount += 1 }
        }
        for (topic, count) in problem.partitionCounts {
            guard let subscribers = ranges[topic]?.subscriberCount, subscribers > 0 else { continue }
            ranges[topic]?.extra = count % subscribers
        }
        var result = [PartitionSet](repeating: PartitionSet(), count: problem.members.count)
        for index in order {
            var partitions: [TopicIDPartition] = []
            for topic in problem.members[index].topics {
                guard var range = ranges[topic], let count = problem.partitionCounts[topic] else { continue }
                var quota = count / range.subscriberCount
                if range.extra > 0 {
                    quota += 1
                    range.extra -= 1
                }
                let end = min(range.next + quota, count)
                for partition in range.next..<end { partitions.append(TopicIDPartition(topic, partition)) }
                range.next = end
                ranges[topic] = range
            }
            result[index] = PartitionSet(sorted: partitions)
        }
        return result
    }

    // MARK: Uniform, all read the same

    /// Everybody keeps what it has up to its quota; the rest goes to those below theirs.
    private static func assignUniformly(_ problem: AssignmentProblem) -> [PartitionSet] {
        let topics = problem.members[0].topics
        let subscribed = Set(topics)
        var assigned: Set<TopicIDPartition> = []
        for member in problem.members { assigned.formUnion(member.target.elements) }
        var unassigned: [TopicIDPartition] = []
        var total = 0
        for topic in topics {
            let count = problem.partitionCounts[topic] ?? 0
            total += Int(count)
            for partition in 0..<count where !assigned.contains(TopicIDPartition(topic, partition)) {
                unassigned.append(TopicIDPartition(topic, partition))
            }
        }
        guard total > 0 else { return problem.members.map { _ in PartitionSet() } }
        let memberCount = problem.members.count
        let minimum = total / memberCount
        var extra = total % memberCount
        var kept: [[TopicIDPartition]] = []
        var missing: [Int] = []
        for (index, member) in problem.members.enumerated() {
            var quota = minimum
            var hasExtra = extra > 0
            if hasExtra { quota += 1 }
            var keeps: [TopicIDPartition] = []
            for partition in member.target.elements {
                let exists = subscribed.contains(partition.topicID) && partition.partition < problem.partitionCounts[partition.topicID] ?? 0
                guard exists else { continue }
                if quota > 0 {
                    quota -= 1
                    keeps.append(partition)
                } else {
                    unassigned.append(partition)
                }
            }
            if quota > 0, hasExtra, memberCount - index > extra {
                // Leaves the extra one to another member, unless only those are left who have to take it.
                quota -= 1
                hasExtra = false
            }
            if hasExtra { extra -= 1 }
            kept.append(keeps)
            missing.append(quota)
        }
        var next = 0
        return kept.indices.map { index in
            guard missing[index] > 0, next < unassigned.count else { return PartitionSet(sorted: kept[index]) }
            let end = min(next + missing[index], unassigned.count)
            defer { next = end }
            return PartitionSet(kept[index] + unassigned[next..<end])
        }
    }
}
