// What all flows to one target know together of the origins of its records, and that no two of them write to the same partition at once: a
// record that comes on two ways is written once.
import Mirroring
import Primitives
import Synchronization

/// The origins of a target's records.
final class TargetOrigins: Sendable {
    private struct State {
        var known: [TopicPartition: KnownOrigins] = [:]
        var busy: Set<TopicPartition> = []
        var waiting: [(partitions: Set<TopicPartition>, continuation: CheckedContinuation<Void, Never>)] = []
    }

    private let state = Mutex(State())

    func known(_ partition: TopicPartition) -> KnownOrigins { state.withLock { $0.known[partition] ?? KnownOrigins() } }

    func wrote(_ partition: TopicPartition, _ path: RecordPath, _ range: ClosedRange<Int64>) {
        state.withLock { $0.known[partition, default: KnownOrigins()].wrote(path, range) }
    }

    func forget(_ partition: TopicPartition, _ origin: RecordOrigin) {
        state.withLock { $0.known[partition]?.forget(origin) }
    }

    /// Runs something while nobody else writes to any of the partitions.
    func alone<Result: Sendable>(with partitions: Set<TopicPartition>, _ body: () async -> Result) async -> Result {
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                // Whoever waits longer goes first.
                let isFree =
                    state.busy.isDisjoint(with: partitions) && !state.waiting.contains { !$0.partitions.isDisjoint(with: partitions) }
                if isFree { state.busy.formUnion(partitions) } else { state.waiting.append((partitions, continuation)) }
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
            var passed: Set<TopicPartition> = []
            state.waiting.removeAll { wanted, continuation in
                guard state.busy.isDisjoint(with: wanted), passed.isDisjoint(with: wanted) else {
                    passed.formUnion(wanted)
                    return false
                }
                state.busy.formUnion(wanted)
                released.append(continuation)
                return true
            }
            return released
        }
    }
}
