// The commit markers among fetched batches.
import Linking
import NIOCore
import Primitives
import RecordBatches

/// A commit marker and where it begins.
struct CommitMarker {
    /// In the buffer.
    var position: Int
    var size: Int
    var offset: Offset
    var producer: TransactionProducer
    var timestamp: Timestamp

    /// Reads a control batch; nil when it is no commit marker.
    init?(_ header: RecordBatchHeader, in buffer: ByteBuffer, at position: Int) {
        guard header.isControl, header.producerId >= 0, let bytes = buffer.getSlice(at: position, length: header.sizeInBytes),
            var records = try? RecordBatch(bytes).records(), let record = try? records.next(),
            let marker = try? EndTransactionMarker(record), marker.outcome == .commit
        else { return nil }
        self.position = position
        size = header.sizeInBytes
        offset = header.baseOffset
        timestamp = header.maxTimestamp
        producer = TransactionProducer(id: header.producerId, epoch: header.producerEpoch)
    }
}
