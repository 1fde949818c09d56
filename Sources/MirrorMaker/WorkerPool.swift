// The workers of a flow that run in this process: all of them, or those whose shares of the work are this process's.
import Logging
import MartletClient
import Mirroring
import Primitives
import Synchronization

/// Starts and stops workers.
final class WorkerPool: Sendable {
    private let state: FlowState
    private let all: [CopyWorker]
    /// Shares that are done, by their numbers.
    private let tasks = Mutex<[Int: Task<Void, Never>]>([:])

    private var flow: MirrorFlow { state.flow }

    init(_ state: FlowState) {
        self.state = state
        all = state.flow.isEnabled && state.flow.sharing == nil ? (0..<state.flow.workers).map { CopyWorker(state, index: $0) } : []
    }

    // MARK: One process

    /// Ends transactions that were left open, which would hold up the reading of positions, and reads where to go on.
    func prepareAll() async throws(KafkaError) {
        for worker in all { try await worker.prepare() }
        try await load { _ in true }
    }

    func runAll() async {
        await withTaskGroup(of: Void.self) { group in
            for worker in all { group.addTask { await worker.run() } }
        }
    }

    // MARK: Several processes

    /// Takes over which shares are this process's.
    ///
    /// - Returns: when nothing is done any more for those that are not, and their positions are stored.
    func take(_ shares: Set<Int>) async {
        guard flow.sharing != nil, flow.isEnabled else { return }
        let (ended, begun) = tasks.withLock { tasks in
            let ended = tasks.filter { !shares.contains($0.key) }
            for share in ended.keys { tasks[share] = nil }
            return (ended, shares.filter { tasks[$0] == nil }.sorted())
        }
        state.contents.withLock { $0.owned?.subtract(ended.keys) }
        for task in ended.values { task.cancel() }
        for task in ended.values { await task.value }
        if !ended.isEmpty {
            // In a task of its own, for this one may be cancelled.
            await Task { [state] in
                do throws(KafkaError) { try await state.storePositions() } catch { state.report("storing positions", error) }
            }.value
            forget(Set(ended.keys))
        }
        guard !Task.isCancelled else { return }
        state.contents.withLock { $0.owned?.formUnion(begun) }
        tasks.withLock { tasks in
            for share in begun { tasks[share] = Task { await self.run(share) } }
        }
    }

    /// Another process goes on with these: what is known here gets old.
    private func forget(_ shares: Set<Int>) {
        state.contents.withLock { state in
            for index in state.partitions.values.indices {
                let copied = state.partitions.values[index]
                guard let share = state.distribution.worker(of: copied.source), shares.contains(share) else { continue }
                state.partitions.values[index] = CopiedPartition(
                    source: copied.source, target: copied.target, maximumOffsetLag: flow.maximumOffsetLag)
                state.partitions.values[index].needsScan = flow.addsProvenance(to: copied.target.topic)
            }
            let old = state.storedPositions.keys.filter { shares.contains(state.distribution.namedWorker(of: $0)) }
            for partition in old {
                state.storedPositions[partition] = nil
                state.storedTranslations[partition] = nil
                state.scanStarts[partition] = nil
            }
        }
    }

    private func run(_ share: Int) async {
        let distribution = state.contents.withLock { $0.distribution }
        while !Task.isCancelled {
            let worker = CopyWorker(state, index: share)
            do throws(KafkaError) {
                guard state.contents.withLock({ $0.isPrepared }) else { throw KafkaError.retryLater("the flow is being prepared") }
                // Whoever had the share before cannot commit anything from here on, so that positions are final.
                try await worker.prepare()
                try await load { distribution.namedWorker(of: $0) == share }
            } catch {
                if state.contents.withLock({ $0.isPrepared }) { state.report("taking over share \(share)", error) }
                worker.close()
                try? await ClusterClient.pause(milliseconds: 300)
                continue
            }
            await worker.run()
            return
        }
    }

    // MARK: Where to go on

    /// Reads positions and translations of partitions.
    private func load(_ isWanted: (TopicPartition) -> Bool) async throws(KafkaError) {
        let positions = try await state.positions.load().filter { isWanted($0.key) }
        let (translations, ends) = try await loadTranslations(positions.mapValues(\.next))
        state.contents.withLock { state in
            for (partition, position) in positions { state.storedPositions[partition] = position.next }
            for (partition, translation) in translations where isWanted(partition) { state.storedTranslations[partition] = translation }
            for (partition, end) in ends { state.scanStarts[partition] = .behindPosition(end) }
            for (partition, position) in positions {
                if let snapshot = position.origins { state.scanStarts[partition] = .written(snapshot) }
            }
            for index in state.partitions.values.indices {
                let partition = state.partitions.values[index].source
                guard state.partitions.values[index].position == nil, isWanted(partition) else { continue }
                state.partitions.values[index].stored = state.storedPositions[partition]
                state.partitions.values[index].scanFrom = state.scanStarts.removeValue(forKey: partition)
                if let translation = state.storedTranslations.removeValue(forKey: partition) {
                    state.partitions.values[index].translation = translation
                }
            }
        }
        state.logger.info("read positions", metadata: ["flow": "\(flow.name)", "count": "\(positions.count)"])
    }

    /// What offset syncs say.
    ///
    /// - Returns: also where the target's records behind the stored positions begin.
    private func loadTranslations(
        _ positions: [TopicPartition: Int64]
    ) async throws(KafkaError) -> (translations: [TopicPartition: OffsetTranslation], ends: [TopicPartition: Int64]) {
        guard flow.emitsOffsetSyncs else { return ([:], [:]) }
        var found: [TopicPartition: OffsetTranslation] = [:]
        var ends: [TopicPartition: Int64] = [:]
        try await TopicReading.readAll(flow.offsetSyncsTopic, state.clients.offsetSyncsReader(flow)) { record in
            if record.followsGap { for key in found.keys { found[key]?.loadingSkipped() } }
            guard let key = record.key, let value = record.value, let sync = try? OffsetSync(key: key, value: value) else { return }
            let isRun = record.headers.contains { $0.key == OffsetSyncWriting.runHeader }
            found[sync.partition, default: OffsetTranslation()].load(
                upstream: sync.upstreamOffset, downstream: sync.downstreamOffset, isRun: isRun)
            if let next = positions[sync.partition], sync.upstreamOffset < next { ends[sync.partition] = sync.downstreamOffset + 1 }
        }
        return (found, ends)
    }
}
