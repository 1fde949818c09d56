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
    /// Where the reader's log parts from this one.
    var diverging: EpochEndOffset?
    var preferredReadReplica: NodeID = -1
    /// What the read saw: the log's end for followers, the high watermark for consumers.
    var seen: Offset = -1

    var recordBytes: Int { slice?.length ?? 0 }

    var outcome: FetchOutcome {
        FetchOutcome(
            recordBytes: recordBytes, highWatermark: highWatermark, logStartOffset: logStartOffset,
            failed: error != .none || diverging != nil || preferredReadReplica >= 0)
    }
}

extension FetchPartitionResult {
    fileprivate mutating func take(_ read: PartitionRead, _ reader: FetchReader) {
        highWatermark = read.log.highWatermark
        lastStableOffset = read.log.lastStableOffset
        logStartOffset = read.log.logStartOffset
        slice = read.log.slice
        diverging = read.diverging
        preferredReadReplica = read.preferredReadReplica
        seen = reader.isFollower ? read.log.logEndOffset : read.log.highWatermark
        if reader.isolation == .lastStable { abortedTransactions = read.log.abortedTransactions }
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
    private let reader: FetchReader
    /// Followers tell where they are once, with the first read.
    private var hasRead = false
    private let complete: ([FetchPartitionResult]) -> Void
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?
    private var finished = false

    /// - Parameter complete: called once, on the event loop, unless the operation is cancelled before.
    init(
        asked: [(key: FetchSessionKey, position: FetchPosition, topic: TopicPartitions?)], limits: Limits, version: Int16,
        reader: FetchReader, complete: @escaping ([FetchPartitionResult]) -> Void
    ) {
        self.asked = asked
        partitions = asked.map { $0.topic?[$0.key.partition] }
        self.limits = limits
        self.version = version
        self.reader = reader
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
            partition?.wait(waiter, beyond: results[index].seen, isFollower: reader.isFollower)
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
                currentLeaderEpoch: position.currentLeaderEpoch, lastFetchedEpoch: position.lastFetchedEpoch)
            do throws(PartitionError) {
                let read = try partition.read(request, reader, followerStartOffset: hasRead ? nil : position.logStartOffset)
                result.take(read, reader)
                if read.diverging != nil || read.preferredReadReplica >= 0 { satisfied = true }
                total += result.recordBytes
                remaining -= result.recordBytes
            } catch {
                result.error = error.fetchErrorCode(version: version)
                satisfied = true
            }
            results.append(result)
        }
        hasRead = true
        return (results, satisfied || total >= limits.minBytes)
    }
}
