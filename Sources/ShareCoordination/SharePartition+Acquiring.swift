// Giving records out: those that came back first, then new ones; whole batches of the log where that is possible, so that a client does not
// get a part of one and pays for all of it.
import KafkaWire
import Primitives

/// What was read of the log for a fetch: the extents of the batches, in order. Never empty.
public struct ShareRead: Sendable {
    public struct Batch: Sendable, Equatable {
        public var baseOffset: Offset
        public var lastOffset: Offset

        public init(baseOffset: Offset, lastOffset: Offset) {
            self.baseOffset = baseOffset
            self.lastOffset = lastOffset
        }
    }

    /// From where on was read: ``SharePartition/nextFetchOffset``.
    public var fetchOffset: Offset
    public var batches: [Batch]

    public init(fetchOffset: Offset, batches: [Batch]) {
        precondition(!batches.isEmpty, "nothing was read")
        self.fetchOffset = fetchOffset
        self.batches = batches
    }

    var lastOffset: Offset { batches[batches.count - 1].lastOffset }

    /// The last offset of the batch that holds `offset`, or `offset` when there is none.
    func endOfBatch(holding offset: Offset) -> Offset {
        var low = 0
        var high = batches.count
        while low < high {
            let middle = (low + high) / 2
            if batches[middle].lastOffset < offset { low = middle + 1 } else { high = middle }
        }
        return low < batches.count && batches[low].baseOffset <= offset ? batches[low].lastOffset : offset
    }
}

/// How much a member wants.
public struct ShareFetchLimits: Sendable {
    /// Most records, unless a batch of the log has more.
    public var maximumRecords: Int
    /// About how many records one entry of the answer stands for.
    public var batchSize: Int
    /// `record_limit` (KIP-1206): never more records than asked for, even if that means a part of a batch.
    public var isStrict: Bool

    public init(maximumRecords: Int, batchSize: Int, isStrict: Bool) {
        self.maximumRecords = maximumRecords
        self.batchSize = batchSize
        self.isStrict = isStrict
    }
}

extension SharePartition {
    /// Gives records to a member until `now` + the lock's duration.
    public mutating func acquire(_ member: String, _ read: ShareRead, _ limits: ShareFetchLimits, now: Int64) -> [AcquiredRecords] {
        guard limits.maximumRecords > 0, read.lastOffset >= startOffset else { return [] }
        skipMissing(upTo: read.batches[0].baseOffset, from: read.fetchOffset)
        let first = max(startOffset, read.fetchOffset, read.batches[0].baseOffset)
        var acquired: [AcquiredRecords] = []
        var remaining = limits.maximumRecords
        let mayGoOn = acquireReturned(member, read, limits, from: first, &remaining, &acquired, now: now)
        if mayGoOn, remaining > 0 { acquireNew(member, read, limits, from: first, remaining, &acquired, now: now) }
        tidy()
        return acquired
    }

    /// The log has nothing any more between where the fetch was to begin and what it found: such records come to no one.
    private mutating func skipMissing(upTo baseOffset: Offset, from fetchOffset: Offset) {
        guard fetchOffset < baseOffset, !runs.isEmpty else { return }
        let last = min(baseOffset - 1, endOffset)
        let begin = max(fetchOffset, startOffset)
        if begin <= last {
            for index in isolate(begin, last) where runs[index].isFree { runs[index].state = .archived }
        }
        tidy()
    }

    /// Records that were out before.
    ///
    /// - Returns: whether new ones may be given out with them.
    private mutating func acquireReturned(
        _ member: String, _ read: ShareRead, _ limits: ShareFetchLimits, from first: Offset, _ remaining: inout Int,
        _ acquired: inout [AcquiredRecords], now: Int64
    ) -> Bool {
        var offset = first
        while remaining > 0, offset <= read.lastOffset, let index = index(of: offset) {
            let run = runs[index]
            offset = run.last + 1
            guard run.isFree else { continue }
            let begin = max(run.first, first)
            var last = min(run.last, read.lastOffset)
            // What came back often may be what its consumers die of: it goes out in smaller and smaller parts, in the end alone.
            let isSuspect = run.deliveryCount >= throttleLimit
            if isSuspect, !acquired.isEmpty { return false }
            if isSuspect {
                last = min(last, begin + Offset(suspectCount(run, among: min(Int(last - begin + 1), remaining))) - 1)
            } else if last - begin + 1 > Offset(remaining) {
                let wanted = begin + Offset(remaining) - 1
                last = limits.isStrict ? wanted : min(last, read.endOfBatch(holding: wanted))
            }
            for changed in isolate(begin, last) {
                runs[changed].state = .acquired
                runs[changed].deliveryCount &+= 1
                runs[changed].member = member
                runs[changed].deadline = now + settings.lockDurationMilliseconds
            }
            append(AcquiredRecords(firstOffset: begin, lastOffset: last, deliveryCount: run.deliveryCount &+ 1), to: &acquired)
            remaining -= Int(last - begin + 1)
            if isSuspect { return false }
            offset = last + 1
        }
        return true
    }

