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
    var isThrottled = false
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
        isThrottled = read.isThrottled
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

    /// What is asked of one partition, and whether the sender may have it.
    struct Asked {
        var key: FetchSessionKey
        var position: FetchPosition
        var topic: TopicPartitions?
        var isDenied: Bool
    }

    private let asked: [Asked]
    /// The partitions found, in the order of `asked`.
    private let partitions: [Partition?]
    private let limits: Limits
    private let version: Int16
    private let reader: FetchReader
    private let complete: ([FetchPartitionResult]) -> Void
    private var results: [FetchPartitionResult] = []
    /// Bytes of records in `results`.
    private var total = 0
    /// Whether something cannot wait: an error, a diverging epoch, another replica to read from.
    private var isUrgent = false
    private var waiter: FetchWaiter?
    private var deadline: Scheduled<Void>?
    private var finished = false
    private var gathering: FetchGathering?
    /// There is something to answer with, and a moment is left for more.
    private var isGathering = false

    /// - Parameter complete: called once, on the event loop, unless the operation is cancelled before.
    init(
        asked: [Asked], limits: Limits, version: Int16,
        reader: FetchReader, complete: @escaping ([FetchPartitionResult]) -> Void
    ) {
        self.asked = asked
        partitions = asked.map { $0.isDenied ? nil : $0.topic?[$0.key.partition] }
        self.limits = limits
        self.version = version
        self.reader = reader
        self.complete = complete
        isUrgent = asked.isEmpty
    }

    /// Answers at once if there is enough to answer with, or after gathering more; otherwise waits for appends, at most
    /// `maxWaitMilliseconds`.
    func start(on eventLoop: any EventLoop, gathering: FetchGathering? = nil) {
        self.gathering = gathering
        readAll(isFirst: true)
        if isSatisfied { return finishOrGather(on: eventLoop) }
        if limits.maxWaitMilliseconds <= 0 { return finish() }
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        let waiter = FetchWaiter(eventLoop: eventLoop) { bound.value.retry(on: eventLoop) }
        self.waiter = waiter
        deadline = eventLoop.scheduleTask(in: .milliseconds(Int64(limits.maxWaitMilliseconds))) { bound.value.expire() }
        for index in partitions.indices { enter(waiter, index) }
    }

    /// The connection is gone, or the node stops: forget everything, answer nothing.
    func cancel() {
        guard !finished else { return }
        leave()
    }

    /// The time is over, or the node stops: answer with what there is.
    func expire() {
        guard !finished else { return }
        readAll(isFirst: false)
        finish()
    }

    /// Whether an answer could hold at least twice the records that there are.
    private var hasRoom: Bool {
        !isUrgent && total <= limits.maxBytes / 2
            && zip(asked, results).allSatisfy { $1.recordBytes <= Int($0.position.maxBytes) / 2 }
    }

    private var isSatisfied: Bool { isUrgent || total >= limits.minBytes }

    /// Looks again at the partitions that have changed, and only at them: a follower may wait for thousands.
    private func retry(on eventLoop: any EventLoop) {
        guard !finished, !isGathering, let waiter else { return }
        let woken = waiter.rearm()
        for index in woken { read(index, followerStartOffset: nil) }
        if isSatisfied { return finishOrGather(on: eventLoop) }
        for index in woken { enter(waiter, index) }
    }

    private func enter(_ waiter: FetchWaiter, _ index: Int) {
        partitions[index]?.wait(WaitEntry(waiter: waiter, token: index), beyond: results[index].seen, isFollower: reader.isFollower)
    }

    private func finishOrGather(on eventLoop: any EventLoop) {
        guard let gathering, hasRoom, SystemClock.monotonicNanoseconds() < gathering.end else { return finish() }
        isGathering = true
        deadline?.cancel()
        let bound = NIOLoopBound(self, eventLoop: eventLoop)
        deadline = eventLoop.scheduleTask(in: .nanoseconds(gathering.nanoseconds)) { bound.value.expire() }
    }

    private func finish() {
        leave()
        complete(results)
    }

    private func leave() {
        finished = true
        deadline?.cancel()
        deadline = nil
        if let waiter {
            for partition in partitions { partition?.forget(waiter, isFollower: reader.isFollower) }
        }
        waiter = nil
    }

    private func readAll(isFirst: Bool) {
        total = 0
        results = []
        results.reserveCapacity(asked.count)
        for (index, entry) in asked.enumerated() {
            results.append(FetchPartitionResult(key: entry.key, topic: entry.topic))
            read(index, followerStartOffset: isFirst ? entry.position.logStartOffset : nil)
        }
    }

    private func read(_ index: Int, followerStartOffset: Offset?) {
        let (key, position, topic) = (asked[index].key, asked[index].position, asked[index].topic)
        var result = FetchPartitionResult(key: key, topic: topic)
        total -= results[index].recordBytes
        if let partition = partitions[index] {
            let request = FetchRead(
                fetchOffset: position.fetchOffset, maxBytes: max(0, min(limits.maxBytes - total, Int(position.maxBytes))),
                minOneBatch: total == 0, currentLeaderEpoch: position.currentLeaderEpoch, lastFetchedEpoch: position.lastFetchedEpoch)
            do throws(PartitionError) {
                result.take(try partition.read(request, reader, followerStartOffset: followerStartOffset), reader)
                if result.diverging != nil || result.preferredReadReplica >= 0 { isUrgent = true }
            } catch {
                result.error = error.fetchErrorCode(version: version)
            }
        } else if asked[index].isDenied {
            result.error = .topicAuthorizationFailed
        } else if topic?.contains(key.partition) == true {
            result.error = .notLeaderOrFollower
        } else {
            result.error = version >= 13 && topic == nil ? .unknownTopicId : .unknownTopicOrPartition
        }
        if result.error != .none { isUrgent = true }
        total += result.recordBytes
        results[index] = result
    }
}
