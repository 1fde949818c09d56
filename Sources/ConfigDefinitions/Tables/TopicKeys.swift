// The keys of topics.

extension ConfigTable {
    static let topicKeys: [ConfigDefinition] = [
        .list(
            "cleanup.policy", ["delete"], .list(of: ["compact", "delete"], mayBeEmpty: true), .medium, mode: .clusterWide,
            synonym: "log.cleanup.policy",
            doc: "What happens to old segments: delete, compact, both, or nothing at all when empty."),
        .int(
            "compression.gzip.level", -1, .gzipLevel, .medium, mode: .clusterWide, synonym: "compression.gzip.level",
            doc: "Level for batches that the broker compresses with gzip."),
        .int(
            "compression.lz4.level", 9, .between(1, 17), .medium, mode: .clusterWide, synonym: "compression.lz4.level",
            doc: "Level for batches that the broker compresses with lz4."),
        .string(
            "compression.type", "producer", .compressionTypes, .medium, mode: .clusterWide, synonym: "compression.type",
            doc: "Codec of stored batches: one of the codecs, uncompressed, or producer to keep what the producer chose."),
        .int(
            "compression.zstd.level", 3, .between(-131_072, 22), .medium, mode: .clusterWide, synonym: "compression.zstd.level",
            doc: "Level for batches that the broker compresses with zstd."),
        .long(
            "delete.retention.ms", 86_400_000, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.cleaner.delete.retention.ms",
            doc: "How long tombstones stay readable after compaction."),
        .boolean(
            "errors.deadletterqueue.group.enable", false, .medium, mode: .clusterWide, support: .noDeadLetterQueues,
            doc: "Whether share groups may use this topic as their dead letter queue."),
        .long(
            "file.delete.delay.ms", 60_000, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.segment.delete.delay.ms",
            doc: "How long a deleted segment's files stay on disk."),
        .long(
            "flush.messages", .max, .atLeast(1), .medium, mode: .clusterWide, synonym: "log.flush.interval.messages",
            doc: "Records in a partition before it is flushed to disk."),
        .long(
            "flush.ms", .max, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.flush.interval.ms",
            doc: "Longest time a record stays unflushed."),
        .list(
            "follower.replication.throttled.replicas", [], .throttledReplicas, .medium, mode: .clusterWide,
            doc: "Replicas whose fetching is throttled, as partition:broker, or * for all."),
        .int(
            "index.interval.bytes", 4096, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.index.interval.bytes",
            doc: "Bytes of records between two entries of the offset index."),
        .int(
            "internal.segment.bytes", nil, .any, .medium, mode: .clusterWide, internal: true,
            doc: "A segment size below the usual minimum, for tests only."),
        .list(
            "leader.replication.throttled.replicas", [], .throttledReplicas, .medium, mode: .clusterWide,
            doc: "Replicas whose sending is throttled, as partition:broker, or * for all."),
        .long(
            "local.retention.bytes", -2, .atLeast(-2), .medium, mode: .clusterWide, synonym: "log.local.retention.bytes",
            support: .noTieredStorage, doc: "Bytes kept on local disk when the topic is tiered; -2 means retention.bytes."),
        .long(
            "local.retention.ms", -2, .atLeast(-2), .medium, mode: .clusterWide, synonym: "log.local.retention.ms",
            support: .noTieredStorage, doc: "Time kept on local disk when the topic is tiered; -2 means retention.ms."),
        .long(
            "max.compaction.lag.ms", .max, .atLeast(1), .medium, mode: .clusterWide, synonym: "log.cleaner.max.compaction.lag.ms",
            doc: "Longest time a record may wait for compaction."),
        .int(
            "max.message.bytes", 1_048_588, .atLeast(0), .medium, mode: .clusterWide, synonym: "message.max.bytes",
            doc: "Largest record batch taken."),
        .long(
            "message.timestamp.after.max.ms", 3_600_000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "log.message.timestamp.after.max.ms",
            doc: "How far a record's timestamp may lie ahead of the broker's clock."),
        .long(
            "message.timestamp.before.max.ms", .max, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "log.message.timestamp.before.max.ms",
            doc: "How far a record's timestamp may lie behind the broker's clock."),
        .string(
            "message.timestamp.type", "CreateTime", .oneOf(["CreateTime", "LogAppendTime"]), .medium, mode: .clusterWide,
            synonym: "log.message.timestamp.type",
            doc: "Whether records keep the producer's timestamp (CreateTime) or get the broker's (LogAppendTime)."),
        .double(
            "min.cleanable.dirty.ratio", 0.5, .between(0, 1), .medium, mode: .clusterWide, synonym: "log.cleaner.min.cleanable.ratio",
            doc: "Share of the log that has to be dirty before it is compacted."),
        .long(
            "min.compaction.lag.ms", 0, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.cleaner.min.compaction.lag.ms",
            doc: "Time a record stays safe from compaction."),
        .int(
            "min.insync.replicas", 1, .atLeast(1), .medium, mode: .clusterWide, synonym: "min.insync.replicas",
            doc: "Replicas that must have a record before acks=all is answered."),
        .boolean(
            "preallocate", false, .medium, mode: .clusterWide, synonym: "log.preallocate",
            doc: "Whether a new segment reserves all of its space at once; its size in the file system does not change."),
        .long(
            "remote.copy.lag.bytes", -1, .atLeast(-1), .medium, mode: .clusterWide, synonym: "log.remote.copy.lag.bytes",
            support: .noTieredStorage, doc: "Bytes that may wait before they are copied to remote storage."),
        .long(
            "remote.copy.lag.ms", 0, .atLeast(-1), .medium, mode: .clusterWide, synonym: "log.remote.copy.lag.ms",
            support: .noTieredStorage, doc: "Time that may pass before a segment is copied to remote storage."),
        .boolean(
            "remote.log.copy.disable", false, .medium, mode: .clusterWide, support: .noTieredStorage,
            doc: "Whether copying to remote storage is stopped."),
        .boolean(
            "remote.log.delete.on.disable", false, .medium, mode: .clusterWide, support: .noTieredStorage,
            doc: "Whether remote data goes when tiered storage is switched off for the topic."),
        .boolean(
            "remote.storage.enable", false, .medium, mode: .clusterWide, support: .refused("tiered storage is not available"),
            doc: "Whether the topic is tiered."),
        .long(
            "retention.bytes", -1, .any, .medium, mode: .clusterWide, synonym: "log.retention.bytes",
            doc: "Bytes of a partition to keep; -1 keeps everything."),
        .long(
            "retention.ms", 604_800_000, .atLeast(-1), .medium, mode: .clusterWide, synonym: "log.retention.ms",
            doc: "Milliseconds to keep records; -1 keeps them for ever."),
        .int(
            "segment.bytes", 1_073_741_824, .atLeast(1_048_576), .medium, mode: .clusterWide, synonym: "log.segment.bytes",
            doc: "Size at which a segment is rolled."),
        .int(
            "segment.index.bytes", 10_485_760, .atLeast(4), .medium, mode: .clusterWide, synonym: "log.index.size.max.bytes",
            doc: "Largest size of a segment's index."),
        .long(
            "segment.jitter.ms", 0, .atLeast(0), .medium, mode: .clusterWide, synonym: "log.roll.jitter.ms",
            doc: "Milliseconds taken at random off the roll time."),
        .long(
            "segment.ms", 604_800_000, .atLeast(1), .medium, mode: .clusterWide, synonym: "log.roll.ms",
            doc: "Milliseconds after which a segment is rolled."),
        .boolean(
            "unclean.leader.election.enable", false, .medium, mode: .clusterWide, synonym: "unclean.leader.election.enable",
            doc: "Whether a replica outside the in-sync replicas may lead, which loses records."),
    ]
}
