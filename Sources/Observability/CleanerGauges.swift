// The log cleaner's gauges, under the names that Kafka's have through the JMX exporter.

extension KafkaState {
    /// How the cleaner of compacted logs is doing.
    public struct Cleaner: Sendable {
        /// One data directory.
        public struct Directory: Sendable {
            public var path: String
            /// Logs set aside because they are damaged.
            public var uncleanablePartitionCount = 0
            /// What could be cleaned of them otherwise.
            public var uncleanableBytes = 0

            public init(path: String) {
                self.path = path
            }
        }

        public var directories: [Directory] = []
        /// Of the dirtiest log that is not being cleaned: percent that is dirty.
        public var maxDirtyPercent = 0
        public var timeSinceLastRunMilliseconds: Int64 = 0
        /// Largest among the last runs of all threads, here and below.
        public var maxBufferUtilizationPercent = 0
        /// Bytes written against bytes read in the last runs.
        public var recopyPercent = 0
        public var maxCleanTimeSeconds = 0
        /// How late compaction was for `max.compaction.lag.ms`.
        public var maxCompactionDelaySeconds = 0

        public init() {}

        func write(to text: inout PrometheusText) {
            let cleaner = "kafka_log_logcleaner_"
            let gauges: [(String, String, Int)] = [
                ("max_buffer_utilization_percent", "How full the map of keys got in the last cleanings.", maxBufferUtilizationPercent),
                ("cleaner_recopy_percent", "Part of the bytes that the last cleanings kept.", recopyPercent),
                ("max_clean_time_secs", "Longest of the last cleanings.", maxCleanTimeSeconds),
                ("max_compaction_delay_secs", "How late compaction is for max.compaction.lag.ms.", maxCompactionDelaySeconds),
                // A thread that fails takes the process with it, so that this one never shows anything else.
                ("deadthreadcount", "Cleaner threads that have ended.", 0),
            ]
            for (name, help, value) in gauges { text.single(cleaner + name, .gauge, help: help, value) }
            let manager = "kafka_log_logcleanermanager_"
            text.single(manager + "max_dirty_percent", .gauge, help: "Dirty part of the dirtiest compacted log.", maxDirtyPercent)
            text.single(
                manager + "time_since_last_run_ms", .gauge, help: "Since the cleaner last looked at all logs.",
                Int(timeSinceLastRunMilliseconds))
            text.family(manager + "uncleanable_partitions_count", .gauge, help: "Damaged logs that are not cleaned.")
            for directory in directories {
                text.sample(
                    manager + "uncleanable_partitions_count", ["logDirectory": directory.path], directory.uncleanablePartitionCount)
            }
            text.family(manager + "uncleanable_bytes", .gauge, help: "What is dirty in damaged logs that are not cleaned.")
            for directory in directories {
                text.sample(manager + "uncleanable_bytes", ["logDirectory": directory.path], directory.uncleanableBytes)
            }
        }
    }
}
