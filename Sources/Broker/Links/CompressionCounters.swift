// What comes over a link: bytes as they were sent, and as they are unpacked.
import Synchronization

/// Of answers that came over a link.
final class CompressionCounters: Sendable {
    private let before = Atomic<Int64>(0)
    private let after = Atomic<Int64>(0)

    func add(before: Int, after: Int) {
        self.before.wrappingAdd(Int64(before), ordering: .relaxed)
        self.after.wrappingAdd(Int64(after), ordering: .relaxed)
    }

    /// Bytes before compressing and after it.
    var counts: (before: Int64, after: Int64) { (before.load(ordering: .relaxed), after.load(ordering: .relaxed)) }
}

/// What a link's fetchers took over the way between clusters.
final class LinkTraffic: Sendable {
    let answers = CompressionCounters()
    private let obstacle = Mutex("")

    /// Why answers are not compressed although that was asked for; empty when they are.
    var problem: String {
        get { obstacle.withLock { $0 } }
        set { obstacle.withLock { $0 = newValue } }
    }
}
