// The states of a transactional id, with Kafka's numbers and names (KIP-98, KIP-664).

/// Where a transactional id stands.
public enum TransactionState: Int8, CaseIterable, Sendable {
    /// A producer has its id and epoch, and no transaction yet.
    case empty = 0
    /// Partitions or group offsets belong to the transaction.
    case ongoing = 1
    /// The decision to commit is in the log; markers are being written.
    case prepareCommit = 2
    /// The decision to abort is in the log; markers are being written.
    case prepareAbort = 3
    /// Every partition has its marker.
    case completeCommit = 4
    /// Every partition has its marker.
    case completeAbort = 5
    /// The id is about to be forgotten. Never in the log.
    case dead = 6
    /// A producer is being fenced. Never in the log.
    case prepareEpochFence = 7

    /// The name in ListTransactions and DescribeTransactions.
    public var name: String {
        switch self {
        case .empty: "Empty"
        case .ongoing: "Ongoing"
        case .prepareCommit: "PrepareCommit"
        case .prepareAbort: "PrepareAbort"
        case .completeCommit: "CompleteCommit"
        case .completeAbort: "CompleteAbort"
        case .dead: "Dead"
        case .prepareEpochFence: "PrepareEpochFence"
        }
    }

    public init?(name: String) {
        guard let state = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = state
    }

    /// Whether the decision has been made and markers are due.
    public var isPrepared: Bool { self == .prepareCommit || self == .prepareAbort }

    /// How the last transaction ended, once it has.
    public var outcome: TransactionOutcome? {
        switch self {
        case .completeCommit: .commit
        case .completeAbort: .abort
        default: nil
        }
    }

    /// Whether an id that nobody uses may be forgotten.
    var mayExpire: Bool { self == .empty || self == .completeCommit || self == .completeAbort }
}

/// How a transaction ends.
public enum TransactionOutcome: Sendable, Hashable {
    case commit
    case abort

    var prepared: TransactionState { self == .commit ? .prepareCommit : .prepareAbort }
    var completed: TransactionState { self == .commit ? .completeCommit : .completeAbort }
}
