// Transactions while the cleaner walks through a log: which batches are void, and which markers have nothing left to say (KIP-98,
// KAFKA-5876). A marker stays as long as a batch of its transaction does, also an empty one.
import Primitives
import RecordBatches

struct CleanedTransactions {
    private struct Aborted {
        var entry: AbortedTransactionEntry
        var hasBatches = false
    }

    /// By first offset; what is before `next` has begun.
    private let aborted: [AbortedTransactionEntry]
    private var next = 0
    private var openAborted: [ProducerID: Aborted] = [:]
    private var openCommitted: Set<ProducerID> = []

    /// - Parameter aborted: those whose offsets overlap what is walked through, each once.
    init(aborted: [AbortedTransactionEntry]) {
        self.aborted = aborted.sorted { ($0.firstOffset, $0.lastOffset) < ($1.firstOffset, $1.lastOffset) }
    }

    private mutating func begin(upTo offset: Offset) {
        while next < aborted.count, aborted[next].firstOffset <= offset {
            let entry = aborted[next]
            if openAborted[entry.producerID] == nil { openAborted[entry.producerID] = Aborted(entry: entry) }
            next += 1
        }
    }

    /// Notes a batch of records; true when they belong to an aborted transaction.
    mutating func noteBatch(_ header: RecordBatchHeader) -> Bool {
        begin(upTo: header.lastOffset)
        guard header.isTransactional else { return false }
        if openAborted[header.producerId] != nil {
            openAborted[header.producerId]?.hasBatches = true
            return true
        }
        openCommitted.insert(header.producerId)
        return false
    }

    /// Notes a control batch.
    /// - Parameters:
    ///   - marker: what it says; nil for control records of another kind.
    /// - Returns: whether nothing is left of its transaction, and for an abort of which something is, its entry in the index.
    mutating func noteControl(
        _ header: RecordBatchHeader, marker: TransactionMarker?
    ) -> (isObsolete: Bool, retained: AbortedTransactionEntry?) {
        begin(upTo: header.lastOffset)
        // Cleaned before.
        if header.recordCount == 0 { return (true, nil) }
        guard let marker else { return (false, nil) }
        if marker.isAborted {
            let transaction = openAborted.removeValue(forKey: header.producerId)
            guard let transaction, transaction.hasBatches else { return (true, nil) }
            return (false, transaction.entry)
        }
        return (openCommitted.remove(header.producerId) == nil, nil)
    }
}
