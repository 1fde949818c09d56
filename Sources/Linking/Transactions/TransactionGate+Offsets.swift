// What groups commit within transactions, to the gate: the source's `__consumer_offsets` is one more mirror.
import Primitives

extension TransactionGate {
    /// Partitions of `__consumer_offsets` that are read, with how far they are settled.
    public var offsetsLogs: [Int32: SettledMirror] {
        var logs: [Int32: SettledMirror] = [:]
        for (partition, mirror) in mirrors where partition.topic == OffsetsLog.topic && offsetsToBegin[partition.partition] == nil {
            logs[partition.partition] = mirror.settled ?? SettledMirror(end: mirror.upTo, stable: mirror.stableOffset)
        }
        return logs
    }

    /// Waits for the partitions of `__consumer_offsets` that a transaction names, from now on.
    mutating func waitForOffsets(of decision: TransactionDecision) {
        guard sources[OffsetsLog.topic] != nil else { return }
        for partition in decision.partitions where partition.topic == OffsetsLog.topic {
            let isNew = mirrors[partition] == nil
            // Waited for from now on, by this transaction and all that come.
            if isNew { mirrors[partition] = Mirror(settled: isOpen ? nil : SettledMirror(end: 0, stable: 0), freeSince: .min) }
            if let former = offsetsToBegin[partition.partition] ?? (isNew ? .max : nil) {
                offsetsToBegin[partition.partition] = min(former, decision.startedAt)
            }
        }
    }

    /// Begins to read a partition of `__consumer_offsets`.
    ///
    /// - Parameter offset: what the first transaction that names it commits is here or behind it.
    public mutating func beginOffsets(_ number: Int32, at offset: Offset) {
        let partition = TopicPartition(OffsetsLog.topic, number)
        guard offsetsToBegin.removeValue(forKey: number) != nil, mirrors[partition] != nil else { return }
        let settled = SettledMirror(end: offset, stable: offset)
        mirrors[partition]?.upTo = offset
        mirrors[partition]?.stableOffset = offset
        mirrors[partition]?.leaderEpoch = 0
        guard mirrors[partition]?.settled != nil else { return }
        mirrors[partition]?.settled = settled
        pending.mirrors[partition] = settled
    }

    /// What a settled transaction commits for groups, as far as the topics are mirrored.
    mutating func commit(_ offsets: [SourceGroupOffset]) {
        for each in offsets {
            guard let topic = topics?[each.partition.topic], topic != OffsetsLog.topic else { continue }
            pending.groupOffsets[each.group, default: [:]][TopicPartition(topic, each.partition.partition)] = each.offset
        }
    }
}
