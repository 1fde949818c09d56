// One share fetch in progress: acquires what there is, waits for more if there is nothing, answers once. Lives on its connection's event
// loop; only its `FetchWaiter` is known elsewhere.
import KafkaWire
import NIOCore
import Primitives
import ShareCoordination
import Storage

/// What one partition gave to a share fetch.
struct ShareFetchResult: Sendable {
    var partition: TopicIDPartition
    var error = ErrorCode.none
    var records = ByteBuffer()
    var acquired: [AcquiredRecords] = []
}

/// One share fetch being served.
final class ShareFetchOperation {
    struct Limits {
        var minimumBytes: Int
        var maximumBytes: Int
        var records: ShareFetchLimits
        var maximumWaitMilliseconds: Int32
    }

    /// What is asked of one partition: it has either a share partition or an error.
    struct Asked {
        var partition: TopicIDPartition
        var entry: SharePartitionEntry?
        var error = ErrorCode.none
    }

    private let asked: [Asked]
    private let member: String
    private let settings: ShareGroupOverrides
    private let limits: Limits
    private let complete: ([ShareFetchResult]) -> Void
    private var results: [ShareFetchResult]
    /// What each partition's last fetch saw.
    private var seen: [(offset: Offset, changes: UInt64)]
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?
    private var isFinished = false

    /// - Parameter complete: called once, on the event loop, unless the operation is cancelled before.
    init(
        asked: [Asked], member: String, settings: ShareGroupOverrides, limits: Limits, complete: @escaping ([ShareFetchResult]) -> Void
    ) {
        self.asked = asked
        self.member = member
        self.settings = settings
        self.limits = limits
        self.complete = complete
        results = asked.map { ShareFetchResult(partition: $0.partition, error: $0.error) }
        seen = asked.map { _ in (-1, 0) }
    }

    /// Answers at once if there is enough to answer with; otherwise waits, at most `maximumWaitMilliseconds`.
    func start(on eventLoop: any EventLoop) {
        let hasPartitions = asked.contains { $0.entry != nil }
        guard hasPartitions, limits.records.maximumRecords > 0, limits.maximumBytes > 0 else { return finish() }
        if hasEnough() { acquire() }
        if isSatisfied || limits.maximumWaitMilliseconds <= 0 {
            if !isSatisfied { acquire() }
            return finish()
        }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let waiter = FetchWaiter(eventLoop: eventLoop) { bound.value.retry() }
        self.waiter = waiter
        deadline = eventLoop.scheduleTask(in: .milliseconds(Int64(limits.maximumWaitMilliseconds))) { bound.value.expire() }
        for index in asked.indices { enter(waiter, index) }
    }

    /// The connection is gone: forget everything, answer nothing.
    func cancel() {
        guard !isFinished else { return }
        leave()
    }

    private func expire() {
        guard !isFinished else { return }
        acquire()
        if !isSatisfied { asked.lazy.compactMap(\.entry).first?.metrics.expiredFetches.increment() }
        finish()
    }

    private func retry() {
        guard !isFinished, let waiter else { return }
        let woken = waiter.rearm()
        if hasEnough() { acquire() }
        if isSatisfied { return finish() }
        for index in woken { enter(waiter, index) }
    }

    private func enter(_ waiter: FetchWaiter, _ index: Int) {
        guard let entry = asked[index].entry else { return }
        // Either may come first and finds the other's entry gone or still there: waking twice does no harm.
        entry.forget(waiter)
        entry.wait(WaitEntry(waiter: waiter, token: index), since: seen[index].changes)
        // A share partition that is not ready, or has given out all that it may, gains nothing from new records.
        guard seen[index].offset >= 0 else { return }
        entry.partition.forget(waiter, isFollower: false)
        entry.partition.wait(WaitEntry(waiter: waiter, token: index), beyond: seen[index].offset, isFollower: false)
    }

    private func finish() {
        leave()
        complete(results)
    }

    private func leave() {
        isFinished = true
        deadline?.cancel()
        deadline = nil
        if let waiter {
            for entry in asked.compactMap(\.entry) {
                entry.forget(waiter)
                entry.partition.forget(waiter, isFollower: false)
            }
        }
        waiter = nil
    }

    /// Whether something cannot wait: records or an error.
    private var isSatisfied: Bool { results.contains { !$0.acquired.isEmpty || $0.error != .none } }

    /// Whether there is as much as the client wants at least. What is acquired is locked: less than that must not be.
    private func hasEnough() -> Bool {
        guard limits.minimumBytes > 1 else { return true }
        var total = 0
        for (index, asked) in asked.enumerated() {
            guard let entry = asked.entry else { continue }
            let available = entry.availableBytes(maximumBytes: limits.maximumBytes, isolation: settings.isolation)
            seen[index] = (available.seen, available.changes)
            total += available.bytes
        }
        return total >= limits.minimumBytes
    }

    private func acquire() {
        var bytes = limits.maximumBytes
        var records = limits.records
        let now = SystemClock.monotonicMilliseconds()
        for (index, entry) in asked.enumerated() {
            guard let partition = entry.entry, results[index].error == .none, records.maximumRecords > 0, bytes > 0 else { continue }
            switch partition.fetch(member, records, maximumBytes: bytes, settings: settings, now: now) {
            case .records(let read, let acquired):
                results[index].records = read
                results[index].acquired = acquired
                bytes -= read.readableBytes
                records.maximumRecords -= acquired.reduce(0) { $0 + $1.count }
            case .nothing(let offset, let changes): seen[index] = (offset, changes)
            case .failed(let error): results[index].error = error
            }
        }
    }
}
