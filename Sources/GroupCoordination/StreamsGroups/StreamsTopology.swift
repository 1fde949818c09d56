// What a Kafka Streams application is made of: subtopologies that read topics, write topics for each other, and keep changelogs.
import Collections
import KafkaMessages
import KafkaRecords
import Primitives

/// The topology that a group agreed on.
struct StreamsTopology: Sendable, Equatable {
    typealias Subtopology = StreamsGroupTopologyValue.Subtopology
    typealias TopicInfo = StreamsGroupTopologyValue.TopicInfo

    let epoch: Int32
    /// Sorted by id.
    let subtopologies: [Subtopology]
    /// The subtopology that reads a topic. Looked up only.
    private let readers: [String: String]

    init(_ value: StreamsGroupTopologyValue) {
        epoch = value.epoch
        subtopologies = value.subtopologies.sorted { $0.subtopologyId < $1.subtopologyId }
        var readers: [String: String] = [:]
        for subtopology in subtopologies {
            for topic in subtopology.allSourceTopics { readers[topic] = subtopology.subtopologyId }
        }
        self.readers = readers
    }

    static func == (left: StreamsTopology, right: StreamsTopology) -> Bool {
        left.epoch == right.epoch && left.subtopologies == right.subtopologies
    }

    /// The subtopology that reads a topic; nil when none does.
    func reader(of topic: String) -> String? { readers[topic] }

    /// Every topic that has to be there: those that it reads, and those that keep its state.
    var requiredTopics: OrderedSet<String> {
        var topics: OrderedSet<String> = []
        for subtopology in subtopologies {
            topics.append(contentsOf: subtopology.allSourceTopics)
            topics.append(contentsOf: subtopology.stateChangelogTopics.map(\.name))
        }
        return topics
    }
}

extension StreamsTopology.Subtopology {
    var allSourceTopics: [String] { sourceTopics + repartitionSourceTopics.map(\.name) }
}

extension StreamsGroupTopologyValue {
    /// The record of what a member said when it joined.
    init(_ topology: StreamsGroupHeartbeatRequest.Topology) {
        func stored(_ topics: [StreamsGroupHeartbeatRequest.TopicInfo]) -> [TopicInfo] {
            topics.map { topic in
                var info = TopicInfo()
                info.name = topic.name
                info.partitions = topic.partitions
                info.replicationFactor = topic.replicationFactor
                info.topicConfigs = topic.topicConfigs.map { setting in
                    var config = TopicConfig()
                    config.key = setting.key
                    config.value = setting.value
                    return config
                }
                return info
            }
        }
        self.init()
        epoch = topology.epoch
        subtopologies = topology.subtopologies.map { described in
            var subtopology = Subtopology()
            subtopology.subtopologyId = described.subtopologyId
            subtopology.sourceTopics = described.sourceTopics
            subtopology.sourceTopicRegex = described.sourceTopicRegex
            subtopology.repartitionSinkTopics = described.repartitionSinkTopics
            subtopology.repartitionSourceTopics = stored(described.repartitionSourceTopics)
            subtopology.stateChangelogTopics = stored(described.stateChangelogTopics)
            subtopology.copartitionGroups = described.copartitionGroups.map { described in
                var group = CopartitionGroup()
                group.sourceTopics = described.sourceTopics
                group.sourceTopicRegex = described.sourceTopicRegex
                group.repartitionSourceTopics = described.repartitionSourceTopics
                return group
            }
            return subtopology
        }
    }
}
