// Before a partition is copied: what the target has of each origin. That stands beside the positions; what was written after that is read from
// the end of the target's log.
import MartletClient
import Mirroring
import Primitives
import RecordBatches

/// Where on the target records begin of which it is not known whether they are there.
enum ScanStart: Hashable, Sendable {
    /// All of them are known, some of them for being written down beside the position.
    case written(OriginSnapshot)
    /// What is before it is known here.
    case known(Int64)
    /// This flow's own records behind its stored position begin there; those of others may be before it.
    case behindPosition(Int64)
}

extension FlowState {
    /// Looks at the ends of partitions on the target, for those that a worker is about to copy.
    ///
    /// - Parameters:
    ///   - source: the source's topics.
    ///   - target: the target's.
    ///   - storing: writes down what is known of partitions that have no positions yet, before anything is written to them.
    func scanOrigins(
        worker: Int, _ source: ClusterView, _ target: ClusterView, storing: (Set<TopicPartition>) async throws(KafkaError) -> Void
    ) async {
        let now = SystemClock.monotonicMilliseconds()
        let waiting = contents.withLock { state in
            state.partitions.values.filter {
                $0.needsScan && $0.position != nil && $0.notBefore <= now && state.distribution.worker(of: $0.source) == worker
            }
        }
        guard !waiting.isEmpty else { return }
        do throws(KafkaError) {
            var begins: [TopicPartition: Int64] = [:]
            var rules: [TopicPartition: ProvenanceRule] = [:]
            var doubts: [TopicPartition: TargetOrigins.Doubt] = [:]
            let ends = try await targetAdmin.ends(waiting.map(\.target))
            for item in waiting {
                guard let end = ends[item.target] else { continue }
                rules[item.target] = records.rule(item.source, source.topics[item.source.topic]?.topicID ?? .zero)
                doubts[item.target] = origins.doubt(about: item.target)
                let begin = begin(of: item, target.topics[item.target.topic]?.topicID ?? .zero, end: end)
                begins[item.target] = min(begin, doubts[item.target]?.from ?? end)
            }
            try await TopicReading.readTails(begins, clients.targetConsumer) { partition, headers in
                if let (path, offset) = rules[partition]?.path(onTarget: headers) { origins.found(partition, path, offset) }
            }
            for (partition, end) in ends where begins[partition] != nil {
                origins.scanned(partition, target.topics[partition.topic]?.topicID ?? .zero, end: end, doubts[partition])
            }
            let scanned = waiting.filter { begins[$0.target] != nil }
            let new = Set(scanned.filter { $0.stored == nil }.map(\.source))
            if !new.isEmpty { try await storing(new) }
            contents.withLock { state in
                for item in scanned {
                    state.partitions[item.source]?.needsScan = false
                    state.partitions[item.source]?.scanFrom = nil
                }
            }
        } catch {
            for item in waiting { failed(item.source, "\(error)", pauseMilliseconds: 1000) }
            report("reading what \(flow.target) has already", error)
        }
    }

    /// Where to begin, after what is written down was taken over.
    private func begin(of item: CopiedPartition, _ topicID: TopicID, end: Int64) -> Int64 {
        let lookback = max(0, end - flow.provenanceLookback)
        switch item.scanFrom {
        case .written(let snapshot):
            // The topic may have been made again since.
            guard snapshot.topicID == topicID, snapshot.end <= end else { return lookback }
            origins.load(item.target, snapshot)
            return snapshot.end
        case .known(let offset): return offset <= end ? offset : lookback
        case .behindPosition(let offset): return min(offset, lookback)
        case nil: return lookback
        }
    }

    /// What is in doubt has to be looked up before any of these partitions goes on.
    private func scanAgain(_ parts: [FetchedPart]) {
        contents.withLock { state in
            for part in parts {
                state.partitions[part.source]?.needsScan = true
                state.partitions[part.source]?.scanFrom = origins.snapshot(part.target).map { .known($0.end) }
            }
        }
    }

