// The uniform assignor where members read different topics: everybody keeps what it may keep, what is left goes to those with least,
// and then partitions move from those with most to those with least, topic by topic, until nothing changes.
import Collections
import Primitives

struct UniformHeterogeneousAssignment {
    /// Rounds over all topics after which a still imperfect balance is good enough. Kafka's number.
    private static let maximumRounds = 16

    private let problem: AssignmentProblem
    /// Members by topic, ascending.
    private var subscribers: OrderedDictionary<TopicID, [Int]> = [:]
    /// Who has each partition of a topic, -1 for nobody.
    private var owners: [TopicID: [Int]] = [:]
    private var loads: [Int]

    init(_ problem: AssignmentProblem) {
        self.problem = problem
        loads = [Int](repeating: 0, count: problem.members.count)
        for (index, member) in problem.members.enumerated() {
            for topic in member.topics { subscribers[topic, default: []].append(index) }
        }
        for topic in subscribers.keys { owners[topic] = [Int](repeating: -1, count: Int(problem.partitionCounts[topic] ?? 0)) }
    }

    mutating func assign() -> [PartitionSet] {
        keepWhatMayBeKept()
        let topics = sortedTopics()
        for topic in topics { assignFreePartitions(of: topic) }
        balance(topics.filter { subscribers[$0]!.count >= 2 })
        var result = [[TopicIDPartition]](repeating: [], count: problem.members.count)
        for topic in subscribers.keys.sorted() {
            for (partition, owner) in owners[topic]!.enumerated() where owner >= 0 {
                result[owner].append(TopicIDPartition(topic, Int32(partition)))
            }
        }
        return result.map { PartitionSet(sorted: $0) }
    }

    private mutating func keepWhatMayBeKept() {
        for (index, member) in problem.members.enumerated() {
            let topics = Set(member.topics)
            for partition in member.target.elements where topics.contains(partition.topicID) {
                guard Int(partition.partition) < owners[partition.topicID]!.count else { continue }
                owners[partition.topicID]![Int(partition.partition)] = index
                loads[index] += 1
            }
        }
    }

    /// Topics with the most partitions for each subscriber first: they leave the least choice.
    private func sortedTopics() -> [TopicID] {
        subscribers.keys.sorted { left, right in
            let (leftCount, rightCount) = (owners[left]!.count, owners[right]!.count)
            let (leftSubscribers, rightSubscribers) = (subscribers[left]!.count, subscribers[right]!.count)
            let (first, second) = (leftCount * rightSubscribers, rightCount * leftSubscribers)
            if first != second { return first > second }
            return leftSubscribers == rightSubscribers ? left < right : leftSubscribers < rightSubscribers
        }
    }

    /// Deals the free partitions of a topic out, the next always to whoever has least.
    private mutating func assignFreePartitions(of topic: TopicID) {
        let free = owners[topic]!.indices.filter { owners[topic]![$0] == -1 }
        guard !free.isEmpty else { return }
        var heap = Heap(subscribers[topic]!.map { Load(count: loads[$0], member: $0) })
        for partition in free {
            guard let least = heap.popMin() else { return }
            owners[topic]![partition] = least.member
            loads[least.member] += 1
            heap.insert(Load(count: least.count + 1, member: least.member))
        }
    }

    private mutating func balance(_ topics: [TopicID]) {
        for _ in 0..<Self.maximumRounds {
            var hasMoved = false
            for topic in topics where balance(topic) { hasMoved = true }
            if !hasMoved { return }
        }
    }

    /// Moves partitions of a topic from the members with most to those with least as long as it helps; true when one moved.
    private mutating func balance(_ topic: TopicID) -> Bool {
        let members = subscribers[topic]!
        let (least, most) = members.reduce((Int.max, 0)) { (min($0.0, loads[$1]), max($0.1, loads[$1])) }
        guard most - least > 1 else { return false }
        var partitions: [Int: [Int]] = [:]
        for (partition, owner) in owners[topic]!.enumerated() where owner >= 0 { partitions[owner, default: []].append(partition) }
        var receivers = Heap(members.map { Load(count: loads[$0], member: $0) })
        var givers = Heap(members.filter { partitions[$0] != nil }.map { Load(count: loads[$0], member: $0) })
        var hasMoved = false
        while let giver = givers.popMax(), let receiver = receivers.popMin() {
            guard giver.count == loads[giver.member] else {
                // Its load has changed since: it has to be looked at again in its place.
                receivers.insert(receiver)
                if partitions[giver.member]?.isEmpty == false { givers.insert(Load(count: loads[giver.member], member: giver.member)) }
                continue
            }
            guard receiver.count == loads[receiver.member] else {
                givers.insert(giver)
                receivers.insert(Load(count: loads[receiver.member], member: receiver.member))
                continue
            }
            guard giver.count - receiver.count > 1 else { break }
            guard let partition = partitions[giver.member]?.popLast() else {
                receivers.insert(receiver)
                continue
            }
            owners[topic]![partition] = receiver.member
            partitions[receiver.member, default: []].append(partition)
            loads[giver.member] -= 1
            loads[receiver.member] += 1
            hasMoved = true
            receivers.insert(Load(count: loads[receiver.member], member: receiver.member))
            givers.insert(Load(count: loads[giver.member], member: giver.member))
        }
        return hasMoved
    }

    private struct Load: Comparable {
        var count: Int
        var member: Int

        static func < (left: Load, right: Load) -> Bool {
            left.count == right.count ? left.member < right.member : left.count < right.count
        }
    }
}
