// What follows from what a gate knows: how far mirrors get on, which are not waited for, which are again.
import Primitives

extension TransactionGate {
    /// Draws the conclusions from everything so far; ``takeStep()`` gives them.
    ///
    /// - Returns: mirrors that are not waited for any longer.
    public mutating func evaluate(now: Int64) -> [TopicPartition] {
        let lost = match(now: now, maximumHold: maximumHold)
        var left = lost.filter { mirrors[$0]?.settled != nil }
        for partition in lost { loseOrder(in: partition, now: now) }
        passCovered()
        left.formUnion(leaveBehind(now: now))
        joinMirrors(now: now)
        settle()
        forgetDone(now: now)
        return left.sorted()
    }

    /// A marker counts though nobody knows of which decision: its mirror is waited for again once all that was decided by now is known to be
    /// carried out in it.
    private mutating func loseOrder(in partition: TopicPartition, now: Int64) {
        free(partition, now: now)
        mirrors[partition]?.heardAt = now
        mirrors[partition]?.firstDecision = nil
    }

    /// Whether mirrors have got on since the last step.
    public var hasStep: Bool { !pending.mirrors.isEmpty }

    /// What is to be recorded: all of it at once, and one step after the other.
    public mutating func takeStep() -> SettlingStep {
        var step = pending
        pending = SettlingStep()
        step.decisions = settledDecisions
        return step
    }

    /// A mirror that does not get on is not waited for.
    private mutating func leaveBehind(now: Int64) -> Set<TopicPartition> {
        var left: Set<TopicPartition> = []
        for entry in decisions.values where entry.decision.isCommit {
            guard let first = entry.firstMarkerAt, now - first > maximumHold else { continue }
            let missing = waiting(entry).subtracting(entry.markers.keys)
            guard !missing.isEmpty else { continue }
            incompleteTransactions += 1
            left.formUnion(missing)
        }
        for partition in left { free(partition, now: now) }
        return left
    }

    mutating func free(_ partition: TopicPartition, now: Int64) {
        guard let mirror = mirrors[partition] else { return }
        mirrors[partition]?.freeSince = now
        release(partition)
        guard mirror.settled != nil else { return }
        // All of its markers since it is waited for have been reported.
        if mirror.upTo >= 0 {
            mirrors[partition]?.heardAt = now
            mirrors[partition]?.firstDecision = 0
        }
        mirrors[partition]?.settled = nil
        pending.mirrors[partition] = .some(nil)
    }

    /// Takes all mirrors as far as whole transactions go. Transactions whose markers stand in different orders in different mirrors go
    /// together; one that has to wait in one mirror waits in all, and keeps back what is behind it.
    private mutating func settle() {
        var ready = Set(decisions.values.filter { isReady($0) }.map(\.decision.id))
        var blocked: [TopicPartition: Int] = [:]
        var isStable = false
        while !isStable {
            isStable = true
            for (partition, mirror) in mirrors where mirror.settled != nil && !mirror.markers.isEmpty {
                let index = mirror.markers.firstIndex { !isPassable($0, ready) } ?? mirror.markers.count
                if blocked[partition] == index { continue }
                blocked[partition] = index
                for marker in mirror.markers[index...] {
                    if case .of(let id) = marker.fate, ready.remove(id) != nil { isStable = false }
                }
            }
        }
        pending.committed += ready.count
        for (partition, index) in blocked where index > 0 { advance(partition, past: index) }
        for (partition, mirror) in mirrors where mirror.settled == nil && !mirror.markers.isEmpty { passAll(of: partition) }
    }

    /// A commit of which all is there.
    private func isReady(_ entry: Decision) -> Bool {
        guard entry.decision.isCommit, !entry.markers.isEmpty else { return false }
        return waiting(entry).isSubset(of: entry.markers.keys)
    }

    private func isPassable(_ marker: Marker, _ ready: Set<DecisionID>) -> Bool {
        switch marker.fate {
        case .unknown: false
        case .free: true
        case .of(let id): !marker.marker.isCommit || ready.contains(id)
        }
    }

    /// - Parameter count: of markers.
    private mutating func advance(_ partition: TopicPartition, past count: Int) {
        guard var mirror = mirrors[partition], let former = mirror.settled else { return }
        let passed = mirror.markers[..<count]
        mirror.markers.removeFirst(count)
        let end = mirror.markers.first?.marker.offset ?? (passed.last?.marker.offset ?? former.end - 1) + 1
        let settled = SettledMirror(end: max(former.end, end), stable: max(former.stable, min(mirror.stableOffset, end)))
        mirror.settled = settled
        mirrors[partition] = mirror
        for marker in passed {
            carriedOut(marker, in: partition)
            if marker.marker.isCommit { commit(marker.marker.groupOffsets) }
        }
        pending.mirrors[partition] = settled
    }

    /// Of a mirror that is not waited for: markers count as they come, but those whose decisions are still to come are matched first.
    mutating func passAll(of partition: TopicPartition) {
        guard let markers = mirrors[partition]?.markers else { return }
        for marker in markers where marker.fate != .unknown { carriedOut(marker, in: partition) }
        mirrors[partition]?.markers.removeAll { $0.fate != .unknown }
    }

    private mutating func carriedOut(_ marker: Marker, in partition: TopicPartition) {
        guard case .of(let id) = marker.fate else { return }
        decisions[id]?.markers[partition] = nil
        decisions[id]?.passed.insert(partition)
    }

    /// A mirror that has had everything for long since the source wrote the last marker, and knows of none, has carried it out before.
    private mutating func passCovered() {
        for (id, entry) in decisions {
            guard let completedAt = entry.completedAt else { continue }
            let open = mirrored(entry.decision.partitions).filter { !entry.passed.contains($0) && entry.markers[$0] == nil }
            for partition in open {
                guard let mirror = mirrors[partition], let coveredAt = mirror.coveredAt,
                    coveredAt > completedAt + Self.coverageMilliseconds, !mirror.markers.contains(where: { $0.fate == .unknown })
                else { continue }
                decisions[id]?.passed.insert(partition)
            }
        }
    }
}
