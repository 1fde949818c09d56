// What a partition does as leader of a topic that other clusters mirror synchronously: it answers producers with acks=all only when the mirrors
// have their records too. Consumers read what is committed here, as always.
import Linking
import Primitives

/// A mirror of this partition in another cluster, under the key of its topic's record.
struct SynchronousWait: Sendable {
    var key: String
    var mirror: SynchronousMirror
}

/// News of a mirror that is waited for, to be told.
struct SynchronousChange: Sendable {
    var key: String
    var partition: TopicPartition
    var isDegraded: Bool
}

extension Partition {
    /// Which mirrors are waited for from now on, with how long; what is known of those that stay is kept.
    func setSynchronous(_ wanted: [SynchronousTopic]) {
        var effects = PartitionEffects()
        state.withLock { state in
            if state.synchronous.isEmpty, wanted.isEmpty { return }
            let epoch = state.replica.leaderEpoch
            state.synchronous = wanted.map { topic in
                let known = state.synchronous.first { $0.key == topic.key }
                if let known, known.mirror.timeoutMilliseconds == topic.timeoutMilliseconds { return known }
                return SynchronousWait(
                    key: topic.key, mirror: SynchronousMirror(leaderEpoch: epoch, timeoutMilliseconds: topic.timeoutMilliseconds))
            }
            state.answerProducers(&effects)
        }
        perform(effects)
    }

    /// Whether a mirror has been waited for long enough.
    func checkSynchronous(now: Int64) -> [SynchronousChange] {
        step { mirror, highWatermark, epoch in mirror.tick(highWatermark: highWatermark, leaderEpoch: epoch, now: now) }
    }

    /// A mirror says how far it is.
    ///
    /// - Returns: nil when this node does not lead the partition, or waits for no such mirror.
    func mirrorReported(_ key: String, _ offset: Offset, now: Int64) -> (isDegraded: Bool, change: [SynchronousChange])? {
        let changes = step(only: key) { mirror, highWatermark, epoch in
            mirror.report(offset, highWatermark: highWatermark, leaderEpoch: epoch, now: now)
        }
        return state.withLock { state in
            guard state.replica.isLeader, let wait = state.synchronous.first(where: { $0.key == key }) else { return nil }
            return (wait.mirror.isDegraded, changes)
        }
    }

    /// What this leader knows of its synchronous mirrors; empty where it does not lead.
    var synchronousMirrors: [SynchronousWait] { state.withLock { $0.replica.isLeader ? $0.synchronous : [] } }

    private func step(
        only key: String? = nil, _ body: (inout SynchronousMirror, Offset, LeaderEpoch) -> SynchronousMirror.Change
    ) -> [SynchronousChange] {
        var effects = PartitionEffects()
        let changes = state.withLock { state -> [SynchronousChange] in
            guard state.replica.isLeader else { return [] }
            var changes: [SynchronousChange] = []
            for index in state.synchronous.indices where key == nil || state.synchronous[index].key == key {
                let change = body(&state.synchronous[index].mirror, state.log.highWatermark, state.replica.leaderEpoch)
                guard change != .none else { continue }
                changes.append(
                    SynchronousChange(
                        key: state.synchronous[index].key, partition: topicPartition, isDegraded: change == .degraded))
            }
            state.answerProducers(&effects)
            return changes
        }
        perform(effects)
        return changes
    }
}

extension Partition.State {
    /// Up to where producers with acks=all may be answered.
    var acknowledgedOffset: Offset {
        var offset = log.highWatermark
        for wait in synchronous { offset = min(offset, wait.mirror.acknowledged(log.highWatermark, leaderEpoch: replica.leaderEpoch)) }
        return offset
    }

    /// Wakes the producers that wait for no more than is acknowledged now.
    mutating func answerProducers(_ effects: inout PartitionEffects) {
        if producers.isEmpty { return }
        let offset = acknowledgedOffset
        producers.removeAll { producer in
            guard producer.offset <= offset else { return false }
            effects.wakes.append(producer.entry)
            return true
        }
    }
}
