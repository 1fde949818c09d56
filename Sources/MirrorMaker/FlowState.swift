// What the parts of a flow share: its partitions behind one lock, its clients, its books.
import Logging
import MartletClient
import Mirroring
import OrderedCollections
import Primitives
import Synchronization

/// A flow while it runs.
final class FlowState: Sendable {
    struct Contents {
        var partitions: OrderedDictionary<TopicPartition, CopiedPartition> = [:]
        var distribution: WorkDistribution
        /// Stored positions that were found at the start.
        var storedPositions: [TopicPartition: Int64] = [:]
        /// Pairs of offsets that were found at the start, until their partitions are taken up.
        var storedTranslations: [TopicPartition: OffsetTranslation] = [:]
        /// The groups that checkpoints are made for.
        var checkpointFigures: [String: Spread] = [:]
        var heartbeats = 0
        var isRunning = false
        var problem: String?
    }

    let flow: MirrorFlow
    let clients: FlowClients
    let logger: Logger
    let sourceAdmin: AdminClient
    let targetAdmin: AdminClient
    let positions: PositionStore
    /// Nil when offset syncs are off.
    let syncs: OffsetSyncWriting?
    let contents: Mutex<Contents>

    init(_ flow: MirrorFlow, logger: Logger) throws(KafkaError) {
        self.flow = flow
        self.logger = logger
        clients = try FlowClients(flow)
        sourceAdmin = AdminClient(clients.sourceAdmin)
        targetAdmin = AdminClient(clients.targetAdmin)
        positions = try PositionStore(flow, clients)
        syncs = flow.emitsOffsetSyncs ? try OffsetSyncWriting(topic: flow.offsetSyncsTopic, clients.offsetSyncsProducer(flow)) : nil
        contents = Mutex(Contents(distribution: WorkDistribution(workers: flow.workers)))
    }

    /// Logs and remembers why something does not work at the moment.
    func report(_ what: String, _ error: KafkaError) {
        if error.kind == .cancelled || error.kind == .closed { return }
        logger.warning("\(what) failed; it is tried again", metadata: ["flow": "\(flow.name)", "error": "\(error)"])
        contents.withLock { $0.problem = "\(what): \(error)" }
    }

    func close() async {
        await syncs?.close()
        await positions.close()
        sourceAdmin.close()
        targetAdmin.close()
    }

    /// Takes over which partitions are replicated now. New ones are found their place by a worker.
    func replicate(_ wanted: [TopicPartition]) {
        contents.withLock { state in
            let now = SystemClock.monotonicMilliseconds()
            for index in state.partitions.values.indices { state.partitions.values[index].figures.measure(now: now) }
            let figures = state.partitions
            state.distribution.update(wanted) { figures[$0]?.figures.bytesPerSecond }
            let kept = Set(wanted)
            for partition in state.partitions.keys where !kept.contains(partition) { state.partitions[partition] = nil }
            for partition in wanted where state.partitions[partition] == nil {
                let target = TopicPartition(flow.policy.remoteTopic(partition.topic), partition.partition)
                var copied = CopiedPartition(source: partition, target: target, maximumOffsetLag: flow.maximumOffsetLag)
                copied.stored = state.storedPositions[partition]
                if let translation = state.storedTranslations.removeValue(forKey: partition) { copied.translation = translation }
                state.partitions[partition] = copied
            }
        }
    }

    // MARK: After copying

    /// Takes note of a batch that is on the target.
    ///
    /// - Returns: the pairs of offsets to write down.
    func copied(_ partition: TopicPartition, _ batch: CopiedBatch, baseOffset: Int64) -> [(sync: OffsetSync, isRun: Bool)] {
        contents.withLock { state in
            guard baseOffset >= 0, var copied = state.partitions[partition] else { return [] }
            var syncs: [(OffsetSync, isRun: Bool)] = []
            var downstream = baseOffset
            for segment in batch.segments {
                if copied.translation.copied(upstream: segment.upstream, downstream: downstream, count: segment.count) {
                    syncs.append(
                        (OffsetSync(partition: partition, upstreamOffset: segment.upstream, downstreamOffset: downstream), isRun: true))
                    copied.pace.wrote(downstream: downstream)
                }
                downstream += segment.count
                copied.lastCopied = (segment.upstream + segment.count - 1, downstream - 1)
            }
            if let last = copied.lastCopied, copied.pace.isDue(downstream: last.downstream) {
                if syncs.last?.0.upstreamOffset != last.upstream {
                    syncs.append(
                        (OffsetSync(partition: partition, upstreamOffset: last.upstream, downstreamOffset: last.downstream), isRun: true))
                }
            }
            let now = SystemClock.now()
            copied.figures.records += batch.count
            copied.figures.latency.add(max(0, now - batch.maximumTimestamp))
            state.partitions[partition] = copied
            return syncs
        }
    }

    /// Everything before an offset is on the target for certain.
    func finished(_ partition: TopicPartition, next: Int64) {
        contents.withLock { state in
            guard var copied = state.partitions[partition] else { return }
            copied.written = max(copied.written, next)
            copied.translation.passed(upstream: next)
            copied.problem = nil
            state.partitions[partition] = copied
        }
    }

    /// Goes back to what is on the target for certain, and leaves the partition alone for a while.
    func failed(_ partition: TopicPartition, _ problem: String, pauseMilliseconds: Int64) {
        contents.withLock { state in
            guard var copied = state.partitions[partition] else { return }
            if copied.position != nil { copied.position = copied.written }
            copied.problem = problem
            copied.notBefore = SystemClock.monotonicMilliseconds() + pauseMilliseconds
            state.partitions[partition] = copied
        }
    }

    /// Writes pairs down; failures are kept by the writer.
    func write(_ pairs: [(sync: OffsetSync, isRun: Bool)]) async throws(KafkaError) {
        guard let syncs else { return }
        for (sync, isRun) in pairs { try await syncs.write(sync, isRun: isRun) }
    }

    /// Stores what was copied since the last time: first the pairs of offsets, then the positions that lie behind them.
    func storePositions() async throws(KafkaError) {
        let (changed, tails) = contents.withLock { state in
            var changed: [(partition: TopicPartition, next: Int64)] = []
            var tails: [(sync: OffsetSync, isRun: Bool)] = []
            for index in state.partitions.values.indices {
                let copied = state.partitions.values[index]
                guard copied.position != nil else { continue }
                if copied.written > 0, copied.stored != copied.written { changed.append((copied.source, copied.written)) }
                if let last = copied.lastCopied, copied.pace.isBehind(downstream: last.downstream) {
                    let sync = OffsetSync(partition: copied.source, upstreamOffset: last.upstream, downstreamOffset: last.downstream)
                    tails.append((sync, isRun: true))
                    state.partitions.values[index].pace.wrote(downstream: last.downstream)
                }
            }
            return (changed, tails)
        }
        try await write(tails)
        try await syncs?.flush()
        if flow.isExactlyOnce { return }
        guard !changed.isEmpty else { return }
        try await positions.store(changed)
        contents.withLock { state in
            for (partition, next) in changed { state.partitions[partition]?.stored = next }
        }
    }
}
