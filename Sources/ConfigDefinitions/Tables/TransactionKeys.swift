// Transactions and the memory of producers.

extension ConfigTable {
    static let transactionKeys: [ConfigDefinition] = [
        .int("add.partitions.to.txn.retry.backoff.max.ms", 100, .atLeast(0), .high, support: .noTransactions),
        .int("add.partitions.to.txn.retry.backoff.ms", 20, .atLeast(1), .high, support: .noTransactions),
        .int(
            "producer.id.expiration.check.interval.ms", 600_000, .atLeast(1), .low, internal: true,
            doc: "Time between two checks for producers to forget."),
        .int(
            "producer.id.expiration.ms", 86_400_000, .atLeast(1), .low, mode: .clusterWide,
            doc: "How long an idle producer's state is remembered."),
        .int("transaction.abort.timed.out.transaction.cleanup.interval.ms", 10_000, .atLeast(1), .low, support: .noTransactions),
        .int(
            "transaction.max.timeout.ms", 900_000, .atLeast(1), .high, support: .noTransactions,
            doc: "Longest transaction timeout that a producer may ask for."),
        .boolean("transaction.partition.verification.enable", true, .low, mode: .clusterWide, support: .noTransactions),
        .int("transaction.remove.expired.transaction.cleanup.interval.ms", 3_600_000, .atLeast(1), .low, support: .noTransactions),
        .int("transaction.state.log.load.buffer.size", 5_242_880, .atLeast(1), .high, support: .noTransactions),
        .int(
            "transaction.state.log.min.isr", 2, .atLeast(1), .high, support: .noTransactions,
            doc: "In-sync replicas that the transaction topic needs."),
        .int(
            "transaction.state.log.num.partitions", 50, .atLeast(1), .high, support: .noTransactions,
            doc: "Partitions of the transaction topic."),
        .short(
            "transaction.state.log.replication.factor", 3, .atLeast(1), .high, support: .noTransactions,
            doc: "Replicas of the transaction topic."),
        .int(
            "transaction.state.log.segment.bytes", 104_857_600, .atLeast(1), .high, support: .noTransactions,
            doc: "Segment size of the transaction topic."),
        .boolean("transaction.two.phase.commit.enable", false, .low, support: .noTransactions),
        .int(
            "transactional.id.expiration.ms", 604_800_000, .atLeast(1), .high, support: .noTransactions,
            doc: "How long an idle transactional id is remembered."),
    ]
}
