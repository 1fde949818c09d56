// The heart of a simulated world: one ordered queue of things to happen, and a clock that jumps from one to the next. Whatever happens
// at the same instant happens in an order that the seed decides, so that nothing can rely on luck.
import HeapModule
import Primitives

/// Microseconds since the simulated world began.
public typealias VirtualTime = Int64

extension VirtualTime {
    /// This many milliseconds.
    public static func milliseconds(_ count: Int64) -> VirtualTime { count * 1000 }
    /// This many seconds.
    public static func seconds(_ count: Int64) -> VirtualTime { count * 1_000_000 }
}

/// Runs events in the order of virtual time. Not thread-safe: a world lives in one thread.
public final class Scheduler {
    private struct Event: Comparable {
        let time: VirtualTime
        let tie: UInt64
        let action: () -> Void

        static func < (left: Event, right: Event) -> Bool { (left.time, left.tie) < (right.time, right.tie) }
        static func == (left: Event, right: Event) -> Bool { (left.time, left.tie) == (right.time, right.tie) }
    }

    /// The current instant.
    public private(set) var now: VirtualTime = 0
    /// Events that have run.
    public private(set) var count = 0
    /// Changes with every event's time and order: two runs of one seed end with the same digest.
    public private(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
    private var queue = Heap<Event>()
    private var random: SeededRandom

    public init(seed: UInt64) {
        random = SeededRandom(seed: seed)
    }

    /// Has `action` run at that instant, or now if it has passed.
    public func at(_ time: VirtualTime, _ action: @escaping () -> Void) {
        queue.insert(Event(time: max(time, now), tie: random.next(), action: action))
    }

    /// Has `action` run after a delay.
    public func after(_ delay: VirtualTime, _ action: @escaping () -> Void) {
        at(now + max(0, delay), action)
    }

    /// Mixes something observed into the digest.
    public func mix(_ value: UInt64) {
        digest = (digest ^ value) &* 0x100_0000_01b3
    }

    /// Runs the next event; false when there is none.
    public func step() -> Bool {
        guard let event = queue.popMin() else { return false }
        now = event.time
        count += 1
        mix(UInt64(bitPattern: event.time) ^ event.tie)
        event.action()
        return true
    }
}
