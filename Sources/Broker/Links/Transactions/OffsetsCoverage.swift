// Up to which time the source's `__consumer_offsets` has been read: the source is asked now and then where its partitions end, beside the
// reading, for a broker that is away would hold it up.
import Primitives
import Synchronization

/// The answers of one reader.
final class OffsetsCoverage: Sendable {
    private struct State {
        /// Where partitions ended at a time, in monotonic milliseconds.
        var ends: [Int32: (askedAt: Int64, end: Offset)] = [:]
        var covered: [Int32: Int64] = [:]
        var isAsking = false
        var nextAt: Int64 = 0
    }

    private let state = Mutex(State())

    /// When all that has been read was all there was; nil if that is not known of any time.
    func coveredAt(_ partition: Int32, upTo next: Offset) -> Int64? {
        state.withLock { state in
            if let (askedAt, end) = state.ends[partition], next >= end { state.covered[partition] = askedAt }
            return state.covered[partition]
        }
    }

    /// Asks, if somebody wants to know and it was not done just now.
    func ask(
        _ milliseconds: Int64, _ watch: TransactionWatch, _ ends: @escaping @Sendable (Set<Int32>) async throws -> [Int32: Offset]
    ) async {
        let now = SystemClock.monotonicMilliseconds()
        let partitions = watch.state.withLock { state in state.gate.isBusy ? Set(state.gate.offsetsLogs.keys) : [] }
        let isDue = state.withLock { state -> Bool in
            guard !partitions.isEmpty, !state.isAsking, now >= state.nextAt else { return false }
            state.isAsking = true
            state.nextAt = now + milliseconds
            return true
        }
        guard isDue else { return }
        watch.links.tasks.begin { [self] in
            let found = try? await ends(partitions)
            state.withLock { state in
                state.isAsking = false
                // An end that has not been come to yet is not forgotten for a later one.
                for (partition, end) in found ?? [:] where state.covered[partition] == state.ends[partition]?.askedAt {
                    state.ends[partition] = (now, end)
                }
            }
        }
    }
}
