// What a decision of the controller consists of: records for the log, and the answer once they are committed.
import ClusterMetadata
import KafkaWire

/// Records to append and the response to give after they are committed.
public struct ControllerResult<Response: Sendable>: Sendable {
    public var records: [VersionedRecord]
    /// All in one batch or not at all. Otherwise they may be split where they are too many for one batch.
    public var isAtomic: Bool
    public var response: Response

    public init(_ response: Response, records: [VersionedRecord] = [], isAtomic: Bool = true) {
        self.response = response
        self.records = records
        self.isAtomic = isAtomic
    }
}

/// Why the controller refuses a request, in the words and with the code that clients know from Kafka.
public struct RequestFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public var code: ErrorCode
    /// Nil stands for the code's own message.
    public var message: String?

    public init(_ code: ErrorCode, _ message: String? = nil) {
        self.code = code
        self.message = message
    }

    public var description: String { message ?? code.defaultMessage }
}
