// What can go wrong with a partition's files or with what somebody wants to put into them: one vocabulary for this module.
import Primitives
import RecordBatches

/// Why the log refused or could not do something. Handlers map each case to one wire error.
public enum StorageError: Error, Equatable, Sendable {
    // What the caller asked for

    /// The bytes are no valid batch: wrong checksum, cut short, impossible length. CORRUPT_MESSAGE.
    case corruptBatch(String)
    /// A batch breaks a rule of the log (control batch from a client). INVALID_RECORD.
    case invalidRecord(String)
    /// Single records break a rule of the log, such as a null key in a compacted topic. INVALID_RECORD, with the records (KIP-467).
    case invalidRecords([RecordValidationError.InvalidRecord])
    /// Timestamps outside of what the topic allows, or LogAppendTime set by a producer. INVALID_TIMESTAMP, with the records.
    case invalidTimestamps([RecordValidationError.InvalidRecord])
    /// A batch beyond `max.message.bytes`. MESSAGE_TOO_LARGE.
    case batchTooLarge(size: Int, limit: Int)
    /// More bytes in one append than a segment may hold. RECORD_LIST_TOO_LARGE.
    case appendLargerThanSegment(size: Int, limit: Int)
    /// Batches of magic 0 or 1, which Kafka 4 does not take any more. UNSUPPORTED_FOR_MESSAGE_FORMAT.
    case unsupportedFormat(magic: Int8)
    /// The sequence number is neither the next one nor that of a known batch. OUT_OF_ORDER_SEQUENCE_NUMBER.
    case outOfOrderSequence(producerID: ProducerID, epoch: Int16, sequence: Int32, lastSequence: Int32)
    /// A producer epoch older than the newest seen. INVALID_PRODUCER_EPOCH.
    case fencedProducerEpoch(producerID: ProducerID, epoch: Int16, currentEpoch: Int16)
    /// A plain batch from a producer with an open transaction, or the like. INVALID_TXN_STATE.
    case invalidTransactionState(producerID: ProducerID)
    /// Transactional records that the transaction coordinator does not know of (KIP-890). INVALID_TXN_STATE.
    case unverifiedTransaction(producerID: ProducerID)
    /// A marker from an older transaction coordinator. TRANSACTION_COORDINATOR_FENCED.
    case fencedTransactionCoordinator(producerID: ProducerID, epoch: Int32, currentEpoch: Int32)
    /// A follower's batch that does not continue the log.
    case unexpectedOffset(Offset, expected: Offset)
    /// OFFSET_OUT_OF_RANGE.
    case offsetOutOfRange(requested: Offset, logStartOffset: Offset, endOffset: Offset)

    // What the disk holds

    /// No space, quota or file size limit left. KAFKA_STORAGE_ERROR until there is space again.
    case outOfSpace(path: String)
    /// A system call failed. KAFKA_STORAGE_ERROR.
    case inputOutput(operation: String, path: String, code: Int32)
    /// The directory has been taken offline by an earlier failure. KAFKA_STORAGE_ERROR.
    case offline(path: String)
    /// The log is closed or deleted. KAFKA_STORAGE_ERROR.
    case closed(path: String)
    /// A file's contents break its format.
    case corruptFile(path: String, reason: String)
    /// Another process uses the data directory.
    case locked(path: String)
    /// The directory holds no `meta.properties`.
    case notFormatted(path: String)
    /// The directory belongs to another node, cluster or directory id.
    case foreignDirectory(path: String, reason: String)
    /// `partition.metadata` names another topic id than expected. INCONSISTENT_TOPIC_ID.
    case inconsistentTopicID(path: String, found: TopicID, expected: TopicID)
    /// The partition exists already.
    case exists(path: String)

    /// The records to blame, where it is single ones and not the whole.
    public var refusedRecords: [RecordValidationError.InvalidRecord] {
        switch self {
        case .invalidRecords(let records), .invalidTimestamps(let records): records
        default: []
        }
    }

    /// The first few records, for a message: the response lists them all.
    private static func named(_ records: [RecordValidationError.InvalidRecord]) -> String {
        let first = records.prefix(3).map { "record \($0.index): \($0.message)" }.joined(separator: "; ")
        return records.count > 3 ? "\(first); and \(records.count - 3) more" : first
    }

    /// Whether the disk is to blame rather than the caller: answered with KAFKA_STORAGE_ERROR, which clients retry.
    public var isDiskFailure: Bool {
        switch self {
        case .outOfSpace, .inputOutput, .offline, .closed, .corruptFile: true
        default: false
        }
    }
}

extension StorageError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .corruptBatch(let reason): "corrupt record batch: \(reason)"
        case .invalidRecord(let reason): "invalid record: \(reason)"
        case .invalidRecords(let records): "records were rejected: \(Self.named(records))"
        case .invalidTimestamps(let records): "records were rejected for their timestamps: \(Self.named(records))"
        case .batchTooLarge(let size, let limit): "record batch of \(size) bytes exceeds max.message.bytes, which is \(limit)"
        case .appendLargerThanSegment(let size, let limit): "\(size) bytes exceed segment.bytes, which is \(limit)"
        case .unsupportedFormat(let magic): "record format of magic \(magic) cannot be written"
        case .outOfOrderSequence(let id, let epoch, let sequence, let last):
            "producer \(id) epoch \(epoch): sequence \(sequence) does not follow \(last)"
        case .fencedProducerEpoch(let id, let epoch, let current): "producer \(id): epoch \(epoch) is older than \(current)"
        case .invalidTransactionState(let id): "producer \(id) has a transaction open and wrote outside of it"
        case .unverifiedTransaction(let id): "producer \(id): the record was not part of an ongoing transaction"
        case .fencedTransactionCoordinator(let id, let epoch, let current):
            "marker for producer \(id) from coordinator epoch \(epoch), older than \(current)"
        case .unexpectedOffset(let offset, let expected): "append at offset \(offset) where \(expected) comes next"
        case .offsetOutOfRange(let offset, let start, let end): "offset \(offset) is outside of the log, which is \(start) to \(end)"
        case .outOfSpace(let path): "no space left for \(path)"
        case .inputOutput(let operation, let path, let code): "\(operation) of \(path) failed: \(FileSystem.message(of: code))"
        case .offline(let path): "log directory \(path) is offline"
        case .closed(let path): "log \(path) is closed"
        case .corruptFile(let path, let reason): "\(path) is corrupt: \(reason)"
        case .locked(let path): "log directory \(path) is used by another process"
        case .notFormatted(let path): "log directory \(path) is not formatted: it has no meta.properties"
        case .foreignDirectory(let path, let reason): "log directory \(path) does not belong here: \(reason)"
        case .inconsistentTopicID(let path, let found, let expected): "\(path) has topic id \(found), expected \(expected)"
        case .exists(let path): "\(path) exists already"
        }
    }
}
