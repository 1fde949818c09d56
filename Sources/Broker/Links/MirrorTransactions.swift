// Ends what the source's transactions left open in a mirror, before clients of this cluster may write to it, and keeps what is cut off.
import GroupCoordination
import Linking
import NIOCore
import Primitives
import RecordBatches
import Runtime
import Storage

extension Partition {
    /// Whether clients will find nothing of the source's left open: nothing comes from it any more, no transactions are open, and their
    /// markers are committed.
    var hasEndedMirroring: Bool {
        state.withLock { state in
            state.replica.isLeader && state.writes == .ending && state.log.highWatermark >= state.log.logEndOffset
                && !state.log.activeProducers.contains { $0.currentTransactionFirstOffset >= 0 }
        }
    }

    /// Whether everything that was written here before the partition was closed is committed: nothing more is acknowledged.
    var hasSettled: Bool { state.withLock { $0.replica.isLeader && $0.writes == .fenced && $0.log.highWatermark >= $0.log.logEndOffset } }

    /// Writes markers of abort for all open transactions.
    ///
    /// - Returns: how many there were.
    func abortMirroredTransactions(now: Timestamp) throws(PartitionError) -> Int {
        let open = state.withLock { state in
            state.writes == .ending ? state.log.activeProducers.filter { $0.currentTransactionFirstOffset >= 0 } : []
        }
        for producer in open {
            let end = TransactionEnd(
                producer: TransactionalProducer(id: producer.producerID, epoch: producer.producerEpoch),
                coordinatorEpoch: producer.coordinatorEpoch, isCommitted: false, version: 0)
            _ = try append(end.batch(now: now), origin: .coordinator, requireInSyncReplicas: false, now: now)
        }
        return open.count
    }
}

extension LinkServices {
    /// Most of what is read at a time while records that are cut off are kept aside.
    private static let keptChunkBytes = 1 << 20

    /// Copies a mirror's records from an offset on into a file of their own, as batches like those of a segment. Takes as long as that
    /// takes: not for event loops.
    ///
    /// - Returns: the file's path.
    func keepCutRecords(of partition: Partition, from offset: Offset) throws(StorageError) -> String {
        let directory = partition.logDirectory.path
        // A file, not a directory: Kafka takes every directory there for a partition.
        let path = "\(directory)/mirror-cut.\(partition.topicPartition).\(offset).\(SystemClock.now()).records"
        var file = try KeptRecords(path: path)
        var next = offset
        while true {
            let position = next
            let bytes = try partition.withLog { log throws(StorageError) in
                position < log.logEndOffset
                    ? try log.readBytes(from: position, maxBytes: Self.keptChunkBytes, minOneBatch: true, isolation: .logEnd)
                    : ByteBuffer()
            }
            guard let end = bytes.endOffsetOfWholeBatches, end > next else { break }
            try file.append(bytes)
            next = end
        }
        try file.sync()
        return path
    }
}

extension ByteBuffer {
    /// The offset behind the last whole batch; nil without one.
    var endOffsetOfWholeBatches: Offset? {
        var position = readerIndex
        var end: Offset?
        while let header = try? RecordBatchHeader(from: self, at: position), position + header.sizeInBytes <= writerIndex {
            end = header.nextOffset
            position += header.sizeInBytes
        }
        return end
    }
}
