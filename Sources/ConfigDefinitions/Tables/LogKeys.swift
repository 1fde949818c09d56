// Segments, retention, flushing, and the defaults of topics; then the log cleaner.

extension ConfigTable {
    static let logKeys: [ConfigDefinition] = [
        .className(
            "alter.config.policy.class.name", nil, .low,
            support: .refused("Java classes cannot be loaded, and to start without the policy would let every change through"),
            doc: "The class that approves changes of configuration."),
        .boolean(
            "auto.create.topics.enable", true, .high,
            doc: "Create a topic when a client asks for the metadata of one that does not exist."),
        .list(
            "cordoned.log.dirs", [], .anyList, .medium, mode: .perBroker,
            support: .acceptedWithoutEffect("directories cannot be cordoned yet"),
            doc: "Directories that take no new partitions; * for all."),
        .className(
            "create.topic.policy.class.name", nil, .low,
            support: .refused("Java classes cannot be loaded, and to start without the policy would let every topic through"),
            doc: "The class that approves new topics."),
        .list(
            "log.cleanup.policy", ["delete"], .list(of: ["compact", "delete"], mayBeEmpty: true), .medium, mode: .clusterWide,
            synonym: "cleanup.policy",
            doc: "What happens to old segments: delete, compact, or both."),
        .list("log.dir", ["/tmp/kafka-logs"], .nonEmptyList, .high, doc: "Directory for partitions when log.dirs is not given."),
        .long(
            "log.dir.failure.timeout.ms", 30_000, .atLeast(1), .low,
            doc: "How long a broker tries to tell the controller about a failed directory before it stops."),
        .list("log.dirs", nil, .nonEmptyList, .high, doc: "Directories for partitions."),
        .long(
            "log.flush.interval.messages", .max, .atLeast(1), .high, mode: .clusterWide, synonym: "flush.messages",
            doc: "Records in a partition before it is flushed to disk."),
        .long(
            "log.flush.interval.ms", nil, .any, .high, mode: .clusterWide, synonym: "flush.ms",
            doc: "Longest time a record stays unflushed; log.flush.scheduler.interval.ms when not given."),
        .int("log.flush.offset.checkpoint.interval.ms", 60_000, .atLeast(0), .high, doc: "Time between two writes of the recovery points."),
        .long("log.flush.scheduler.interval.ms", .max, .any, .high, doc: "Time between two checks for partitions that need flushing."),
        .int(
            "log.flush.start.offset.checkpoint.interval.ms", 60_000, .atLeast(0), .high,
            support: .oneCheckpoint,
            doc: "Time between two writes of the log start offsets."),
        .int(
            "log.index.interval.bytes", 4096, .atLeast(0), .medium, mode: .clusterWide, synonym: "index.interval.bytes",
            doc: "Bytes of records between two entries of the offset index."),
        .int(
            "log.index.size.max.bytes", 10_485_760, .atLeast(4), .medium, mode: .clusterWide, synonym: "segment.index.bytes",
            doc: "Largest size of a segment's index."),
        .long(
            "log.initial.task.delay.ms", 30_000, .atLeast(0), .low, internal: true,
            doc: "Time after the start before the periodic work on logs begins."),
        .long(
            "log.message.timestamp.after.max.ms", 3_600_000, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "message.timestamp.after.max.ms",
            doc: "How far a record's timestamp may lie ahead of the broker's clock."),
        .long(
            "log.message.timestamp.before.max.ms", .max, .atLeast(0), .medium, mode: .clusterWide,
            synonym: "message.timestamp.before.max.ms",
            doc: "How far a record's timestamp may lie behind the broker's clock."),
        .string(
            "log.message.timestamp.type", "CreateTime", .oneOf(["CreateTime", "LogAppendTime"]), .medium, mode: .clusterWide,
            synonym: "message.timestamp.type",
            doc: "Whether records keep the producer's timestamp (CreateTime) or get the broker's (LogAppendTime)."),
        .boolean(
            "log.preallocate", false, .medium, mode: .clusterWide, synonym: "preallocate",
            doc: "Whether a new segment reserves all of its space at once; its size in the file system does not change."),
        .long(
            "log.retention.bytes", -1, .any, .high, mode: .clusterWide, synonym: "retention.bytes",
            doc: "Bytes of a partition to keep; -1 keeps everything."),
        .long("log.retention.check.interval.ms", 300_000, .atLeast(1), .medium, doc: "Time between two checks for segments to delete."),
        .int("log.retention.hours", 168, .any, .high, doc: "Hours to keep records when neither milliseconds nor minutes are given."),
        .int("log.retention.minutes", nil, .any, .high, doc: "Minutes to keep records when milliseconds are not given."),
        .long(
            "log.retention.ms", nil, .any, .high, mode: .clusterWide, synonym: "retention.ms",
            doc: "Milliseconds to keep records; -1 keeps them for ever."),
        .int("log.roll.hours", 168, .atLeast(1), .high, doc: "Hours after which a segment is rolled when milliseconds are not given."),
        .int(
            "log.roll.jitter.hours", 0, .atLeast(0), .high,
            doc: "Hours taken at random off the roll time when milliseconds are not given."),
        .long(
            "log.roll.jitter.ms", nil, .any, .high, mode: .clusterWide, synonym: "segment.jitter.ms",
            doc: "Milliseconds taken at random off the roll time."),
        .long(
            "log.roll.ms", nil, .any, .high, mode: .clusterWide, synonym: "segment.ms",
            doc: "Milliseconds after which a segment is rolled."),
        .int(
            "log.segment.bytes", 1_073_741_824, .atLeast(1_048_576), .high, mode: .clusterWide, synonym: "segment.bytes",
            doc: "Size at which a segment is rolled."),
        .long(
            "log.segment.delete.delay.ms", 60_000, .atLeast(0), .high, mode: .clusterWide, synonym: "file.delete.delay.ms",
            doc: "How long a deleted segment's files stay on disk."),
        .int(
            "min.insync.replicas", 1, .atLeast(1), .high, mode: .clusterWide, synonym: "min.insync.replicas",
            doc: "Replicas that must have a record before acks=all is answered."),
        .int("num.partitions", 1, .atLeast(1), .medium, doc: "Partitions of topics created automatically or without a count."),
        .int(
            "num.recovery.threads.per.data.dir", 2, .atLeast(1), .high, mode: .clusterWide,
            doc: "Threads per directory that recover partitions at the start and flush them at the stop."),
    ]

