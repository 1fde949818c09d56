// A topology as it is with the topics that there are: how many tasks each subtopology has, and which internal topics are missing.
import Collections
import Primitives

/// A topic that a streams application needs for itself: to pass records on by another key, or to keep its state.
public struct StreamsInternalTopic: Sendable, Equatable {
    public var name: String
    public var partitionCount: Int32
    /// 0 for the broker's default.
    public var replicationFactor: Int16
    /// Settings in the order in which the application named them.
    public var configurations: [Setting]

    public struct Setting: Sendable, Equatable {
        public var name: String
        public var value: String
    }

    init(_ info: StreamsTopology.TopicInfo, partitionCount: Int32) {
        name = info.name
        self.partitionCount = partitionCount
        replicationFactor = info.replicationFactor
        configurations = info.topicConfigs.map { Setting(name: $0.key, value: $0.value) }
    }
}

/// What a heartbeat says about the state of the group (StreamsGroupHeartbeatResponse, field StatusCode).
public enum StreamsGroupStatusCode: Int8, Sendable {
    case staleTopology = 0
    case missingSourceTopics = 1
    case incorrectlyPartitionedTopics = 2
    case missingInternalTopics = 3
    case shutdownApplication = 4
    case assignmentDelayed = 5
    case missingClientTags = 6
}

struct ConfiguredSubtopology: Sendable {
    /// The largest number of partitions of its source topics.
    var taskCount: Int32
    /// Sorted.
    var sourceTopics: [String]
    /// Sorted.
    var repartitionSinkTopics: [String]
    /// Sorted by name.
    var repartitionSourceTopics: [StreamsInternalTopic]
    /// Sorted by name.
    var stateChangelogTopics: [StreamsInternalTopic]

    var isStateful: Bool { !stateChangelogTopics.isEmpty }
}

struct ConfiguredTopology: Sendable {
    struct Problem: Sendable, Equatable {
        var status: StreamsGroupStatusCode
        var message: String
    }

    var epoch: Int32
    /// By id, in order; nil when they could not be worked out.
    var subtopologies: OrderedDictionary<String, ConfiguredSubtopology>?
    /// Sorted by name.
    var missingInternalTopics: [StreamsInternalTopic] = []
    /// Why no task can be given out; nil when all is there.
    var problem: Problem?

    var isReady: Bool { problem == nil }
}
