// Before a partition is copied: what the target has of each origin, read from the end of its log. After a crash these are the records that
// were written behind the last stored position.
import MartletClient
import Mirroring
import Primitives
import RecordBatches

extension FlowState {
    /// Looks at the ends of partitions on the target, for those that a worker is about to copy.
    func scanOrigins(worker: Int, _ view: ClusterView) async {
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
            let ends = try await targetAdmin.ends(waiting.map(\.target))
            for item in waiting {
                guard let end = ends[item.target] else { continue }
                rules[item.target] = records.rule(item.source, view.topics[item.source.topic]?.topicID ?? .zero)
                let lookback = max(0, end - flow.provenanceLookback)
                begins[item.target] = min(item.scanFrom ?? lookback, lookback)
            }
            try await TopicReading.readTails(begins, clients.targetConsumer) { partition, headers in
                if let (path, offset) = rules[partition]?.path(onTarget: headers) { origins.wrote(partition, path, offset...offset) }
            }
            contents.withLock { state in
                for item in waiting where begins[item.target] != nil {
                    state.partitions[item.source]?.needsScan = false
                    state.partitions[item.source]?.scanFrom = nil
                }
            }
        } catch {
            for item in waiting { failed(item.source, "\(error)", pauseMilliseconds: 1000) }
            report("reading what \(flow.target) has already", error)
        }
    }

    /// It is not certain what was written of these partitions.
    func scanAgain(_ partitions: [TopicPartition]) {
        guard flow.addsProvenance else { return }
        contents.withLock { state in
            for partition in partitions where !ReplicationPolicy.isHeartbeats(partition.topic) {
                let last = state.partitions[partition]?.lastCopied?.downstream
                state.partitions[partition]?.needsScan = true
                state.partitions[partition]?.scanFrom = last.map { $0 + 1 }
            }
        }
    }

    /// Writes a round so that none of its records is written twice, whatever other flows write to the same partitions.
    ///
    /// - Returns: whether everything is on the target.
    func writeOnce(_ round: FetchedRound, _ produce: ProduceSettings, _ body: (FetchedRound) async -> Bool) async -> Bool {
        guard flow.addsProvenance else { return await body(round) }
        return await origins.alone(with: Set(round.parts.map(\.target))) {
            var round = round
            do throws(KafkaError) {
                for index in round.parts.indices { try removeKnown(&round.parts[index], produce) }
            } catch {
                for part in round.parts { failed(part.source, "\(error)", pauseMilliseconds: 5000) }
                report("looking for records that \(flow.target) has already", error)
                return false
            }
            guard await body(round) else {
                scanAgain(round.parts.map(\.source))
                return false
            }
            for part in round.parts {
                for (path, offsets) in part.passed {
                    for range in offsets.ranges { origins.wrote(part.target, path, range) }
                }
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
}

extension AdminClient {
    /// The ends of partitions; those without a leader are left out.
    fileprivate func ends(_ partitions: [TopicPartition]) async throws(KafkaError) -> [TopicPartition: Int64] {
        var ends: [TopicPartition: Int64] = [:]
        for outcome in try await listOffsets(partitions.map { ($0, .latest) }) {
            if case .success(let listed) = outcome.result { ends[outcome.item] = listed.offset }
        }
        return ends
    }
}
