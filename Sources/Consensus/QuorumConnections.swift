// Which requests are under way: one at a time to every peer, with a pause after a failure, as Kafka's members do it.
import OrderedCollections
import Primitives

/// A request that was sent.
struct SentRequest: Sendable {
    var peer: QuorumPeer
    var request: QuorumRequest
    var correlation: UInt64
    var deadline: Int64
}

/// The state of each connection, by the peer's id.
struct QuorumConnections: Sendable {
    private var underWay: OrderedDictionary<NodeID, SentRequest> = [:]
    private var pauses: OrderedDictionary<NodeID, Int64> = [:]
    private var lastCorrelation: UInt64 = 0

    /// Forgets everything, as a member does that takes on another role: answers to older requests are not for it any more.
    mutating func reset() {
        underWay = [:]
        pauses = [:]
    }

    var hasRequestUnderWay: Bool { !underWay.isEmpty }

    func isReady(_ id: NodeID) -> Bool { underWay[id] == nil && pauses[id] == nil }

    func isPaused(_ id: NodeID) -> Bool { pauses[id] != nil }

    mutating func send(_ request: QuorumRequest, to peer: QuorumPeer, deadline: Int64) -> UInt64 {
        lastCorrelation += 1
        underWay[peer.id] = SentRequest(peer: peer, request: request, correlation: lastCorrelation, deadline: deadline)
        return lastCorrelation
    }

    /// The request that was answered; nil if it was given up.
    mutating func answered(_ correlation: UInt64) -> SentRequest? {
        guard let sent = underWay.values.first(where: { $0.correlation == correlation }) else { return nil }
        underWay[sent.peer.id] = nil
        return sent
    }

    mutating func backOff(_ id: NodeID, until: Int64) {
        guard underWay[id] == nil else { return }
        pauses[id] = until
    }

    /// Ends pauses and gives up requests that took too long.
    mutating func expire(now: Int64, pause: Int64) -> [SentRequest] {
        pauses.removeAll { $0.value <= now }
        let lost = underWay.values.filter { $0.deadline <= now }
        for request in lost {
            underWay[request.peer.id] = nil
            pauses[request.peer.id] = now + pause
        }
        return lost
    }

    var nextDeadline: Int64 {
        var deadline = Int64.max
        for request in underWay.values { deadline = min(deadline, request.deadline) }
        for pause in pauses.values { deadline = min(deadline, pause) }
        return deadline
    }
}
