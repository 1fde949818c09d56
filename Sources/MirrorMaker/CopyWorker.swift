// A worker copies some of a flow's partitions: one lane for each broker of the source that leads any of them, and each lane fetches the next
// records while those before are being written.
import Logging
import MartletClient
import Mirroring
import OrderedCollections
import Primitives
import RecordBatches
import Synchronization

/// Copies the partitions that the flow's distribution gives it.
final class CopyWorker: Sendable {
    private struct Lanes {
        var open: [NodeID: Int] = [:]
        var next = 0
    }

    let state: FlowState
    let index: Int
    private let source: ClusterClient
    private let target: ClusterClient
    /// Nil without exactly-once; shared by all lanes, one transaction after the other.
    private let transactions: TransactionWriting?
    private let lanes = Mutex(Lanes())
    /// Monotonic milliseconds at which what the targets have is written down anew.
    private let originsAreDue = Mutex<Int64>(0)

    init(_ state: FlowState, index: Int) {
        self.state = state
        self.index = index
        source = ClusterClient(state.clients.sourceConsumer)
        target = ClusterClient(state.clients.targetProducer)
        transactions = state.flow.isExactlyOnce ? TransactionWriting(state, worker: index, target) : nil
    }

    /// Ends the transaction that a worker before this one may have left open, and keeps that worker from going on.
    func prepare() async throws(KafkaError) {
        try await transactions?.begin()
    }

    /// Copies until the task is cancelled.
    func run() async {
        await withTaskGroup(of: Void.self) { group in
            while !Task.isCancelled {
                await locate()
                await lookUpOrigins()
                for (node, lane) in newLanes() { group.addTask { await self.runLane(lane, node) } }
                do throws(KafkaError) { try await ClusterClient.pause(milliseconds: 100) } catch { break }
            }
            await group.waitForAll()
        }
        close()
    }

    func close() {
        source.close()
        target.close()
    }

    // MARK: What the target has

    /// Looks up what the target has of partitions that are taken up, and writes down anew, now and then, what would take long to look up.
    private func lookUpOrigins() async {
        guard state.flow.addsProvenance else { return }
        do throws(KafkaError) {
            try await transactions?.settle()
        } catch {
            state.report("ending a transaction on \(state.flow.target)", error)
        }
        await state.scanOrigins(worker: index, source.view, target.view) { partitions throws(KafkaError) in
            try await storePositions(of: partitions)
        }
        let now = SystemClock.monotonicMilliseconds()
        guard now >= originsAreDue.withLock({ $0 }) else { return }
        originsAreDue.withLock { $0 = now + state.flow.positionsInterval }
        do throws(KafkaError) {
            let outdated = try await state.outdatedOrigins(worker: index)
            if !outdated.isEmpty { try await storePositions(of: outdated) }
        } catch {
            state.report("writing down what \(state.flow.target) has", error)
        }
    }

    private func storePositions(of partitions: Set<TopicPartition>) async throws(KafkaError) {
        guard let transactions else { return try await state.storePositions(of: partitions) }
        try await transactions.storePositions(of: partitions)
    }

    // MARK: Places to begin

    /// Finds where to go on in partitions that were given to this worker just now.
    private func locate() async {
        let now = SystemClock.monotonicMilliseconds()
        let waiting = state.contents.withLock { state in
            state.partitions.values.filter {
                $0.position == nil && $0.notBefore <= now && state.distribution.worker(of: $0.source) == index
            }
        }
        guard !waiting.isEmpty else { return }
        do throws(KafkaError) {
            try await source.refreshMetadata(topics: Set(waiting.map(\.source.topic)))
            try await target.refreshMetadata(topics: Set(waiting.map(\.target.topic)))
            let begin: OffsetQuery = state.clients.fetch.reset == .latest ? .latest : .earliest
            let unknown = waiting.filter { $0.stored == nil }.map { (partition: $0.source, query: begin) }
            let starts = found(try await source.listOffsets(unknown))
            let ends = found(try await target.listOffsets(waiting.map { ($0.target, .latest) }))
            state.contents.withLock { state in
                for item in waiting {
                    guard var copied = state.partitions[item.source], let end = ends[item.target],
                        let start = item.stored ?? starts[item.source]
                    else {
                        state.partitions[item.source]?.notBefore = now + 1000
                        continue
                    }
                    copied.position = start
                    copied.written = start
                    copied.translation.loaded(upstream: start, downstream: end)
                    state.partitions[item.source] = copied
                }
            }
        } catch {
            for item in waiting { state.failed(item.source, "\(error)", pauseMilliseconds: 1000) }
            state.report("finding where to go on", error)
        }
    }

