// What streams groups need of the broker: their settings, and the topics that their applications keep for themselves.
import ClusterMetadata
import Configuration
import GroupCoordination
import KafkaMessages
import KafkaWire
import Logging
import Primitives
import Synchronization

extension ImageGroupTopics {
    func streamsOverrides(of group: String) -> StreamsGroupOverrides {
        var overrides = StreamsGroupOverrides()
        overrides.assignmentIntervalMilliseconds = streamsAssignmentIntervalMilliseconds
        let values = image.configurations.values(of: ConfigResource(.group, group))
        guard !values.isEmpty else { return overrides }
        func integer(_ key: String) -> Int32? { values[key].flatMap { Int32($0) } }
        overrides.sessionTimeoutMilliseconds = integer("streams.session.timeout.ms")
        overrides.heartbeatIntervalMilliseconds = integer("streams.heartbeat.interval.ms")
        if let value = integer("streams.assignment.interval.ms") { overrides.assignmentIntervalMilliseconds = value }
        overrides.initialRebalanceDelayMilliseconds = integer("streams.initial.rebalance.delay.ms")
        overrides.standbyReplicaCount = integer("streams.num.standby.replicas")
        overrides.taskOffsetIntervalMilliseconds = integer("streams.task.offset.interval.ms")
        overrides.acceptableRecoveryLag = values["streams.acceptable.recovery.lag"].flatMap { Int64($0) }
        overrides.rackAwareAssignmentTags = values["streams.rack.aware.assignment.tags"].map { text in
            text.split(separator: ",").map { String($0.drop { $0 == " " }.prefix { $0 != " " }) }.filter { !$0.isEmpty }
        }
        return overrides
    }
}

extension StreamsGroupConfiguration {
    init(_ settings: StreamsGroupSettings) {
        self.init()
        sessionTimeoutMilliseconds = Int32(clamping: settings.sessionTimeoutMilliseconds)
        heartbeatIntervalMilliseconds = Int32(clamping: settings.heartbeatIntervalMilliseconds)
        assignmentIntervalMilliseconds = Int32(clamping: settings.assignmentIntervalMilliseconds)
        initialRebalanceDelayMilliseconds = Int32(clamping: settings.initialRebalanceDelayMilliseconds)
        maximumSize = settings.maxSize
        standbyReplicaCount = Int32(clamping: settings.numStandbyReplicas)
        taskOffsetIntervalMilliseconds = Int32(clamping: settings.taskOffsetIntervalMilliseconds)
        acceptableRecoveryLag = settings.acceptableRecoveryLag
        rackAwareAssignmentTags = settings.rackAwareAssignmentTags
    }
}

/// Internal topics of streams applications that the controller was asked to create: each is asked for once at a time, and why it could not
/// be created is remembered for a while, to be told with the members' next heartbeats.
final class StreamsInternalTopics: Sendable {
    private struct State {
        var isAsked: Set<String> = []
        var failures: [String: (reason: String, until: Int64)] = [:]
    }

    /// Names of topics that are remembered at most, of either sort; beyond it topics are asked for again, and failures not told.
    private static let maximumCount = 10_000

    private let state = Mutex(State())

    /// The topics among `topics` that nobody has asked for; they count as asked for from now on.
    func begin(_ topics: [StreamsInternalTopic]) -> [StreamsInternalTopic] {
        state.withLock { state in
            topics.filter { topic in
                guard !state.isAsked.contains(topic.name) else { return false }
                if state.isAsked.count < Self.maximumCount { state.isAsked.insert(topic.name) }
                return true
            }
        }
    }

    /// The controller has answered.
    ///
    /// - Parameter failures: topics that were not created, and why; told until `until` on the monotonic clock.
    func end(_ names: [String], failures: [(name: String, reason: String)], until: Int64) {
        state.withLock { state in
            for name in names {
                state.isAsked.remove(name)
                state.failures[name] = nil
            }
            for (name, reason) in failures where state.failures.count < Self.maximumCount { state.failures[name] = (reason, until) }
        }
    }

    /// Why topics could not be created a moment ago.
    func failures(of topics: [StreamsInternalTopic], now: Int64) -> [(name: String, reason: String)] {
        state.withLock { state in
            for (name, failure) in state.failures where failure.until <= now { state.failures[name] = nil }
            return topics.compactMap { topic in state.failures[topic.name].map { (topic.name, $0.reason) } }
        }
    }
}

extension BrokerServices {
    /// Has the controller create what is missing.
    ///
    /// - Parameter memory: how long failures are told, in milliseconds.
    func createInternalTopics(_ topics: [StreamsInternalTopic], memory: Int64) {
        let wanted = streamsInternalTopics.begin(topics)
        guard !wanted.isEmpty else { return }
        var request = CreateTopicsRequest()
        request.timeoutMs = 30_000
        request.topics = wanted.map { topic in
            var described = CreateTopicsRequest.CreatableTopic()
            described.name = topic.name
            described.numPartitions = topic.partitionCount
            described.replicationFactor = topic.replicationFactor == 0 ? -1 : topic.replicationFactor
            described.configs = topic.configurations.map { setting in
                var config = CreateTopicsRequest.CreatableTopicConfig()
                config.name = setting.name
                config.value = setting.value
                return config
            }
            return described
        }
        let names = wanted.map(\.name)
        forward(own: request) { [logger, streamsInternalTopics] outcome in
            var failures: [(name: String, reason: String)] = []
            switch outcome {
            case .failure(let failure): failures = names.map { ($0, "\(failure)") }
            case .success(let response):
                for topic in response.topics where topic.errorCode != .none && topic.errorCode != .topicAlreadyExists {
                    failures.append((topic.name, topic.errorMessage ?? topic.errorCode.defaultMessage))
                }
            }
            if let first = failures.first {
                logger.warning(
                    "internal topics of a streams application were not created",
                    metadata: ["topics": "\(failures.map(\.name))", "reason": "\(first.reason)"])
            }
            streamsInternalTopics.end(names, failures: failures, until: SystemClock.monotonicMilliseconds() + memory)
        }
    }
}
