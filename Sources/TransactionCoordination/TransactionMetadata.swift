// What the log knows of one transactional id, and what each step makes of it: values in, values out.
import Collections
import Primitives

/// A producer's id and its epoch.
public struct ProducerIdentity: Sendable, Hashable {
    public var id: ProducerID
    public var epoch: Int16

    public init(id: ProducerID, epoch: Int16) {
        self.id = id
        self.epoch = epoch
    }

    public static let none = ProducerIdentity(id: -1, epoch: -1)
}

/// One transactional id.
public struct TransactionMetadata: Sendable, Equatable {
    public var producerID: ProducerID
    /// The id before the last step: tells a retry that crossed the change to a new id. -1 for none.
    public var previousProducerID: ProducerID = -1
    /// The id that the producer goes on with after this transaction, since the epochs of the present one are used up (KIP-890). -1 for none.
    public var nextProducerID: ProducerID = -1
    public var producerEpoch: Int16
    /// The epoch before the last bump: tells a retry. Not in the log. -1 for none.
    public var lastProducerEpoch: Int16 = -1
    /// `Int32.max` for a transaction that an outside coordinator decides (KIP-939): it has no timeout.
    public var timeoutMilliseconds: Int32
    public var state: TransactionState
    public var partitions: OrderedSet<TopicPartition> = []
    /// -1 without a transaction.
    public var startTimestamp: Timestamp = -1
    public var lastUpdateTimestamp: Timestamp
    /// transaction.version that the client showed when the transaction began or ended: 0 or 2.
    public var clientVersion: Int16 = 0

    public init(producerID: ProducerID, producerEpoch: Int16, timeoutMilliseconds: Int32, state: TransactionState, now: Timestamp) {
        self.producerID = producerID
        self.producerEpoch = producerEpoch
        self.timeoutMilliseconds = timeoutMilliseconds
        self.state = state
        lastUpdateTimestamp = now
    }

    public var identity: ProducerIdentity { ProducerIdentity(id: producerID, epoch: producerEpoch) }

    /// The largest epoch is kept back, so that a producer of the one before can always be fenced.
    static func isExhausted(_ epoch: Int16) -> Bool { epoch >= .max - 1 }

    var isEpochExhausted: Bool { Self.isExhausted(producerEpoch) }

    var hasNoTimeout: Bool { timeoutMilliseconds == .max }

    // MARK: Steps

    /// Every step notes the id before it.
    private func next(_ state: TransactionState, now: Timestamp) -> TransactionMetadata {
        var next = self
        next.state = state
        next.previousProducerID = producerID
        next.lastUpdateTimestamp = now
        return next
    }

    /// A producer begins, or begins anew, under the next epoch.
    ///
    /// - Parameter expected: the epoch that the producer says it has (KIP-360); nil when it is a new one.
    /// - Returns: nil when the producer has been fenced.
    func incrementingEpoch(timeoutMilliseconds: Int32, expected: Int16?, now: Timestamp) -> TransactionMetadata? {
        var next = next(.empty, now: now)
        if let expected, producerEpoch != -1, expected != producerEpoch {
            // A retry of a request that succeeded gets what that one got. Nobody is fenced by it: another producer would have cleared
            // the last epoch.
            guard expected == lastProducerEpoch else { return nil }
        } else {
            next.producerEpoch = producerEpoch + 1
            next.lastProducerEpoch = expected == nil ? -1 : producerEpoch
        }
        next.timeoutMilliseconds = timeoutMilliseconds
        next.partitions = []
        next.startTimestamp = -1
        return next
    }

    /// A producer goes on under a new id, since the epochs of the old one are used up.
    func rotatingProducerID(to id: ProducerID, timeoutMilliseconds: Int32, keepingLastEpoch: Bool, now: Timestamp) -> TransactionMetadata {
        var next = next(.empty, now: now)
        next.producerID = id
        next.producerEpoch = 0
        next.lastProducerEpoch = keepingLastEpoch ? producerEpoch : -1
        next.timeoutMilliseconds = timeoutMilliseconds
        next.partitions = []
        next.startTimestamp = -1
        return next
    }

    func adding(_ added: some Sequence<TopicPartition>, clientVersion: Int16, now: Timestamp) -> TransactionMetadata {
        var next = next(.ongoing, now: now)
        if state != .ongoing { next.startTimestamp = now }
        next.partitions.formUnion(added)
        next.clientVersion = clientVersion
        return next
    }

    /// The transaction is decided.
    ///
    /// - Parameters:
    ///   - clientVersion: from 2 on the epoch is bumped, and the markers are of the bumped one.
    ///   - nextProducerID: what the producer goes on with after epochs are used up, else -1.
    func preparing(_ outcome: TransactionOutcome, clientVersion: Int16, nextProducerID: ProducerID, now: Timestamp) -> TransactionMetadata {
        var next = next(outcome.prepared, now: now)
        if clientVersion >= 2 {
            // At the very last epoch the abort goes through without a bump, so that a broken producer can recover.
            if producerEpoch != .max { next.producerEpoch = producerEpoch + 1 }
            next.lastProducerEpoch = producerEpoch
        }
        // An abort without partitions has begun with itself.
        if state != .ongoing { next.startTimestamp = now }
        next.nextProducerID = nextProducerID
        next.clientVersion = clientVersion
        return next
    }

    /// Every partition has its marker.
    func completing(now: Timestamp) -> TransactionMetadata {
        var next = next(state == .prepareCommit ? .completeCommit : .completeAbort, now: now)
        if clientVersion >= 2, nextProducerID != -1 {
            next.producerID = nextProducerID
            next.producerEpoch = 0
        }
        next.nextProducerID = -1
        next.partitions = []
        return next
    }
}
