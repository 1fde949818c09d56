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

    init(allocate: @escaping Allocate) {
        self.allocate = allocate
    }

    /// Calls back with the next id, at once while the block lasts.
    func next(_ reply: @escaping Reply) {
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