    // MARK: Writing

    /// Writes a round so that none of its records is written twice, whatever other flows write to the same partitions.
    ///
    /// - Returns: whether everything is on the target.
    func writeOnce(_ round: FetchedRound, _ produce: ProduceSettings, _ body: (FetchedRound) async -> Bool) async -> Bool {
        guard flow.addsProvenance else { return await body(round) }
        return await origins.alone(with: Set(round.parts.map(\.target))) {
            var round = round
            let stamped = round.parts.filter { $0.rule != nil }
            if stamped.contains(where: { origins.doubt(about: $0.target) != nil }) {
                // Another flow's write failed.
                for part in round.parts { failed(part.source, "looking up what \(flow.target) has", pauseMilliseconds: 0) }
                scanAgain(stamped)
                return false
            }
            do throws(KafkaError) {
                for index in round.parts.indices { try removeKnown(&round.parts[index], produce) }
            } catch {
                for part in round.parts { failed(part.source, "\(error)", pauseMilliseconds: 5000) }
                report("looking for records that \(flow.target) has already", error)
                return false
            }
            guard await body(round) else {
                for part in stamped { origins.doubt(part.target) }
                scanAgain(stamped)
                return false
            }
            for part in round.parts {
                let last = contents.withLock { $0.partitions[part.source]?.lastCopied?.downstream }
                origins.wrote(part.target, part.passed, end: last.map { $0 + 1 })
            }
            return true
        }
    }

    private func removeKnown(_ part: inout FetchedPart, _ produce: ProduceSettings) throws(KafkaError) {
        let known = origins.known(part.target)
        let mayBeThere = part.passed.contains { path, offsets in offsets.ranges.contains { known.mayHave(path, $0) } }
        guard let rule = part.rule, mayBeThere else { return }
        var left: [CopiedBatch] = []
        var removed = 0
        do throws(RecordBatchError) {
            for copy in part.copies {
                let (batch, count) = try copy.without(known, rule, produce.compression)
                removed += count
                if let batch { left.append(batch) }
            }
        } catch {
            throw KafkaError(error)
        }
        part.copies = left
        contents.withLock { $0.partitions[part.source]?.figures.rewrites.known += removed }
    }

    // MARK: Where nothing comes

    /// Partitions of a worker of which too much would have to be read at the next start, for others wrote to them since their positions were
    /// stored, or of which something is written down that does not hold any more.
    func outdatedOrigins(worker: Int) async throws(KafkaError) -> Set<TopicPartition> {
        let items = contents.withLock { state in
            state.partitions.values.filter {
                $0.position != nil && !$0.needsScan && flow.addsProvenance(to: $0.target.topic)
                    && state.distribution.worker(of: $0.source) == worker
            }
        }
        guard !items.isEmpty else { return [] }
        var rests: [TopicPartition: Int] = [:]
        for item in items { rests[item.target] = origins.rest(of: item.target) }
        for (partition, end) in try await targetAdmin.ends(rests.keys.sorted()) {
            if let rest = rests[partition] { origins.passed(partition, to: end, since: rest) }
        }
        return Set(
            items.filter { item in
                guard let end = origins.snapshot(item.target)?.end else { return false }
                return end - (item.storedOrigins?.end ?? 0) > flow.provenanceLookback
                    || item.storedOrigins?.losses != origins.losses(of: item.target)
            }.map(\.source))
    }
}

extension AdminClient {
    /// The ends of partitions; those without a leader are left out.
    fileprivate func ends(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: Int64] {
        var ends: [TopicPartition: Int64] = [:]
        guard !partitions.isEmpty else { return ends }
        for outcome in try await listOffsets(partitions.map { ($0, .latest) }) {
            if case .success(let listed) = outcome.result { ends[outcome.item] = listed.offset }
        }
        return ends
    }
}
