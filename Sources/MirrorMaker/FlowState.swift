// What the parts of a flow share: its partitions behind one lock, its clients, its books.
import Logging
import MartletClient
import Mirroring
import OrderedCollections
import Primitives
import Synchronization

/// Another flow, without keeping it.
struct WeakFlow: Sendable {
    weak var state: FlowState?
    var exists = false
}

/// A flow while it runs.
final class FlowState: Sendable {
    struct Contents {
        var partitions: OrderedDictionary<TopicPartition, CopiedPartition> = [:]
        var distribution: WorkDistribution
        /// Positions that were found at the start, or when partitions were given up.
        var storedPositions: [TopicPartition: Int64] = [:]
        /// Translations likewise, until their partitions are taken up.
        var storedTranslations: [TopicPartition: OffsetTranslation] = [:]
        /// Where on the target it has to be looked up what was written behind the stored positions.
        var scanStarts: [TopicPartition: ScanStart] = [:]
        /// The groups that checkpoints are made for.
        var checkpointFigures: [String: Spread] = [:]
        var heartbeats = 0
        /// What was said of topics at run time, and whether topics have to be looked at again for it.
        var rules = TopicRules()
        var isRefreshWanted = false
        /// What this process does of the shared work; nil when it does everything.
        var owned: Set<Int>?
        /// Whether internal topics exist and topics were looked for.
        var isPrepared = false
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
    /// Shared by all flows to the target.
    let origins: TargetOrigins
    let records: RecordSettings
    /// The flow the other way, when both write to topics of the same names.
    let reverse = Mutex(WeakFlow())
    let contents: Mutex<Contents>
    /// Positions are stored one time after the other.
    private let storing = TurnQueue()

    init(_ flow: MirrorFlow, origins: TargetOrigins = TargetOrigins(), logger: Logger) throws(KafkaError) {
        self.flow = flow
        self.origins = origins
        records = try RecordSettings(flow, origins)
        self.logger = logger
        clients = try FlowClients(flow)
        sourceAdmin = AdminClient(clients.sourceAdmin)
        targetAdmin = AdminClient(clients.targetAdmin)
        positions = try PositionStore(flow, clients)
        syncs = flow.emitsOffsetSyncs ? try OffsetSyncWriting(topic: flow.offsetSyncsTopic, clients.offsetSyncsProducer(flow)) : nil
        contents = Mutex(Contents(distribution: WorkDistribution(workers: flow.workers, isByName: flow.sharing != nil)))
        if flow.sharing != nil { contents.withLock { $0.owned = [] } }
    }

    /// Whether a topic of the source is replicated now.
    func replicates(_ topic: String) -> Bool { contents.withLock { flow.replicates(topic, $0.rules) } }

    /// Whether a worker's partitions are this process's.
    func owns(worker: Int) -> Bool { contents.withLock { $0.owned?.contains(worker) ?? true } }

    /// Whether this process does what has to be done once for the whole flow.
    var isFirst: Bool { owns(worker: 0) }

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
            let figures = state.partitions
            state.distribution.update(wanted) { figures[$0]?.figures.bytesPerSecond }
            let kept = Set(wanted)
            for partition in state.partitions.keys where !kept.contains(partition) {
                // It may come back: a topic that cannot be described for a moment must not be copied once more.
                guard let gone = state.partitions.removeValue(forKey: partition), gone.position != nil else { continue }
                state.storedPositions[partition] = gone.written
                state.storedTranslations[partition] = gone.translation
            }
            for partition in wanted where state.partitions[partition] == nil {
                let target = TopicPartition(flow.policy.remoteTopic(partition.topic), partition.partition)
                var copied = CopiedPartition(source: partition, target: target, maximumOffsetLag: flow.maximumOffsetLag)
                copied.stored = state.storedPositions[partition]
                copied.needsScan = flow.addsProvenance(to: target.topic)
                copied.scanFrom = state.scanStarts.removeValue(forKey: partition)
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
            // In place: a copy of the partition would copy its runs.
            guard baseOffset >= 0, let index = state.partitions.index(forKey: partition) else { return [] }
            return state.partitions.values[index].copied(batch, baseOffset: baseOffset)
        }
    }

    /// Everything before an offset is on the target for certain.
    func finished(_ partition: TopicPartition, next: Int64) {
        contents.withLock { state in
            guard let index = state.partitions.index(forKey: partition) else {
                // It was given up while its last records were on their way.
                if let stored = state.storedPositions[partition] { state.storedPositions[partition] = max(stored, next) }
                return
            }
            state.partitions.values[index].written = max(state.partitions.values[index].written, next)
            state.partitions.values[index].translation.passed(upstream: next)
            state.partitions.values[index].problem = nil
        }
    }

    /// Goes back to what is on the target for certain, and leaves the partition alone for a while.
    func failed(_ partition: TopicPartition, _ problem: String, pauseMilliseconds: Int64) {
        contents.withLock { state in
            guard let index = state.partitions.index(forKey: partition) else { return }
            if state.partitions.values[index].position != nil {
                state.partitions.values[index].position = state.partitions.values[index].written
            }
            state.partitions.values[index].problem = problem
            state.partitions.values[index].notBefore = SystemClock.monotonicMilliseconds() + pauseMilliseconds
        }
    }

    /// Writes pairs down; failures are kept by the writer.
    func write(_ pairs: [(sync: OffsetSync, isRun: Bool)]) async throws(KafkaError) {
        guard let syncs else { return }
        for (sync, isRun) in pairs { try await syncs.write(sync, isRun: isRun) }
    }

    /// Stores what was copied since the last time: first the pairs of offsets, then the positions that lie behind them.
    ///
    /// - Parameter wanted: partitions whose positions are stored also when nothing was copied.
    func storePositions(of wanted: Set<TopicPartition> = []) async throws(KafkaError) {
        try await storing.run { () async throws(KafkaError) in try await self.storeNow(wanted) }
    }

    private func storeNow(_ wanted: Set<TopicPartition>) async throws(KafkaError) {
        let (changed, tails) = contents.withLock { state in
            var changed: [(partition: TopicPartition, next: Int64)] = []
            var tails: [(sync: OffsetSync, isRun: Bool)] = []
            let now = SystemClock.monotonicMilliseconds()
            for index in state.partitions.values.indices {
                state.partitions.values[index].figures.measure(now: now)
                let copied = state.partitions.values[index]
                guard copied.position != nil else { continue }
                if (copied.written > 0 && copied.stored != copied.written) || wanted.contains(copied.source) {
                    changed.append((copied.source, copied.written))
                }
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
        let stored = stored(changed)
        try await positions.store(stored)
        isStored(stored)
    }

    /// Positions with what is known of their targets.
    func stored(_ positions: [(partition: TopicPartition, next: Int64)]) -> [StoredPosition] {
        positions.map { partition, next in
            guard let target = contents.withLock({ $0.partitions[partition]?.target }) else {
                return StoredPosition(partition: partition, next: next)
            }
            let losses = origins.losses(of: target)
            return StoredPosition(partition: partition, next: next, origins: origins.snapshot(target), losses: losses)
        }
    }

    /// Takes note of what is stored.
    func isStored(_ positions: [StoredPosition]) {
        contents.withLock { state in
            for position in positions {
                state.partitions[position.partition]?.stored = position.next
                state.partitions[position.partition]?.storedOrigins = position.origins.map { ($0.end, position.losses) }
            }
        }
    }
}
