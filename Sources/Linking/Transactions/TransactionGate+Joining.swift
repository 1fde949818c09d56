// How mirrors come to be waited for, in two steps: brokers are asked to show no more of one, and when all of them have heard, its end as its
// leader says it then is recorded. So nobody has seen what lies behind, which a fail-over would cut off.
import Primitives

extension TransactionGate {
    /// Mirrors that brokers are to show up to there, or as they come again: changes since the last time.
    public mutating func takeHolds() -> [TopicPartition: SettledMirror?] {
        defer { pendingHolds = [:] }
        return pendingHolds
    }

    /// All brokers have heard that they are to hold mirrors.
    public mutating func areHeldByAll(_ partitions: [TopicPartition]) {
        for partition in partitions where mirrors[partition]?.heldSince != nil { mirrors[partition]?.isHeldByAll = true }
    }

    /// Mirrors that have caught up are waited for from now on.
    mutating func joinMirrors(now: Int64) {
        guard !isOpen else { return }
        for (partition, mirror) in mirrors where mirror.settled == nil && mirror.upTo >= 0 {
            guard let coveredAt = mirror.coveredAt, coveredAt > mirror.freeSince else { continue }
            // What is in the mirror so far has been shown. One whose decision is to come may begin anywhere.
            passAll(of: partition)
            guard mirrors[partition]?.markers.isEmpty == true, isClear(partition, coveredAt), isHeld(partition, now: now) else { continue }
            let settled = SettledMirror(end: mirror.upTo, stable: min(mirror.stableOffset, mirror.upTo))
            mirrors[partition]?.heardAt = nil
            mirrors[partition]?.firstDecision = nil
            mirrors[partition]?.heldSince = nil
            mirrors[partition]?.isHeldByAll = false
            mirrors[partition]?.settled = settled
            pending.mirrors[partition] = settled
        }
    }

    /// Whether it is known of every decision on which side of a mirror's end it is carried out: behind it are those that were made since all
    /// markers are reported, before it those that were complete before that. The next coordinator goes by it.
    private mutating func isClear(_ partition: TopicPartition, _ coveredAt: Int64) -> Bool {
        guard let first = mirrors[partition]?.firstDecision else { return false }
        var passed: [DecisionID] = []
        for (id, entry) in decisions where entry.number < first && !entry.passed.contains(partition) {
            guard mirrored(entry.decision.partitions).contains(partition) else { continue }
            guard let completedAt = entry.completedAt, coveredAt > completedAt + Self.coverageMilliseconds else { return false }
            passed.append(id)
        }
        for id in passed { decisions[id]?.passed.insert(partition) }
        return true
    }

    /// Whether nobody shows more of a mirror than its leader has reported.
    private mutating func isHeld(_ partition: TopicPartition, now: Int64) -> Bool {
        // Of the source's offsets brokers have no mirror.
        guard partition.topic != OffsetsLog.topic, let mirror = mirrors[partition] else { return true }
        guard let since = mirror.heldSince else {
            mirrors[partition]?.heldSince = now
            pendingHolds[partition] = SettledMirror(end: mirror.upTo, stable: min(mirror.stableOffset, mirror.upTo))
            return false
        }
        if mirror.isHeldByAll, mirror.isHeldByLeader { return true }
        // A broker that does not hear does not keep readers from what is there.
        if now - since > maximumHold {
            release(partition)
            mirrors[partition]?.freeSince = now
        }
        return false
    }

    /// A mirror is shown as it comes, as long as nothing else is recorded.
    mutating func release(_ partition: TopicPartition) {
        mirrors[partition]?.heldSince = nil
        mirrors[partition]?.isHeldByAll = false
        pendingHolds[partition] = .some(nil)
    }
}