    private func found(_ outcomes: [Outcome<TopicPartition, ListedOffset>]) -> [TopicPartition: Int64] {
        var offsets: [TopicPartition: Int64] = [:]
        for outcome in outcomes {
            if case .success(let listed) = outcome.result { offsets[outcome.item] = listed.offset }
        }
        return offsets
    }

    /// Lanes for brokers that lead partitions which nobody fetches.
    private func newLanes() -> [(node: NodeID, lane: Int)] {
        let view = source.view
        var leaders: OrderedSet<NodeID> = []
        var isLeaderless = false
        let now = SystemClock.monotonicMilliseconds()
        state.contents.withLock { state in
            for copied in state.partitions.values
            where copied.position != nil && !copied.needsScan && copied.lane == nil && copied.notBefore <= now
                && state.distribution.worker(of: copied.source) == index
            {
                if let leader = view.leader(of: copied.source) { leaders.append(leader) } else { isLeaderless = true }
            }
        }
        if isLeaderless { Task { _ = try? await source.refreshMetadata() } }
        return lanes.withLock { lanes in
            leaders.filter { lanes.open[$0] == nil }.map { node in
                lanes.next += 1
                lanes.open[node] = lanes.next
                return (node, lanes.next + index * 1_000_000)
            }
        }
    }

    // MARK: Lanes

    private func runLane(_ lane: Int, _ node: NodeID) async {
        let fetching = SourceFetching(
            cluster: source, fetch: state.clients.fetch, produce: state.clients.produce, records: state.records)
        let sender = transactions == nil ? BatchSender(target, state.clients.produce) : nil
        var writing: Task<Bool, Never>?
        while !Task.isCancelled {
            let (wanted, hasStrays) = claim(lane, node)
            if wanted.isEmpty || hasStrays {
                _ = await writing?.value
                writing = nil
                release(lane) { self.source.view.leader(of: $0) != node }
                if wanted.isEmpty { break }
            }
            let round = await fetch(fetching, wanted, from: node)
            let isWritten = await writing?.value ?? true
            writing = nil
            // What was fetched behind something that could not be written is fetched again.
            guard isWritten, var round else { continue }
            // What was given up while the fetch was waiting is not written any more.
            state.contents.withLock { state in round.parts.removeAll { state.partitions[$0.source]?.lane != lane } }
            await settle(round)
            guard !round.parts.isEmpty else { continue }
            advance(round)
            writing = Task {
                await self.state.writeOnce(round, self.state.clients.produce) { await self.write($0, sender) }
            }
        }
        _ = await writing?.value
        release(lane) { _ in true }
        lanes.withLock { $0.open[node] = nil }
    }

    /// The partitions that the lane fetches next.
    ///
    /// - Returns: also whether it holds any that another broker leads by now.
    private func claim(_ lane: Int, _ node: NodeID) -> (wanted: [WantedPartition], hasStrays: Bool) {
        let view = source.view
        let now = SystemClock.monotonicMilliseconds()
        return state.contents.withLock { state in
            var wanted: [WantedPartition] = []
            var hasStrays = false
            for place in state.partitions.values.indices {
                let copied = state.partitions.values[place]
                guard copied.lane == nil || copied.lane == lane, let position = copied.position,
                    state.distribution.worker(of: copied.source) == index
                else { continue }
                guard view.leader(of: copied.source) == node else {
                    hasStrays = hasStrays || copied.lane == lane
                    continue
                }
                guard copied.notBefore <= now, !copied.needsScan else { continue }
                state.partitions.values[place].lane = lane
                wanted.append(WantedPartition(source: copied.source, target: copied.target, position: position))
            }
            return (wanted, hasStrays)
        }
    }

    private func release(_ lane: Int, where isReleased: (TopicPartition) -> Bool) {
        state.contents.withLock { state in
            for place in state.partitions.values.indices where state.partitions.values[place].lane == lane {
                if isReleased(state.partitions.values[place].source) { state.partitions.values[place].lane = nil }
            }
        }
    }

    private func fetch(_ fetching: SourceFetching, _ wanted: [WantedPartition], from node: NodeID) async -> FetchedRound? {
        do throws(KafkaError) {
            let round = try await fetching.fetch(wanted, from: node)
            await source.refreshIfStale()
            return round
        } catch {
            if error.kind != .cancelled, error.kind != .closed {
                state.report("fetching from broker \(node) of \(state.flow.source)", error)
                _ = try? await source.refreshMetadata()
                try? await ClusterClient.pause(milliseconds: 200)
            }
            return nil
        }
    }

    private func advance(_ round: FetchedRound) {
        let now = SystemClock.now()
        state.contents.withLock { state in
            for part in round.parts {
                state.partitions[part.source]?.position = part.next
                state.partitions[part.source]?.figures.bytes += part.bytes
                state.partitions[part.source]?.figures.rewrites += part.counts
                for copy in part.copies { state.partitions[part.source]?.figures.age.add(max(0, now - copy.maximumTimestamp)) }
            }
        }
    }

