// Looking for damage where nobody looks otherwise: closed segments below the recovery point, a piece at a time.
//
// Kafka finds a batch that rotted below the recovery point when a consumer fails on it, for ever. Here it is reported, and readers
// are led around it.
import Glibc
import NIOCore
import Primitives
import RecordBatches

/// Damage that a scrub found.
public struct ScrubFinding: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// Bytes that are no valid batch; readers skip them.
        case damagedBatches
        /// A closed segment without a single batch, in a topic that is not compacted.
        case emptySegment
        /// A segment with an abort marker but no `.txnindex`, which has been written anew.
        case missingTransactionIndex
    }

    public var kind: Kind
    public var topicPartition: TopicPartition
    public var segmentBaseOffset: Offset
    /// First and last offset that may be lost.
    public var offsets: ClosedRange<Offset>
    /// Where in the file.
    public var positions: Range<Int>
}

/// How far the scrub of a log has come.
struct ScrubState {
    /// The segment being looked through, and the position reached in it.
    var segmentBase: Offset = -1
    var position = 0
    var nextOffset: Offset = 0
    var isRunning = false
    /// When the last pass ended, or the log was opened.
    var lastPass: Timestamp = 0

    /// The same place in time, another one in the log.
    func moved(to segmentBase: Offset, position: Int = 0, nextOffset: Offset) -> ScrubState {
        ScrubState(segmentBase: segmentBase, position: position, nextOffset: nextOffset, isRunning: isRunning, lastPass: lastPass)
    }
}

/// A piece of a segment to be looked through outside of the log's lock.
public struct ScrubWork: Sendable {
    let topicPartition: TopicPartition
    let file: SegmentFile
    let segmentEnd: Int
    /// The first offset of the next segment.
    let endOffset: Offset
    let isCompacted: Bool
    let hasTransactionIndex: Bool
    let maxBytes: Int
    let segmentGeneration: Int
    var position: Int
    var nextOffset: Offset
    public private(set) var findings: [ScrubFinding] = []
    public private(set) var scannedBytes = 0

    init(log: PartitionLog, segment: LogSegment, endOffset: Offset, position: Int, nextOffset: Offset, maxBytes: Int)
        throws(StorageError)
    {
        topicPartition = log.topicPartition
        file = try segment.file()
        segmentEnd = segment.size
        self.endOffset = endOffset
        isCompacted = log.configuration.cleanupPolicy.contains(.compact)
        hasTransactionIndex = segment.transactionIndexIsComplete || FileSystem.exists(segment.path(".txnindex"))
        self.maxBytes = maxBytes
        segmentGeneration = log.segmentGeneration
        self.position = position
        self.nextOffset = nextOffset
    }

    var isAtEnd: Bool { position >= segmentEnd }

    /// Reads and checks batches, up to about `maxBytes` of them.
    public mutating func run() throws(StorageError) {
        if segmentEnd == 0 {
            if !isCompacted, endOffset > file.baseOffset {
                find(.emptySegment, offsets: file.baseOffset...(endOffset - 1), positions: 0..<0)
            }
            return
        }
        var seesAbort = false
        while position < segmentEnd, scannedBytes < maxBytes {
            if let batch = try validBatch(at: position) {
                if batch.batch.header.isControl, !hasTransactionIndex, TransactionMarker(batch.bytes)?.isAborted == true {
                    seesAbort = true
                }
                position = batch.batch.end
                nextOffset = batch.batch.lastOffset + 1
                scannedBytes += batch.batch.size
            } else {
                try stepOverDamage()
            }
        }
        if seesAbort {
            find(.missingTransactionIndex, offsets: file.baseOffset...max(file.baseOffset, endOffset - 1), positions: 0..<segmentEnd)
        }
    }

    private mutating func find(_ kind: ScrubFinding.Kind, offsets: ClosedRange<Offset>, positions: Range<Int>) {
        findings.append(
            ScrubFinding(
                kind: kind, topicPartition: topicPartition, segmentBaseOffset: file.baseOffset, offsets: offsets, positions: positions))
    }

    private func validBatch(at start: Int) throws(StorageError) -> (batch: StoredBatch, bytes: ByteBuffer)? {
        let header = try LogSegment.bytes(of: file, at: start, length: min(RecordBatchHeader.size, segmentEnd - start))
        guard let batch = header.withUnsafeReadableBytes({ StoredBatch($0, position: start) }), batch.end <= segmentEnd,
            batch.baseOffset >= nextOffset, batch.lastOffset < endOffset
        else { return nil }
        let bytes = try LogSegment.bytes(of: file, at: start, length: batch.size)
        do throws(RecordBatchError) {
            if batch.magic == 2 { _ = try RecordBatchHeader.verify(in: bytes) } else { try LegacyMessage(bytes).verifyChecksum() }
        } catch {
            return nil
        }
        return (batch, bytes)
    }

