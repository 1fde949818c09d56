// Which decision each marker carries out.
import Primitives

extension TransactionGate {
    /// Finds for each marker the decision that it carries out, mirror by mirror in the order of the log.
    ///
    /// - Returns: mirrors in which one was let go of that had waited too long for what the source decided: which of a producer's markers is
    ///   next is not known there any longer.
    mutating func match(now: Int64, maximumHold: Int64) -> Set<TopicPartition> {
        var lost: Set<TopicPartition> = []
        for partition in mirrors.keys.sorted() {
            guard let markers = mirrors[partition]?.markers, markers.contains(where: { $0.fate == .unknown }) else { continue }
            /// Producers whose earlier marker waits: the order would be lost.
            var waiting: Set<ProducerID> = []
            for (index, marker) in markers.enumerated() where marker.fate == .unknown {
                let producer = marker.marker.producer.id
                guard !waiting.contains(producer) else { continue }
                let (fate, isRead) = fate(of: marker, in: partition, now: now, maximumHold: maximumHold)
                mirrors[partition]?.markers[index].fate = fate
                switch fate {
                case .unknown: waiting.insert(producer)
                case .free: break
                case .of(let id): matched(id, marker, in: partition)
                }
                guard fate != .unknown, !isRead else { continue }
                incompleteTransactions += 1
                mirrors[partition]?.sequenced = []
                lost.insert(partition)
            }
        }
        return lost
    }

    private mutating func matched(_ id: DecisionID, _ marker: Marker, in partition: TopicPartition) {
        let producer = marker.marker.producer.id
        // Of earlier decisions nothing comes any more.
        for earlier in byProducer[producer] ?? [] {
            if earlier == id { break }
            if decisions[earlier]?.markers[partition] == nil { decisions[earlier]?.passed.insert(partition) }
        }
        decisions[id]?.markers[partition] = marker.marker.offset
        if decisions[id]?.firstMarkerAt == nil { decisions[id]?.firstMarkerAt = marker.reportedAt }
        mirrors[partition]?.sequenced?.insert(producer)
    }

    /// - Returns: with whether all has been read that the marker may be of.
    private func fate(
        of marker: Marker, in partition: TopicPartition, now: Int64, maximumHold: Int64
    ) -> (fate: Marker.Fate, isRead: Bool) {
        let match = decision(of: marker.marker, in: partition)
        if case .found(let id) = match { return (.of(id), true) }
        // What has not been observed yet may be what the marker is of, or fit it better.
        let isRead = marker.reportedAt <= readThrough
        guard isRead || now - marker.reportedAt > maximumHold else { return (.unknown, false) }
        if case .likely(let id) = match { return (.of(id), isRead) }
        return (.free, isRead)
    }

    /// How far the clocks of a source's brokers may differ.
    private static let clockMilliseconds: Int64 = 10_000

    private enum Match {
        case found(DecisionID)
        /// The one that fits best so far.
        case likely(DecisionID)
        /// Of a decision from before those that are known.
        case unknown
        case toCome
    }

    /// Where nothing is known of a producer's earlier markers in a mirror, time has to tell, unless each of its decisions has an epoch of
    /// its own (KIP-890).
    private func decision(of marker: MirroredMarker, in partition: TopicPartition) -> Match {
        let source = TopicPartition(sources[partition.topic] ?? "", partition.partition)
        let open = (byProducer[marker.producer.id] ?? []).compactMap { decisions[$0] }.filter { entry in
            !entry.passed.contains(partition) && entry.markers[partition] == nil && entry.decision.partitions.contains(source)
        }
        let fitting = open.filter {
            $0.decision.producer.epoch == marker.producer.epoch && $0.decision.isCommit == marker.isCommit
        }
        guard let first = fitting.first else { return .toCome }
        if mirrors[partition]?.sequenced?.contains(marker.producer.id) ?? true {
            // Long before this one was written all markers of some may have been, but for those that never come: what the source has lost in an
            // unclean election, or written to a topic that it has given away since.
            let next = fitting.first { ($0.completionTimestamp ?? .max) > marker.timestamp - Self.clockMilliseconds }
            return next.map { .found($0.decision.id) } ?? .likely(first.decision.id)
        }
        var best = first
        var bestDistance = Int64.max
        for entry in fitting {
            let distance = max(
                0, entry.decision.decidedAt - marker.timestamp, entry.completionTimestamp.map { marker.timestamp - $0 } ?? 0)
            if distance < bestDistance { (best, bestDistance) = (entry, distance) }
        }
        // An earlier transaction of the producer had ended before this one began.
        if max(0, marker.timestamp - first.decision.startedAt) < bestDistance { return .unknown }
        let isWithin = bestDistance == 0 && best.completionTimestamp != nil
        return isWithin ? .found(best.decision.id) : .likely(best.decision.id)
    }
}
