// What a coordinator needs of the partition that holds its state. The broker implements it over its logs.
import KafkaWire
import NIOCore
import Primitives
import Storage

/// Where a batch was put, and how much of the log is committed by now.
public struct CoordinatorAppend: Sendable, Equatable {
    /// Offset of the batch's first record.
    public var baseOffset: Offset
    /// Everything below is committed. Beyond the batch on a partition with a single replica; otherwise the rest is told by
    /// ``CoordinatorRuntime/highWatermarkAdvanced(partition:to:)``.
    public var highWatermark: Offset

    public init(baseOffset: Offset, highWatermark: Offset) {
        self.baseOffset = baseOffset
        self.highWatermark = highWatermark
    }
}

/// Why the log could not be written or read, in the terms of a produce or fetch request.
public struct CoordinatorLogError: Error, Equatable, Sendable {
    public var code: ErrorCode

    public init(_ code: ErrorCode) {
        self.code = code
    }
}

/// One partition of __consumer_offsets or __transaction_state, as its leader has it.
public protocol CoordinatorLog: AnyObject, Sendable {
    /// Appends a record batch (magic 2, base offset 0) as the leader, and assigns its offsets.
    ///
    /// - Parameter transaction: what is known of a transactional batch besides its bytes.
    ///
    /// Called on event loops under the shard's lock: must not wait for other replicas, nor call the coordinator back.
    func append(_ batch: ByteBuffer, transaction: TransactionTerms, now: Timestamp) throws(CoordinatorLogError) -> CoordinatorAppend

    /// Reads whole batches from the one that contains `offset` on, committed ones only; nothing at the end of the log.
    ///
    /// Called while loading, on the thread that loads.
    func readCommitted(from offset: Offset, maximumBytes: Int) throws(CoordinatorLogError) -> ByteBuffer

    /// The first offset that the log still has.
    var logStartOffset: Offset { get }

    /// Everything below is committed.
    var highWatermark: Offset { get }
}
