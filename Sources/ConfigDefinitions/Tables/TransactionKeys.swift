// Transactions and the memory of producers.

extension ConfigTable {
    static let transactionKeys: [ConfigDefinition] = [
        .int(
            "add.partitions.to.txn.retry.backoff.max.ms", 100, .atLeast(0), .high,
            doc: "How long a leader asks again for a producer whose last transaction is still being ended."),
        .int("add.partitions.to.txn.retry.backoff.ms", 20, .atLeast(1), .high, doc: "The pause between two such questions."),
        .int(
            "producer.id.expiration.check.interval.ms", 600_000, .atLeast(1), .low, internal: true,
            doc: "Time between two checks for producers to forget."),
        .int(
            "producer.id.expiration.ms", 86_400_000, .atLeast(1), .low, mode: .clusterWide,
            doc: "How long an idle producer's state is remembered."),
        .int(
            "transaction.abort.timed.out.transaction.cleanup.interval.ms", 10_000, .atLeast(1), .low,
            doc: "Time between two checks for transactions whose timeout is over."),
        .int(
            "transaction.max.timeout.ms", 900_000, .atLeast(1), .high,
            doc: "Longest transaction timeout that a producer may ask for."),
        .boolean(
            "transaction.partition.verification.enable", true, .low, mode: .clusterWide,
            doc: "Ask the coordinator before a transaction's first records are taken."),
        .int(
            "transaction.remove.expired.transaction.cleanup.interval.ms", 3_600_000, .atLeast(1), .low,
            doc: "Time between two checks for transactional ids to forget."),
        .int(
            "transaction.state.log.load.buffer.size", 5_242_880, .atLeast(1), .high,
            support: .acceptedWithoutEffect("a coordinator reads its log in pieces of 4 MiB")),
        .int(
            "transaction.state.log.min.isr", 2, .atLeast(1), .high,
            doc: "In-sync replicas that the transaction topic needs."),
        .int(
            "transaction.state.log.num.partitions", 50, .atLeast(1), .high,
            doc: "Partitions of the transaction topic."),
        .short(
            "transaction.state.log.replication.factor", 3, .atLeast(1), .high,
            doc: "Replicas of the transaction topic."),
        .int(
            "transaction.state.log.segment.bytes", 104_857_600, .atLeast(1), .high,
            doc: "Segment size of the transaction topic."),
        .boolean(
            "transaction.two.phase.commit.enable", false, .low,
            doc: "Let producers open transactions without a timeout, which an outside coordinator decides."),
        .int(
            "transactional.id.expiration.ms", 604_800_000, .atLeast(1), .high,
            doc: "How long an idle transactional id is remembered."),
    ]
}
