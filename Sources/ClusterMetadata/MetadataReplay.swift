// Follows the metadata log batch by batch and yields an image wherever the state is complete: never in the middle of a metadata
// transaction (KIP-868), whose records may be spread over many batches and may be aborted.
import KafkaRecords
import Primitives

/// An image that may be shown to the world, and what it changed against the one shown before.
public struct MetadataPublication: Sendable {
    public var image: MetadataImage
    public var changes: MetadataChanges

    public init(image: MetadataImage, changes: MetadataChanges) {
        self.image = image
        self.changes = changes
    }
}

/// The state of a reader of the metadata log.
public struct MetadataReplay: Sendable {
    /// The last complete image.
    public private(set) var image: MetadataImage
    /// Everything replayed since then; nil when nothing was.
    private var delta: MetadataDelta?
    private var provenance: MetadataProvenance
    /// The delta at the begin of the open transaction, to return to when it is aborted.
    private var beforeTransaction: MetadataDelta?
    /// The offset of the open transaction's `BeginTransactionRecord`; nil when none is open.
    public private(set) var transactionStart: Offset?

    public init(from image: MetadataImage) {
        self.image = image
        provenance = image.provenance
    }

    /// Replays one record of the log.
    public mutating func replay(_ record: MetadataRecord, offset: Offset, epoch: LeaderEpoch, timestamp: Timestamp) throws(MetadataError) {
        provenance = MetadataProvenance(offset: offset, epoch: epoch, timestamp: timestamp)
        switch record {
        case .beginTransaction:
            guard transactionStart == nil else { throw .contradiction("a metadata transaction begins inside of another one") }
            transactionStart = offset
            beforeTransaction = delta
        case .endTransaction:
            guard transactionStart != nil else { throw .contradiction("a metadata transaction ends that never began") }
            transactionStart = nil
            beforeTransaction = nil
        case .abortTransaction:
            guard transactionStart != nil else { throw .contradiction("a metadata transaction is aborted that never began") }
            transactionStart = nil
            delta = beforeTransaction
            beforeTransaction = nil
        default:
            if delta == nil { delta = MetadataDelta(from: image) }
            try delta!.replay(record)
        }
    }

    /// Moves past control records and other offsets without metadata.
    public mutating func skip(to offset: Offset, epoch: LeaderEpoch, timestamp: Timestamp) {
        provenance = MetadataProvenance(offset: offset, epoch: epoch, timestamp: timestamp)
    }

    /// At the end of a batch: the new image, or nil while a transaction is open or nothing moved.
    public mutating func publish() -> MetadataPublication? {
        guard transactionStart == nil, provenance != image.provenance else { return nil }
        let closing = delta ?? MetadataDelta(from: image)
        delta = nil
        let (next, changes) = closing.apply(provenance)
        image = next
        return MetadataPublication(image: next, changes: changes)
    }
}
