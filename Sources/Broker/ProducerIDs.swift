// Hands out producer ids from blocks that the controller gives to this broker, so that no id is ever given out twice.
import Primitives
import Synchronization

/// The broker's block of producer ids.
final class ProducerIDs: Sendable {
    /// Asks the controller for a block; calls back with its first id and its length, or nil if that failed.
    typealias Allocate = @Sendable (@escaping @Sendable ((first: ProducerID, count: Int32)?) -> Void) -> Void
    typealias Reply = @Sendable (ProducerID?) -> Void

    fileprivate struct State {
        var next: ProducerID = 0
        var end: ProducerID = 0
        var isAsking = false
        var waiting: [Reply] = []
    }

    fileprivate let state = Mutex(State())
    private let allocate: Allocate
    private let offset: @Sendable () -> ProducerID

    /// - Parameter offset: added to every id that is given out.
    init(offset: @escaping @Sendable () -> ProducerID = { 0 }, allocate: @escaping Allocate) {
        self.allocate = allocate
        self.offset = offset
    }

    /// Where the ids of a cluster begin that has links: mirrors bring the producers of other clusters along, under the ids that they have
    /// there, and those who write on after a failover must not be taken for them. Thirty bits of the cluster's id, above what any cluster
    /// without links will ever give out.
    static func firstID(ofCluster id: String) -> ProducerID {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in id.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
        return ProducerID(hash >> 34 | 1) << 32
    }

    /// Calls back with the next id, at once while the block lasts.
    func next(_ reply: @escaping Reply) {
        let offset = offset()
        let reply: Reply = { id in reply(id.map { $0 + offset }) }
        let (id, mustAsk) = state.withLock { state -> (ProducerID?, Bool) in
            if let id = state.take() { return (id, false) }
            state.waiting.append(reply)
            defer { state.isAsking = true }
            return (nil, !state.isAsking)
        }
        if let id { return reply(id) }
        if mustAsk { allocate { [self] block in received(block) } }
    }

    private func received(_ block: (first: ProducerID, count: Int32)?) {
        let answers = state.withLock { state -> [(Reply, ProducerID?)] in
            state.isAsking = false
            if let block { (state.next, state.end) = (block.first, block.first + ProducerID(block.count)) }
            defer { state.waiting = [] }
            return state.waiting.map { ($0, state.take()) }
        }
        for (reply, id) in answers { reply(id) }
    }
}

extension ProducerIDs.State {
    fileprivate mutating func take() -> ProducerID? {
        guard next < end else { return nil }
        defer { next += 1 }
        return next
    }
}
