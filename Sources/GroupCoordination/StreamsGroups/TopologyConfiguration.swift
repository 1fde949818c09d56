// Works out what a topology needs of the cluster: partitions of its internal topics, by the rules of Kafka's InternalTopicManager
// (KIP-1071): a repartition topic has as many partitions as the widest topic that its writers read, topics that are joined have the same
// number, and a changelog has a partition for each task.
import Collections
import KafkaWire
import Primitives

extension ConfiguredTopology {
    /// - Throws: STREAMS_INVALID_TOPOLOGY for a topology that no topics could satisfy.
    init(_ topology: StreamsTopology, topics: any GroupTopics) throws(GroupRefusal) {
        epoch = topology.epoch
        do throws(TopologyFailure) {
            var planning = TopologyPlanning(topology: topology, topics: topics)
            try planning.refuseMissingSourceTopics()
            try planning.decideRepartitionTopics()
            try planning.enforceCopartitioning()
            try planning.decideChangelogTopics()
            let configured = try planning.subtopologies()
            subtopologies = configured
            missingInternalTopics = try planning.missing(of: configured)
            if !missingInternalTopics.isEmpty {
                let names = summary(of: missingInternalTopics.map(\.name))
                problem = Problem(status: .missingInternalTopics, message: "Internal topics are missing: \(names)")
            }
        } catch {
            switch error {
            case .problem(let problem): self.problem = problem
            case .invalid(let message): throw GroupRefusal(.streamsInvalidTopology, message)
            }
        }
    }
}

private enum TopologyFailure: Error {
    /// Other topics would mend it.
    case problem(ConfiguredTopology.Problem)
    case invalid(String)

    static func incorrectlyPartitioned(_ message: String) -> TopologyFailure {
        .problem(ConfiguredTopology.Problem(status: .incorrectlyPartitionedTopics, message: message))
    }
}

/// A few names, and how many more there are.
private func summary(of names: [String]) -> String {
    let shown = names.prefix(3).joined(separator: ", ")
    return names.count > 3 ? "\(shown) and \(names.count - 3) additional topics" : shown
}

private struct TopologyPlanning {
    let topology: StreamsTopology
    let topics: any GroupTopics
    /// Partitions of internal topics. Looked up only.
    private var decided: [String: Int32] = [:]

    init(topology: StreamsTopology, topics: any GroupTopics) {
        self.topology = topology
        self.topics = topics
    }

    private func partitionCount(of topic: String) -> Int32? { topics.topic(named: topic)?.partitionCount ?? decided[topic] }

    private func knownPartitionCount(of topic: String) throws(TopologyFailure) -> Int32 {
        guard let count = partitionCount(of: topic) else { throw .invalid("Number of partitions is not set for topic: \(topic)") }
        return count
    }

    func refuseMissingSourceTopics() throws(TopologyFailure) {
        var missing: OrderedSet<String> = []
        for subtopology in topology.subtopologies {
            for topic in subtopology.sourceTopics where topics.topic(named: topic) == nil { missing.append(topic) }
        }
        guard !missing.isEmpty else { return }
        throw .problem(Problem(status: .missingSourceTopics, message: "Source topics \(summary(of: missing.sorted())) are missing."))
    }

    private typealias Problem = ConfiguredTopology.Problem

    // MARK: Repartition topics

    mutating func decideRepartitionTopics() throws(TopologyFailure) {
        var counts: [String: Int32] = [:]
        for subtopology in topology.subtopologies {
            for topic in subtopology.repartitionSourceTopics where topic.partitions != 0 { counts[topic.name] = topic.partitions }
        }
        var isIncomplete: Bool
        repeat {
            isIncomplete = false
            var hasProgressed = false
            for subtopology in topology.subtopologies {
                for sink in subtopology.repartitionSinkTopics where counts[sink] == nil {
                    if let count = widestSource(of: subtopology, counts) {
                        counts[sink] = count
                        hasProgressed = true
                    } else {
                        isIncomplete = true
                    }
                }
            }
            if isIncomplete, !hasProgressed {
                throw .invalid(
                    "Failed to compute number of partitions for all repartition topics. There may be loops in the topology that cannot be "
                        + "resolved.")
            }
        } while isIncomplete
        for subtopology in topology.subtopologies where subtopology.repartitionSourceTopics.contains(where: { counts[$0.name] == nil }) {
            throw .invalid(
                "Failed to compute number of partitions for all repartition topics, because a repartition source topic is never used as a "
                    + "sink topic.")
        }
        decided = counts
    }

    private func widestSource(of subtopology: StreamsTopology.Subtopology, _ counts: [String: Int32]) -> Int32? {
        let internals = subtopology.repartitionSourceTopics.compactMap { counts[$0.name] }
        return (internals + subtopology.sourceTopics.compactMap { partitionCount(of: $0) }).max()
    }

    // MARK: Topics that are joined

    mutating func enforceCopartitioning() throws(TopologyFailure) {
        let repartitionTopics = topology.subtopologies.flatMap(\.repartitionSourceTopics)
        let fixed = OrderedSet(repartitionTopics.filter { $0.partitions != 0 }.map(\.name))
        let flexible = OrderedSet(repartitionTopics.filter { $0.partitions == 0 }.map(\.name))
        for subtopology in topology.subtopologies {
            for group in subtopology.copartitionGroups {
                var names: OrderedSet<String> = []
                for index in group.sourceTopics {
                    guard subtopology.sourceTopics.indices.contains(Int(index)) else {
                        throw .invalid("A copartition group names no topic.")
                    }
                    names.append(subtopology.sourceTopics[Int(index)])
                }
                for index in group.repartitionSourceTopics {
                    guard subtopology.repartitionSourceTopics.indices.contains(Int(index)) else {
                        throw .invalid("A copartition group names no topic.")
                    }
                    names.append(subtopology.repartitionSourceTopics[Int(index)].name)
                }
                try enforce(names, fixed: fixed, flexible: flexible)
            }
        }
    }

