// A coordinator's partition in memory, for tests of every kind of coordinator: what was appended, how much of it is committed, and errors
// on demand.
import KafkaWire
import NIOCore
import Primitives
import RecordBatches
import Runtime
import Storage
import Synchronization

/// A partition of __consumer_offsets, __transaction_state or __share_group_state that no broker has.
public final class MemoryCoordinatorLog: CoordinatorLog {
    public struct State: Sendable {
        public var batches: [ByteBuffer] = []
        public var endOffset: Offset = 0
        /// Everything below is committed.
        public var highWatermark: Offset = 0
        /// What appends fail with.
        public var error: ErrorCode?
        /// Whether appends are committed at once.
        public var isReplicated = true
    }

    public let state = Mutex(State())
    public let logStartOffset: Offset = 0

    public init(batches: [ByteBuffer] = []) {
        state.withLock { $0.batches = batches }
    }

    /// Takes a segment file's content apart, as far as it holds whole batches.
    public convenience init(segments: [ByteBuffer]) {
        var batches: [ByteBuffer] = []
        for segment in segments {
            var iterator = RecordBatchIterator(segment)
            while let batch = try? iterator.next() { batches.append(batch.bytes) }
        }
        self.init(batches: batches)
    }

    public var endOffset: Offset { state.withLock { $0.endOffset } }
    public var highWatermark: Offset { state.withLock { $0.highWatermark } }
    public var batchCount: Int { state.withLock { $0.batches.count } }

    public func append(
        _ batch: ByteBuffer, transaction: TransactionTerms, now: Timestamp
    ) throws(CoordinatorLogError) -> CoordinatorAppend {
        try state.withLock { state throws(CoordinatorLogError) in
            if let error = state.error { throw CoordinatorLogError(error) }
            var stored = batch
            let baseOffset = state.endOffset
            stored.setInteger(baseOffset, at: stored.readerIndex)
            guard let header = try? RecordBatchHeader(from: stored) else { throw CoordinatorLogError(.corruptMessage) }
            state.batches.append(stored)
            state.endOffset = header.nextOffset
            if state.isReplicated { state.highWatermark = state.endOffset }
            return CoordinatorAppend(baseOffset: baseOffset, highWatermark: state.highWatermark)
        }
    }

    public func readCommitted(from offset: Offset, maximumBytes: Int) throws(CoordinatorLogError) -> ByteBuffer {
        state.withLock { state in
            var chunk = ByteBuffer()
            for batch in state.batches {
                guard let header = try? RecordBatchHeader(from: batch), header.nextOffset > offset else { continue }
                chunk.writeImmutableBuffer(batch)
                if chunk.readableBytes >= maximumBytes { break }
            }
            return chunk
        }
    }
}
