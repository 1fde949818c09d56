// What went to other nodes and came back, counted for metrics.
import Synchronization

/// Counts of all connections that share it.
public final class PeerTraffic: Sendable {
    /// What was counted so far.
    public struct Totals: Sendable, Hashable {
        public var requests: Int64 = 0
        public var responses: Int64 = 0
        /// With everything around requests and responses.
        public var outgoingBytes: Int64 = 0
        public var incomingBytes: Int64 = 0

        public init() {}
    }

    private let requests = Atomic<Int64>(0)
    private let responses = Atomic<Int64>(0)
    private let outgoingBytes = Atomic<Int64>(0)
    private let incomingBytes = Atomic<Int64>(0)

    public init() {}

    func sent(bytes: Int) {
        requests.wrappingAdd(1, ordering: .relaxed)
        outgoingBytes.wrappingAdd(Int64(bytes), ordering: .relaxed)
    }

    func received(bytes: Int) { incomingBytes.wrappingAdd(Int64(bytes), ordering: .relaxed) }

    func answered() { responses.wrappingAdd(1, ordering: .relaxed) }

    public var totals: Totals {
        var totals = Totals()
        totals.requests = requests.load(ordering: .relaxed)
        totals.responses = responses.load(ordering: .relaxed)
        totals.outgoingBytes = outgoingBytes.load(ordering: .relaxed)
        totals.incomingBytes = incomingBytes.load(ordering: .relaxed)
        return totals
    }
}
