// Which topics are replicated, and that they exist on the target with as many partitions, the same settings and the same access rules.
import Logging
import MartletClient
import Mirroring
import Primitives

/// A flow's view of topics on both sides.
final class TopicReplication: Sendable {
    /// Topics that settings are asked for in one request.
    private static let chunk = 200

    private let state: FlowState
    private var flow: MirrorFlow { state.flow }

    init(_ state: FlowState) {
        self.state = state
    }

    // MARK: Topics and partitions

    /// Looks at both sides, creates what is missing on the target, and has new partitions copied.
    func refresh() async throws(KafkaError) {
        let source = try await state.sourceAdmin.listTopics().filter { state.replicates($0.name) }
        var known: [String: Int] = [:]
        for topic in try await state.targetAdmin.listTopics(includingInternal: true) { known[topic.name] = topic.partitions.count }
        let missing = source.filter { known[flow.policy.remoteTopic($0.name)] == nil }
        for topic in try await create(missing) { known[flow.policy.remoteTopic(topic.name)] = topic.partitions.count }
        let small = source.filter { topic in (known[flow.policy.remoteTopic(topic.name)] ?? .max) < topic.partitions.count }
        for topic in try await grow(small) { known[flow.policy.remoteTopic(topic.name)] = topic.partitions.count }
        let partitions = source.flatMap { topic in
            let count = min(topic.partitions.count, known[flow.policy.remoteTopic(topic.name)] ?? 0)
            return (0..<Int32(count)).map { TopicPartition(topic.name, $0) }
        }
        let before = state.contents.withLock { $0.partitions.count }
        state.replicate(partitions)
        if before != partitions.count {
            state.logger.info(
                "partitions to replicate", metadata: ["flow": "\(flow.name)", "before": "\(before)", "now": "\(partitions.count)"])
        }
    }

    private func create(_ topics: [TopicDescription]) async throws(KafkaError) -> [TopicDescription] {
        guard !topics.isEmpty else { return [] }
        let settings = try await settings(of: topics.map(\.name), state.sourceAdmin)
        let new = topics.map { topic in
            NewTopic(
                flow.policy.remoteTopic(topic.name), partitions: Int32(topic.partitions.count), replicationFactor: flow.replicationFactor,
                configs: (settings[topic.name] ?? []).filter { isReplicated($0, isNew: true) }.map { ($0.name, $0.value) }
                    + flow.topicSettings.map { ($0.name, $0.value) })
        }
        var created: [TopicDescription] = []
        for (topic, outcome) in zip(topics, try await state.targetAdmin.createTopics(new)) {
            switch outcome.error?.codeName {
            case nil:
                created.append(topic)
                state.logger.info(
                    "created a remote topic",
                    metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item)", "partitions": "\(topic.partitions.count)"])
            case "TOPIC_ALREADY_EXISTS": continue
            case "INVALID_REPLICATION_FACTOR":
                state.logger.error(
                    "a remote topic cannot be created: the target has fewer brokers than replication.factor asks for",
                    metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item)", "replication.factor": "\(flow.replicationFactor)"])
            default:
                state.logger.error(
                    "a remote topic cannot be created",
                    metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item)", "error": "\(outcome.error?.description ?? "")"])
            }
        }
        return created
    }

    private func grow(_ topics: [TopicDescription]) async throws(KafkaError) -> [TopicDescription] {
        guard !topics.isEmpty else { return [] }
        var grown: [TopicDescription] = []
        let totals = topics.map { (topic: flow.policy.remoteTopic($0.name), count: Int32($0.partitions.count)) }
        for (topic, outcome) in zip(topics, try await state.targetAdmin.createPartitions(totals)) {
            if let error = outcome.error {
                state.logger.error(
                    "a remote topic cannot be given more partitions",
                    metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item)", "error": "\(error)"])
            } else {
                grown.append(topic)
            }
        }
        return grown
    }

    // MARK: Settings

    private func settings(of topics: [String], _ admin: AdminClient) async throws(KafkaError) -> [String: [ConfigSetting]] {
        var found: [String: [ConfigSetting]] = [:]
        for start in stride(from: 0, to: topics.count, by: Self.chunk) {
            let names = topics[start..<min(start + Self.chunk, topics.count)]
            for outcome in try await admin.describeConfigs(names.map { .topic($0) }) {
                if case .success(let settings) = outcome.result { found[outcome.item.name] = settings }
            }
        }
        return found
    }

