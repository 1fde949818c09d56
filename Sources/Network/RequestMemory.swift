// The bound on bytes of requests over all connections. Without a bound, the default, it costs one comparison per request.
import Synchronization

/// Counts the bytes of requests being received or worked on. As with Kafka's memory pool a request is admitted while anything is
/// left, whatever its size, so that a large request is never starved.
final class RequestMemory: Sendable {
    private let bound: Int
    private let used = Atomic<Int>(0)
    private let waiting = Mutex<[LoopState]>([])
    private let hasWaiting = Atomic<Bool>(false)

    /// - Parameter bound: bytes, or 0 and less for no bound.
    init(bound: Int) {
        self.bound = bound
    }

    var isBounded: Bool { bound > 0 }

    /// Takes `count` bytes if anything is left; otherwise `loop` is told when there is.
    func reserve(_ count: Int, waitingOn loop: LoopState) -> Bool {
        if tryReserve(count) { return true }
        waiting.withLock { loops in
            if !loops.contains(where: { $0 === loop }) { loops.append(loop) }
        }
        hasWaiting.store(true, ordering: .sequentiallyConsistent)
        // Something may have been released before the note was left.
        return tryReserve(count)
    }

    private func tryReserve(_ count: Int) -> Bool {
        let before = used.wrappingAdd(count, ordering: .sequentiallyConsistent).oldValue
        if before < bound { return true }
        release(count)
        return false
    }

    /// Gives bytes back.
    func release(_ count: Int) {
        let after = used.wrappingSubtract(count, ordering: .sequentiallyConsistent).newValue
        guard after < bound, hasWaiting.exchange(false, ordering: .sequentiallyConsistent) else { return }
        let loops = waiting.withLock { loops in
            defer { loops = [] }
            return loops
        }
        for loop in loops {
            loop.eventLoop.execute { loop.memoryFreed() }
        }
    }

    /// Bytes in use now.
    var usedBytes: Int { used.load(ordering: .relaxed) }
}
