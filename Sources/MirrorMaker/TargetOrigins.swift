// What all flows to one target know together of the origins of its records, and that no two of them write to the same partition at once: a
// record that comes on two ways is written once.
import Mirroring
import Primitives
import Synchronization

/// The origins of a target's records.
final class TargetOrigins: Sendable {
    private struct Partition {
        var known = KnownOrigins()
        var topicID = TopicID.zero
        /// The offset on the target from which records may be there that are not in `known`; nil before it was looked at.
        var end: Int64?
        /// Counts what failed so that nobody knows whether it was written; nil when the last such was looked up.
        var doubt: Int?
        var doubts = 0
        /// How often somebody wrote.
        var writes = 0
        /// How often something was forgotten that may be written down.
        var losses = 0
    }

    private struct State {
        var partitions: [TopicPartition: Partition] = [:]
        var busy: Set<TopicPartition> = []
        var waiting: [(partitions: Set<TopicPartition>, continuation: CheckedContinuation<Void, Never>)] = []

        mutating func enter(_ wanted: Set<TopicPartition>) {
            busy.formUnion(wanted)
            for partition in wanted { partitions[partition, default: Partition()].writes += 1 }
        }
    }

    /// Something that may be there or not, from an offset on.
    struct Doubt: Hashable, Sendable {
        var from: Int64?
        fileprivate var number: Int
    }

    private let state = Mutex(State())

    private func with<Result>(_ partition: TopicPartition, _ body: (inout Partition) -> Result) -> Result {
        state.withLock { body(&$0.partitions[partition, default: Partition()]) }
    }

    func known(_ partition: TopicPartition) -> KnownOrigins { state.withLock { $0.partitions[partition]?.known ?? KnownOrigins() } }

    /// What was written down of a partition.
    func load(_ partition: TopicPartition, _ snapshot: OriginSnapshot) {
        with(partition) { $0.known.formUnion(snapshot.known) }
    }

    /// What is to be written down of a partition; nil before it was looked at.
    func snapshot(_ partition: TopicPartition) -> OriginSnapshot? {
        with(partition) { partition in partition.end.map { OriginSnapshot(partition.known, topicID: partition.topicID, end: $0) } }
    }

    /// A record was found on the target.
    func found(_ partition: TopicPartition, _ path: RecordPath, _ offset: Int64) {
        with(partition) { $0.known.wrote(path, offset...offset) }
    }

    /// Records were written.
    ///
    /// - Parameter end: the offset behind them, where it is known.
    func wrote(_ partition: TopicPartition, _ passed: [RecordPath: OffsetRanges], end: Int64?) {
        with(partition) { partition in
            for (path, offsets) in passed {
                for range in offsets.ranges { partition.known.wrote(path, range) }
            }
            if let end, let known = partition.end { partition.end = max(known, end) }
        }
    }

    func forget(_ partition: TopicPartition, _ origin: RecordOrigin) {
        with(partition) {
            $0.known.forget(origin)
            $0.losses += 1
        }
    }

    /// Counts what was forgotten of a partition: what was written down before holds too much.
    func losses(of partition: TopicPartition) -> Int { with(partition) { $0.losses } }

    // MARK: Doubts

    /// It is not certain whether something was written. Nobody writes there before that was looked up: it could be the same.
    func doubt(_ partition: TopicPartition) {
        with(partition) {
            $0.doubts += 1
            $0.doubt = $0.doubts
        }
    }

    /// What has to be looked up; nil when everything is known.
    func doubt(about partition: TopicPartition) -> Doubt? {
        with(partition) { partition in partition.doubt.map { Doubt(from: partition.end, number: $0) } }
    }

    /// The log was read up to an offset.
    ///
    /// - Parameters:
    ///   - topicID: that of the topic on the target.
    ///   - doubt: what was in doubt before.
    func scanned(_ partition: TopicPartition, _ topicID: TopicID, end: Int64, _ doubt: Doubt?) {
        with(partition) { partition in
            partition.topicID = topicID
            partition.end = max(partition.end ?? 0, end)
            if let doubt, partition.doubt == doubt.number { partition.doubt = nil }
        }
    }

    // MARK: Where others write

    /// Counts the writes to a partition; nil while somebody writes or something is in doubt.
    func rest(of partition: TopicPartition) -> Int? {
        state.withLock { state in
            guard let known = state.partitions[partition], known.doubt == nil, !state.busy.contains(partition) else { return nil }
            return known.writes
        }
    }

    /// The log ended at an offset while nobody of us wrote: what is before it was written by applications.
    func passed(_ partition: TopicPartition, to end: Int64, since rest: Int) {
        state.withLock { state in
            guard let known = state.partitions[partition], known.writes == rest, known.doubt == nil, let last = known.end else { return }
            state.partitions[partition]?.end = max(last, end)
        }
    }

    // MARK: One after the other

    /// Runs something while nobody else writes to any of the partitions.
    func alone<Result: Sendable>(with partitions: Set<TopicPartition>, _ body: () async -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                // Whoever waits longer goes first.
                let isFree =
                    state.busy.isDisjoint(with: partitions) && !state.waiting.contains { !$0.partitions.isDisjoint(with: partitions) }
                if isFree { state.enter(partitions) } else { state.waiting.append((partitions, continuation)) }
                return isFree
            }
            if isFree { continuation.resume() }
        }
        let result = await body()
        for continuation in leave(partitions) { continuation.resume() }
        return result
    }

    private func leave(_ partitions: Set<TopicPartition>) -> [CheckedContinuation<Void, Never>] {
        state.withLock { state in
            state.busy.subtract(partitions)
            var released: [CheckedContinuation<Void, Never>] = []
            var left: [(partitions: Set<TopicPartition>, continuation: CheckedContinuation<Void, Never>)] = []
            var passed: Set<TopicPartition> = []
            for (wanted, continuation) in state.waiting {
                if state.busy.isDisjoint(with: wanted), passed.isDisjoint(with: wanted) {
                    state.enter(wanted)
                    released.append(continuation)
                } else {
                    passed.formUnion(wanted)
                    left.append((wanted, continuation))
                }
            }
            state.waiting = left
            return released
        }
    }
}
