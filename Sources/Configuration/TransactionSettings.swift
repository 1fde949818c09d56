// The settings of transactions; the keys `transaction.*`, `transactional.id.*` and `add.partitions.to.txn.*`.

/// Transactions: limits, the topic that holds their state, and how leaders ask about them.
public struct TransactionSettings: Sendable, Equatable {
    /// `transaction.max.timeout.ms`.
    public var maxTimeoutMilliseconds: Int64
    /// `transactional.id.expiration.ms`.
    public var idExpirationMilliseconds: Int64
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    public var timeoutCheckIntervalMilliseconds: Int64
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    public var expirationCheckIntervalMilliseconds: Int64
    /// `transaction.two.phase.commit.enable`.
    public var twoPhaseCommitEnable: Bool
    /// `transaction.partition.verification.enable`.
    public var partitionVerificationEnable: Bool
    /// `add.partitions.to.txn.retry.backoff.ms`.
    public var retryBackoffMilliseconds: Int64
    /// `add.partitions.to.txn.retry.backoff.max.ms`.
    public var retryBackoffMaxMilliseconds: Int64
    /// `transaction.state.log.num.partitions`.
    public var topicPartitions: Int32
    /// `transaction.state.log.replication.factor`.
    public var topicReplicationFactor: Int16
    /// `transaction.state.log.min.isr`.
    public var topicMinInSyncReplicas: Int
    /// `transaction.state.log.segment.bytes`.
    public var topicSegmentBytes: Int
}

extension ConfigurationReader {
    func readTransactions() -> TransactionSettings {
        TransactionSettings(
            maxTimeoutMilliseconds: integer("transaction.max.timeout.ms"),
            idExpirationMilliseconds: integer("transactional.id.expiration.ms"),
            timeoutCheckIntervalMilliseconds: integer("transaction.abort.timed.out.transaction.cleanup.interval.ms"),
            expirationCheckIntervalMilliseconds: integer("transaction.remove.expired.transaction.cleanup.interval.ms"),
            twoPhaseCommitEnable: boolean("transaction.two.phase.commit.enable"),
            partitionVerificationEnable: boolean("transaction.partition.verification.enable"),
            retryBackoffMilliseconds: integer("add.partitions.to.txn.retry.backoff.ms"),
            retryBackoffMaxMilliseconds: integer("add.partitions.to.txn.retry.backoff.max.ms"),
            topicPartitions: Int32(clamping: integer("transaction.state.log.num.partitions")),
            topicReplicationFactor: Int16(clamping: integer("transaction.state.log.replication.factor")),
            topicMinInSyncReplicas: size("transaction.state.log.min.isr"),
            topicSegmentBytes: max(size("transaction.state.log.segment.bytes"), Self.smallestTopicSegmentBytes))
    }
}
