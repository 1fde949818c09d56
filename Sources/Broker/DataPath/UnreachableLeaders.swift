// Leaders whose connection to this follower has just ended. A client that lost its leader asks for metadata within a millisecond, long
// before the controller has decided about that broker; told of the old leader once more, it may not ask again for a second (librdkafka).
// So its question waits a moment, for the answer is about to change. A connection that was merely dropped is back sooner than that.
import ClusterMetadata
import Primitives
import Synchronization

/// Who could not be reached, and since when. Thread-safe.
final class UnreachableLeaders: Sendable {
    /// Longer than it takes to miss a process that closed its sockets, shorter than any client's patience.
    private static let milliseconds: Int64 = 400

    /// Failures that are further apart than this, which is longer than any pause between attempts, have nothing to do with each other.
    private static let pauseMilliseconds: Int64 = 1500

    /// Monotonic milliseconds of the first and the last failure. No more than there are brokers.
    private let failures = Mutex<[NodeID: (first: Int64, last: Int64)]>([:])

    func failed(_ leader: NodeID, now: Int64) {
        failures.withLock { failures in
            let before = failures[leader].flatMap { now - $0.last <= Self.pauseMilliseconds ? $0.first : nil }
            failures[leader] = (before ?? now, now)
        }
    }

    func reached(_ leader: NodeID) {
        failures.withLock { failures in
            if !failures.isEmpty { failures[leader] = nil }
        }
    }

    /// Whether metadata about some broker may be about to change.
    func isDecisionPending(_ cluster: ClusterImage, now: Int64) -> Bool {
        failures.withLock { failures in
            failures.contains { id, times in now - times.first < Self.milliseconds && cluster.broker(id)?.isFenced == false }
        }
    }
}
