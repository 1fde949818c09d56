// One flow at work: what is done at its start, and what is done again and again.
import Logging
import MartletClient
import Mirroring
import NIOCore
import Primitives
import RecordBatches

/// Runs a flow until its task is cancelled. Whatever fails is tried again.
final class RunningFlow: Sendable {
    let state: FlowState
    private let topics: TopicReplication
    private let groups: GroupReplication
    private let heartbeats: KafkaProducer
    /// Workers that run, by their numbers.
    private let workers: WorkerPool

    private var flow: MirrorFlow { state.flow }

    init(_ flow: MirrorFlow, origins: TargetOrigins, logger: Logger) throws(KafkaError) {
        let state = try FlowState(flow, origins: origins, logger: logger)
        self.state = state
        topics = TopicReplication(state)
        groups = try GroupReplication(state)
        var configuration = ProducerConfiguration(state.clients.targetProducer)
        configuration.allowTopicCreation = false
        heartbeats = try KafkaProducer(configuration)
        workers = WorkerPool(state)
    }

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.runHeartbeats() }
            if flow.isEnabled { group.addTask { await self.replicate() } }
            await group.waitForAll()
        }
        // What is known to be copied is stored, so that a clean stop repeats nothing.
        let storing = Task { if self.flow.isEnabled { try? await self.state.storePositions() } }
        await storing.value
        await groups.close()
        try? await heartbeats.close()
        await state.close()
    }

    /// Takes over which shares of the work are this process's; returns when nothing is done any more for others.
    func take(_ shares: Set<Int>) async { await workers.take(shares) }

    private func replicate() async {
        guard await untilDone("preparing", { () async throws(KafkaError) in try await self.prepare() }) else { return }
        guard await untilDone("looking for topics", { () async throws(KafkaError) in try await self.topics.refresh() }) else { return }
        state.contents.withLock { $0.isPrepared = true }
        await withTaskGroup(of: Void.self) { group in
            // Where work is shared, it comes by `take`.
            if flow.sharing == nil { group.addTask { await self.workers.runAll() } }
            let (topics, groups, state) = (topics, groups, state)
            group.addTask { await self.runTopics() }
            group.addTask { await self.followRules() }
            group.addTask {
                let isSomethingSet = !self.flow.topicSettings.isEmpty
                await self.every(self.flow.syncTopicConfigsInterval ?? (isSomethingSet ? 600 : nil), "replicating topic settings") {
                    () async throws(KafkaError) in
                    if state.isFirst { try await topics.syncConfigs() }
                }
            }
            group.addTask {
                await self.every(self.flow.syncTopicACLsInterval, "replicating access rules") { () async throws(KafkaError) in
                    if state.isFirst { try await topics.syncACLs() }
                }
            }
            group.addTask {
                await self.every(milliseconds: self.flow.positionsInterval, "storing positions", atOnce: false) {
                    () async throws(KafkaError) in try await state.storePositions()
                }
            }
            if flow.emitCheckpointsInterval != nil { group.addTask { await self.runGroups(groups) } }
            await group.waitForAll()
        }
    }

    /// The topics of the books, what stands in them, and the transactional ids.
    private func prepare() async throws(KafkaError) {
        try await state.records.identify(state.sourceAdmin, state.targetAdmin)
        let place = flow.offsetSyncsLocation == .source ? state.sourceAdmin : state.targetAdmin
        if flow.emitsOffsetSyncs {
            // Older pairs are of use to groups that lag; a topic that was made by MirrorMaker keeps its own settings.
            try await place.ensure(
                InternalTopic(
                    name: flow.offsetSyncsTopic, replicationFactor: flow.offsetSyncsReplicationFactor,
                    replicationKey: "offset-syncs.topic.replication.factor", configs: [("min.compaction.lag.ms", "604800000")]))
        }
        try await state.targetAdmin.ensure(
            InternalTopic(
                name: flow.positionsTopic, partitions: flow.positionsPartitions, replicationFactor: flow.positionsReplicationFactor,
                replicationKey: "offset.storage.replication.factor"))
        try await state.targetAdmin.ensure(
            InternalTopic(
                name: flow.topicRulesTopic, replicationFactor: flow.positionsReplicationFactor,
                replicationKey: "offset.storage.replication.factor"))
        var rules = TopicRules()
        try await TopicReading.readAll(flow.topicRulesTopic, state.clients.targetConsumer) { rules.apply(key: $0.key, value: $0.value) }
        state.contents.withLock { $0.rules = rules }
        if flow.emitCheckpointsInterval != nil {
            try await state.targetAdmin.ensure(
                InternalTopic(
                    name: flow.checkpointsTopic, replicationFactor: flow.checkpointsReplicationFactor,
                    replicationKey: "checkpoints.topic.replication.factor"))
            try await groups.load()
        }
        if flow.sharing == nil { try await workers.prepareAll() }
        state.logger.info("prepared", metadata: ["flow": "\(flow.name)"])
    }

    // MARK: Topics

    /// Looks for topics now and then, and at once when something was said of them.
    private func runTopics() async {
        let interval = flow.refreshTopicsInterval.map { max($0 * 1000, 1) }
        var due = SystemClock.monotonicMilliseconds() + (interval ?? 0)
        while !Task.isCancelled {
            let isWanted = state.contents.withLock { state in
                defer { state.isRefreshWanted = false }
                return state.isRefreshWanted
            }
            if isWanted || (interval != nil && SystemClock.monotonicMilliseconds() >= due) {
                do throws(KafkaError) {
                    try await topics.refresh()
                } catch {
                    state.report("looking for topics", error)
                    if isWanted { state.contents.withLock { $0.isRefreshWanted = true } }
                }
                due = SystemClock.monotonicMilliseconds() + (interval ?? 0)
            }
            try? await ClusterClient.pause(milliseconds: 100)
        }
    }

    /// Follows what is said of topics.
    private func followRules() async {
        let (flow, state) = (flow, state)
        let following = TopicFollowing(flow.topicRulesTopic, state.clients.targetConsumer)
        await following.run { records in
            state.contents.withLock { contents in
                let before = contents.rules
                for record in records { contents.rules.apply(key: record.key, value: record.value) }
                if contents.rules != before { contents.isRefreshWanted = true }
            }
        } failed: { error in
            state.report("following what is said of topics", error)
        }
    }

    // MARK: Again and again

    private func runGroups(_ groups: GroupReplication) async {
        await withTaskGroup(of: Void.self) { group in
            let prepared = await untilDone("looking for groups") { () async throws(KafkaError) in try await groups.refreshGroups() }
            guard prepared else { return }
            group.addTask {
                await self.every(self.flow.refreshGroupsInterval, "looking for groups", atOnce: false) { () async throws(KafkaError) in
                    try await groups.refreshGroups()
                }
            }
            group.addTask {
                await self.every(self.flow.emitCheckpointsInterval, "writing checkpoints", atOnce: false) { () async throws(KafkaError) in
                    try await groups.emitCheckpoints()
                }
            }
            group.addTask {
                await self.every(self.flow.syncGroupOffsetsInterval, "setting group offsets", atOnce: false) {
                    () async throws(KafkaError) in
                    try await groups.syncGroupOffsets()
                }
            }
            await group.waitForAll()
        }
    }

    private func runHeartbeats() async {
        guard let interval = flow.emitHeartbeatsInterval else { return }
        let topic = InternalTopic(
            name: ReplicationPolicy.heartbeatsTopic, replicationFactor: flow.heartbeatsReplicationFactor,
            replicationKey: "heartbeats.topic.replication.factor")
        let isPrepared = await untilDone("creating the heartbeats topic") { () async throws(KafkaError) in
            try await self.state.targetAdmin.ensure(topic)
        }
        guard isPrepared else { return }
        await every(interval, "heartbeats") { () async throws(KafkaError) in
            guard self.state.isFirst else { return }
            let now = SystemClock.now()
            let heartbeat = Heartbeat(sourceAlias: self.flow.source, targetAlias: self.flow.target, timestamp: now)
            _ = try await self.heartbeats.send(
                ProducerRecord(topic: topic.name, partition: 0, keyBytes: heartbeat.key, valueBytes: heartbeat.value, timestamp: now))
            self.state.contents.withLock { $0.heartbeats += 1 }
        }
    }

    /// - Returns: false when the task was cancelled before it succeeded.
    private func untilDone(_ what: String, _ body: @Sendable () async throws(KafkaError) -> Void) async -> Bool {
        while !Task.isCancelled {
            do throws(KafkaError) {
                try await body()
                return true
            } catch {
                state.report(what, error)
            }
            try? await ClusterClient.pause(milliseconds: 2000)
        }
        return false
    }

    private func every(
        _ seconds: Int64?, _ what: String, atOnce: Bool = true, _ body: @Sendable () async throws(KafkaError) -> Void
    ) async {
        guard let seconds else { return }
        await every(milliseconds: max(seconds * 1000, 1), what, atOnce: atOnce, body)
    }

    private func every(
        milliseconds: Int64, _ what: String, atOnce: Bool, _ body: @Sendable () async throws(KafkaError) -> Void
    ) async {
        if !atOnce { try? await ClusterClient.pause(milliseconds: milliseconds) }
        while !Task.isCancelled {
            do throws(KafkaError) {
                try await body()
            } catch {
                state.report(what, error)
            }
            try? await ClusterClient.pause(milliseconds: milliseconds)
        }
    }
}
