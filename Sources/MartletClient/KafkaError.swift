// One error type for everything the library does: what failed, whether to try again, and a sentence for people.
import KafkaWire
import RecordBatches

/// Why an operation failed.
public struct KafkaError: Error, Hashable, Sendable {
    /// What kind of failure it is.
    public enum Kind: String, Hashable, Sendable {
        /// A broker answered with an error; ``KafkaError/code`` says which.
        case broker
        /// No connection could be made.
        case connectionFailed
        /// A bootstrap server answered, but the address that a broker advertises cannot be reached.
        case advertisedListenerUnreachable
        /// The connection ended while a request was waiting for its response.
        case disconnected
        /// No response within the request's timeout, or no success within the operation's.
        case timedOut
        /// Client and broker have no version of an API in common.
        case unsupportedVersion
        /// The broker sent what the protocol does not allow.
        case protocolViolation
        /// Records that were fetched are damaged.
        case corruptRecords
        /// The producer, consumer or client was closed.
        case closed
        /// The task was cancelled.
        case cancelled
        /// An argument or setting is not valid.
        case invalidArgument
        /// The broker refused the login, or is not the one it claims to be.
        case authenticationFailed
        /// A consumer has no position for a partition and no reset policy (`auto.offset.reset=none`).
        case noOffset
    }

    public var kind: Kind
    /// The protocol's number; 0 unless a broker answered with an error.
    public var code: Int16
    /// Whether the same operation may succeed later.
    public var isRetriable: Bool
    /// Whether a server answered and cannot be spoken to with these settings: another protocol, a certificate or a login that is not accepted.
    /// Nothing gets better before somebody changes something, here or there.
    public var isRefusal = false
    /// What happened and, where it is known, what to do.
    public var explanation: String
    /// The broker's own words, without what they are about; the explanation for errors of the client itself.
    public var message: String

    /// Kafka's name of the error, such as `UNKNOWN_TOPIC_OR_PARTITION`; the kind's for errors of the client itself.
    public var codeName: String { kind == .broker ? ErrorCode(rawValue: code).name : kind.rawValue }

    package init(_ kind: Kind, _ explanation: String, isRetriable: Bool = false) {
        self.kind = kind
        self.explanation = explanation
        message = explanation
        self.isRetriable = isRetriable
        isRefusal = kind == .authenticationFailed || kind == .protocolViolation
        code = 0
    }

    /// An error that a broker answered with.
    package init(_ code: ErrorCode, _ message: String? = nil, about subject: String? = nil) {
        kind = .broker
        self.code = code.rawValue
        isRetriable = code.isRetriable
        var text = message.flatMap { $0.isEmpty ? nil : $0 } ?? code.defaultMessage
        self.message = text
        if let subject { text = "\(subject): \(text)" }
        explanation = text
    }

    package init(_ error: WireError) {
        self.init(.protocolViolation, "unreadable message: \(error)")
    }

    package init(_ error: RecordBatchError) {
        self.init(.corruptRecords, "\(error)")
    }

    static let closed = KafkaError(.closed, "the client was closed")
    package static let cancelled = KafkaError(.cancelled, "the task was cancelled")

    /// The broker's error as the lower floors' type.
    package var errorCode: ErrorCode { ErrorCode(rawValue: code) }

    /// Whether the request may or may not have been carried out: nothing was heard of it.
    package var isConnectionLoss: Bool { kind == .disconnected || kind == .timedOut || kind == .connectionFailed }
}

extension KafkaError: CustomStringConvertible {
    public var description: String {
        kind == .broker && explanation != codeName ? "\(codeName): \(explanation)" : explanation
    }
}

extension ErrorCode {
    /// Throw unless the code says success.
    package func check(_ message: String? = nil, about subject: String? = nil) throws(KafkaError) {
        if self != .none { throw KafkaError(self, message, about: subject) }
    }

    /// Success or the error, for results per item.
    func result<Value>(_ value: Value, _ message: String? = nil, about subject: String? = nil) -> Result<Value, KafkaError> {
        self == .none ? .success(value) : .failure(KafkaError(self, message, about: subject))
    }
}