    static let cleanerKeys: [ConfigDefinition] = [
        .long(
            "log.cleaner.backoff.ms", 15_000, .atLeast(0), .medium, mode: .clusterWide,
            doc: "How long the cleaner rests when there is nothing to clean."),
        .long(
            "log.cleaner.dedupe.buffer.size", 134_217_728, .any, .medium, mode: .clusterWide,
            doc: "Memory of all cleaner threads together for the map of keys."),
        .long(
            "log.cleaner.delete.retention.ms", 86_400_000, .atLeast(0), .medium, mode: .clusterWide, synonym: "delete.retention.ms",
            doc: "How long tombstones stay readable in compacted topics."),
        .boolean("log.cleaner.enable", true, .medium, doc: "Whether compacted topics are compacted."),
        .double(
            "log.cleaner.io.buffer.load.factor", 0.9, .any, .medium, mode: .clusterWide, doc: "How full the map of keys may get."),
        .int(
            "log.cleaner.io.buffer.size", 524_288, .atLeast(0), .medium, mode: .clusterWide,
            doc: "Memory of all cleaner threads together for reading and writing."),
        .double(
            "log.cleaner.io.max.bytes.per.second", .greatestFiniteMagnitude, .any, .medium, mode: .clusterWide,
            doc: "What all cleaner threads together may read and write in a second, on average."),
        .long(
            "log.cleaner.max.compaction.lag.ms", .max, .atLeast(1), .medium, mode: .clusterWide, synonym: "max.compaction.lag.ms",
            doc: "Longest time a record may wait for compaction."),
        .double(
            "log.cleaner.min.cleanable.ratio", 0.5, .between(0, 1), .medium, mode: .clusterWide, synonym: "min.cleanable.dirty.ratio",
            doc: "Share of a log that has to be dirty before it is cleaned."),
        .long(
            "log.cleaner.min.compaction.lag.ms", 0, .atLeast(0), .medium, mode: .clusterWide, synonym: "min.compaction.lag.ms",
            doc: "Time a record stays safe from compaction."),
        .int("log.cleaner.threads", 1, .atLeast(0), .medium, mode: .clusterWide, doc: "Threads of the cleaner."),
    ]
}
