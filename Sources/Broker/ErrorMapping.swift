// From what went wrong inside to what the protocol calls it. Wire error codes appear in handlers and here, nowhere below.
import KafkaWire
import RecordBatches
import Storage

extension StorageError {
    var errorCode: ErrorCode {
        switch self {
        case .corruptBatch: .corruptMessage
        case .invalidRecord, .invalidRecords: .invalidRecord
        case .invalidTimestamps: .invalidTimestamp
        case .batchTooLarge: .messageTooLarge
        case .appendLargerThanSegment: .recordListTooLarge
        case .unsupportedFormat: .unsupportedForMessageFormat
        case .outOfOrderSequence: .outOfOrderSequenceNumber
        case .fencedProducerEpoch: .invalidProducerEpoch
        case .invalidTransactionState, .unverifiedTransaction: .invalidTxnState
        case .fencedTransactionCoordinator: .transactionCoordinatorFenced
        case .unexpectedOffset, .offsetOutOfRange: .offsetOutOfRange
        case .outOfSpace, .inputOutput, .offline, .closed, .corruptFile: .kafkaStorageError
        case .inconsistentTopicID: .inconsistentTopicId
        case .locked, .notFormatted, .foreignDirectory, .exists: .unknownServerError
        }
    }
}

extension PartitionError {
    var errorCode: ErrorCode {
        switch self {
        case .notLeader: .notLeaderOrFollower
        case .fencedLeaderEpoch: .fencedLeaderEpoch
        case .unknownLeaderEpoch: .unknownLeaderEpoch
        case .notEnoughReplicas: .notEnoughReplicas
        case .offsetNotAvailable: .offsetNotAvailable
        case .closedToWrites(let access): access.errorCode
        case .storage(let error): error.errorCode
        }
    }

    /// Fetch up to version 5 does not know KAFKA_STORAGE_ERROR; what it gets instead makes clients refresh and retry as well.
    func fetchErrorCode(version: Int16) -> ErrorCode {
        let code = errorCode
        return code == .kafkaStorageError && version <= 5 ? .notLeaderOrFollower : code
    }

    /// The single records to blame, if any.
    var refusedRecords: [RecordValidationError.InvalidRecord] {
        if case .storage(let error) = self { error.refusedRecords } else { [] }
    }

    /// The sentence for the client, where the code alone does not say enough.
    var explanation: String? {
        switch self {
        case .storage(let error) where !error.isDiskFailure: "\(error)"
        case .closedToWrites(let access): access.explanation
        default: nil
        }
    }
}
