// What a step of the coordinator hands back: an answer, records to append, and effects. The core decides, the shell performs.
import Collections
import KafkaWire
import Primitives

/// What a step knows of the world.
public struct TransactionMoment: Sendable, Hashable {
    /// Milliseconds since 1970.
    public var now: Timestamp
    /// The finalized level of transaction.version (KIP-890): rules for what the coordinator does on its own account.
    public var serverVersion: Int16

    public init(now: Timestamp, serverVersion: Int16) {
        self.now = now
        self.serverVersion = serverVersion
    }
}

/// The markers that end one transaction, still to be written.
public struct TransactionMarkers: Sendable, Equatable {
    public var transactionalID: String
    public var producer: ProducerIdentity
    public var coordinatorEpoch: Int32
    public var outcome: TransactionOutcome
    public var partitions: OrderedSet<TopicPartition>
    /// transaction.version of the transaction, for the leaders of its partitions.
    public var version: Int16
}

/// Something for the shell to do at once, whether or not the step also writes records.
public enum TransactionEffect: Sendable, Equatable {
    /// Have markers written by the partitions' leaders, and report to ``TransactionCoordinator/markersWritten(_:partitions:moment:)``.
    case writeMarkers(TransactionMarkers)
}

/// Records to append in one batch. The shell passes it, when its fate is known, to ``TransactionCoordinator/committed(_:moment:)`` or
/// ``TransactionCoordinator/failed(_:)``.
public struct TransactionWrite: Sendable, Equatable {
    public var records: [TransactionRecord]
}

/// The outcome of a step. When there is a `write`, `response` is valid only once that is committed.
public struct TransactionResult<Response: Sendable>: Sendable {
    public var response: Response
    public var write: TransactionWrite?
    public var effects: [TransactionEffect]

    public init(_ response: Response, write: TransactionWrite? = nil, effects: [TransactionEffect] = []) {
        self.response = response
        self.write = write
        self.effects = effects
    }
}

/// The answer to InitProducerId.
public enum InitProducerIDOutcome: Sendable, Equatable {
    case initialized(ProducerIdentity)
    case refused(ErrorCode)
    /// Nothing has happened: ask again with a new producer id.
    case needsProducerID
}

/// The answer to EndTxn.
public enum EndTransactionOutcome: Sendable, Equatable {
    /// What the producer goes on with; none before version 5 of EndTxn.
    case ended(ProducerIdentity)
    case refused(ErrorCode)
    /// Nothing has happened: ask again with a new producer id.
    case needsProducerID
}

/// Settings of a transaction coordinator. Each property names Kafka's key; durations are milliseconds.
public struct TransactionCoordinatorConfiguration: Sendable, Equatable {
    /// `transaction.max.timeout.ms`: a producer that asks for more is refused with INVALID_TRANSACTION_TIMEOUT.
    public var maximumTimeoutMilliseconds: Int32 = 900_000
    /// `transactional.id.expiration.ms`.
    public var expirationMilliseconds: Int64 = 604_800_000
    /// `transaction.two.phase.commit.enable` (KIP-939).
    public var isTwoPhaseCommitEnabled = false

    public init() {}
}
