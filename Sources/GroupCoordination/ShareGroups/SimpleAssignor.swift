// The assignor of share groups. Members share partitions: each partition has at least one reader as long as there are any, members beyond
// the number of partitions read what others read too, and nobody is moved without need.
import Collections
import Primitives

enum SimpleAssignor {
    static let name = "simple"

    struct Member: Sendable {
        var memberID: String
        /// The topics that it reads and that exist, sorted.
        var topics: [TopicID]
        /// What it was to have so far.
        var target: PartitionSet
    }

    /// What each member is to have, in the order of `members`.
    ///
    /// - Parameter partitions: those of each topic that can be assigned.
    static func assign(_ members: [Member], partitions: OrderedDictionary<TopicID, [Int32]>) -> [PartitionSet] {
        var assigned = members.map { _ in [TopicIDPartition]() }
        guard let first = members.first else { return [] }
        if members.allSatisfy({ $0.topics == first.topics }) {
            let all = first.topics.flatMap { topic in (partitions[topic] ?? []).map { TopicIDPartition(topic, $0) } }
            spread(all, over: Array(members.indices), members, &assigned)
        } else {
            // Each topic by itself, over those that read it.
            for (topic, indexes) in partitions {
                let readers = members.indices.filter { members[$0].topics.contains(topic) }
                spread(indexes.map { TopicIDPartition(topic, $0) }, over: readers, members, &assigned)
            }
        }
        return assigned.map { PartitionSet($0) }
    }

    private static func spread(
        _ partitions: [TopicIDPartition], over readers: [Int], _ members: [Member], _ assigned: inout [[TopicIDPartition]]
    ) {
        guard !partitions.isEmpty, !readers.isEmpty else { return }
        /// How many read each partition, and how many partitions the reader at a position has: as even as whole numbers can be.
        let sharing = (readers.count + partitions.count - 1) / partitions.count
        let total = sharing * partitions.count
        func share(upTo position: Int) -> Int { (total * position + readers.count - 1) / readers.count }
        var missing = readers.indices.map { share(upTo: $0 + 1) - share(upTo: $0) }
        var holders: OrderedDictionary<TopicIDPartition, OrderedSet<Int>> = [:]
        for partition in partitions { holders[partition] = [] }
        // What they have they keep, up to what is theirs and as long as not too many share it.
        for (position, reader) in readers.enumerated() {
            for partition in members[reader].target.elements where missing[position] > 0 {
                guard let count = holders[partition]?.count, count < sharing else { continue }
                holders[partition]?.append(position)
                missing[position] -= 1
            }
        }
        var next = 0
        for partition in partitions {
            var tried = 0
            while (holders[partition]?.count ?? 0) < sharing, tried < readers.count {
                let position = next % readers.count
                next += 1
                tried += 1
                guard missing[position] > 0, holders[partition]?.append(position).inserted == true else { continue }
                missing[position] -= 1
                tried = 0
            }
            // Whoever has room left holds it already, or nobody has: still it must not be without a reader.
            if holders[partition]?.isEmpty == true { holders[partition]?.append(next % readers.count) }
        }
        for (partition, positions) in holders {
            for position in positions { assigned[readers[position]].append(partition) }
        }
    }
}