    /// From so many deliveries on records are given out more carefully. Kafka's rule.
    private var throttleLimit: Int16 { max(2, (settings.deliveryCountLimit + 1) / 2) }

    private func suspectCount(_ run: Run, among count: Int) -> Int {
        if settings.deliveryCountLimit > 2, run.deliveryCount >= settings.deliveryCountLimit - 1 { return 1 }
        return max(1, count >> Int(run.deliveryCount - throttleLimit + 1))
    }

    /// Records that were never out.
    private mutating func acquireNew(
        _ member: String, _ read: ShareRead, _ limits: ShareFetchLimits, from first: Offset, _ remaining: Int,
        _ acquired: inout [AcquiredRecords], now: Int64
    ) {
        var begin = max(first, endOffset + 1)
        if runs.isEmpty {
            begin = max(begin, startOffset)
        } else if begin > endOffset + 1 {
            append(Run(first: endOffset + 1, last: begin - 1, state: .archived, deliveryCount: 0))
        }
        guard begin <= read.lastOffset else { return }
        let count = min(remaining, settings.maximumInFlight - (runs.isEmpty ? 0 : inFlightCount))
        guard count > 0 else { return }
        var last = read.lastOffset
        if last - begin + 1 > Offset(count) {
            let wanted = begin + Offset(count) - 1
            last = limits.isStrict ? wanted : read.endOfBatch(holding: wanted)
        }
        if runs.isEmpty { moveStart(to: begin) }
        append(
            Run(
                first: begin, last: last, state: .acquired, deliveryCount: 1, member: member,
                deadline: now + settings.lockDurationMilliseconds))
        appendInBatches(begin, last, read, limits, &acquired)
    }

    /// Adds new records to the answer, parted where a batch of the log begins and about `batchSize` records are together.
    private func appendInBatches(
        _ begin: Offset, _ last: Offset, _ read: ShareRead, _ limits: ShareFetchLimits, _ acquired: inout [AcquiredRecords]
    ) {
        var first = begin
        if !limits.isStrict, last - begin + 1 > Offset(limits.batchSize) {
            for batch in read.batches where batch.baseOffset <= last && batch.baseOffset - first >= Offset(max(1, limits.batchSize)) {
                acquired.append(AcquiredRecords(firstOffset: first, lastOffset: batch.baseOffset - 1, deliveryCount: 1))
                first = batch.baseOffset
            }
        }
        acquired.append(AcquiredRecords(firstOffset: first, lastOffset: last, deliveryCount: 1))
    }

    private func append(_ records: AcquiredRecords, to acquired: inout [AcquiredRecords]) {
        if let last = acquired.last, last.lastOffset + 1 == records.firstOffset, last.deliveryCount == records.deliveryCount {
            acquired[acquired.count - 1].lastOffset = records.lastOffset
        } else {
            acquired.append(records)
        }
    }

    /// Records of an aborted transaction, which a group that reads committed ones only must not see (KIP-98): they are done.
    ///
    /// - Returns: what is left of `acquired`.
    public mutating func dropAborted(_ aborted: [ShareRead.Batch], from acquired: [AcquiredRecords]) -> [AcquiredRecords] {
        var left = acquired
        for batch in aborted {
            var kept: [AcquiredRecords] = []
            for records in left {
                let first = max(records.firstOffset, batch.baseOffset)
                let last = min(records.lastOffset, batch.lastOffset)
                guard first <= last else {
                    kept.append(records)
                    continue
                }
                for index in isolate(first, last) {
                    runs[index].state = .archived
                    runs[index].member = ""
                    runs[index].deadline = .max
                }
                if records.firstOffset < first {
                    kept.append(
                        AcquiredRecords(firstOffset: records.firstOffset, lastOffset: first - 1, deliveryCount: records.deliveryCount))
                }
                if records.lastOffset > last {
                    kept.append(
                        AcquiredRecords(firstOffset: last + 1, lastOffset: records.lastOffset, deliveryCount: records.deliveryCount))
                }
            }
            left = kept
        }
        tidy()
        return left
    }
}