    /// What a fetch says beside records.
    private func settle(_ round: FetchedRound) async {
        state.contents.withLock { state in
            for (partition, end) in round.ends { state.partitions[partition]?.sourceEnd = end }
            for (partition, offset) in round.refused where state.partitions[partition]?.figures.lastRefused != offset {
                state.partitions[partition]?.figures.refused += 1
                state.partitions[partition]?.figures.lastRefused = offset
            }
        }
        for (partition, error) in round.failures {
            state.logger.error(
                "a partition cannot be read; it is tried again", metadata: ["flow": "\(state.flow.name)", "error": "\(error)"])
            state.failed(partition, "\(error)", pauseMilliseconds: 5000)
        }
        for partition in round.outOfRange { await reset(partition) }
        if round.isStale {
            _ = try? await source.refreshMetadata()
            try? await ClusterClient.pause(milliseconds: 100)
        }
    }

    /// Retention overtook the copying, or the source lost its end. Either is said loudly, for records are missing on the target.
    private func reset(_ partition: TopicPartition) async {
        do throws(KafkaError) {
            let start = found(try await source.listOffsets([(partition, .earliest)]))[partition]
            let end = found(try await source.listOffsets([(partition, .latest)]))[partition]
            guard let start, let end, let at = state.contents.withLock({ $0.partitions[partition]?.position }) else { return }
            if start <= at && at <= end { return }
            let next = at < start || state.clients.fetch.reset == .earliest ? start : end
            let reason: Logger.Message =
                at < start
                ? "records were deleted on the source before they were copied; copying goes on at the first one that is left"
                : "the source ends before what was copied: it lost records, or the topic was made again; copying goes on by auto.offset.reset"
            state.logger.error(
                reason,
                metadata: [
                    "flow": "\(state.flow.name)", "partition": "\(partition)", "position": "\(at)", "sourceStart": "\(start)",
                    "sourceEnd": "\(end)", "next": "\(next)",
                ])
            if at > end { forgetOrigin(partition) }
            state.contents.withLock { state in
                guard var copied = state.partitions[partition] else { return }
                copied.position = next
                copied.written = next
                copied.figures.lostRecords += at < start ? Int(start - at) : 0
                if next > at { copied.translation.passed(upstream: next) }
                state.partitions[partition] = copied
            }
            // What was forgotten must not be read again at the next start.
            if at > end, state.flow.addsProvenance { try await storePositions(of: [partition]) }
        } catch {
            state.failed(partition, "\(error)", pauseMilliseconds: 1000)
        }
    }

    /// The source counts anew: the same offsets will be other records.
    private func forgetOrigin(_ partition: TopicPartition) {
        guard let rule = state.records.rule(partition, source.view.topics[partition.topic]?.topicID ?? .zero),
            let target = state.contents.withLock({ $0.partitions[partition]?.target })
        else { return }
        state.origins.forget(target, RecordOrigin(clusterID: rule.sourceID, topicID: rule.topicID))
    }

    // MARK: Writing

    /// Whether everything is on the target.
    private func write(_ round: FetchedRound, _ sender: BatchSender?) async -> Bool {
        if let transactions { return await transactions.write(round) }
        guard let sender else { return false }
        do throws(KafkaError) {
            let works = round.parts.filter { !$0.copies.isEmpty }.map { SendWork(target: $0.target, batches: $0.copies) }
            let sent = try await sender.send(works)
            return try await settle(round, sent)
        } catch {
            for part in round.parts { state.failed(part.source, "\(error)", pauseMilliseconds: 500) }
            state.report("writing to \(state.flow.target)", error)
            return false
        }
    }

    private func settle(_ round: FetchedRound, _ sent: [SendWork]) async throws(KafkaError) -> Bool {
        var outcomes: [TopicPartition: SendWork] = [:]
        for work in sent { outcomes[work.target] = work }
        var isWhole = true
        var pairs: [(sync: OffsetSync, isRun: Bool)] = []
        for part in round.parts {
            guard let work = outcomes[part.target] else {
                state.finished(part.source, next: part.next)
                continue
            }
            for (batch, offset) in zip(work.batches, work.baseOffsets) {
                pairs += state.copied(part.source, batch, baseOffset: offset)
                if let last = batch.segments.last { state.finished(part.source, next: last.upstream + last.count) }
            }
            if let error = work.error {
                isWhole = false
                state.failed(part.source, "\(error)", pauseMilliseconds: 5000)
                state.report("writing to \(part.target) of \(state.flow.target)", error)
            } else {
                state.finished(part.source, next: part.next)
            }
        }
        try await state.write(pairs)
        return isWhole
    }
}
