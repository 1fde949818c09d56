// Plain numbers about traffic. Each event loop has its own set and is the only writer, so counting is a relaxed load and store;
// whoever wants to know adds the loops up.
import Synchronization

/// The numbers of one event loop.
final class LoopCounters: Sendable {
    let bytesReceived = Atomic<Int>(0)
    let bytesSent = Atomic<Int>(0)
    let requests = Atomic<Int>(0)
    let connectionsOpened = Atomic<Int>(0)
    let connectionsClosed = Atomic<Int>(0)
    let connectionsRejected = Atomic<Int>(0)
    let idleCloses = Atomic<Int>(0)
    let coldReads = Atomic<Int>(0)

    init() {}

    /// Adds to a counter of which the calling loop is the only writer.
    @inline(__always)
    static func add(_ amount: Int, to counter: borrowing Atomic<Int>) {
        counter.store(counter.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }
}

/// Totals over all loops since the start.
public struct NetworkCounters: Sendable, Hashable {
    public var bytesReceived = 0
    public var bytesSent = 0
    public var requests = 0
    public var connectionsOpened = 0
    public var connectionsClosed = 0
    /// Connections turned away by a bound.
    public var connectionsRejected = 0
    /// Connections closed by `connections.max.idle.ms`.
    public var idleCloses = 0
    /// Pieces of files that had to be read from the disk before they could be sent.
    public var coldReads = 0

    /// Connections open now.
    public var connections: Int { connectionsOpened - connectionsClosed }

    public init() {}

    mutating func add(_ counters: LoopCounters) {
        bytesReceived += counters.bytesReceived.load(ordering: .relaxed)
        bytesSent += counters.bytesSent.load(ordering: .relaxed)
        requests += counters.requests.load(ordering: .relaxed)
        connectionsOpened += counters.connectionsOpened.load(ordering: .relaxed)
        connectionsClosed += counters.connectionsClosed.load(ordering: .relaxed)
        connectionsRejected += counters.connectionsRejected.load(ordering: .relaxed)
        idleCloses += counters.idleCloses.load(ordering: .relaxed)
        coldReads += counters.coldReads.load(ordering: .relaxed)
    }
}
