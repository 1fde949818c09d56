// Which partitions a broker has a part in, so that losing one of many brokers costs what it held and not a walk over the whole image.
import ClusterMetadata
import Collections
import Primitives

/// Some partitions, topic by topic.
struct PartitionSet: Hashable, Sendable {
    /// A bit for each number, so that a topic of very many partitions costs no more for each; never empty. For lookups alone: whoever
    /// wants them in an order uses `ordered(by:)`.
    private var byTopic: [TopicID: BitSet] = [:]
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    mutating func insert(_ index: Int32, of topic: TopicID) {
        if byTopic[topic, default: BitSet()].insert(Int(index)).inserted { count += 1 }
    }

    mutating func remove(_ index: Int32, of topic: TopicID) {
        guard byTopic[topic]?.remove(Int(index)) != nil else { return }
        count -= 1
        if byTopic[topic]?.isEmpty == true { byTopic[topic] = nil }
    }

    func contains(_ index: Int32, of topic: TopicID) -> Bool { byTopic[topic]?.contains(Int(index)) ?? false }

    /// In the order in which the topics were created, the same in every process; numbers ascending.
    func ordered(by topics: TopicsImage) -> [(topic: TopicImage, indices: [Int32])] {
        var found: [(position: Int, topic: TopicImage, indices: [Int32])] = []
        found.reserveCapacity(byTopic.count)
        for (id, indices) in byTopic {
            guard let position = topics.position(of: id), let topic = topics.topic(id: id) else { continue }
            found.append((position, topic, indices.map { Int32($0) }))
        }
        found.sort { $0.position < $1.position }
        return found.map { ($0.topic, $0.indices) }
    }
}

/// What follows from the partitions of an image, kept up with every change of it.
struct PartitionIndex: Sendable {
    private var inSync: [NodeID: PartitionSet] = [:]
    private var eligible: [NodeID: PartitionSet] = [:]
    private var leaderships: [NodeID: Int] = [:]
    /// Partitions that nobody leads.
    private(set) var leaderless = PartitionSet()
    /// Partitions that somebody else leads than the preferred replica.
    private(set) var imbalanced = PartitionSet()
    /// Partitions that get or lose replicas.
    private(set) var reassigning = PartitionSet()

    init(_ topics: TopicsImage) {
        for topic in topics.all {
            for partition in topic.partitions { update(topic.id, partition.index, before: nil, after: partition) }
        }
    }

    func inSync(_ broker: NodeID) -> PartitionSet { inSync[broker] ?? PartitionSet() }

    func eligible(_ broker: NodeID) -> PartitionSet { eligible[broker] ?? PartitionSet() }

    /// How many partitions that broker leads.
    func leadershipCount(_ broker: NodeID) -> Int { leaderships[broker] ?? 0 }

    mutating func apply(_ changes: MetadataChanges) {
        for topic in changes.deletedTopics {
            for partition in topic.partitions { update(topic.id, partition.index, before: partition, after: nil) }
        }
        for change in changes.partitions { update(change.topicID, change.after.index, before: change.before, after: change.after) }
    }

    private mutating func update(_ topic: TopicID, _ index: Int32, before: PartitionImage?, after: PartitionImage?) {
        Self.move(&inSync, topic, index, from: before?.isr ?? [], to: after?.isr ?? [])
        Self.move(&eligible, topic, index, from: before?.eligibleLeaderReplicas ?? [], to: after?.eligibleLeaderReplicas ?? [])
        if before?.leader != after?.leader {
            if let leader = before?.leader { leaderships[leader, default: 0] -= 1 }
            if let leader = after?.leader { leaderships[leader, default: 0] += 1 }
        }
        Self.set(&leaderless, topic, index, after.map { !$0.hasLeader } ?? false)
        Self.set(&imbalanced, topic, index, after.map { $0.leader != $0.preferredLeader } ?? false)
        Self.set(&reassigning, topic, index, after?.isReassigning ?? false)
    }

    private static func move(
        _ sets: inout [NodeID: PartitionSet], _ topic: TopicID, _ index: Int32, from before: [NodeID], to after: [NodeID]
    ) {
        if before == after { return }
        for replica in before where !after.contains(replica) { sets[replica]?.remove(index, of: topic) }
        for replica in after where !before.contains(replica) { sets[replica, default: PartitionSet()].insert(index, of: topic) }
    }

    private static func set(_ partitions: inout PartitionSet, _ topic: TopicID, _ index: Int32, _ isMember: Bool) {
        if isMember { partitions.insert(index, of: topic) } else if !partitions.isEmpty { partitions.remove(index, of: topic) }
    }
}
