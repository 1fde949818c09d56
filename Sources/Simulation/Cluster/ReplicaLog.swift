// A partition's log on a simulated disk. What a process wrote survives its end; what was not flushed may be gone after a loss of power,
// as acks=all promises replicas and not disks. The rules are `PartitionLog`'s, on values instead of bytes.
import Primitives
import Replication
import Storage

/// What a broker has of one partition; stays when its process ends.
final class ReplicaLog {
    private(set) var batches: [ReplicaBatch] = []
    private(set) var epochs = LeaderEpochs()
    private(set) var highWatermark: Offset = 0
    /// As `replication-offset-checkpoint` has it.
    private(set) var checkpointedHighWatermark: Offset = 0
    /// Everything below survives a loss of power.
    private(set) var durableOffset: Offset = 0
    /// The flushed part of the log as it was before a truncation that may not have reached the disk.
    private var beforeTruncation: [ReplicaBatch]?
    private var producers: [ProducerID: [(first: Int32, last: Int32, offset: Offset)]] = [:]

    var endOffset: Offset { batches.last?.nextOffset ?? 0 }
    var latestEpoch: LeaderEpoch? { epochs.latest?.epoch }
    var offsets: ReplicaLogOffsets { ReplicaLogOffsets(startOffset: 0, endOffset: endOffset, highWatermark: highWatermark) }

    /// The index of the batch that holds `offset`, or of the end.
    func index(of offset: Offset) -> Int {
        var (low, high) = (0, batches.count)
        while low < high {
            let middle = (low + high) / 2
            if batches[middle].nextOffset <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }

    func value(at offset: Offset) -> UInt64? {
        let index = index(of: offset)
        guard index < batches.count, batches[index].baseOffset <= offset else { return nil }
        return batches[index].values[Int(offset - batches[index].baseOffset)]
    }

    /// Whole batches from the one that holds `offset` on.
    func read(from offset: Offset, below limit: Offset, maxBatches: Int) -> [ReplicaBatch] {
        var found: [ReplicaBatch] = []
        var index = index(of: offset)
        while index < batches.count, batches[index].baseOffset < limit, found.count < maxBatches {
            found.append(batches[index])
            index += 1
        }
        return found
    }

    func assignLeaderEpoch(_ epoch: LeaderEpoch) { epochs.assign(epoch, startOffset: endOffset) }

    /// Nil for a producer that may go on from anywhere.
    func lastSequence(of producer: ProducerID) -> Int32? { producers[producer]?.last?.last }

    /// Where a batch lies that was sent before.
    func duplicate(of batch: ReplicaBatch) -> Offset? {
        producers[batch.producer]?.first { $0.first == batch.sequence && $0.last == batch.lastSequence }?.offset
    }

    func append(_ batch: ReplicaBatch, flushing: Bool) {
        precondition(batch.baseOffset == endOffset, "a batch that does not follow")
        epochs.assign(batch.epoch, startOffset: batch.baseOffset)
        batches.append(batch)
        remember(batch)
        if flushing { flush() }
    }

    private func remember(_ batch: ReplicaBatch) {
        guard batch.producer >= 0 else { return }
        var known = producers[batch.producer] ?? []
        if known.count == 5 { known.removeFirst() }
        known.append((batch.sequence, batch.lastSequence, batch.baseOffset))
        producers[batch.producer] = known
    }

    @discardableResult
    func advanceHighWatermark(to offset: Offset) -> Bool {
        let bounded = min(offset, endOffset)
        guard bounded > highWatermark else { return false }
        highWatermark = bounded
        return true
    }

    func truncate(to offset: Offset) {
        guard offset < endOffset else { return epochs.truncate(fromEnd: offset) }
        if beforeTruncation == nil { beforeTruncation = batches.filter { $0.nextOffset <= durableOffset } }
        while let last = batches.last, last.nextOffset > offset { batches.removeLast() }
        settle()
        // Written before anything was cut.
        checkpointedHighWatermark = min(checkpointedHighWatermark, endOffset)
    }

    private func settle() {
        durableOffset = min(durableOffset, endOffset)
        highWatermark = min(highWatermark, endOffset)
        epochs.truncate(fromEnd: endOffset)
        producers = [:]
        for batch in batches { remember(batch) }
    }

    func flush() {
        durableOffset = endOffset
        beforeTruncation = nil
    }

    func checkpointHighWatermark() { checkpointedHighWatermark = highWatermark }

    // MARK: Ends of processes

    /// A process opens the log: what it knew and did not write is gone. Epochs are found in the batches again.
    func opened() {
        epochs = LeaderEpochs()
        for batch in batches { epochs.assign(batch.epoch, startOffset: batch.baseOffset) }
        highWatermark = min(checkpointedHighWatermark, endOffset)
        checkpointedHighWatermark = highWatermark
        settle()
    }

    /// Where the log ended before, when records are gone.
    func powerLost(_ random: inout SeededRandom) -> Offset? {
        let (before, end) = (batches, endOffset)
        if let old = beforeTruncation, random.chance(300) { batches = old }
        beforeTruncation = nil
        let unflushed = batches.count { $0.nextOffset > durableOffset }
        if unflushed > 0 { batches.removeLast(Int(random.between(0...Int64(unflushed)))) }
        settle()
        return batches != before ? end : nil
    }
}

extension ReplicaBatch {
    var lastSequence: Int32 { sequence + Int32(values.count) - 1 }
}