    /// Looks for the next place where a valid batch begins: behind the damaged one if its length is right, else byte by byte.
    private mutating func stepOverDamage() throws(StorageError) {
        let start = position
        let header = try LogSegment.bytes(of: file, at: start, length: min(RecordBatchHeader.size, segmentEnd - start))
        var candidate = start + 1
        if let batch = header.withUnsafeReadableBytes({ StoredBatch($0, position: start) }), batch.end <= segmentEnd {
            var isFollowed = batch.end == segmentEnd
            if !isFollowed { isFollowed = try validBatch(at: batch.end) != nil }
            if isFollowed { candidate = batch.end }
        }
        var next = segmentEnd
        search: while candidate < segmentEnd {
            let window = try LogSegment.bytes(of: file, at: candidate, length: min(1 << 20, segmentEnd - candidate))
            let view = window.readableBytesView
            for (index, byte) in view.dropFirst(RecordBatchHeader.Position.magic).enumerated() where byte <= 2 {
                // Only where a length makes sense is it worth reading more.
                guard let length = window.getInteger(at: window.readerIndex + index + 8, as: Int32.self), length >= 14,
                    candidate + index + Int(length) + RecordBatchHeader.logOverhead <= segmentEnd
                else { continue }
                if try validBatch(at: candidate + index) != nil {
                    next = candidate + index
                    break search
                }
            }
            candidate += max(1, window.readableBytes - RecordBatchHeader.Position.magic)
            if window.readableBytes <= RecordBatchHeader.Position.magic { break }
        }
        let lastLost: Offset
        if next < segmentEnd, let found = try validBatch(at: next) {
            lastLost = found.batch.baseOffset - 1
        } else {
            lastLost = endOffset - 1
        }
        scannedBytes += next - start
        find(.damagedBatches, offsets: nextOffset...max(nextOffset, lastLost), positions: start..<next)
        position = next
    }
}

extension PartitionLog {
    /// Whether a pass is under way, or the last one ended `interval` milliseconds ago.
    public func isScrubDue(now: Timestamp, interval: Int64) -> Bool {
        scrubState.segmentBase >= 0 || now - scrubState.lastPass >= interval
    }

    /// The next piece to be looked through, of at most about `maxBytes`; nil when all closed segments below the recovery point are
    /// done, after which the next call begins anew.
    public func beginScrub(maxBytes: Int) throws(StorageError) -> ScrubWork? {
        guard !isClosed, !scrubState.isRunning else { return nil }
        guard let index = segmentList.dropLast().firstIndex(where: { $0.baseOffset >= scrubState.segmentBase }),
            segmentList[index + 1].baseOffset <= recoveryPoint
        else {
            scrubState = ScrubState(lastPass: SystemClock.now())
            return nil
        }
        let segment = segmentList[index]
        if segment.baseOffset != scrubState.segmentBase {
            scrubState = scrubState.moved(to: segment.baseOffset, nextOffset: segment.baseOffset)
        }
        let work = try ScrubWork(
            log: self, segment: segment, endOffset: segmentList[index + 1].baseOffset, position: scrubState.position,
            nextOffset: scrubState.nextOffset, maxBytes: maxBytes)
        scrubState.isRunning = true
        return work
    }

    /// Takes note of what was found, so that readers are led around it. Returns what is new.
    @discardableResult
    public func finishScrub(_ work: ScrubWork) -> [ScrubFinding] {
        scrubState.isRunning = false
        // Compaction came between: the positions are those of other files.
        guard work.segmentGeneration == segmentGeneration else { return [] }
        if work.isAtEnd {
            scrubState = scrubState.moved(to: work.endOffset, nextOffset: work.endOffset)
        } else {
            scrubState = scrubState.moved(to: work.file.baseOffset, position: work.position, nextOffset: work.nextOffset)
        }
        guard let segment = segmentList.first(where: { $0.baseOffset == work.file.baseOffset }) else { return [] }
        return work.findings.filter { finding in
            switch finding.kind {
            case .damagedBatches:
                if segment.damage.contains(finding.positions) { return false }
                segment.damage.append(finding.positions)
            case .emptySegment:
                break
            case .missingTransactionIndex:
                hasTransactions = true
                try? completeTransactionIndex(of: segmentIndex(containing: segment.baseOffset))
            }
            return true
        }
    }

    /// To be called instead of `finishScrub` when `ScrubWork.run` failed; goes on with the next segment.
    public func abandonScrub() {
        scrubState.isRunning = false
        scrubState = scrubState.moved(to: scrubState.segmentBase + 1, nextOffset: 0)
    }
}
