// Who in a group reads which partition: pure functions that a group's leader runs.
import OrderedCollections
import Primitives

/// A way to divide partitions among a group's members. The names are the protocol's, so members of other libraries can take part.
public enum ConsumerAssignor: String, CaseIterable, Hashable, Sendable {
    /// Neighbouring partitions of each topic.
    case range
    /// All partitions in turn.
    case roundRobin = "roundrobin"
    /// Balanced, and every partition stays where it is if it can; what moves is given up before it is handed on (KIP-429).
    case cooperativeSticky = "cooperative-sticky"

    /// Whether members keep reading while the group rebalances.
    public var isCooperative: Bool { self == .cooperativeSticky }
}

/// A member as the leader sees it.
struct AssignmentMember: Hashable, Sendable {
    var id: String
    var groupInstanceID: String?
    var topics: Set<String>
    /// What it reads now, as it says, and since which generation.
    var owned: [TopicPartition] = []
    var generation: Int32 = -1

    /// Static members come first, by instance id, so that their share survives new member ids.
    static func precedes(_ left: AssignmentMember, _ right: AssignmentMember) -> Bool {
        switch (left.groupInstanceID, right.groupInstanceID) {
        case (let left?, let right?): left < right
        case (.some, nil): true
        case (nil, .some): false
        case (nil, nil): left.id < right.id
        }
    }
}

extension ConsumerAssignor {
    /// Divides all partitions of the topics that anyone is subscribed to.
    ///
    /// - Parameter partitionCounts: partitions by topic; topics that do not exist are absent.
    /// - Returns: every member's partitions, sorted; members without any are present with an empty list.
    func assign(members: [AssignmentMember], partitionCounts: [String: Int32]) -> [String: [TopicPartition]] {
        let ordered = members.sorted(by: AssignmentMember.precedes)
        var assignment: [String: [TopicPartition]]
        switch self {
        case .range: assignment = Self.range(ordered, partitionCounts)
        case .roundRobin: assignment = Self.roundRobin(ordered, partitionCounts)
        case .cooperativeSticky: assignment = Self.withheld(Self.sticky(ordered, partitionCounts), ordered)
        }
        for member in members { assignment[member.id] = assignment[member.id, default: []].sorted() }
        return assignment
    }

    private static func range(_ members: [AssignmentMember], _ counts: [String: Int32]) -> [String: [TopicPartition]] {
        var assignment: [String: [TopicPartition]] = [:]
        for (topic, count) in counts.sorted(by: { $0.key < $1.key }) {
            let readers = members.filter { $0.topics.contains(topic) }
            guard !readers.isEmpty else { continue }
            let (share, rest) = Int(count).quotientAndRemainder(dividingBy: readers.count)
            var next: Int32 = 0
            for (position, reader) in readers.enumerated() {
                let size = Int32(share + (position < rest ? 1 : 0))
                assignment[reader.id, default: []] += (next..<next + size).map { TopicPartition(topic, $0) }
                next += size
            }
        }
        return assignment
    }

    private static func roundRobin(_ members: [AssignmentMember], _ counts: [String: Int32]) -> [String: [TopicPartition]] {
        var assignment: [String: [TopicPartition]] = [:]
        var turn = 0
        for partition in allPartitions(members, counts) {
            for _ in members.indices {
                let member = members[turn % members.count]
                turn += 1
                if member.topics.contains(partition.topic) {
                    assignment[member.id, default: []].append(partition)
                    break
                }
            }
        }
        return assignment
    }

    private static func allPartitions(_ members: [AssignmentMember], _ counts: [String: Int32]) -> [TopicPartition] {
        let topics = members.reduce(into: Set<String>()) { $0.formUnion($1.topics) }
        return counts.filter { topics.contains($0.key) }.sorted { $0.key < $1.key }.flatMap { topic, count in
            (0..<count).map { TopicPartition(topic, $0) }
        }
    }

    // MARK: Sticky

    /// Owners by partition, as the members claim; of two claims the later generation counts, of two equal ones none.
    private static func owners(_ members: [AssignmentMember], _ partitions: Set<TopicPartition>) -> [TopicPartition: Int] {
        var owners: [TopicPartition: (member: Int, generation: Int32, isDisputed: Bool)] = [:]
        for (index, member) in members.enumerated() {
            for partition in member.owned where partitions.contains(partition) && member.topics.contains(partition.topic) {
                if let rival = owners[partition], rival.generation >= member.generation {
                    if rival.generation == member.generation { owners[partition]?.isDisputed = true }
                } else {
                    owners[partition] = (index, member.generation, false)
                }
            }
        }
        return owners.filter { !$0.value.isDisputed }.mapValues(\.member)
    }

    private static func sticky(_ members: [AssignmentMember], _ counts: [String: Int32]) -> [String: [TopicPartition]] {
        let partitions = allPartitions(members, counts)
        var loads = [OrderedSet<TopicPartition>](repeating: [], count: members.count)
        let owners = owners(members, Set(partitions))
        var readers: [String: [Int]] = [:]
        for topic in Set(partitions.map(\.topic)) { readers[topic] = members.indices.filter { members[$0].topics.contains(topic) } }
        var unowned: [TopicPartition] = []
        for partition in partitions {
            if let owner = owners[partition] { loads[owner].append(partition) } else { unowned.append(partition) }
        }
        // Those with the least choice first, so that the others can even things out.
        unowned.sort { (readers[$0.topic]?.count ?? 0, $0) < (readers[$1.topic]?.count ?? 0, $1) }
        for partition in unowned {
            guard let least = readers[partition.topic]?.min(by: { (loads[$0].count, $0) < (loads[$1].count, $1) }) else { continue }
            loads[least].append(partition)
        }
        // One at a time from whoever has most, so that nobody falls below a fair share. A receiver has at least two fewer than the giver,
        // so the sum of squares falls with every move: this ends.
        while let (giver, partition, receiver) = nextMove(loads, readers) {
            loads[giver].remove(partition)
            loads[receiver].append(partition)
        }
        var assignment: [String: [TopicPartition]] = [:]
        for (index, member) in members.enumerated() { assignment[member.id] = Array(loads[index]) }
        return assignment
    }

    private static func nextMove(
        _ loads: [OrderedSet<TopicPartition>], _ readers: [String: [Int]]
    ) -> (giver: Int, partition: TopicPartition, receiver: Int)? {
        for giver in loads.indices.sorted(by: { (loads[$1].count, $0) < (loads[$0].count, $1) }) {
            for partition in loads[giver].reversed() {
                guard let least = readers[partition.topic]?.min(by: { (loads[$0].count, $0) < (loads[$1].count, $1) }) else { continue }
                if loads[giver].count >= loads[least].count + 2 { return (giver, partition, least) }
            }
        }
        return nil
    }

    /// Leaves out partitions that another member reads at the moment: it gives them up first, and the next round hands them on.
    private static func withheld(
        _ assignment: [String: [TopicPartition]], _ members: [AssignmentMember]
    ) -> [String: [TopicPartition]] {
        var claims: [TopicPartition: Set<String>] = [:]
        for member in members { for partition in member.owned { claims[partition, default: []].insert(member.id) } }
        var result: [String: [TopicPartition]] = [:]
        for (member, partitions) in assignment {
            result[member] = partitions.filter { partition in claims[partition]?.subtracting([member]).isEmpty ?? true }
        }
        return result
    }
}
