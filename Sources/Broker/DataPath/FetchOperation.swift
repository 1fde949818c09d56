// One fetch in progress: reads what there is, waits for more if that is too little, answers once. Lives on its connection's event
// loop; only its `FetchWaiter` is known elsewhere.
import KafkaWire
import NIOCore
import Primitives
import Replication
import Storage

/// What one partition gave to a fetch.
struct FetchPartitionResult {
    var key: FetchSessionKey
    var error = ErrorCode.none
    var highWatermark: Offset = -1
    var lastStableOffset: Offset = -1
    var logStartOffset: Offset = -1
    var abortedTransactions: [AbortedTransaction]?
    var slice: LogSlice?
    var topic: TopicPartitions?

    var recordBytes: Int { slice?.length ?? 0 }

    var outcome: FetchOutcome {
        FetchOutcome(
            recordBytes: recordBytes, highWatermark: highWatermark, logStartOffset: logStartOffset, failed: error != .none)
    }
}

/// One fetch request being served.
final class FetchOperation {
    struct Limits {
        var minBytes: Int
        var maxBytes: Int
        var maxWaitMilliseconds: Int32
    }

    private let asked: [(key: FetchSessionKey, position: FetchPosition, topic: TopicPartitions?)]
    /// The partitions found, in the order of `asked`.
    private let partitions: [Partition?]
    private let limits: Limits
    private let version: Int16
    private let isolation: ReadIsolation
    private let complete: ([FetchPartitionResult]) -> Void
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?
    private var finished = false

    /// - Parameter complete: called once, on the event loop, unless the operation is cancelled before.
    init(
        asked: [(key: FetchSessionKey, position: FetchPosition, topic: TopicPartitions?)], limits: Limits, version: Int16,
        isolation: ReadIsolation, complete: @escaping ([FetchPartitionResult]) -> Void
    ) {
        self.asked = asked
        partitions = asked.map { $0.topic?[$0.key.partition] }
        self.limits = limits
        self.version = version
        self.isolation = isolation
        self.complete = complete
    }

    /// Answers at once if there is enough to answer with; otherwise waits for appends, at most `maxWaitMilliseconds`.
    func start(on eventLoop: any EventLoop) {
        let (results, satisfied) = read()
        if satisfied || limits.maxWaitMilliseconds <= 0 { return finish(results) }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let waiter = FetchWaiter(eventLoop: eventLoop) { bound.value.retry() }
        self.waiter = waiter
        deadline = eventLoop.scheduleTask(in: .milliseconds(Int64(limits.maxWaitMilliseconds))) { bound.value.expire() }
        enter(waiter, results)
    }

    /// The connection is gone, or the node stops: forget everything, answer nothing.
    func cancel() {
        guard !finished else { return }
        leave()
    }

    /// The node stops: answer with what there is.
    func expire() {
        guard !finished else { return }
        finish(read().results)
    }

    private func retry() {
        guard !finished, let waiter else { return }
        let (results, satisfied) = read()
        if satisfied { return finish(results) }
        for partition in partitions { partition?.forget(waiter) }
        waiter.rearm()
        enter(waiter, results)
    }

    private func enter(_ waiter: FetchWaiter, _ results: [FetchPartitionResult]) {
        for (index, partition) in partitions.enumerated() {
            partition?.wait(waiter, beyond: results[index].highWatermark)
        }
    }

    private func finish(_ results: [FetchPartitionResult]) {
        leave()
        complete(results)
    }

    private func leave() {
        finished = true
        deadline?.cancel()
        deadline = nil
        if let waiter {
            for partition in partitions { partition?.forget(waiter) }
        }
        waiter = nil
    }

    private func read() -> (results: [FetchPartitionResult], satisfied: Bool) {
        var results: [FetchPartitionResult] = []
        results.reserveCapacity(asked.count)
        var remaining = limits.maxBytes
        var total = 0
        var satisfied = asked.isEmpty
        for (index, (key, position, topic)) in asked.enumerated() {
            var result = FetchPartitionResult(key: key)
            result.topic = topic
            guard let partition = partitions[index] else {
                result.error = version >= 13 && topic == nil ? .unknownTopicId : .unknownTopicOrPartition
                results.append(result)
                satisfied = true
                continue
            }
            let request = FetchRead(
                fetchOffset: position.fetchOffset, maxBytes: max(0, min(remaining, Int(position.maxBytes))), minOneBatch: total == 0,
                currentLeaderEpoch: position.currentLeaderEpoch)
            do throws(PartitionError) {
                let read = try partition.read(request, isolation: isolation)
                result.highWatermark = read.highWatermark
                result.lastStableOffset = read.lastStableOffset
                result.logStartOffset = read.logStartOffset
                result.slice = read.slice
                if isolation == .lastStable { result.abortedTransactions = read.abortedTransactions }
                total += result.recordBytes
                remaining -= result.recordBytes
            } catch {
                result.error = error.fetchErrorCode(version: version)
                satisfied = true
            }
            results.append(result)
        }
        return (results, satisfied || total >= limits.minBytes)
    }
}