    /// As MirrorSourceConnector.targetConfig: what the topic or its brokers' dynamic settings say, without what is excluded.
    private func isReplicated(_ setting: ConfigSetting, isNew: Bool) -> Bool {
        if setting.isReadOnly || setting.isSensitive || setting.source == .staticBroker { return false }
        if flow.topicSettings.contains(where: { $0.name == setting.name }) { return false }
        if isNew, setting.source == .defaultConfig, !flow.usesSourceDefaults { return false }
        return !flow.excludedConfigProperties.matches(setting.name)
    }

    /// Has the settings of remote topics follow those of their sources, and be what the file says; only what differs is changed.
    func syncConfigs() async throws(KafkaError) {
        let topics = replicatedTopics
        let wanted = try await settings(of: topics, state.sourceAdmin)
        let present = try await settings(of: topics.map(flow.policy.remoteTopic), state.targetAdmin)
        var changes: [(resource: ConfigResource, changes: [ConfigChange])] = []
        for topic in topics {
            let remote = flow.policy.remoteTopic(topic)
            guard let wanted = wanted[topic], let present = present[remote] else { continue }
            let differing =
                (flow.syncTopicConfigsInterval == nil
                    ? [] : wanted.filter { isReplicated($0, isNew: false) }.compactMap { change($0, present) })
                + flow.topicSettings.filter { own in
                    !present.contains { $0.name == own.name && $0.source == .topic && $0.value == own.value }
                }.map { .set($0.name, $0.value) }
            if !differing.isEmpty { changes.append((.topic(remote), differing)) }
        }
        guard !changes.isEmpty else { return }
        for outcome in try await state.targetAdmin.alterConfigs(changes) {
            if let error = outcome.error {
                state.logger.warning(
                    "the settings of a remote topic cannot be changed",
                    metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item.name)", "error": "\(error)"])
            }
        }
    }

    private func change(_ setting: ConfigSetting, _ present: [ConfigSetting]) -> ConfigChange? {
        let own = present.first { $0.name == setting.name }
        // A setting that the target does not know cannot be set there.
        guard let own else { return nil }
        if setting.source == .defaultConfig, !flow.usesSourceDefaults {
            return own.source == .topic ? .delete(setting.name) : nil
        }
        guard let value = setting.value else { return nil }
        return own.source == .topic && own.value == value ? nil : .set(setting.name, value)
    }

    private var replicatedTopics: [String] {
        state.contents.withLock { state in
            var topics: [String] = []
            for partition in state.partitions.keys where topics.last != partition.topic { topics.append(partition.topic) }
            return Array(Set(topics)).sorted()
        }
    }

    // MARK: Access rules

    /// Has literal access rules of replicated topics hold for their remote topics: reading, never writing, which is this process's alone
    /// (MirrorSourceConnector.syncTopicAcls).
    func syncACLs() async throws(KafkaError) {
        var filter = AccessEntryFilter()
        filter.resourceType = "TOPIC"
        filter.patternType = "LITERAL"
        let found: [AccessEntry]
        do throws(KafkaError) {
            found = try await state.sourceAdmin.listAccessEntries(filter)
        } catch {
            if error.codeName == "SECURITY_DISABLED" { return }
            throw error
        }
        let wanted = found.filter { entry in
            state.replicates(entry.resourceName) && !(entry.permission == "ALLOW" && entry.operation == "WRITE")
        }.map { entry in
            var remote = entry
            remote.resourceName = flow.policy.remoteTopic(entry.resourceName)
            if entry.permission == "ALLOW", entry.operation == "ALL" { remote.operation = "READ" }
            return remote
        }
        guard !wanted.isEmpty else { return }
        do throws(KafkaError) {
            for outcome in try await state.targetAdmin.createAccessEntries(wanted) {
                if let error = outcome.error {
                    state.logger.warning(
                        "an access rule cannot be replicated",
                        metadata: ["flow": "\(flow.name)", "topic": "\(outcome.item.resourceName)", "error": "\(error)"])
                }
            }
        } catch {
            if error.codeName != "SECURITY_DISABLED" { throw error }
        }
    }
}
