// The batches of a read, as a share partition needs them: their extents, and which of them belong to aborted transactions (KIP-98).
import NIOCore
import Primitives
import RecordBatches
import ShareCoordination
import Storage

struct ShareReadBatches {
    private(set) var extents: [ShareRead.Batch] = []
    private(set) var aborted: [ShareRead.Batch] = []
    /// Bytes of each batch.
    private var sizes: [Int] = []

    /// - Parameter aborted: as the log tells readers of committed records; empty for others.
    /// - Returns: nil when the bytes are no batches.
    init?(_ bytes: ByteBuffer, aborted transactions: [AbortedTransaction]) {
        var pending = transactions.sorted { $0.firstOffset < $1.firstOffset }[...]
        var abortedProducers: Set<ProducerID> = []
        var position = bytes.readerIndex
        while bytes.writerIndex - position >= RecordBatchHeader.size {
            guard let header = try? RecordBatchHeader(from: bytes, at: position) else { return nil }
            let extent = ShareRead.Batch(baseOffset: header.baseOffset, lastOffset: header.lastOffset)
            extents.append(extent)
            sizes.append(header.sizeInBytes)
            if header.producerId >= 0, !transactions.isEmpty {
                while let first = pending.first, first.firstOffset <= header.lastOffset {
                    abortedProducers.insert(first.producerID)
                    pending.removeFirst()
                }
                if header.isControl {
                    // The marker ends the transaction, whichever way.
                    abortedProducers.remove(header.producerId)
                } else if header.isTransactional, abortedProducers.contains(header.producerId) {
                    self.aborted.append(extent)
                }
            }
            position += header.sizeInBytes
        }
    }

    /// The batches that hold offsets from `first` to `last`.
    func slice(_ bytes: ByteBuffer, from first: Offset, to last: Offset) -> ByteBuffer {
        var start = bytes.readerIndex
        var length = 0
        for (extent, size) in zip(extents, sizes) {
            if extent.lastOffset < first {
                start += size
            } else if extent.baseOffset <= last {
                length += size
            } else {
                break
            }
        }
        return bytes.getSlice(at: start, length: length) ?? ByteBuffer()
    }
}
