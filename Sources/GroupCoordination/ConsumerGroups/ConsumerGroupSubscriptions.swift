// Who in a group subscribes to what. A value of its own: a heartbeat tries a change on a copy before anything is written.
import Collections
import KafkaRecords
import Primitives

/// Topics that a regular expression stands for.
struct ResolvedExpression: Sendable, Equatable {
    var topics: [String] = []
    /// Of the metadata that it was resolved against.
    var version: Int64 = 0
    /// When it was resolved, by the wall clock.
    var timestamp: Timestamp = 0
}

struct ConsumerGroupSubscriptions: Sendable, Equatable {
    struct Count: Sendable, Equatable {
        var byName = 0
        /// By how many expressions the topic is meant, not by how many members.
        var byExpression = 0
    }

    private(set) var topics: OrderedDictionary<String, Count> = [:]
    /// How many members subscribe to an expression.
    private(set) var expressions: OrderedDictionary<String, Int> = [:]
    private(set) var resolved: OrderedDictionary<String, ResolvedExpression> = [:]
    /// How many members ask for an assignor.
    private(set) var assignors: OrderedDictionary<String, Int> = [:]

    func subscriberCount(of expression: String) -> Int { expressions[expression] ?? 0 }

    mutating func replace(_ old: ConsumerGroupMember?, with new: ConsumerGroupMember?) {
        if old?.subscribedTopicNames != new?.subscribedTopicNames {
            for name in new?.subscribedTopicNames ?? [] { topics[name, default: Count()].byName += 1 }
            for name in old?.subscribedTopicNames ?? [] {
                topics[name]?.byName -= 1
                removeIfUnused(name)
            }
        }
        if old?.expression != new?.expression {
            if let expression = new?.expression { expressions[expression, default: 0] += 1 }
            if let expression = old?.expression, let count = expressions[expression] {
                expressions[expression] = count > 1 ? count - 1 : nil
            }
        }
        if old?.serverAssignor != new?.serverAssignor {
            if let name = new?.serverAssignor { assignors[name, default: 0] += 1 }
            if let name = old?.serverAssignor, let count = assignors[name] { assignors[name] = count > 1 ? count - 1 : nil }
        }
    }

    mutating func resolve(_ expression: String, to resolution: ResolvedExpression?) {
        for name in resolution?.topics ?? [] { topics[name, default: Count()].byExpression += 1 }
        for name in resolved[expression]?.topics ?? [] {
            topics[name]?.byExpression -= 1
            removeIfUnused(name)
        }
        resolved[expression] = resolution
    }

    private mutating func removeIfUnused(_ name: String) {
        if let count = topics[name], count.byName <= 0, count.byExpression <= 0 { topics[name] = nil }
    }

    /// The assignor that most members ask for; nil when nobody asks.
    var preferredAssignor: String? {
        var best: (name: String, count: Int)?
        for (name, count) in assignors where count > (best?.count ?? 0) { best = (name, count) }
        return best?.name
    }

    /// Whether all members read the same topics, which makes assigning them simpler.
    func isHomogeneous(memberCount: Int) -> Bool {
        if expressions.isEmpty { return topics.values.allSatisfy { $0.byName == memberCount } }
        guard expressions.count == 1, expressions.values[0] == memberCount else { return false }
        return topics.values.allSatisfy { $0.byExpression == 1 && $0.byName == 0 }
    }

    /// All topics that a member reads, by name or by expression, sorted.
    func topicNames(of member: ConsumerGroupMember) -> [String] {
        guard let expression = member.expression, let resolved = resolved[expression]?.topics, !resolved.isEmpty else {
            return member.subscribedTopicNames
        }
        guard !member.subscribedTopicNames.isEmpty else { return resolved }
        return OrderedSet(member.subscribedTopicNames + resolved).sorted()
    }
}

/// What a coordinator knows of topics, with the hashes that were computed.
struct TopicKnowledge: Sendable {
    var topics: any GroupTopics
    /// Looked up only. The hash of a topic is computed once and forgotten when the topic changes.
    private var hashes: [String: Int64] = [:]

    init(_ topics: any GroupTopics) { self.topics = topics }

    mutating func forgetHash(of name: String) { hashes[name] = nil }

    /// Kafka's hash of all that an assignment depends on: the topics of `names` that exist, with their partitions and racks.
    mutating func metadataHash(of names: some Sequence<String>) -> Int64 {
        var bytes = HashedBytes()
        for name in names.sorted(by: { $0.utf16.lexicographicallyPrecedes($1.utf16) }) {
            guard let topic = topics.topic(named: name) else { continue }
            let hash = hashes[name] ?? topicHash(topic)
            hashes[name] = hash
            bytes.append(hash)
        }
        return bytes.isEmpty ? 0 : bytes.hash
    }

    private func topicHash(_ topic: GroupTopic) -> Int64 {
        var bytes = HashedBytes()
        bytes.append(UInt8(0))
        bytes.append(Int64(bitPattern: topic.id.mostSignificantBits))
        bytes.append(Int64(bitPattern: topic.id.leastSignificantBits))
        bytes.append(topic.name)
        bytes.append(topic.partitionCount)
        for partition in 0..<topic.partitionCount {
            bytes.append(partition)
            for rack in topics.racks(topic: topic.name, partition: partition).sorted(by: { $0.utf16.lexicographicallyPrecedes($1.utf16) }) {
                bytes.append(Int32(rack.utf16.count))
                bytes.append(rack)
            }
        }
        return bytes.hash
    }
}
