// Errors as Kafka's tools print them: with the names of Java classes, which scripts and runbooks look for.
import MartletClient

extension KafkaError {
    /// Such as `org.apache.kafka.common.errors.TopicExistsException`.
    var javaClass: String {
        let name =
            switch kind {
            case .broker: Self.irregular[codeName] ?? Self.camel(codeName) + "Exception"
            case .timedOut, .connectionFailed, .disconnected, .advertisedListenerUnreachable: "TimeoutException"
            case .unsupportedVersion: "UnsupportedVersionException"
            case .authenticationFailed: "SaslAuthenticationException"
            case .corruptRecords: "CorruptRecordException"
            case .invalidArgument: "InvalidConfigurationException"
            case .protocolViolation, .closed, .cancelled, .noOffset: "UnknownServerException"
            }
        return "org.apache.kafka.common.errors." + name
    }

    /// Class and message, as Java shows an exception.
    var javaText: String { "\(javaClass): \(message)" }

    /// `GROUP_ID_NOT_FOUND` is `GroupIdNotFound`.
    private static func camel(_ name: String) -> String {
        name.split(separator: "_").map { $0.prefix(1) + $0.dropFirst().lowercased() }.joined()
    }

    /// Classes that are not named after their code. Source: Kafka's table of errors.
    private static let irregular = [
        "UNKNOWN_SERVER_ERROR": "UnknownServerException", "CORRUPT_MESSAGE": "CorruptRecordException",
        "REQUEST_TIMED_OUT": "TimeoutException", "MESSAGE_TOO_LARGE": "RecordTooLargeException",
        "STALE_CONTROLLER_EPOCH": "ControllerMovedException", "OFFSET_METADATA_TOO_LARGE": "OffsetMetadataTooLarge",
        "INVALID_TOPIC_EXCEPTION": "InvalidTopicException", "RECORD_LIST_TOO_LARGE": "RecordBatchTooLargeException",
        "TOPIC_AUTHORIZATION_FAILED": "TopicAuthorizationException", "GROUP_AUTHORIZATION_FAILED": "GroupAuthorizationException",
        "CLUSTER_AUTHORIZATION_FAILED": "ClusterAuthorizationException", "TOPIC_ALREADY_EXISTS": "TopicExistsException",
        "INVALID_CONFIG": "InvalidConfigurationException", "OUT_OF_ORDER_SEQUENCE_NUMBER": "OutOfOrderSequenceException",
        "DUPLICATE_SEQUENCE_NUMBER": "DuplicateSequenceException", "INVALID_PRODUCER_ID_MAPPING": "InvalidPidMappingException",
        "INVALID_TRANSACTION_TIMEOUT": "InvalidTxnTimeoutException",
        "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "TransactionalIdAuthorizationException",
        "KAFKA_STORAGE_ERROR": "KafkaStorageException", "SASL_AUTHENTICATION_FAILED": "SaslAuthenticationException",
        "DELEGATION_TOKEN_AUTH_DISABLED": "DelegationTokenDisabledException", "NON_EMPTY_GROUP": "GroupNotEmptyException",
        "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED": "UnsupportedByAuthenticationException",
        "DELEGATION_TOKEN_AUTHORIZATION_FAILED": "DelegationTokenAuthorizationException",
        "DELEGATION_TOKEN_NOT_FOUND": "DelegationTokenNotFoundException", "DELEGATION_TOKEN_EXPIRED": "DelegationTokenExpiredException",
        "DELEGATION_TOKEN_OWNER_MISMATCH": "DelegationTokenOwnerMismatchException",
        "PRINCIPAL_DESERIALIZATION_FAILURE": "PrincipalDeserializationException",
        "FETCH_SESSION_TOPIC_ID_ERROR": "FetchSessionTopicIdException",
    ]
}
