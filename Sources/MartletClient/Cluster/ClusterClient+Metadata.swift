// Keeping the view of the cluster fresh, and finding coordinators.
import KafkaMessages
import KafkaWire
import Primitives

extension ClusterClient {
    /// Asks for the cluster's metadata and that of all topics of interest. Callers at the same time share one request.
    ///
    /// - Parameter topics: further topics of interest from now on.
    package func refreshMetadata(topics: some Sequence<String> = [], allowAutoCreation: Bool = false) async throws(KafkaError) {
        let task = state.withLock { state -> Task<Result<Void, KafkaError>, Never> in
            let known = state.interestingTopics.count
            state.interestingTopics.formUnion(topics)
            // A request that is on its way does not know topics added just now.
            if let running = state.refresh, state.interestingTopics.count == known, !allowAutoCreation { return running }
            let previous = state.refresh
            let task = Task.detached { [self] in
                _ = await previous?.value
                return await performRefresh(allowAutoCreation: allowAutoCreation)
            }
            state.refresh = task
            return task
        }
        let result = await task.value
        state.withLock { if $0.refresh == task { $0.refresh = nil } }
        try result.get()
    }

    private func performRefresh(allowAutoCreation: Bool) async -> Result<Void, KafkaError> {
        let topics = state.withLock { $0.interestingTopics.sorted() }
        do throws(KafkaError) {
            let response = try await requestMetadata(topics: topics, allowAutoCreation: allowAutoCreation)
            state.withLock { $0.view.merge(response, now: SystemClock.monotonicMilliseconds()) }
            return .success(())
        } catch {
            return .failure(error)
        }
    }

    /// Metadata of topics by name; of all topics for nil, of none for an empty list.
    package func requestMetadata(topics: [String]?, allowAutoCreation: Bool) async throws(KafkaError) -> MetadataResponse {
        var request = MetadataRequest()
        request.topics = topics.map { names in
            names.map { name in
                var topic = MetadataRequest.MetadataRequestTopic()
                topic.name = name
                return topic
            }
        }
        request.allowAutoTopicCreation = allowAutoCreation
        let response = try await send(request, to: .any, allowed: 4...13)
        try response.errorCode.check(about: "metadata")
        guard !response.brokers.isEmpty else {
            throw KafkaError(.connectionFailed, "the cluster has no broker that serves clients yet", isRetriable: true)
        }
        return response
    }

    /// How many brokers' answers in a row must not know a topic before it counts as missing: a topic made just now is not known
    /// everywhere at once, but who waits for one that nobody makes waits for nothing.
    static let answersUntilMissing = 3

    /// A topic's partitions, from what is known or by asking until the answer is final.
    ///
    /// - Parameter timeout: how long to wait for a topic that may yet be made; nil for one that must exist.
    /// - Throws: UNKNOWN_TOPIC_OR_PARTITION when the topic does not appear.
    package func topic(
        _ name: String, allowAutoCreation: Bool = false, timeout: Duration? = nil
    ) async throws(KafkaError) -> TopicDescription {
        if let known = view.topics[name] { return known }
        var unknown = 0
        return try await retrying(timeout: timeout) { () throws(KafkaError) in
            try await self.refreshMetadata(topics: [name], allowAutoCreation: allowAutoCreation)
            let view = self.view
            if let found = view.topics[name] { return found }
            var error = KafkaError(view.topicErrors[name] ?? .unknownTopicOrPartition, about: "topic '\(name)'")
            if timeout == nil, !allowAutoCreation, error.errorCode == .unknownTopicOrPartition {
                unknown += 1
                if unknown >= Self.answersUntilMissing {
                    error.isRetriable = false
                    self.loseInterest(in: name)
                }
            }
            throw error
        }
    }

    /// Drops a topic from those that are asked for with every refresh.
    package func loseInterest(in topic: String) {
        state.withLock { _ = $0.interestingTopics.remove(topic) }
    }

    /// Asks again when the metadata is older than the configuration allows.
    package func refreshIfStale() async {
        let now = SystemClock.monotonicMilliseconds()
        if let updated = view.updatedAt, now - updated < configuration.metadataMaximumAge.wholeMilliseconds { return }
        _ = try? await refreshMetadata()
    }

    /// The leader of a partition, waited for while there is none.
    package func leader(of partition: TopicPartition) async throws(KafkaError) -> NodeID {
        if let leader = view.leader(of: partition) { return leader }
        let topic = try await topic(partition.topic)
        guard topic.partitions.indices.contains(Int(partition.partition)) else {
            throw KafkaError(
                .unknownTopicOrPartition,
                "topic '\(partition.topic)' has partitions 0 to \(topic.partitions.count - 1), not \(partition.partition)")
        }
        if let leader = view.leader(of: partition) { return leader }
        try await refreshMetadata()
        if let leader = view.leader(of: partition) { return leader }
        throw KafkaError(.leaderNotAvailable, about: "\(partition)")
    }

    // MARK: Coordinators

    /// The node that coordinates a group (type 0) or a transactional id (type 1).
    package func coordinator(_ key: String, type: Int8) async throws(KafkaError) -> NodeID {
        if let known = state.withLock({ $0.coordinators["\(type):\(key)"] }) { return known }
        var request = FindCoordinatorRequest()
        request.keyType = type
        // The version decides which of the two fields is written: before 4 one key, from then on a list.
        let connection = try await connection(to: .any)
        let batched = try connection.versions.version(of: .findCoordinator) >= 4
        if batched { request.coordinatorKeys = [key] } else { request.key = key }
        let response = try await connection.send(request, timeout: configuration.requestTimeout)
        var node = response.nodeId
        if batched {
            guard let found = response.coordinators.first else {
                throw KafkaError(.protocolViolation, "the answer to FindCoordinator is empty")
            }
            try found.errorCode.check(found.errorMessage, about: "coordinator of '\(key)'")
            node = found.nodeId
        } else {
            try response.errorCode.check(response.errorMessage, about: "coordinator of '\(key)'")
        }
        if view.brokers[node] == nil { try await refreshMetadata() }
        state.withLock { $0.coordinators["\(type):\(key)"] = node }
        return node
    }

    /// Takes over a leader that a broker named in an error (KIP-951).
    package func learnLeader(_ leader: NodeID, epoch: LeaderEpoch, of partition: TopicPartition) {
        state.withLock { $0.view.learnLeader(leader, epoch: epoch, of: partition) }
    }

    package func forgetCoordinator(_ target: RequestTarget) {
        state.withLock { state in
            switch target {
            case .coordinator(let group): state.coordinators["0:\(group)"] = nil
            case .transactionCoordinator(let id): state.coordinators["1:\(id)"] = nil
            case .node, .any, .controller, .bootstrap: break
            }
        }
    }
}
