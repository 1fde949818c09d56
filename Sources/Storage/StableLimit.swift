// Transactions that have ended and do not count yet: a mirror of another cluster's topic shows them when all mirrors have them.
import NIOCore
import Primitives
import RecordBatches

/// What readers of committed transactions may see, beside what is replicated.
public enum StableLimit: Sendable, Hashable {
    /// Transactions that have ended.
    case none
    /// Nothing: it is not known how far that goes.
    case unknown
    /// Transactions that end before `end`. Those that end later begin at `from` or behind it.
    case settled(end: Offset, from: Offset)
}

extension PartitionLog {
    private static let readBytes = 1 << 20

    /// Markers before this offset end transactions.
    var countedEnd: Offset {
        switch stableLimit {
        case .none: highWatermark
        case .unknown: 0
        case .settled(let end, _): min(highWatermark, end)
        }
    }

    /// Sets from where on transactions that have ended do not count.
    public func limitStable(_ limit: StableLimit) throws(StorageError) {
        guard limit != stableLimit else { return }
        let former = stableLimit
        stableLimit = limit
        if case (.settled, .settled) = (former, limit) { return producers.endsCount(before: countedEnd) }
        try holdEnds()
    }

    /// Finds the transactions that have ended and do not count: a snapshot does not tell of them.
    func holdEnds() throws(StorageError) {
        producers.endsCount(before: countedEnd)
        guard case .settled(let end, let from) = stableLimit, end < logEndOffset else { return }
        var open: [ProducerID: Offset] = [:]
        var next = max(from, logStartOffset)
        while next < logEndOffset {
            let bytes = try readBytes(from: next, maxBytes: Self.readBytes, minOneBatch: true, isolation: .logEnd)
            var position = bytes.readerIndex
            let before = next
            while let header = try? RecordBatchHeader(from: bytes, at: position), position + header.sizeInBytes <= bytes.writerIndex {
                position += header.sizeInBytes
                next = header.nextOffset
                guard header.hasProducerId, header.isTransactional else { continue }
                if !header.isControl {
                    if open[header.producerId] == nil { open[header.producerId] = header.baseOffset }
                } else if let first = open.removeValue(forKey: header.producerId), header.baseOffset >= end {
                    producers.hold(firstOffset: first, lastOffset: header.baseOffset)
                }
            }
            if next == before { return }
        }
    }
}