    private mutating func enforce(
        _ group: OrderedSet<String>, fixed: OrderedSet<String>, flexible: OrderedSet<String>
    ) throws(TopologyFailure) {
        guard !group.isEmpty else { return }
        var repartitions: [(name: String, count: Int32)] = []
        var others: [(name: String, count: Int32)] = []
        for name in group.sorted() {
            let entry = (name: name, count: try knownPartitionCount(of: name))
            if fixed.contains(name) || flexible.contains(name) { repartitions.append(entry) } else { others.append(entry) }
        }
        let common: Int32
        if others.isEmpty {
            common = try commonCount(ofRepartitionTopics: repartitions, fixed: fixed)
        } else {
            common = others[0].count
            if others.contains(where: { $0.count != common }) { throw Self.different(others) }
        }
        for (name, count) in repartitions {
            guard !fixed.contains(name) || count == common else {
                throw .incorrectlyPartitioned(
                    "Number of partitions [\(count)] of repartition topic [\(name)] doesn't match number of partitions [\(common)] of the "
                        + "source topic.")
            }
            decided[name] = common
        }
    }

    private func commonCount(
        ofRepartitionTopics topics: [(name: String, count: Int32)], fixed: OrderedSet<String>
    ) throws(TopologyFailure) -> Int32 {
        guard let first = fixed.first else {
            let widest = topics.map(\.count).max() ?? 0
            guard widest > 0 else {
                throw .invalid("All topics in the copartition group had undefined partition number: \(topics.map(\.name))")
            }
            return widest
        }
        let count = try knownPartitionCount(of: first)
        for name in fixed where try knownPartitionCount(of: name) != count { throw Self.different(topics) }
        return count
    }

    private static func different(_ topics: [(name: String, count: Int32)]) -> TopologyFailure {
        let text = topics.map { "\($0.name)=\($0.count)" }.joined(separator: ", ")
        return .incorrectlyPartitioned("Following topics do not have the same number of partitions: [{\(text)}]")
    }

    // MARK: Changelogs, and all together

    mutating func decideChangelogTopics() throws(TopologyFailure) {
        for subtopology in topology.subtopologies {
            let count = try taskCount(of: subtopology)
            for topic in subtopology.stateChangelogTopics { decided[topic.name] = count }
        }
    }

    private func taskCount(of subtopology: StreamsTopology.Subtopology) throws(TopologyFailure) -> Int32 {
        var widest: Int32 = 0
        for topic in subtopology.allSourceTopics { widest = max(widest, try knownPartitionCount(of: topic)) }
        guard widest > 0 else { throw .invalid("No source topics found for subtopology \(subtopology.subtopologyId)") }
        return widest
    }

    func subtopologies() throws(TopologyFailure) -> OrderedDictionary<String, ConfiguredSubtopology> {
        var configured: OrderedDictionary<String, ConfiguredSubtopology> = [:]
        for subtopology in topology.subtopologies {
            guard configured[subtopology.subtopologyId] == nil else {
                throw .invalid("Subtopology \(subtopology.subtopologyId) is there twice.")
            }
            configured[subtopology.subtopologyId] = ConfiguredSubtopology(
                taskCount: try taskCount(of: subtopology), sourceTopics: subtopology.sourceTopics.sorted(),
                repartitionSinkTopics: subtopology.repartitionSinkTopics.sorted(),
                repartitionSourceTopics: try internalTopics(subtopology.repartitionSourceTopics),
                stateChangelogTopics: try internalTopics(subtopology.stateChangelogTopics))
        }
        return configured
    }

    private func internalTopics(_ infos: [StreamsTopology.TopicInfo]) throws(TopologyFailure) -> [StreamsInternalTopic] {
        var internals: [StreamsInternalTopic] = []
        for info in infos.sorted(by: { $0.name < $1.name }) {
            let count = info.partitions == 0 ? decided[info.name] ?? 0 : info.partitions
            guard count > 0 else { throw .invalid("Number of partitions must be set for topic \(info.name)") }
            internals.append(StreamsInternalTopic(info, partitionCount: count))
        }
        return internals
    }

    /// The internal topics that do not exist; those that do must have the right number of partitions.
    func missing(
        of configured: OrderedDictionary<String, ConfiguredSubtopology>
    ) throws(TopologyFailure) -> [StreamsInternalTopic] {
        var needed: OrderedDictionary<String, StreamsInternalTopic> = [:]
        for subtopology in configured.values {
            for topic in subtopology.repartitionSourceTopics + subtopology.stateChangelogTopics { needed[topic.name] = topic }
        }
        var missing: [StreamsInternalTopic] = []
        for topic in needed.values.sorted(by: { $0.name < $1.name }) {
            guard let existing = topics.topic(named: topic.name) else {
                missing.append(topic)
                continue
            }
            guard existing.partitionCount == topic.partitionCount else {
                throw .incorrectlyPartitioned(
                    "Existing topic \(topic.name) has different number of partitions: expected \(topic.partitionCount), found "
                        + "\(existing.partitionCount)")
            }
        }
        return missing
    }
}
