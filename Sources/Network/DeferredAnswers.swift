// Answers that keep their place while later requests are already worked on. Answers leave in the order of the requests, as Kafka's protocol
// promises; but a request that only waits for others, such as a produce request for its replicas, need not keep the next one from starting.
import DequeModule

/// The place of one answer in the order of a connection's answers. Lives on the connection's event loop.
public final class DeferredAnswer {
    fileprivate var frame: OutboundFrame?

    init(_ frame: OutboundFrame? = nil) {
        self.frame = frame
    }
}

/// The answers of one connection that wait for an earlier one.
struct DeferredAnswers {
    /// How many requests may be open at a time, answered or not.
    static let maximumCount = 32
    /// Bytes of answers that may wait for an earlier one before no further request is taken.
    static let maximumBytes = 65_536

    private var waiting: Deque<DeferredAnswer> = []
    private var byteCount = 0

    var isEmpty: Bool { waiting.isEmpty }
    var isFull: Bool { waiting.count >= Self.maximumCount || byteCount >= Self.maximumBytes }

    /// A place behind all others, for an answer that comes later.
    mutating func add() -> DeferredAnswer {
        let answer = DeferredAnswer()
        waiting.append(answer)
        return answer
    }

    /// An answer that is there already but has to wait for those before it.
    mutating func add(_ frame: OutboundFrame) {
        byteCount += frame.totalLength
        waiting.append(DeferredAnswer(frame))
    }

    /// Fills a place, and takes out whatever may leave now.
    mutating func fill(_ answer: DeferredAnswer, with frame: OutboundFrame, into outbound: inout OutboundQueue) {
        precondition(answer.frame == nil, "a request answered twice")
        byteCount += frame.totalLength
        answer.frame = frame
        while let next = waiting.first?.frame {
            waiting.removeFirst()
            byteCount -= next.totalLength
            outbound.append(next)
        }
    }

    mutating func removeAll() {
        waiting = []
        byteCount = 0
    }
}
