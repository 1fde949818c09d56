// Timers without a thread or a task each: whoever owns the queue asks it from time to time what is due.
import Collections

/// A queue of deadlines, each under an id; setting an id again moves its deadline.
///
/// Not safe for several threads at once: it lives inside whatever guards the state that its timers are about. Setting, cancelling and
/// taking a due timer cost the logarithm of the number of timers; a moved or cancelled deadline is left in the heap until it comes up
/// or until such leftovers are in the majority.
public struct TimerQueue<ID: Hashable & Sendable>: Sendable {
    private struct Entry: Comparable, Sendable {
        var deadline: Int64
        /// Orders equal deadlines by when they were set, and tells the entry in force from those it replaced.
        var sequence: UInt64
        var id: ID

        static func == (left: Entry, right: Entry) -> Bool { left.sequence == right.sequence }
        static func < (left: Entry, right: Entry) -> Bool { (left.deadline, left.sequence) < (right.deadline, right.sequence) }
    }

    private var heap = Heap<Entry>()
    private var sequences: [ID: UInt64] = [:]
    private var nextSequence: UInt64 = 0

    public init() {}

    /// How many timers are set.
    public var count: Int { sequences.count }
    public var isEmpty: Bool { sequences.isEmpty }

    /// When the next timer is due, on the owner's clock; nil when none is set.
    public var nextDeadline: Int64? {
        mutating get {
            dropLeftovers()
            return heap.min?.deadline
        }
    }

    /// Sets the timer, or moves it if it is set.
    public mutating func set(_ id: ID, deadline: Int64) {
        sequences[id] = nextSequence
        heap.insert(Entry(deadline: deadline, sequence: nextSequence, id: id))
        nextSequence += 1
        compactIfWorthwhile()
    }

    public mutating func cancel(_ id: ID) {
        sequences[id] = nil
        compactIfWorthwhile()
    }

    public func isSet(_ id: ID) -> Bool { sequences[id] != nil }

    /// Takes out the earliest timer that is due at `now`; nil when none is.
    public mutating func popDue(now: Int64) -> ID? {
        dropLeftovers()
        guard let earliest = heap.min, earliest.deadline <= now else { return nil }
        heap.removeMin()
        sequences[earliest.id] = nil
        return earliest.id
    }

    private mutating func dropLeftovers() {
        while let earliest = heap.min, sequences[earliest.id] != earliest.sequence { heap.removeMin() }
    }

    /// Keeps the heap within twice the number of timers, whatever is moved or cancelled.
    private mutating func compactIfWorthwhile() {
        guard heap.count > 64, heap.count > 2 * sequences.count else { return }
        heap = Heap(heap.unordered.filter { sequences[$0.id] == $0.sequence })
    }
}
