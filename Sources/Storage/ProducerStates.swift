// All producers of one partition, their open transactions, and the first offset that read_committed must not see.
import Primitives
import RecordBatches

/// What an append will do to the producers, decided before anything is written.
struct ProducerUpdate {
    /// Entries as they will be, few: an append comes from one producer.
    fileprivate var entries: [ProducerEntry] = []
    fileprivate var started: [(firstOffset: Offset, producerID: ProducerID)] = []
    private(set) var completed: [CompletedTransaction] = []

    /// Checks one batch whose offsets are set, and notes its effect.
    mutating func append(
        _ header: RecordBatchHeader, marker: TransactionMarker?, origin: AppendOrigin, version: Int8 = 0, to states: ProducerStates
    ) throws(StorageError) {
        let index: Int
        if let known = entries.firstIndex(where: { $0.producerID == header.producerId }) {
            index = known
        } else {
            entries.append(states.entries[header.producerId] ?? ProducerEntry(producerID: header.producerId))
            index = entries.count - 1
        }
        if header.isControl {
            guard let marker else { return }
            if let transaction = try entries[index].append(marker, header: header, origin: origin, version: version) {
                completed.append(transaction)
            }
        } else if try entries[index].append(header, origin: origin) {
            started.append((header.baseOffset, header.producerId))
        }
    }
}

struct ProducerStates {
    fileprivate(set) var entries: [ProducerID: ProducerEntry] = [:]
    /// Open transactions by their first offset.
    private(set) var ongoing: [(firstOffset: Offset, producerID: ProducerID)] = []
    /// Ended transactions whose marker is not below the high watermark yet, or does not count, by their first offset.
    private(set) var unreplicated: [(firstOffset: Offset, lastOffset: Offset)] = []

    /// The first offset of a transaction that is open, or whose end is not replicated.
    var firstUnstableOffset: Offset? {
        switch (ongoing.first?.firstOffset, unreplicated.first?.firstOffset) {
        case (let open?, let ended?): min(open, ended)
        case (let open, let ended): open ?? ended
        }
    }

    var isEmpty: Bool { entries.isEmpty && ongoing.isEmpty && unreplicated.isEmpty }

    /// Whether transactions were ever written here, as far as the producers show it.
    var showsTransactions: Bool {
        !ongoing.isEmpty || entries.values.contains { $0.coordinatorEpoch >= 0 || $0.currentTransactionFirstOffset >= 0 }
    }

    /// Carries out what was decided, once it is written. `onAbort` gets each aborted transaction with the last stable offset.
    mutating func apply(_ update: ProducerUpdate, onAbort: (AbortedTransactionEntry) -> Void) {
        for entry in update.entries { entries[entry.producerID] = entry }
        for transaction in update.started {
            let index = ongoing.firstIndex { $0.firstOffset > transaction.firstOffset } ?? ongoing.count
            ongoing.insert(transaction, at: index)
        }
        for transaction in update.completed {
            if transaction.isAborted {
                let other = ongoing.first { $0.producerID != transaction.producerID }
                onAbort(
                    AbortedTransactionEntry(
                        producerID: transaction.producerID, firstOffset: transaction.firstOffset, lastOffset: transaction.lastOffset,
                        lastStableOffset: other?.firstOffset ?? transaction.lastOffset + 1))
            }
            ongoing.removeAll { $0.firstOffset == transaction.firstOffset }
            let index = unreplicated.firstIndex { $0.firstOffset > transaction.firstOffset } ?? unreplicated.count
            unreplicated.insert((transaction.firstOffset, transaction.lastOffset), at: index)
        }
    }

    /// Notes a batch that is in the log already: recovery, replay of what follows a snapshot.
    mutating func replay(_ header: RecordBatchHeader, marker: TransactionMarker?, onAbort: (AbortedTransactionEntry) -> Void) {
        guard header.hasProducerId else { return }
        var update = ProducerUpdate()
        // What is in the log is taken as it is.
        guard (try? update.append(header, marker: marker, origin: .replica, to: self)) != nil else { return }
        apply(update, onAbort: onAbort)
    }

    /// Transactions that end before an offset are stable.
    mutating func endsCount(before offset: Offset) {
        if unreplicated.isEmpty { return }
        unreplicated.removeAll { $0.lastOffset < offset }
    }

    /// Keeps a transaction that has ended from being stable, unless it is kept already.
    mutating func hold(firstOffset: Offset, lastOffset: Offset) {
        if unreplicated.contains(where: { $0.lastOffset == lastOffset }) { return }
        let index = unreplicated.firstIndex { $0.firstOffset > firstOffset } ?? unreplicated.count
        unreplicated.insert((firstOffset, lastOffset), at: index)
    }

    mutating func removeExpired(now: Timestamp, after milliseconds: Int64) {
        if entries.isEmpty { return }
        entries = entries.filter { !$0.value.isExpired(now: now, after: milliseconds) }
    }

    mutating func removeAll() {
        self = ProducerStates()
    }

    // MARK: Snapshots

    /// Takes a snapshot's content, but for producers that expired.
    mutating func load(_ snapshot: [ProducerSnapshotEntry], now: Timestamp, expiration: Int64) {
        for item in snapshot {
            let entry = ProducerEntry(item)
            if entry.isExpired(now: now, after: expiration) { continue }
            entries[entry.producerID] = entry
            if entry.currentTransactionFirstOffset >= 0 { ongoing.append((entry.currentTransactionFirstOffset, entry.producerID)) }
        }
        ongoing.sort { $0.firstOffset < $1.firstOffset }
    }

    /// By producer id, so that the same state makes the same file.
    var snapshot: [ProducerSnapshotEntry] {
        entries.values.sorted { $0.producerID < $1.producerID }.map(\.snapshot)
    }
}
