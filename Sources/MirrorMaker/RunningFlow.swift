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
    private let workers: [CopyWorker]

    private var flow: MirrorFlow { state.flow }

    init(_ flow: MirrorFlow, reverse: MirrorFlow?, logger: Logger) throws(KafkaError) {
        let state = try FlowState(flow, logger: logger)
        self.state = state
        // The identity policy alone has names that do not tell where records come from.
        let returns: @Sendable (String) -> Bool = { topic in
            guard flow.policy.kind == .identity, let reverse, reverse.isEnabled, reverse.policy.kind == .identity else { return false }
            return flow.replicates(topic) && reverse.replicates(topic) && topic != ReplicationPolicy.heartbeatsTopic
        }
        topics = TopicReplication(state, returns: returns)
        groups = try GroupReplication(state)
        var configuration = ProducerConfiguration(state.clients.targetProducer)
        configuration.allowTopicCreation = false
        heartbeats = try KafkaProducer(configuration)
        workers = flow.isEnabled ? (0..<flow.workers).map { CopyWorker(state, index: $0) } : []
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

    private func replicate() async {
        guard await untilDone("preparing", { () async throws(KafkaError) in try await self.prepare() }) else { return }
        guard await untilDone("looking for topics", { () async throws(KafkaError) in try await self.topics.refresh() }) else { return }
        state.contents.withLock { $0.isRunning = true }
        await withTaskGroup(of: Void.self) { group in
            for worker in workers { group.addTask { await worker.run() } }
            let (topics, groups, state) = (topics, groups, state)
            group.addTask {
                await self.every(self.flow.refreshTopicsInterval, "looking for topics", atOnce: false) { () async throws(KafkaError) in
                    try await topics.refresh()
                }
            }
            group.addTask {
                await self.every(self.flow.syncTopicConfigsInterval, "replicating topic settings") { () async throws(KafkaError) in
                    try await topics.syncConfigs()
                }
            }
            group.addTask {
                await self.every(self.flow.syncTopicACLsInterval, "replicating access rules") { () async throws(KafkaError) in
                    try await topics.syncACLs()
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
        if flow.emitCheckpointsInterval != nil {
            try await state.targetAdmin.ensure(
                InternalTopic(
                    name: flow.checkpointsTopic, replicationFactor: flow.checkpointsReplicationFactor,
                    replicationKey: "checkpoints.topic.replication.factor"))
            try await groups.load()
        }
        // A transaction that was left open would hold up the reading of positions.
        for worker in workers { try await worker.prepare() }
        let positions = try await state.positions.load()
        let translations = try await loadTranslations()
        state.contents.withLock { state in
            state.storedPositions = positions
            state.storedTranslations = translations
        }
        state.logger.info("prepared", metadata: ["flow": "\(flow.name)", "storedPositions": "\(positions.count)"])
    }

    private func loadTranslations() async throws(KafkaError) -> [TopicPartition: OffsetTranslation] {
        guard flow.emitsOffsetSyncs else { return [:] }
        var found: [TopicPartition: OffsetTranslation] = [:]
        try await TopicReading.readAll(flow.offsetSyncsTopic, state.clients.offsetSyncsReader(flow)) { record in
            if record.followsGap { for key in found.keys { found[key]?.loadingSkipped() } }
            guard let key = record.key, let value = record.value, let sync = try? OffsetSync(key: key, value: value) else { return }
            let isRun = record.headers.contains { $0.key == OffsetSyncWriting.runHeader }
            found[sync.partition, default: OffsetTranslation()].load(
                upstream: sync.upstreamOffset, downstream: sync.downstreamOffset, isRun: isRun)
        }
        return found
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
